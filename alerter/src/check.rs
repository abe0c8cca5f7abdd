//! `check`: how a client or the fleet is, as a plugin of Nagios says it: one line, and an exit status
//! (<https://www.monitoring-plugins.org/doc/guidelines.html>).

pub mod command;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use config::Client;
use model::metric;
use model::text::escape;
use model::{Episode, EpisodeId, Labels, Operator, Rule, Sample, Severity, Timestamp, Unit};

use crate::wording;

/// So many problems are named; of the rest only the number.
const NAMED: usize = 5;
/// So many values are told at most.
const VALUES: usize = 60;
/// What is known is too old where nothing came for so many intervals of the collector...
const INTERVALS: u32 = 3;
/// ... and where nobody knows how long those are, for so long.
const UNKNOWN_INTERVAL: Duration = Duration::from_secs(1200);

/// What a plugin says by its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Verdict {
    /// All well.
    Ok = 0,
    /// A warning fires, and nothing worse.
    Warning = 1,
    /// A critical fires.
    Critical = 2,
    /// It cannot be said.
    Unknown = 3,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// By the exit status.
    pub verdict: Verdict,
    /// On one line; what follows a `|` is for programs.
    pub line: String,
}

impl Answer {
    /// That it cannot be said, and why. Only the first line is taken.
    pub fn unknown(why: &str) -> Self {
        Self::new(Verdict::Unknown, why.lines().next().unwrap_or_default(), &[])
    }

    fn new(verdict: Verdict, text: &str, values: &[String]) -> Self {
        // A `|` begins what is for programs.
        let text = escape(text).replace('|', "/");
        let values = if values.is_empty() { String::new() } else { format!(" | {}", values.join(" ")) };
        Self { verdict, line: format!("{verdict} - {text}{values}") }
    }
}

/// Whether `arguments`, which may be wrong, are those of a check: it is the first that is no option.
pub fn is_asked_for(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--config") => drop(arguments.next()),
            Some(option) if option.starts_with('-') => {}
            command => return command == Some("check"),
        }
    }
    false
}

/// An episode that is open, with how bad it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem<'a> {
    /// The episode.
    pub episode: &'a Episode,
    /// How bad its latest value is.
    pub severity: Severity,
}

/// The open episodes by how bad they are now, the worst first; `present` tells that of each.
pub fn problems<'a>(
    open: impl Iterator<Item = &'a Episode>,
    present: &BTreeMap<EpisodeId, Severity>,
) -> Vec<Problem<'a>> {
    let severity = |episode: &Episode| present.get(&episode.id).copied().unwrap_or(episode.severity);
    let mut problems: Vec<_> = open.map(|episode| Problem { episode, severity: severity(episode) }).collect();
    problems.sort_by_key(|problem| (std::cmp::Reverse(problem.severity), problem.episode.begin));
    problems
}

/// How long what is known may be old, where the collector is run `every` so often.
pub fn patience(every: Option<Duration>) -> Duration {
    every.unwrap_or(UNKNOWN_INTERVAL).saturating_mul(INTERVALS)
}

/// What is known of one client.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its name and rules.
    pub client: &'a Client,
    /// Its newest report: when that was true, and its values.
    pub report: Option<(Timestamp, &'a [Sample])>,
    /// What fires, the worst first.
    pub problems: &'a [Problem<'a>],
}

/// How a client is. What is critical is, however old the newest report is; else old values say nothing.
pub fn client(known: Known, patience: Duration, now: Timestamp) -> Answer {
    let Known { client, report, problems } = known;
    let values = report.map_or_else(Vec::new, |(_, samples)| values(&client.rules, samples));
    let shown = told(problems, |problem| wording::problem(problem.episode));
    let age = report.map(|(at, _)| now.since(at));
    let verdict = worst(problems);
    let is_old = age.is_none_or(|age| age > millis(patience));
    match age {
        _ if verdict == Verdict::Critical || verdict == Verdict::Warning && !is_old => {
            Answer::new(verdict, &format!("{}: {shown}", client.name), &values)
        }
        None => Answer::new(Verdict::Unknown, &format!("{}: no report yet", client.name), &[]),
        Some(age) if is_old => {
            let more = if shown.is_empty() { shown } else { format!("; then: {shown}") };
            let text = format!("{}: the newest report is {} old{more}", client.name, wording::millis(age));
            Answer::new(Verdict::Unknown, &text, &values)
        }
        Some(age) => {
            let (rules, age) = (client.rules.len(), wording::millis(age.max(0)));
            Answer::new(verdict, &format!("{}: {rules} rules, report of {age} ago", client.name), &values)
        }
    }
}

