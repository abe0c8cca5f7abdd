//! How many mails facts come to.

use std::collections::{BTreeMap, BTreeSet};

use model::{Episode, EpisodeId, Fact, Reason, Timestamp};

use crate::rulebook::Rulebook;

/// When the runs are that tell: every `every_ms`, and reminders after `repeat_ms` where a rule does not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runs {
    /// Milliseconds between two runs.
    pub every_ms: i64,
    /// Milliseconds between two reminders; `None`: none.
    pub repeat_ms: Option<i64>,
    /// When the last run is.
    pub end: Timestamp,
}

impl Runs {
    /// The first run at or after `at`.
    fn next(&self, at: Timestamp) -> Timestamp {
        let every = self.every_ms.max(1);
        Timestamp(at.millis().div_euclid(every).saturating_mul(every))
            .plus(if at.millis().rem_euclid(every) == 0 { 0 } else { every })
    }
}

/// How many mails such runs send of these facts, reminders included: one per receiver and run that has news.
pub fn count(facts: &[Fact], episodes: &[Episode], rules: &Rulebook, runs: Runs) -> usize {
    let mut mails: BTreeSet<(Timestamp, &str)> = BTreeSet::new();
    let mut by_episode: BTreeMap<(&EpisodeId, &str), Vec<&Fact>> = BTreeMap::new();
    for fact in facts {
        by_episode.entry((&fact.episode, &fact.receiver)).or_default().push(fact);
    }
    let known: BTreeMap<&EpisodeId, &Episode> =
        episodes.iter().map(|episode| (&episode.id, episode)).collect();
    for ((episode, receiver), facts) in by_episode {
        let told: Vec<Timestamp> = facts.iter().map(|fact| runs.next(fact.at.max(fact.after))).collect();
        mails.extend(told.iter().map(|at| (*at, receiver)));
        let rule = known.get(episode).and_then(|episode| rules.of_episode(episode));
        let repeat = rule.and_then(|rule| rule.repeat_ms).or(runs.repeat_ms);
        let is_event = rule.is_some_and(|rule| model::rule::is_event(&rule.metric));
        let Some(repeat) = repeat.filter(|repeat| *repeat > 0 && !is_event) else { continue };
        for (i, fact) in facts.iter().enumerate() {
            let until = told.get(i + 1).copied().unwrap_or(runs.end.plus(1));
            let reminds = fact.reason != Reason::Resolved;
            let mut next = runs.next(told[i].plus(repeat));
            while reminds && next < until {
                mails.insert((next, receiver));
                next = runs.next(next.plus(repeat));
            }
        }
    }
    mails.len()
}
