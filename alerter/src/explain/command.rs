//! `explain` over the configured storage.

use std::fmt;

use config::{Settings, nearest};
use model::rule::{COLLECTOR_STALE, ISOLATED, UNREACHABLE};
use model::text::escape_to;
use model::{Episode, EpisodeId, Timestamp};
use storage::{Store, StoreError};

use super::{Subject, explain};
use crate::fold::Known;
use crate::mailings::Mailings;
use crate::rulebook::Rulebook;
use crate::store;

/// So many names are offered where none is near.
const OFFERED: usize = 20;

/// Why there is nothing to explain.
#[derive(Debug)]
pub enum Failure {
    /// There is no such client, or it has no such rule; with what there is.
    Unknown(String),
    /// The storage.
    Storage(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Storage(error)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The client's name.
    pub client: &'a str,
    /// The type of the rules; `None`: all.
    pub kind: Option<&'a str>,
    /// When.
    pub now: Timestamp,
}

/// What the configured storage says.
pub fn answer(
    settings: &Settings,
    question: Question,
    time: &dyn Fn(Timestamp) -> String,
) -> Result<String, Failure> {
    let (mut store, skew) = store::open(settings, storage::open_existing)?;
    let question = Question { now: skew.there(question.now), ..question };
    of_store(&mut *store, settings, question, time)
}

/// What a store says.
pub fn of_store(
    store: &mut dyn Store,
    settings: &Settings,
    question: Question,
    time: &dyn Fn(Timestamp) -> String,
) -> Result<String, Failure> {
    let Question { client: name, kind, now } = question;
    let Some(client) = settings.clients.iter().find(|client| client.name.as_str() == name) else {
        let names = settings.clients.iter().map(|client| client.name.as_str());
        return Err(unknown(format_args!("config.xml has no client {}", escape_to(name, 60)), name, names));
    };
    if let Some(kind) = kind.filter(|kind| client.rules.iter().all(|rule| rule.metric != *kind)) {
        let kinds = client.rules.iter().map(|rule| rule.metric.as_str());
        let what = format_args!("{name} has no rule of the type {}", escape_to(kind, 60));
        return Err(unknown(what, kind, kinds));
    }
    let latest = store.latest()?.into_iter().find(|latest| latest.name == client.name);
    let uid = latest.as_ref().map(|latest| latest.uid);
    let states = uid.map_or_else(|| Ok(Vec::new()), |uid| store.alerts(&[uid]))?;
    let open: Vec<EpisodeId> =
        states.iter().filter_map(|(_, state)| Some(state.firing()?.episode.clone())).collect();
    let acknowledged = store.acknowledgements(&open)?;
    let known = Known {
        episodes: store.episodes(&open)?.into_iter().map(|episode| (episode.id.clone(), episode)).collect(),
        silences: store.silences(now)?,
        acknowledgements: acknowledged.into_iter().map(|one| (one.episode.clone(), one)).collect(),
        states: states.into_iter().collect(),
        ..Known::default()
    };
    let report = latest.as_ref().and_then(|latest| latest.report.as_ref());
    let attempt = latest.as_ref().and_then(|latest| latest.attempt.as_ref());
    let rules = Rulebook::of(settings);
    let unseen = unseen(&store.open_episodes()?, &rules.ancestors(name), name);
    let subject = Subject {
        client,
        rules: &rules,
        report: report.map(|(at, _, samples)| (*at, samples.as_slice())),
        faults: latest.as_ref().map_or(&[], |latest| latest.faults.as_slice()),
        attempt: attempt.map(|(at, outcome)| (*at, outcome)),
        known: &known,
        tellings: &store.tellings(&open)?,
        mailings: &Mailings::of(settings),
        unseen: unseen.as_deref(),
        unevaluated: store.counts()?.unevaluated,
        now,
        time,
    };
    Ok(explain(subject, kind))
}

/// What is open that says that nobody can see how the client called `name` stands: as reminders go by it.
fn unseen(open: &[Episode], ancestors: &[&str], name: &str) -> Option<String> {
    open.iter().find_map(|episode| {
        let client = episode.client_name.as_str();
        match episode.metric.as_str() {
            UNREACHABLE if client == name => Some("it is unreachable".to_owned()),
            UNREACHABLE if ancestors.contains(&client) => {
                Some(format!("{client}, through which it is reached, is unreachable"))
            }
            ISOLATED if episode.key.labels.is_empty() => {
                Some("the collector cannot reach the network".to_owned())
            }
            COLLECTOR_STALE => Some("the collector does not run".to_owned()),
            _ => None,
        }
    })
}

/// Nothing is called as it was asked for: the nearest name, or the first ones that there are.
pub(crate) fn unknown<'a>(
    what: fmt::Arguments,
    asked: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Failure {
    let help = match nearest(asked, names.clone()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", names.take(OFFERED).collect::<Vec<_>>().join(", ")),
    };
    Failure::Unknown(format!("{what}: {help}"))
}
