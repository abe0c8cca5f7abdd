//! One report: what it says to every rule of its client.

use model::alert::EndReason;
use model::rule::{HOST_KEY_CHANGED, STALE, UNREACHABLE};
use model::{AlertKey, AlertState, ClientMemory, ClientUid, Labels, RuleId, Sample, Timestamp};
use storage::{Entry, Unevaluated};

use super::findings::Reading;
use super::{Fold, Subject};

/// What is not reported any more, while other things are, is given up after so many milliseconds of reports without it.
const VANISHED: i64 = 24 * 3_600_000;
/// Two boots are told apart where they are more than so many milliseconds apart: clocks are not exact.
const BOOT_SLACK: i64 = 60_000;

impl Fold<'_> {
    /// A report that is older than one that was evaluated already changes nothing: the newer one has decided.
    pub(super) fn take_report(&mut self, entry: &Unevaluated) {
        let Entry::Report { samples, evidence } = &entry.entry else { return };
        let (client, at) = (entry.client, entry.event_time);
        let memory = self.known.memories.get(&client).copied().unwrap_or_default();
        if memory.reported.is_some_and(|reported| at < reported) {
            return;
        }
        let booted = booted(samples, at);
        let rebooted = is_reboot(memory, booted);
        let booted = if rebooted { booted } else { memory.booted.or(booted) };
        self.remember(client, ClientMemory { reported: Some(at), booted, ..memory });
        let reading = Reading::new(samples, evidence, rebooted);
        let name = entry.client_name.as_str();
        let subject = Subject { uid: client, name, at, held: None };
        let rules = self.rules;
        for terms in rules.rules(name).unwrap_or_default() {
            for finding in reading.findings(terms.rule, || self.waiting(client, &terms.rule.id)) {
                self.apply(subject, *terms, &finding);
            }
        }
        if !samples.is_empty() {
            self.miss(subject);
        }
    }

    /// The series of a rule that do not just do well.
    fn waiting(&self, client: ClientUid, rule: &RuleId) -> Vec<Labels> {
        let of_rule = self.known.of_client(client).filter(|(key, _)| key.rule == *rule);
        of_rule.map(|(key, _)| key.labels.clone()).collect()
    }

    /// Notes which alerts a report says nothing of, and gives up those of which none said anything for long. What waits
    /// for a rule that is gone is given up at once; what fires for one is closed by the run.
    fn miss(&mut self, subject: Subject) {
        let rules = self.rules;
        let missed: Vec<(AlertKey, AlertState)> = self
            .known
            .of_client(subject.uid)
            .filter(|(key, _)| !self.touched.contains(key))
            .map(|(key, state)| (key.clone(), state.clone()))
            .collect();
        for (key, state) in missed {
            let rule = rules.rule(subject.name, &key.rule);
            let is_of_attempts = rule
                .is_some_and(|rule| [UNREACHABLE, HOST_KEY_CHANGED, STALE].contains(&rule.metric.as_str()));
            if is_of_attempts {
                continue;
            }
            let since = state.missing.unwrap_or(subject.at);
            let is_over = subject.at.since(since) >= VANISHED;
            match (rule, state.firing()) {
                (None, None) => self.set_state(&key, AlertState::default()),
                (Some(_), Some(_)) if is_over => self.close(&key, subject.at, EndReason::Vanished),
                (Some(_), None) if is_over => self.set_state(&key, AlertState::default()),
                (Some(_), _) if state.missing.is_none() => {
                    self.set_state(&key, AlertState { missing: Some(since), ..state });
                }
                _ => {}
            }
        }
        self.touched.clear();
    }
}

/// When the machine booted, as the report says.
fn booted(samples: &[Sample], at: Timestamp) -> Option<Timestamp> {
    let uptime = samples.iter().find(|sample| sample.metric == "uptime")?.value;
    Some(at.plus(-((uptime * 1000.0) as i64)))
}

/// Whether the machine booted since the report before: later than the boot that was known, and since that report.
fn is_reboot(memory: ClientMemory, booted: Option<Timestamp>) -> bool {
    let (Some(booted), Some(before), Some(reported)) = (booted, memory.booted, memory.reported) else {
        return false;
    };
    booted.since(before) > BOOT_SLACK && booted.since(reported) > -BOOT_SLACK
}
