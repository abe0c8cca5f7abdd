//! The series of a rule: the value of each, how it stands, and why.

use std::collections::{BTreeMap, BTreeSet};

use model::metric::{self, Unit};
use model::rule::{DISK_FORECAST, HOST_KEY_CHANGED, MOUNT, STALE, UNREACHABLE, is_event};
use model::text::escape_to;
use model::{AlertPhase, AlertState, Evidence, Firing, Labels, Rule, Timestamp};

use super::Subject;
use crate::fold::findings::Reading;
use crate::status::alerts::is_on;
use crate::wording;

/// The most characters of an object's name, and of what came from a client.
const TEXT: usize = 120;

/// One series, as it is shown.
pub(super) struct Series {
    pub(super) object: String,
    pub(super) value: String,
    pub(super) standing: String,
    /// What else there is to say, a line each.
    pub(super) details: Vec<String>,
}

/// A value, with the free bytes beside it.
#[derive(Clone, Copy)]
struct Seen {
    value: f64,
    free: Option<f64>,
}

/// Every series that the newest report has, or that fires or waits.
pub(super) fn series(subject: Subject, rule: &Rule) -> Vec<Series> {
    let states: BTreeMap<&Labels, &AlertState> = subject
        .known
        .states
        .iter()
        .filter(|(key, _)| key.rule == rule.id)
        .map(|(key, state)| (&key.labels, state))
        .collect();
    let seen = seen(subject, rule, &states);
    let all: BTreeSet<&Labels> = seen.keys().chain(states.keys().copied()).collect();
    all.into_iter()
        .map(|labels| one(subject, rule, labels, seen.get(labels), states.get(labels).copied()))
        .collect()
}

/// What the newest report, or the latest attempt, says to the rule: as the fold sees it.
fn seen(subject: Subject, rule: &Rule, states: &BTreeMap<&Labels, &AlertState>) -> BTreeMap<Labels, Seen> {
    let alone = |value: f64| [(Labels::none(), Seen { value, free: None })].into();
    let flag = |yes: bool| alone(f64::from(u8::from(yes)));
    match (rule.metric.as_str(), subject.attempt, subject.report) {
        (UNREACHABLE, Some((_, outcome)), _) => flag(outcome.is_unreachable()),
        (HOST_KEY_CHANGED, Some((_, outcome)), _) => flag(outcome.is_host_key_changed()),
        (STALE, _, Some((at, _))) => alone((subject.now.since(at) / 1000) as f64),
        (UNREACHABLE | HOST_KEY_CHANGED | STALE, ..) | (_, _, None) => BTreeMap::new(),
        (_, _, Some((_, samples))) => {
            let evidence = Evidence::default();
            let reading = Reading::new(samples, &evidence, false);
            let waiting = || states.keys().map(|labels| (*labels).clone()).collect();
            let findings = reading.findings(rule, waiting).into_iter();
            findings.map(|one| (one.labels, Seen { value: one.value, free: one.free })).collect()
        }
    }
}

fn one(
    subject: Subject,
    rule: &Rule,
    labels: &Labels,
    seen: Option<&Seen>,
    state: Option<&AlertState>,
) -> Series {
    let mut details = Vec::new();
    let standing = match state.map(|state| (&state.phase, state)) {
        Some((AlertPhase::Firing(firing), _)) => {
            details = of_firing(subject, rule, firing);
            format!(
                "{} since {}, id {}",
                firing.severity.to_string().to_uppercase(),
                (subject.time)(firing.since),
                wording::short_id(&firing.episode)
            )
        }
        Some((AlertPhase::Pending { since }, state)) => {
            let missing = wording::missing(rule, state, *since, newest(subject, rule).unwrap_or(*since));
            format!("pending since {}, fires after {missing}", (subject.time)(*since))
        }
        _ => seen.map_or_else(String::new, |seen| quiet(rule, *seen)),
    };
    Series {
        object: escape_to(&labels.object(), TEXT),
        value: seen.map_or_else(|| "not in the newest report".to_owned(), |seen| value(rule, seen.value)),
        standing,
        details,
    }
}

/// When the newest of what the rule goes by was true.
fn newest(subject: Subject, rule: &Rule) -> Option<Timestamp> {
    let (report, attempt) = (subject.report.map(|report| report.0), subject.attempt.map(|attempt| attempt.0));
    if [UNREACHABLE, HOST_KEY_CHANGED].contains(&rule.metric.as_str()) { attempt } else { report }
}

