//! One run of the collector: which clients it reached, and whether it could reach any.

use std::collections::{BTreeMap, BTreeSet};

use model::rule::{HOST_KEY_CHANGED, ISOLATED, STALE, UNREACHABLE};
use model::{AlertState, ClientMemory, ClientName, ClientUid, Labels, Outcome, Phase, Timestamp};
use storage::{Entry, Unevaluated};

use super::findings::Finding;
use super::{self as fold, Fold, Subject};
use crate::rulebook::Rulebook;

/// A verdict over the network needs so many clients that were tried.
const FEWEST: usize = 3;

impl Fold<'_> {
    /// All attempts of one run.
    pub(super) fn take_run(&mut self, attempts: &[Unevaluated]) {
        let mut whole_run = false;
        let host = attempts.iter().find_map(|entry| match &entry.entry {
            Entry::Attempt { host, .. } => Some(host.as_str()),
            Entry::Report { .. } => None,
        });
        let collector = fold::collector(host.unwrap_or_default());
        let mut all: Vec<(&Unevaluated, &Outcome)> = Vec::new();
        for entry in attempts {
            if let Entry::Attempt { outcome, whole, .. } = &entry.entry {
                whole_run |= whole;
                all.push((entry, outcome));
            }
        }
        let run = Run::of(&all, &collector, self.rules);
        let verdict = self.verdict(&run).filter(|_| whole_run);
        if let (Some((isolated, detail)), Some(end)) = (&verdict, run.end) {
            self.take_fleet((ISOLATED, &collector), end, f64::from(u8::from(*isolated)), detail);
        }
        let is_isolated = verdict.map_or_else(|| self.is_isolated(&collector), |(isolated, _)| isolated);
        for (entry, outcome) in all {
            // What no client could answer says nothing of this one.
            if !(is_isolated && is_cut_off(outcome)) {
                self.take_attempt(entry, outcome, &run);
            }
        }
        self.touched.clear();
    }

    fn take_attempt(&mut self, entry: &Unevaluated, outcome: &Outcome, run: &Run) {
        let (uid, name, at) = (entry.client, entry.client_name.as_str(), entry.event_time);
        let memory = self.known.memories.get(&uid).copied().unwrap_or_default();
        let memory = ClientMemory { since: memory.since.or(Some(at)), ..memory };
        let rules = self.rules;
        for terms in rules.rules(name).unwrap_or_default() {
            let kind = terms.rule.metric.as_str();
            if let Some(value) = said(outcome, kind, memory, at) {
                let explains = kind != STALE && value > 0.0;
                let detail = if explains { explained(outcome, &entry.client_name) } else { String::new() };
                let held = run.bigger(rules, name, kind);
                let finding = Finding { detail, ..Finding::new(Labels::none(), value) };
                self.apply(Subject { uid, name, at, held: held.as_deref() }, *terms, &finding);
            }
        }
        let was_tried = *outcome != Outcome::NotReached;
        let reached = if was_tried { Some(!outcome.is_unreachable()) } else { memory.reached };
        self.remember(uid, ClientMemory { reached, ..memory });
    }

    /// One value of the fleet's own rule of that type, about that collector.
    pub(super) fn take_fleet(
        &mut self,
        (kind, collector): (&str, &Labels),
        at: Timestamp,
        value: f64,
        detail: &str,
    ) {
        let subject = Subject { uid: ClientUid::FLEET, name: "", at, held: None };
        let rules = self.rules;
        let own = rules.rules("").unwrap_or_default().iter().find(|terms| terms.rule.metric == kind);
        if let Some(terms) = own {
            let finding = Finding { detail: detail.to_owned(), ..Finding::new(collector.clone(), value) };
            self.apply(subject, *terms, &finding);
        }
    }

    /// Whether that collector's runs before came to that verdict.
    fn is_isolated(&self, collector: &Labels) -> bool {
        let own = self.rules.rules("").unwrap_or_default();
        let isolated = |rule: &model::RuleId| {
            own.iter().any(|terms| terms.rule.id == *rule && terms.rule.metric == ISOLATED)
        };
        let fires = |state: &AlertState| state.firing().is_some_and(|firing| firing.fine_since.is_none());
        let mut alerts = self.known.of_client(ClientUid::FLEET);
        alerts.any(|(key, state)| isolated(&key.rule) && key.labels == *collector && fires(state))
    }

    /// Whether the collector could not reach the network in this run, and what speaks for it; `None` where the run says
    /// nothing of that.
    fn verdict(&self, run: &Run) -> Option<(bool, String)> {
        let cut_off: Vec<_> = run.tried.iter().filter(|(_, outcome)| is_cut_off(outcome)).collect();
        let (tried, lost) = (run.tried.len(), cut_off.len());
        let was_isolated = self.is_isolated(run.collector);
        if tried == 0 || tried < FEWEST && was_isolated && lost == tried {
            return None;
        }
        let were_fine = cut_off.iter().filter(|(entry, _)| {
            self.known.memories.get(&entry.client).is_some_and(|memory| memory.reached == Some(true))
        });
        let is_sudden = was_isolated || were_fine.count() * 2 > lost;
        // 80 %
        let isolated = tried >= FEWEST && lost * 5 >= tried * 4 && is_sudden;
        let mut causes: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, outcome) in cut_off {
            *causes.entry(outcome.name()).or_default() += 1;
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

/// What a run of the collector found as a whole.
struct Run<'a> {
    /// Which collector's, where there are several.
    collector: &'a Labels,
    /// Who speaks for the network: was tried, and not through another that failed itself.
    tried: Vec<(&'a Unevaluated, &'a Outcome)>,
    failed: BTreeSet<&'a str>,
    host_key_changed: BTreeSet<&'a str>,
    /// When its last attempt ended.
    end: Option<Timestamp>,
}

