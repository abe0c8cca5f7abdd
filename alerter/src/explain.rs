//! `explain`: the rules of a client, what each says of every series, and why it did or did not fire.
//!
//! Pure: no I/O, no clock, no log.

pub mod command;
mod series;

use std::fmt::Write as _;

use config::{Client, rule_text};
use model::text::{escape, escape_to};
use model::{Outcome, Rule, Sample, Timestamp};
use storage::Telling;

use crate::fold::Known;
use crate::inhibition::{Holding, holding};
use crate::mailings::Mailings;
use crate::rulebook::Rulebook;
use crate::wording;
use series::{Series, series};

/// The most characters of a rule or of a note.
const LINE: usize = 300;
/// So many faults of readers are shown.
const FAULTS: usize = 10;

/// What is known of a client.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The client.
    pub client: &'a Client,
    /// Its rules and windows.
    pub rules: &'a Rulebook<'a>,
    /// Its newest report: when that was true, and its values.
    pub report: Option<(Timestamp, &'a [Sample])>,
    /// The probe's readers that could not tell all they should for it, with why.
    pub faults: &'a [(String, String)],
    /// The latest attempt to collect it.
    pub attempt: Option<(Timestamp, &'a Outcome)>,
    /// What is known of its alerts.
    pub known: &'a Known,
    /// What was told of its open episodes, or is on its way.
    pub tellings: &'a [Telling],
    /// How much mail people want.
    pub mailings: &'a Mailings,
    /// Why nobody can see how it stands; its alerts are not reminded of while that lasts.
    pub unseen: Option<&'a str>,
    /// How many reports and attempts of the fleet are not evaluated yet.
    pub unevaluated: u64,
    /// When this is asked.
    pub now: Timestamp,
    /// How a time is shown.
    pub time: &'a dyn Fn(Timestamp) -> String,
}

impl Subject<'_> {
    /// What holds back the news of a rule now.
    fn holding(&self, rule: &Rule) -> Option<Holding> {
        holding(self.rules, &self.known.silences, self.client.name.as_str(), rule, self.now)
    }
}

/// What the rules of `kind`, or all of them, say.
pub fn explain(subject: Subject, kind: Option<&str>) -> String {
    let mut text = head(subject);
    for rule in subject.client.rules.iter().filter(|rule| kind.is_none_or(|kind| rule.metric == kind)) {
        let _ = write!(text, "\n{}", one(subject, rule));
    }
    text
}

fn head(subject: Subject) -> String {
    let ago = |at: Timestamp| {
        format!("{} ({} ago)", (subject.time)(at), wording::millis(subject.now.since(at).max(0)))
    };
    let mut text = match subject.report {
        None => format!("{}: no report yet\n", subject.client.name),
        Some((at, _)) => format!("{}: newest report of {}\n", subject.client.name, ago(at)),
    };
    if let Some((at, outcome)) = subject.attempt.filter(|(_, outcome)| !outcome.is_collected()) {
        let _ = writeln!(
            text,
            "The latest attempt, at {}, failed: {}",
            ago(at),
            escape_to(&outcome.message(), LINE)
        );
    }
    for (reader, fault) in subject.faults.iter().take(FAULTS) {
        let (reader, fault) = (escape_to(reader, LINE), escape_to(fault, LINE));
        let _ = writeln!(text, "Not read by the probe: {reader}: {fault}");
    }
    if let Some(why) = subject.unseen {
        let _ = writeln!(text, "No reminders now: {why}");
    }
    if subject.unevaluated > 0 {
        let _ = writeln!(text, "Not evaluated yet: {}; say fleet-alerter run", subject.unevaluated);
    }
    text
}

/// One rule: when it fires, where it is written, whom it tells, and its series.
fn one(subject: Subject, rule: &Rule) -> String {
    let list = |word: &str, patterns: &[model::Pattern]| {
        let globs: Vec<_> = patterns.iter().map(|pattern| pattern.0.as_str()).collect();
        if globs.is_empty() { String::new() } else { format!(" {word} {}", globs.join(" ")) }
    };
    let objects = list("on", &rule.matches) + &list("but", &rule.excludes);
    let mut text = format!("{}: {}\n", escape(&(rule.metric.clone() + &objects)), rule_text(rule));
    let place = if rule.source.is_empty() { "built in" } else { &rule.source };
    let _ = writeln!(text, "  {place}: {}", escape_to(&rule.text, LINE));
    let _ = writeln!(text, "  {}", telling(subject, rule));
    let rows = series(subject, rule);
    if rows.is_empty() {
        let _ = writeln!(text, "  the newest report says nothing of it");
    }
    let width =
        |part: fn(&Series) -> &str| rows.iter().map(|row| part(row).chars().count()).max().unwrap_or(0);
    let (object, value) = (width(|row| &row.object), width(|row| &row.value));
    for row in &rows {
        let cells =
            [format!("{:<object$}", row.object), format!("{:<value$}", row.value), row.standing.clone()];
        let cells: Vec<_> = cells.into_iter().filter(|cell| !cell.is_empty()).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
        for detail in &row.details {
            let _ = writeln!(text, "    {detail}");
        }
    }
    text
}

/// Whom a rule tells, and when not.
fn telling(subject: Subject, rule: &Rule) -> String {
    let mut parts = vec![match &rule.receivers[..] {
        [] => "tells nobody: no mail=\"...\", and no admin of <mail>".to_owned(),
        receivers => format!("tells {}", receivers.join(", ")),
    }];
    if let Some(escalation) = &rule.escalation {
        parts.push(format!(
            "after {} {} too",
            wording::millis(escalation.after_ms),
            escalation.to.join(", ")
        ));
    }
    if let Some(held) = subject.holding(rule) {
        let until = if held.until == Timestamp(i64::MAX) {
            "for good".to_owned()
        } else {
            format!("until {}", (subject.time)(held.until))
        };
        parts.push(format!("held back now by {}, {until}", escape_to(&held.why, LINE)));
    } else if let Some(window) = &rule.mute {
        parts.push(format!("not in window \"{window}\", which is closed"));
    }
    parts.join("; ")
}