/// How the fleet is: `clients` of which `problems` are the worst first; `collected` is when the collector ended a run
/// last, and `evaluated` the alerter.
pub fn fleet(
    clients: usize,
    problems: &[Problem],
    (collected, evaluated): (Option<Timestamp>, Option<Timestamp>),
    patience: Duration,
    now: Timestamp,
) -> Answer {
    let shown = told(problems, |problem| {
        let name = problem.episode.client_name.as_str();
        let name = if name.is_empty() { "fleet" } else { name };
        format!("{name}: {}", wording::problem(problem.episode))
    });
    let count = |severity: Severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let values = [
        format!("clients={clients};;;0"),
        format!("critical={};;;0", count(Severity::Critical)),
        format!("warning={};;;0", count(Severity::Warning)),
    ];
    let verdict = worst(problems);
    let idle =
        [("fleet-collector", collected), ("fleet-alerter", evaluated)].into_iter().find_map(|(name, run)| {
            let age = run.map(|run| now.since(run));
            match age {
                None => Some(format!("{name} has ended no run")),
                Some(age) if age > millis(patience) => {
                    Some(format!("{name} ended its last run {} ago", wording::millis(age)))
                }
                Some(_) => None,
            }
        });
    match idle {
        _ if verdict == Verdict::Critical => Answer::new(verdict, &shown, &values),
        Some(idle) => Answer::new(Verdict::Unknown, &idle, &values),
        None if verdict == Verdict::Ok => {
            let noun = if clients == 1 { "client" } else { "clients" };
            Answer::new(verdict, &format!("{clients} {noun}, nothing fires"), &values)
        }
        None => Answer::new(verdict, &shown, &values),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn worst(problems: &[Problem]) -> Verdict {
    match problems.iter().map(|problem| problem.severity).max() {
        None => Verdict::Ok,
        Some(Severity::Warning) => Verdict::Warning,
        Some(Severity::Critical) => Verdict::Critical,
    }
}

fn told(problems: &[Problem], words: impl Fn(&Problem) -> String) -> String {
    let named: Vec<_> = problems.iter().take(NAMED).map(words).collect();
    match problems.len().saturating_sub(NAMED) {
        0 => named.join("; "),
        more => format!("{}; and {more} more", named.join("; ")),
    }
}

/// The values that rules are about, each once, with the limits of the first such rule.
fn values(rules: &[Rule], samples: &[Sample]) -> Vec<String> {
    let mut told: BTreeSet<(&str, &Labels)> = BTreeSet::new();
    let mut values = Vec::new();
    for rule in rules.iter().filter(|rule| metric::describe(&rule.metric).is_some()) {
        for sample in samples.iter().filter(|sample| sample.metric == rule.metric) {
            let is_meant = rule.is_about(&sample.labels.object());
            if values.len() < VALUES && is_meant && told.insert((&sample.metric, &sample.labels)) {
                values.push(value(rule, sample));
            }
        }
    }
    values
}

/// `'disk /var'=93.25%;80;90;0;100`
fn value(rule: &Rule, sample: &Sample) -> String {
    let label = escape(format!("{} {}", sample.metric, sample.labels.object()).trim_end());
    let label = label.replace(['\'', '=', '|'], "_");
    let (unit, bounds) = match metric::unit(&sample.metric) {
        Unit::Percent => ("%", ";0;100"),
        Unit::Bytes => ("B", ";0"),
        Unit::Seconds => ("s", ""),
        Unit::BytesPerSecond | Unit::PerSecond | Unit::Celsius | Unit::Count | Unit::Flag => ("", ""),
    };
    // A range is what is fine: up to the limit, or from it on.
    let range = |limit: Option<f64>| match (limit, rule.threshold.operator) {
        (Some(limit), Operator::AtLeast | Operator::Above) => number(limit),
        (Some(limit), Operator::Below | Operator::AtMost) => format!("{}:", number(limit)),
        _ => String::new(),
    };
    let (warning, critical) = (range(rule.threshold.warning), range(rule.threshold.critical));
    format!("'{label}'={}{unit};{warning};{critical}{bounds}", number(sample.value))
}

/// Plain digits, thousandths at most.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::disk_rule;

    #[test]
    fn values_are_those_of_the_guidelines() {
        let sample =
            |metric: &str, labels: Labels, value| Sample { metric: metric.to_owned(), labels, value };
        let rule = disk_rule();
        let of = |operator| Rule {
            metric: "uptime".to_owned(),
            matches: Vec::new(),
            threshold: model::Threshold { operator, warning: None, critical: Some(600.0) },
            ..disk_rule()
        };
        let samples = [
            sample("disk", Labels::one("mount", "/it's=|x"), 93.25),
            sample("disk", Labels::one("mount", "/"), 10.0),
            sample("uptime", Labels::none(), 12_345.678_9),
            sample("cpu", Labels::none(), 1.0),
        ];
        let told = values(&[rule.clone(), of(Operator::AtMost), rule], &samples);
        assert_eq!(
            told,
            ["'disk /it_s__x'=93.25%;80;90;0;100", "'disk /'=10%;80;90;0;100", "'uptime'=12345.679s;;600:"]
        );
        assert!(value(&of(Operator::Equal), &samples[2]).ends_with(";;"));
    }

    #[test]
    fn a_check_is_known_by_its_first_word() {
        for (arguments, is_check) in [
            (&["check", "--bogus"][..], true),
            (&["--config", "status", "-v", "check", "a", "b"], true),
            (&["--config=x", "check"], true),
            (&["status", "check"], false),
            (&["--config"], false),
        ] {
            assert_eq!(is_asked_for(arguments.iter().map(OsString::from)), is_check, "{arguments:?}");
        }
    }

    #[test]
    fn no_text_breaks_the_line() {
        let answer = Answer::unknown("a | b\nc");
        assert_eq!((answer.line.as_str(), answer.verdict), ("UNKNOWN - a / b", Verdict::Unknown));
    }
}
