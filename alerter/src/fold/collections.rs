//! One run of the collector: which clients it reached, and whether it could reach any.

use std::collections::{BTreeMap, BTreeSet};

use model::rule::{HOST_KEY_CHANGED, ISOLATED, STALE, UNREACHABLE};
use model::{AlertState, ClientMemory, ClientName, ClientUid, Labels, Outcome, Phase, Timestamp};
use storage::{Entry, Unevaluated};

use super::findings::Finding;
use super::{Fold, Subject};

/// A verdict over the network needs so many clients that were tried.
const FEWEST: usize = 3;

impl Fold<'_> {
    /// All attempts of one run.
    pub(super) fn take_run(&mut self, attempts: &[Unevaluated]) {
        let attempts: Vec<(&Unevaluated, &Outcome)> = attempts
            .iter()
            .filter_map(|entry| match &entry.entry {
                Entry::Attempt { outcome, .. } if *outcome != Outcome::NotReached => Some((entry, outcome)),
                _ => None,
            })
            .collect();
        let Some(end) = attempts.iter().map(|(entry, _)| entry.event_time).max() else { return };
        if let Some((isolated, detail)) = self.verdict(&attempts) {
            self.take_fleet(ISOLATED, end, f64::from(u8::from(isolated)), &detail);
        }
        let is_isolated = self.is_isolated();
        let failed: BTreeSet<&str> = attempts
            .iter()
            .filter(|(_, outcome)| outcome.is_unreachable())
            .map(|(entry, _)| entry.client_name.as_str())
            .collect();
        for (entry, outcome) in &attempts {
            // What no client could answer says nothing of this one.
            if !(is_isolated && is_cut_off(outcome)) {
                self.take_attempt(entry, outcome, &failed);
            }
        }
    }

    fn take_attempt(&mut self, entry: &Unevaluated, outcome: &Outcome, failed: &BTreeSet<&str>) {
        let (uid, name, at) = (entry.client, entry.client_name.as_str(), entry.event_time);
        let memory = self.known.memories.get(&uid).copied().unwrap_or_default();
        let rules = self.rules;
        let parent = rules.ancestors(name).into_iter().find(|parent| failed.contains(parent));
        let parent =
            parent.map(|parent| format!("{parent}, through which it is reached, is unreachable too"));
        for terms in rules.rules(name).unwrap_or_default() {
            let held = parent.as_deref().filter(|_| terms.rule.metric == UNREACHABLE);
            if let Some(value) = said(outcome, &terms.rule.metric, memory, at) {
                let is_failure = [UNREACHABLE, HOST_KEY_CHANGED].contains(&terms.rule.metric.as_str());
                let explains = is_failure && value > 0.0;
                let detail = if explains { explained(outcome, &entry.client_name) } else { String::new() };
                let finding = Finding { detail, ..Finding::new(Labels::none(), value) };
                self.apply(Subject { uid, name, at, held }, *terms, &finding);
            }
        }
        let reached = Some(!outcome.is_unreachable());
        self.remember(uid, ClientMemory { reached, ..memory });
    }

    /// One value of the fleet's own rule of that type.
    pub(super) fn take_fleet(&mut self, kind: &str, at: Timestamp, value: f64, detail: &str) {
        let subject = Subject { uid: ClientUid::FLEET, name: "", at, held: None };
        let rules = self.rules;
        let own = rules.rules("").unwrap_or_default().iter().find(|terms| terms.rule.metric == kind);
        if let Some(terms) = own {
            let finding = Finding { detail: detail.to_owned(), ..Finding::new(Labels::none(), value) };
            self.apply(subject, *terms, &finding);
        }
    }

    fn is_isolated(&self) -> bool {
        let own = self.rules.rules("").unwrap_or_default();
        let isolated = |rule: &model::RuleId| {
            own.iter().any(|terms| terms.rule.id == *rule && terms.rule.metric == ISOLATED)
        };
        let mut fleet = self.known.of_client(ClientUid::FLEET);
        fleet.any(|(key, state): (_, &AlertState)| isolated(&key.rule) && state.firing().is_some())
    }

    /// Whether the collector could not reach the network in this run, and what speaks for it; `None` where the run says
    /// nothing of that.
    fn verdict(&self, attempts: &[(&Unevaluated, &Outcome)]) -> Option<(bool, String)> {
        let cut_off: Vec<_> = attempts.iter().filter(|(_, outcome)| is_cut_off(outcome)).collect();
        let (tried, lost) = (attempts.len(), cut_off.len());
        let is_isolated = self.is_isolated();
        if tried < FEWEST && is_isolated && lost == tried {
            return None;
        }
        let were_fine = cut_off.iter().filter(|(entry, _)| {
            self.known.memories.get(&entry.client).is_some_and(|memory| memory.reached == Some(true))
        });
        let is_sudden = is_isolated || were_fine.count() * 2 > lost;
        // 80 %
        let isolated = tried >= FEWEST && lost * 5 >= tried * 4 && is_sudden;
        let mut causes: BTreeMap<String, usize> = BTreeMap::new();
        for (_, outcome) in cut_off {
            *causes.entry(outcome.name().to_owned()).or_default() += 1;
        }
        let causes: Vec<_> = causes.into_iter().map(|(cause, count)| format!("{count} {cause}")).collect();
        let detail = if isolated {
            format!("{lost} of {tried} clients did not answer ({})", causes.join(", "))
        } else {
            String::new()
        };
        Some((isolated, detail))
    }
}

/// Whether an attempt failed as all would where the network is gone.
fn is_cut_off(outcome: &Outcome) -> bool {
    match outcome.innermost() {
        Outcome::Dns { .. } | Outcome::Refused { .. } => true,
        // Before that, nothing was sent to anybody.
        Outcome::Timeout { phase } => *phase != Phase::Start,
        _ => false,
    }
}

/// What an attempt says to a rule over collections of that type; `None` where it says nothing of it.
fn said(outcome: &Outcome, kind: &str, memory: ClientMemory, at: Timestamp) -> Option<f64> {
    let breach = match kind {
        UNREACHABLE => outcome.is_unreachable(),
        HOST_KEY_CHANGED => outcome.is_host_key_changed(),
        // What cannot be reached has no data to be stale: `unreachable` tells of it.
        STALE if outcome.is_collected() => return Some(at.since(memory.reported?).max(0) as f64 / 1000.0),
        _ => return None,
    };
    (breach || outcome.is_collected()).then_some(f64::from(u8::from(breach)))
}

/// What an outcome says, and on a second line what to do about it, ready to type.
fn explained(outcome: &Outcome, client: &ClientName) -> String {
    let remedy = outcome.remedy().replace("trust NAME", &format!("trust {client}"));
    format!("{}\n{remedy}", outcome.message()).trim_end().to_owned()
}
