//! A batch of what was not evaluated yet becomes one [`Step`]: marks, states, episodes and facts that commit together.
//!
//! Pure: no I/O, no clock, no log. Entries come in each client's event-time order, and attempts by whole runs of the
//! collector, so every split of the same entries into batches and runs gives the same episodes and facts.

mod collections;
pub(crate) mod findings;
mod known;
mod reports;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use model::alert::EndReason;
use model::{
    AlertKey, AlertPhase, AlertState, ClientMemory, ClientUid, Episode, EpisodeEnd, EpisodeId, Fact, Labels,
    Reason, Rule, Severity, Timestamp,
};
use storage::{Entry, Mark, Step, Unevaluated};

use crate::digest;
use crate::evaluate::{Change, Evaluation, Observation, Terms, evaluate};
use crate::inhibition::{Holding, holding};
use crate::rulebook::Rulebook;
use findings::Finding;

pub(crate) use findings::FAILED_UNIT;

pub use known::Known;

/// The name of the episode of an alert that began at `begin`.
pub fn episode_id(key: &AlertKey, begin: Timestamp) -> EpisodeId {
    let labels = key.labels.to_string();
    let begin = begin.millis().to_be_bytes();
    EpisodeId(digest::hex([key.client.0.as_slice(), key.rule.0.as_bytes(), labels.as_bytes(), &begin], 16))
}

/// Folds a batch. Every entry is marked, also those of clients that are not configured any more.
pub fn fold(batch: &[Unevaluated], known: Known, rules: &Rulebook) -> Step {
    let mut fold = Fold::new(known, rules);
    let run = |entry: &Unevaluated| match entry.entry {
        Entry::Attempt { run, .. } => Some(run),
        Entry::Report { .. } => None,
    };
    for group in batch.chunk_by(|a, b| run(a).is_some() && run(a) == run(b)) {
        fold.marks.extend(group.iter().map(|entry| entry.mark));
        if run(&group[0]).is_some() {
            fold.take_run(group);
        } else {
            fold.take_report(&group[0]);
        }
    }
    fold.into_step()
}

/// What tells the alerts about several collectors apart; nothing where `host` is empty, since only one collects.
pub fn collector(host: &str) -> Labels {
    if host.is_empty() { Labels::none() } else { Labels::one("collector", host) }
}

/// Folds what the run itself sees of the fleet, such as that the collector does not run: one value of the fleet's own
/// rule of that type, about that [`collector`].
pub fn fold_fleet(
    about: (&str, &Labels),
    at: Timestamp,
    value: f64,
    detail: &str,
    known: Known,
    rules: &Rulebook,
) -> Step {
    let mut fold = Fold::new(known, rules);
    fold.take_fleet(about, at, value, detail);
    fold.into_step()
}

/// Closes what fires for a rule or a client that is not configured any more, at the time of its latest value.
pub fn close_removed(known: Known, rules: &Rulebook) -> Step {
    let mut fold = Fold::new(known, rules);
    let firing: Vec<_> = fold.known.states.iter().map(|(key, state)| (key.clone(), state.clone())).collect();
    for (key, state) in firing {
        let Some(firing) = state.firing() else { continue };
        let Some(open) = fold.known.episodes.get(&firing.episode) else { continue };
        let why = match rules.rules(&open.client_name) {
            None => EndReason::ClientRemoved,
            Some(rules) if rules.iter().any(|terms| is_for(terms.rule, &key)) => continue,
            Some(_) => EndReason::RuleRemoved,
        };
        fold.close(&key, open.last_at, why);
    }
    fold.into_step()
}

/// Whether it is the rule of that alert, and still about its object.
fn is_for(rule: &Rule, key: &AlertKey) -> bool {
    rule.id == key.rule && rule.is_about(&key.labels.object())
}

/// The clients that a batch touches, each once, and the fleet.
pub fn clients(batch: &[Unevaluated]) -> Vec<ClientUid> {
    let touched = batch.iter().map(|entry| entry.client).chain([ClientUid::FLEET]);
    touched.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whom a finding is about.
#[derive(Clone, Copy)]
struct Subject<'a> {
    uid: ClientUid,
    name: &'a str,
    at: Timestamp,
    /// Why its news is held back, where something bigger is told instead.
    held: Option<&'a str>,
}

