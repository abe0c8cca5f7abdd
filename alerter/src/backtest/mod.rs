//! What rules would have told of a history: the fold of the real runs over values of the past, and a count of mails.

pub mod command;
pub mod csv;
mod mails;
pub mod report;

use model::{ClientName, ClientUid, Episode, Evidence, Fact, Sample, Timestamp};
use storage::{Entry, Mark, Unevaluated};

use crate::fold::{Known, fold};
use crate::rulebook::Rulebook;

pub use mails::{Runs, count};

/// What one client reported, in order of time.
pub type Reports = Vec<(Timestamp, Vec<Sample>)>;

/// What a history comes to under some rules.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Every episode, by begin.
    pub episodes: Vec<Episode>,
    /// What there was to tell.
    pub facts: Vec<Fact>,
    /// How many reports were looked at.
    pub reports: usize,
    /// The first and the last of them.
    pub span: Option<(Timestamp, Timestamp)>,
}

/// Folds the reports of every client over `rules`. Each client is for itself, so only one is in memory at a time.
pub fn replay(history: impl IntoIterator<Item = (ClientName, Reports)>, rules: &Rulebook) -> Outcome {
    let mut outcome = Outcome::default();
    for (number, (name, reports)) in (1_u128..).zip(history) {
        outcome.take(ClientUid(number.to_be_bytes()), &name, reports, rules);
    }
    outcome.episodes.sort_by(|a, b| (a.begin, &a.client_name, &a.id).cmp(&(b.begin, &b.client_name, &b.id)));
    outcome
}

impl Outcome {
    fn take(&mut self, client: ClientUid, name: &ClientName, reports: Reports, rules: &Rulebook) {
        let (first, last) = (reports.first().map(|(at, _)| *at), reports.last().map(|(at, _)| *at));
        self.reports += reports.len();
        self.span = match (self.span, first.zip(last)) {
            (Some((begin, end)), Some((first, last))) => Some((begin.min(first), end.max(last))),
            (known, new) => known.or(new),
        };
        let entries: Vec<Unevaluated> = (0..)
            .zip(reports)
            .map(|(id, (event_time, samples))| Unevaluated {
                mark: Mark::Report(id),
                client,
                client_name: name.clone(),
                event_time,
                entry: Entry::Report { samples, evidence: Evidence::default() },
            })
            .collect();
        let step = fold(&entries, Known::default(), rules);
        self.episodes.extend(step.episodes);
        self.facts.extend(step.facts);
    }
}
