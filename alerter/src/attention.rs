//! What concerns people's attention, by the clock of the runs: reminders, escalation, and how many mails an hour brings.
//!
//! Pure: no I/O, no clock, no log.

use std::collections::{BTreeMap, BTreeSet};

use model::alert::FIRST_OF_RUNS;
use model::rule::{COLLECTOR_STALE, ISOLATED, UNREACHABLE, is_event};
use model::{
    Acknowledgement, ClientUid, Episode, EpisodeId, Fact, FactId, Firing, Reason, Rule, Silence, Timestamp,
};
use storage::Telling;

use crate::inhibition::holding;
use crate::mailings::Mailings;
use crate::rulebook::Rulebook;

/// An hour in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;

/// What is open, and who was told of it when.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// The episodes that are open.
    pub open: &'a [Episode],
    /// How their alerts stand.
    pub firing: &'a BTreeMap<EpisodeId, Firing>,
    /// What was told of them, or is on its way.
    pub told: &'a [Telling],
    /// What is to be told of any episode.
    pub untold: &'a [(FactId, Fact)],
    /// Who took on which of them.
    pub acknowledgements: &'a [Acknowledgement],
    /// Silences that are not over.
    pub silences: &'a [Silence],
    /// The rules.
    pub rules: &'a Rulebook<'a>,
    /// How much mail people want.
    pub mailings: &'a Mailings,
    /// When the run began.
    pub now: Timestamp,
}

impl Standing<'_> {
    /// The reminders and escalations that are due. A run that is repeated finds what it has committed among what is to be
    /// told, and asks for it no second time.
    pub fn due(&self) -> Vec<Fact> {
        let mut heard: BTreeMap<&EpisodeId, Heard> = BTreeMap::new();
        for telling in self.told {
            heard.entry(&telling.fact.episode).or_default().told.push(telling);
        }
        for (_, fact) in self.untold {
            heard.entry(&fact.episode).or_default().untold.push(fact);
        }
        let (dark, nobody) = (Dark::of(self.open), Heard::default());
        let mut facts = Vec::new();
        for episode in self.open {
            let heard = heard.get(&episode.id).unwrap_or(&nobody);
            let Some(rule) = self.rules.of_episode(episode) else { continue };
            let acknowledgement = self.acknowledgements.iter().find(|one| one.episode == episode.id);
            if acknowledgement.is_none_or(|one| !is_on(one, self.now)) && !self.is_quiet(episode, rule, &dark)
            {
                self.introduce(episode, rule, heard, &mut facts);
                self.escalate(episode, rule, heard, &mut facts);
                self.remind(episode, rule, heard, acknowledgement, &mut facts);
            }
        }
        facts
    }

    /// Tells those whom the rule names only since it fires.
    fn introduce(&self, episode: &Episode, rule: &Rule, heard: &Heard, facts: &mut Vec<Fact>) {
        let Some(firing) = self.firing.get(&episode.id).filter(|firing| firing.told.is_some()) else {
            return;
        };
        let reason = if firing.flapping { Reason::Flapping } else { Reason::First };
        let is_new = |to: &&String| heard.facts().all(|fact| fact.receiver != **to);
        let new: BTreeSet<&String> = rule.receivers.iter().filter(is_new).collect();
        facts.extend(new.into_iter().filter_map(|to| self.fact(episode, heard, (to, reason))));
    }

    /// Tells others of what fires for long.
    fn escalate(&self, episode: &Episode, rule: &Rule, heard: &Heard, facts: &mut Vec<Fact>) {
        let (Some(escalation), Some(first)) = (&rule.escalation, heard.first()) else { return };
        if self.now.since(first) < escalation.after_ms {
            return;
        }
        let is_told = |to: &&String| {
            heard.knows(to)
                || heard.facts().any(|fact| fact.receiver == **to && fact.reason == Reason::Escalated)
        };
        let to: BTreeSet<&String> = escalation.to.iter().filter(|to| !is_told(to)).collect();
        facts.extend(to.into_iter().filter_map(|to| self.fact(episode, heard, (to, Reason::Escalated))));
    }

    /// Tells those who know of it that it still fires.
    fn remind(
        &self,
        episode: &Episode,
        rule: &Rule,
        heard: &Heard,
        acknowledgement: Option<&Acknowledgement>,
        facts: &mut Vec<Fact>,
    ) {
        let escalated = rule.escalation.iter().flat_map(|escalation| &escalation.to);
        let receivers: BTreeSet<&String> = rule.receivers.iter().chain(escalated).collect();
        for receiver in receivers {
            let Some(last) = heard.last(receiver) else { continue };
            if heard.untold.iter().any(|fact| fact.receiver == *receiver) {
                continue;
            }
            let (since, repeat) = (self.now.since(last), self.mailings.repeat_ms(rule, receiver));
            // What was told far in the future was told by a clock that was wrong.
            let is_long_ago = since >= repeat || since < repeat.saturating_neg();
            let expired = acknowledgement.and_then(|one| one.until).is_some_and(|until| until > last);
            if is_long_ago || expired {
                facts.extend(self.fact(episode, heard, (receiver, Reason::Reminder)));
            }
        }
    }

    /// Whether nobody is to be reminded of it now.
    fn is_quiet(&self, episode: &Episode, rule: &Rule, dark: &Dark) -> bool {
        is_event(&episode.metric)
            || dark.hides(episode, self.rules)
            || holding(self.rules, self.silences, &episode.client_name, rule, self.now).is_some()
    }

    fn fact(&self, episode: &Episode, heard: &Heard, (receiver, reason): (&str, Reason)) -> Option<Fact> {
        let severity = self.firing.get(&episode.id).map_or(episode.severity, |firing| firing.severity);
        self.rules.wants(receiver, severity).then(|| Fact {
            episode: episode.id.clone(),
            receiver: receiver.to_owned(),
            ordinal: heard.next(receiver),
            reason,
            severity,
            at: self.now,
            after: self.now,
        })
    }
}