/// A fold under way.
struct Fold<'a> {
    rules: &'a Rulebook<'a>,
    known: Known,
    marks: Vec<Mark>,
    changed_states: BTreeSet<AlertKey>,
    changed_episodes: BTreeSet<EpisodeId>,
    changed_memories: BTreeSet<ClientUid>,
    /// The alerts of which the report in hand says something.
    touched: BTreeSet<AlertKey>,
    facts: Vec<Fact>,
}

impl<'a> Fold<'a> {
    fn new(known: Known, rules: &'a Rulebook<'a>) -> Self {
        Self {
            rules,
            known,
            marks: Vec::new(),
            changed_states: BTreeSet::new(),
            changed_episodes: BTreeSet::new(),
            changed_memories: BTreeSet::new(),
            touched: BTreeSet::new(),
            facts: Vec::new(),
        }
    }

    /// Folds one finding into the alert that it is about.
    fn apply(&mut self, subject: Subject, terms: Terms, finding: &Finding) {
        let rule = terms.rule;
        let key = AlertKey { client: subject.uid, rule: rule.id.clone(), labels: finding.labels.clone() };
        let observation = Observation { at: subject.at, value: finding.value, free: finding.free };
        let before = self.known.states.get(&key).cloned().unwrap_or_default();
        let holding = self.holding(subject, rule, &before);
        let evaluation =
            evaluate(&before, terms, &observation, holding.is_some(), |begin| episode_id(&key, begin));
        let Evaluation { state: after, change, news, compared } = evaluation;
        if let Some(Change::Began { episode, since, severity }) = &change {
            let begun = begun(subject, rule, &key, finding, *severity, (*since, compared));
            self.known.episodes.insert(episode.clone(), begun);
        }
        let open = after.firing().or(before.firing()).map(|firing| firing.episode.clone());
        if let (Some(open), Some(value)) = (&open, compared) {
            self.observe(open, rule, Observation { value, ..observation }, finding);
        }
        if let (Some(firing), Some(holding)) = (after.firing(), &holding)
            && firing.told.is_none_or(|told| firing.severity > told)
            && let Some(episode) = self.known.episodes.get_mut(&firing.episode)
        {
            episode.held.clone_from(&holding.why);
        }
        if let Some(Change::Ended { episode, at, why }) = &change {
            self.end(episode, *at, *why);
        }
        if let (Some(open), Some((reason, ordinal))) = (open, news) {
            self.tell(&open, rule, (reason, ordinal), subject.at, holding.as_ref());
        }
        // What is fine and was is not kept, so that it costs no write.
        if before != after && !(before.is_idle() && after.is_idle()) {
            self.set_state(&key, after);
        }
        self.touched.insert(key);
    }

    /// What holds back the news of an alert now.
    fn holding(&self, subject: Subject, rule: &Rule, state: &AlertState) -> Option<Holding> {
        let bigger = subject.held.map(|why| Holding { why: why.to_owned(), until: subject.at });
        let taken_on = || {
            let acknowledged = self.known.acknowledgements.get(&state.firing()?.episode)?;
            let is_on =
                acknowledged.from <= subject.at && acknowledged.until.is_none_or(|until| subject.at < until);
            // Its end is told at once.
            is_on.then(|| Holding { why: "acknowledged".to_owned(), until: subject.at })
        };
        holding(self.rules, &self.known.silences, subject.name, rule, subject.at).or(bigger).or_else(taken_on)
    }

    fn set_state(&mut self, key: &AlertKey, state: AlertState) {
        self.known.states.insert(key.clone(), state);
        self.changed_states.insert(key.clone());
    }

    fn remember(&mut self, client: ClientUid, memory: ClientMemory) {
        if self.known.memories.insert(client, memory) != Some(memory) {
            self.changed_memories.insert(client);
        }
    }

    /// Takes an observation into an open episode.
    fn observe(&mut self, id: &EpisodeId, rule: &Rule, seen: Observation, finding: &Finding) {
        let Some(episode) = self.known.episodes.get_mut(id) else { return };
        episode.last_value = seen.value;
        episode.last_at = seen.at;
        if let Some(severity) = rule.severity(seen.value, seen.free) {
            episode.severity = episode.severity.max(severity);
            episode.limit = rule.threshold.limit(severity);
            if rule.threshold.operator.is_worse(seen.value, episode.peak) {
                episode.peak = seen.value;
                episode.peak_at = seen.at;
            }
        }
        if !finding.detail.is_empty() {
            episode.detail.clone_from(&finding.detail);
        }
        self.changed_episodes.insert(id.clone());
    }