impl<'a> Run<'a> {
    fn of(attempts: &[(&'a Unevaluated, &'a Outcome)], collector: &'a Labels, rules: &Rulebook) -> Self {
        let names = |wanted: fn(&Outcome) -> bool| -> BTreeSet<&'a str> {
            let found = attempts.iter().filter(|(_, outcome)| wanted(outcome));
            found.map(|(entry, _)| entry.client_name.as_str()).collect()
        };
        let failed = names(Outcome::is_unreachable);
        let speaks = |entry: &Unevaluated, outcome: &Outcome| {
            let is_behind = matches!(outcome, Outcome::Hop { .. })
                || rules.ancestors(entry.client_name.as_str()).iter().any(|name| failed.contains(name));
            *outcome != Outcome::NotReached && !is_behind
        };
        let tried = attempts.iter().copied().filter(|(entry, outcome)| speaks(entry, outcome)).collect();
        let end = attempts.iter().map(|(entry, _)| entry.event_time).max();
        Self { collector, tried, host_key_changed: names(Outcome::is_host_key_changed), failed, end }
    }

    /// What is told instead of an alert of that type: the same of a client through which this one is reached.
    fn bigger(&self, rules: &Rulebook, client: &str, kind: &str) -> Option<String> {
        let (same, what) = match kind {
            UNREACHABLE => (&self.failed, "is unreachable too"),
            HOST_KEY_CHANGED => (&self.host_key_changed, "has another host key too"),
            _ => return None,
        };
        let parent = rules.ancestors(client).into_iter().find(|parent| same.contains(parent))?;
        Some(format!("{parent}, through which it is reached, {what}"))
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
        STALE if outcome.is_collected() || *outcome == Outcome::NotReached => {
            let latest = memory.reported.or(memory.since)?;
            return Some(at.since(latest).max(0) as f64 / 1000.0);
        }
        _ => return None,
    };
    (breach || outcome.is_collected()).then_some(f64::from(u8::from(breach)))
}

/// What an outcome says, and on a second line what to do about it, ready to type.
fn explained(outcome: &Outcome, client: &ClientName) -> String {
    let remedy = outcome.remedy().replace("trust NAME", &format!("trust {client}"));
    format!("{}\n{remedy}", outcome.message()).trim_end().to_owned()
}