/// What is open that says that nobody can see how something stands.
struct Dark<'a> {
    /// The names of clients that are unreachable.
    clients: BTreeSet<&'a str>,
    /// Whether no client is seen: the collector cannot reach the network, or does not run.
    all: bool,
}

impl<'a> Dark<'a> {
    fn of(open: &'a [Episode]) -> Self {
        let unreachable = open.iter().filter(|episode| episode.metric == UNREACHABLE);
        let is_all = |episode: &Episode| {
            // That one of several collectors is isolated hides nothing that the others see.
            episode.key.client == ClientUid::FLEET
                && episode.key.labels.is_empty()
                && [ISOLATED, COLLECTOR_STALE].contains(&episode.metric.as_str())
        };
        Self {
            clients: unreachable.map(|episode| episode.client_name.as_str()).collect(),
            all: open.iter().any(is_all),
        }
    }

    /// Whether it hides how an episode stands. Of what is dark itself, people are reminded.
    fn hides(&self, episode: &Episode, rules: &Rulebook) -> bool {
        let name = episode.client_name.as_str();
        let is_itself = episode.metric == UNREACHABLE;
        let is_behind = || rules.ancestors(name).iter().any(|ancestor| self.clients.contains(ancestor));
        episode.key.client != ClientUid::FLEET
            && (self.all || (self.clients.contains(name) && !is_itself) || is_behind())
    }
}

/// Whether somebody works on it at `now`.
fn is_on(acknowledgement: &Acknowledgement, now: Timestamp) -> bool {
    acknowledgement.from <= now && acknowledgement.until.is_none_or(|until| now < until)
}

/// What people heard of one episode, or are about to.
#[derive(Default)]
struct Heard<'a> {
    told: Vec<&'a Telling>,
    untold: Vec<&'a Fact>,
}

impl<'a> Heard<'a> {
    fn facts(&self) -> impl Iterator<Item = &'a Fact> {
        self.told.iter().map(|telling| &telling.fact).chain(self.untold.iter().copied())
    }

    /// When the first mail about it was composed, to whomever.
    fn first(&self) -> Option<Timestamp> {
        self.told.iter().filter_map(|telling| telling.composed).min()
    }

    /// When the last mail about it was composed that a receiver did not refuse.
    fn last(&self, receiver: &str) -> Option<Timestamp> {
        let got = self.told.iter().filter(|telling| telling.fact.receiver == receiver && !telling.refused);
        got.filter_map(|telling| telling.composed).max()
    }

    fn knows(&self, receiver: &str) -> bool {
        self.last(receiver).is_some()
    }

    /// The ordinal of a receiver's next news by the clock of the runs.
    fn next(&self, receiver: &str) -> u32 {
        let is_such = |fact: &&Fact| fact.receiver == receiver && fact.ordinal >= FIRST_OF_RUNS;
        let count = self.facts().filter(is_such).count();
        FIRST_OF_RUNS.saturating_add(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// How many more mails people get now.
#[derive(Debug, Clone)]
pub struct Budget<'a> {
    sent: BTreeMap<&'a str, usize>,
    mailings: &'a Mailings,
}

impl<'a> Budget<'a> {
    /// What is left at `now` after these messages, each with its receiver and when it was composed. What a clock that was
    /// wrong composed in the future counts for nothing.
    pub fn new(messages: &'a [(String, Timestamp)], mailings: &'a Mailings, now: Timestamp) -> Self {
        let mut sent = BTreeMap::new();
        for (receiver, _) in messages.iter().filter(|(_, at)| (0..HOUR_MS).contains(&now.since(*at))) {
            *sent.entry(receiver.as_str()).or_default() += 1;
        }
        Self { sent, mailings }
    }

    /// Whether a receiver has had as many mails within the last hour as it wants.
    pub fn is_spent(&self, receiver: &str) -> bool {
        self.sent.get(receiver).copied().unwrap_or(0) >= self.mailings.max_per_hour(receiver)
    }
}

#[cfg(test)]
mod tests;
