//! A batch of what was not evaluated yet becomes one [`Step`]: marks, states, episodes and facts that commit together.
//!
//! Pure: no I/O, no clock, no log. Entries come in each client's event-time order, so every split of the same entries
//! into batches and runs gives the same episodes and facts.

use std::collections::{BTreeMap, BTreeSet};

use model::alert::EndReason;
use model::rule::{HOST_KEY_CHANGED, UNREACHABLE};
use model::{
    AlertKey, AlertState, ClientName, ClientUid, Episode, EpisodeEnd, EpisodeId, Evidence, Fact, Labels,
    Outcome, Reason, Rule, Severity, Timestamp,
};
use storage::{Entry, Mark, Step, Unevaluated};

use crate::digest;
use crate::evaluate::{Observation, Transition, evaluate};
use crate::rulebook::Rulebook;

/// What the store knows of the alerts that a batch touches.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Their states; one that is missing is inactive.
    pub states: BTreeMap<AlertKey, AlertState>,
    /// The episodes that are open among them.
    pub episodes: BTreeMap<EpisodeId, Episode>,
    /// Who has news of those episodes, told or not: the end of one is for them.
    pub audience: BTreeMap<EpisodeId, BTreeSet<String>>,
}

impl Known {
    /// Adds the receivers of `facts` to the audience of their episodes.
    pub fn add_audience<'a>(&mut self, facts: impl IntoIterator<Item = &'a Fact>) {
        for fact in facts {
            self.audience.entry(fact.episode.clone()).or_default().insert(fact.receiver.clone());
        }
    }
}

/// The name of the episode of an alert that began at `begin`.
pub fn episode_id(key: &AlertKey, begin: Timestamp) -> EpisodeId {
    let labels = key.labels.to_string();
    let begin = begin.millis().to_be_bytes();
    EpisodeId(digest::hex([key.client.0.as_slice(), key.rule.0.as_bytes(), labels.as_bytes(), &begin], 16))
}

/// Folds a batch. Every entry is marked, also those of clients that are not configured any more.
pub fn fold(batch: &[Unevaluated], known: Known, rules: &Rulebook) -> Step {
    let mut fold = Fold::new(known);
    for entry in batch {
        fold.marks.push(entry.mark);
        for rule in rules.rules(entry.client_name.as_str()).unwrap_or_default() {
            fold.apply(entry, rule);
        }
    }
    fold.into_step()
}

/// Closes what fires for a rule or a client that is not configured any more, at the time of its latest value.
pub fn close_removed(known: Known, rules: &Rulebook) -> Step {
    let mut fold = Fold::new(known);
    let firing: Vec<_> = fold.known.states.iter().map(|(key, state)| (key.clone(), state.clone())).collect();
    for (key, state) in firing {
        let AlertState::Firing { since, episode, .. } = state else { continue };
        let Some(open) = fold.known.episodes.get(&episode) else { continue };
        let why = match rules.rules(&open.client_name) {
            None => EndReason::ClientRemoved,
            Some(rules) if rules.iter().all(|rule| rule.id != key.rule) => EndReason::RuleRemoved,
            Some(_) => continue,
        };
        let at = open.last_at.max(since);
        fold.set_state(&key, AlertState::Resolved { at });
        fold.end(&episode, at, why);
    }
    fold.into_step()
}

/// One value for a rule, with what belongs to it.
struct Finding<'a> {
    labels: Labels,
    value: f64,
    evidence: Option<&'a Evidence>,
    detail: String,
}

/// What `entry` says to `rule`, one finding per series.
fn findings<'a>(entry: &'a Entry, client: &ClientName, rule: &Rule) -> Vec<Finding<'a>> {
    match entry {
        Entry::Report { samples, evidence } => {
            // One value per series, whatever a client sends: of several the last counts.
            let series: BTreeMap<&Labels, f64> = samples
                .iter()
                .filter(|sample| sample.metric == rule.metric && rule.is_about(&sample.labels.object()))
                .map(|sample| (&sample.labels, sample.value))
                .collect();
            series
                .into_iter()
                .map(|(labels, value)| Finding {
                    labels: labels.clone(),
                    value,
                    evidence: Some(evidence),
                    detail: String::new(),
                })
                .collect()
        }
        Entry::Attempt { outcome } => verdict(outcome, &rule.metric)
            .map(|failed| Finding {
                labels: Labels::none(),
                value: f64::from(u8::from(failed)),
                evidence: None,
                detail: if failed { explained(outcome, client) } else { String::new() },
            })
            .into_iter()
            .collect(),
    }
}

/// Whether an attempt breaches the implicit rule over `metric`; `None` where it says nothing of it.
fn verdict(outcome: &Outcome, metric: &str) -> Option<bool> {
    let breach = match metric {
        UNREACHABLE => outcome.is_unreachable(),
        HOST_KEY_CHANGED => outcome.is_host_key_changed(),
        _ => return None,
    };
    (breach || outcome.is_collected()).then_some(breach)
}

/// What an outcome says, and on a second line what to do about it, ready to type.
fn explained(outcome: &Outcome, client: &ClientName) -> String {
    let remedy = outcome.remedy().replace("trust NAME", &format!("trust {client}"));
    format!("{}\n{remedy}", outcome.message()).trim_end().to_owned()
}

/// A fold under way.
struct Fold {
    known: Known,
    marks: Vec<Mark>,
    changed_states: BTreeSet<AlertKey>,
    changed_episodes: BTreeSet<EpisodeId>,
    facts: Vec<Fact>,
}

