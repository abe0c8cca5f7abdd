//! Headings and subjects: a constant stem, so that mail programs and filters can go by it.

use std::collections::BTreeSet;

use model::Severity;

use super::letter::{Heading, Tone};
use super::matter::{client, headline};
use crate::notify::{Draft, Kind, Line};

/// How many clients a subject names.
const NAMED: usize = 2;

/// The subject: a constant stem, so that mail programs and filters can go by it.
pub(crate) fn subject(draft: &Draft) -> String {
    match draft.lines.as_slice() {
        [line] => format!("[{}] {}", tag(line), headline(line)),
        lines => format!("[{}] {}", counts(lines), clients(lines)),
    }
}

/// `[CRITICAL] web1: disk /var 93 % (limit 90 %)`
pub(crate) fn heading(line: &Line) -> Heading {
    let tone = if line.kind.is_over() { Tone::Fine } else { line.severity.into() };
    Heading { tone, tag: tag(line), text: headline(line) }
}

fn tag(line: &Line) -> String {
    let severity = line.severity.to_string().to_uppercase();
    match line.kind {
        Kind::Problem => severity,
        Kind::Worse => format!("WORSE {severity}"),
        Kind::Escalated => format!("ESCALATED {severity}"),
        Kind::Flapping => format!("FLAPPING {severity}"),
        Kind::Steady => format!("STEADY {severity}"),
        Kind::Reminder => format!("STILL {severity}"),
        Kind::Recovered => "RECOVERED".to_owned(),
        Kind::Closed => "CLOSED".to_owned(),
        Kind::Late => "LATE".to_owned(),
    }
}

/// `3 CRITICAL, 2 WARNING`
fn counts(lines: &[Line]) -> String {
    let count = |wanted: &dyn Fn(&Line) -> bool| lines.iter().filter(|line| wanted(line)).count();
    let fires = |line: &Line| !line.kind.is_over();
    [
        (count(&|line| fires(line) && line.severity == Severity::Critical), "CRITICAL"),
        (count(&|line| fires(line) && line.severity == Severity::Warning), "WARNING"),
        (count(&|line| line.kind == Kind::Recovered), "RECOVERED"),
        (count(&|line| line.kind == Kind::Closed), "CLOSED"),
        (count(&|line| line.kind == Kind::Late), "LATE"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, name)| format!("{count} {name}"))
    .collect::<Vec<_>>()
    .join(", ")
}

/// `web1, db2 and 2 more`
fn clients(lines: &[Line]) -> String {
    let mut seen = BTreeSet::new();
    let names: Vec<_> =
        lines.iter().map(|line| client(line.episode)).filter(|name| seen.insert(name.clone())).collect();
    match names.len().checked_sub(NAMED) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..NAMED].join(", ")),
    }
}