    fn end(&mut self, id: &EpisodeId, at: Timestamp, why: EndReason) {
        let Some(episode) = self.known.episodes.get_mut(id) else { return };
        episode.end = Some(EpisodeEnd { at, why });
        self.changed_episodes.insert(id.clone());
    }

    /// Ends what fires without another value.
    fn close(&mut self, key: &AlertKey, at: Timestamp, why: EndReason) {
        let Some(firing) = self.known.states.get(key).and_then(|state| state.firing()).cloned() else {
            return;
        };
        let at = at.max(firing.since);
        self.set_state(key, AlertState { phase: AlertPhase::Resolved { at }, ..AlertState::default() });
        self.end(&firing.episode, at, why);
        if firing.told.is_some() {
            self.tell_end(&firing.episode, firing.news, at, at);
        }
    }

    /// Tells news of an open episode to those whom the rule names, and its end to those who have news of it.
    fn tell(
        &mut self,
        id: &EpisodeId,
        rule: &Rule,
        (reason, ordinal): (Reason, u32),
        at: Timestamp,
        holding: Option<&Holding>,
    ) {
        if reason == Reason::Resolved {
            return self.tell_end(id, ordinal, at, holding.map_or(at, |holding| holding.until));
        }
        let severity = self.severity_of(id);
        let wanting = rule.receivers.iter().filter(|receiver| self.rules.wants(receiver, severity));
        let wanting: BTreeSet<String> = wanting.cloned().collect();
        self.put_facts(id, (reason, ordinal), severity, (at, at), wanting);
    }

    fn tell_end(&mut self, id: &EpisodeId, ordinal: u32, at: Timestamp, after: Timestamp) {
        if after == Timestamp(i64::MAX) {
            // Within a window that never closes.
            return;
        }
        let audience = self.known.audience.get(id).cloned().unwrap_or_default();
        let severity = self.severity_of(id);
        self.put_facts(id, (Reason::Resolved, ordinal), severity, (at, after), audience);
    }

    /// The worst severity of an episode.
    fn severity_of(&self, id: &EpisodeId) -> Severity {
        self.known.episodes.get(id).map_or(Severity::Critical, |episode| episode.severity)
    }

    fn put_facts(
        &mut self,
        id: &EpisodeId,
        (reason, ordinal): (Reason, u32),
        severity: Severity,
        (at, after): (Timestamp, Timestamp),
        receivers: BTreeSet<String>,
    ) {
        for receiver in receivers {
            self.known.audience.entry(id.clone()).or_default().insert(receiver.clone());
            let episode = id.clone();
            self.facts.push(Fact { episode, receiver, ordinal, reason, severity, at, after });
        }
    }

    fn into_step(self) -> Step {
        let Self { mut known, marks, changed_states, changed_episodes, changed_memories, facts, .. } = self;
        let memory = |client| known.memories.get(&client).map(|memory| (client, *memory));
        Step {
            marks,
            memories: changed_memories.into_iter().filter_map(memory).collect(),
            states: changed_states.into_iter().filter_map(|key| known.states.remove_entry(&key)).collect(),
            episodes: changed_episodes.into_iter().filter_map(|id| known.episodes.remove(&id)).collect(),
            facts,
        }
    }
}

fn begun(
    subject: Subject,
    rule: &Rule,
    key: &AlertKey,
    finding: &Finding,
    severity: Severity,
    (since, compared): (Timestamp, Option<f64>),
) -> Episode {
    let value = compared.unwrap_or(finding.value);
    Episode {
        id: episode_id(key, since),
        key: key.clone(),
        client_name: subject.name.to_owned(),
        metric: rule.metric.clone(),
        begin: since,
        fired: subject.at,
        severity,
        first_value: value,
        limit: rule.threshold.limit(severity),
        peak: value,
        peak_at: subject.at,
        last_value: value,
        last_at: subject.at,
        detail: finding.detail.clone(),
        held: String::new(),
        evidence: finding.evidence.cloned().unwrap_or_default(),
        end: None,
    }
}