fn value(rule: &Rule, value: f64) -> String {
    match rule.metric.as_str() {
        DISK_FORECAST => format!("{} free", Unit::Bytes.show(value)),
        UNREACHABLE if value > 0.0 => "failed".to_owned(),
        UNREACHABLE => "collected".to_owned(),
        MOUNT if value < 1.0 => "there and writable".to_owned(),
        MOUNT if value < 2.0 => "read-only".to_owned(),
        MOUNT => "absent".to_owned(),
        kind => metric::unit(kind).show(value),
    }
}

/// Why what does not fire does not.
fn quiet(rule: &Rule, seen: Seen) -> String {
    let breaches = rule.threshold.severity(seen.value);
    match (rule.floor, seen.free) {
        (Some(floor), _) if rule.metric == DISK_FORECAST => {
            let least = floor.warning.max(floor.critical);
            if seen.value >= least {
                format!("fine: a forecast counts below {} free only", Unit::Bytes.show(least))
            } else {
                "fine: it does not go down fast enough, or not for long enough yet".to_owned()
            }
        }
        _ if is_event(&rule.metric) && breaches.is_none() => {
            "nothing of the kind in the newest report".to_owned()
        }
        (Some(floor), Some(free)) if breaches.is_some() && rule.severity(seen.value, seen.free).is_none() => {
            let floor = breaches.map_or(floor.warning, |severity| floor.of(severity));
            format!(
                "fine: {} are free, and it counts below {} only",
                Unit::Bytes.show(free),
                Unit::Bytes.show(floor)
            )
        }
        _ if breaches.is_some() && rule.aggregate.is_some() => {
            "the latest value breaches; what is compared does not, or its span is not covered yet".to_owned()
        }
        _ if breaches.is_some() => "breaches, and is not evaluated yet".to_owned(),
        _ => "fine".to_owned(),
    }
}

/// What there is to say of what fires.
fn of_firing(subject: Subject, rule: &Rule, firing: &Firing) -> Vec<String> {
    let mut details = Vec::new();
    if let Some(episode) = subject.known.episodes.get(&firing.episode) {
        let unit = metric::unit(&rule.metric);
        if wording::has_value(&rule.metric) {
            details.push(format!("peak {} at {}", unit.show(episode.peak), (subject.time)(episode.peak_at)));
        }
        details.extend(episode.detail.lines().map(|line| escape_to(line, TEXT)));
        let is_held = firing.told.is_none_or(|told| firing.severity > told);
        if is_held && !episode.held.is_empty() {
            details.push(format!("not told: held back by {}", escape_to(&episode.held, TEXT)));
        } else if firing.told.is_none() {
            details.push("not told yet".to_owned());
        }
    }
    details.extend(wording::ending(rule, firing, newest(subject, rule).unwrap_or(firing.since)));
    if firing.flapping {
        details.push("flapping: what becomes of it is told when it is steady again".to_owned());
    }
    let taken_on = subject.known.acknowledgements.get(&firing.episode).filter(|one| is_on(one, subject.now));
    if let Some(acknowledgement) = taken_on {
        let until = acknowledgement
            .until
            .map_or_else(String::new, |until| format!(", until {}", (subject.time)(until)));
        details.push(format!("acknowledged{until}: {}", escape_to(&acknowledgement.why, TEXT)));
    }
    let is_quiet = subject.unseen.is_some() && rule.metric != UNREACHABLE || subject.holding(rule).is_some();
    let is_reminded = taken_on.is_none() && !is_quiet && !firing.flapping && !is_event(&rule.metric);
    details.extend(told(subject, rule, firing, is_reminded));
    details
}

/// Who was told of it when, and when each is reminded.
fn told(subject: Subject, rule: &Rule, firing: &Firing, is_reminded: bool) -> Vec<String> {
    let mut last: BTreeMap<&str, Timestamp> = BTreeMap::new();
    let of_this = subject.tellings.iter().filter(|one| one.fact.episode == firing.episode && !one.refused);
    for (receiver, composed) in of_this.filter_map(|one| Some((one.fact.receiver.as_str(), one.composed?))) {
        let latest = last.entry(receiver).or_insert(composed);
        *latest = composed.max(*latest);
    }
    let reminder = |receiver: &str, last: Timestamp| match subject.mailings.repeat_ms(rule, receiver) {
        _ if !is_reminded => String::new(),
        i64::MAX => "; no reminders".to_owned(),
        repeat if last.plus(repeat) <= subject.now => "; a reminder is due".to_owned(),
        repeat => format!("; next reminder at {}", (subject.time)(last.plus(repeat))),
    };
    last.into_iter()
        .map(|(receiver, last)| {
            let reminder = reminder(receiver, last);
            format!("told {} at {}{reminder}", escape_to(receiver, TEXT), (subject.time)(last))
        })
        .collect()
}