impl Fold {
    fn new(known: Known) -> Self {
        let (marks, facts) = (Vec::new(), Vec::new());
        Self { known, marks, changed_states: BTreeSet::new(), changed_episodes: BTreeSet::new(), facts }
    }

    fn apply(&mut self, entry: &Unevaluated, rule: &Rule) {
        for finding in findings(&entry.entry, &entry.client_name, rule) {
            let key =
                AlertKey { client: entry.client, rule: rule.id.clone(), labels: finding.labels.clone() };
            let observation = Observation { at: entry.event_time, value: finding.value };
            let before = self.known.states.get(&key).cloned().unwrap_or_default();
            let (after, transition) = evaluate(&before, rule, &observation, |begin| episode_id(&key, begin));
            if let AlertState::Firing { episode, .. } = &after {
                if let Some(Transition::Fired { severity, since }) = transition {
                    self.begin(begun(entry, rule, &key, &finding, severity, since));
                }
                self.observe(episode, rule, &observation, &finding.detail);
            }
            match (transition, &before, &after) {
                (Some(Transition::Fired { severity, .. }), _, AlertState::Firing { episode, .. }) => {
                    self.tell(episode, Reason::First, severity, entry.event_time, &rule.receivers);
                }
                (Some(Transition::Worse { severity }), _, AlertState::Firing { episode, .. }) => {
                    self.tell(episode, Reason::Worse, severity, entry.event_time, &rule.receivers);
                }
                (
                    Some(Transition::Resolved),
                    AlertState::Firing { episode, .. },
                    AlertState::Resolved { at },
                ) => {
                    self.observe(episode, rule, &observation, "");
                    self.end(episode, *at, EndReason::Recovered);
                }
                _ => {}
            }
            if before != after {
                self.set_state(&key, after);
            }
        }
    }

    fn set_state(&mut self, key: &AlertKey, state: AlertState) {
        self.known.states.insert(key.clone(), state);
        self.changed_states.insert(key.clone());
    }

    fn begin(&mut self, episode: Episode) {
        self.known.episodes.insert(episode.id.clone(), episode);
    }

    /// Takes an observation into an open episode.
    fn observe(&mut self, id: &EpisodeId, rule: &Rule, observation: &Observation, detail: &str) {
        let Some(episode) = self.known.episodes.get_mut(id) else { return };
        episode.last_value = observation.value;
        episode.last_at = observation.at;
        if let Some(severity) = rule.threshold.severity(observation.value) {
            episode.severity = episode.severity.max(severity);
            episode.limit = rule.threshold.limit(severity);
            if rule.threshold.operator.is_worse(observation.value, episode.peak) {
                episode.peak = observation.value;
                episode.peak_at = observation.at;
            }
        }
        if !detail.is_empty() {
            detail.clone_into(&mut episode.detail);
        }
        self.changed_episodes.insert(id.clone());
    }

    /// Ends an open episode, and tells it to those who have news of it.
    fn end(&mut self, id: &EpisodeId, at: Timestamp, why: EndReason) {
        let Some(episode) = self.known.episodes.get_mut(id) else { return };
        episode.end = Some(EpisodeEnd { at, why });
        let severity = episode.severity;
        self.changed_episodes.insert(id.clone());
        let audience: Vec<String> = self.known.audience.get(id).into_iter().flatten().cloned().collect();
        self.tell(id, Reason::Resolved, severity, at, &audience);
    }

    fn tell(
        &mut self,
        id: &EpisodeId,
        reason: Reason,
        severity: Severity,
        at: Timestamp,
        receivers: &[String],
    ) {
        let receivers: BTreeSet<&String> = receivers.iter().collect();
        for receiver in receivers {
            self.facts.push(Fact {
                episode: id.clone(),
                receiver: receiver.clone(),
                ordinal: ordinal(reason),
                reason,
                severity,
                at,
            });
            self.known.audience.entry(id.clone()).or_default().insert(receiver.clone());
        }
    }

    fn into_step(self) -> Step {
        let Self { mut known, marks, changed_states, changed_episodes, facts } = self;
        Step {
            marks,
            states: changed_states.into_iter().filter_map(|key| known.states.remove_entry(&key)).collect(),
            episodes: changed_episodes.into_iter().filter_map(|id| known.episodes.remove(&id)).collect(),
            facts,
        }
    }
}

/// Follows from the reason, so that every split of a backlog numbers alike. With two severities each occurs once.
fn ordinal(reason: Reason) -> u32 {
    match reason {
        Reason::First => 0,
        Reason::Worse => 1,
        Reason::Resolved => 2,
    }
}

fn begun(
    entry: &Unevaluated,
    rule: &Rule,
    key: &AlertKey,
    finding: &Finding,
    severity: Severity,
    since: Timestamp,
) -> Episode {
    Episode {
        id: episode_id(key, since),
        key: key.clone(),
        client_name: entry.client_name.to_string(),
        metric: rule.metric.clone(),
        begin: since,
        fired: entry.event_time,
        severity,
        first_value: finding.value,
        limit: rule.threshold.limit(severity),
        peak: finding.value,
        peak_at: entry.event_time,
        last_value: finding.value,
        last_at: entry.event_time,
        detail: finding.detail.clone(),
        evidence: finding.evidence.cloned().unwrap_or_default(),
        end: None,
    }
}

/// The clients that a batch touches, each once.
pub fn clients(batch: &[Unevaluated]) -> Vec<ClientUid> {
    batch.iter().map(|entry| entry.client).collect::<BTreeSet<_>>().into_iter().collect()
}
