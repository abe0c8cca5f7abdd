//! The language of timelines: a line is an event or an expectation, and reads like the documentation.
//!
//! ```text
//! # Indented lines after `config` are what stands in <config>.
//! config
//!   <client name="web1" ip="127.0.0.1" connection="local" mail="ops@example.org">
//!     <alert type="cpu" limit="90%" for="15m"/>
//!   </client>
//! web1 cpu 20, disk /var 50           what it reports from the beginning on, every five minutes
//! at 02:00 web1 cpu 95                what it reports from then on
//! at 02:20 expect [CRITICAL] web1: cpu        a mail, by the beginning of its subject; `to dev@x` may follow `expect`
//! at 02:30 web1 times out             or `refuses`, `answers`, `says nothing` (collected, without a report), `is not reached`
//! at 03:00 alerter stops              or `runs`; collector, mail alike
//! at 03:00 silence web1 for 2h
//! at 03:00 acknowledge web1 cpu for 2h
//! at 04:00 config                     another config.xml from then on
//! until 2d 06:00
//! ```
//!
//! Days count from 0: `1d 02:00` is 02:00 of the day after. A mail that no line expects fails the timeline, and so does
//! an expected one that does not come with that very run.

use model::{Labels, Sample, metric};

/// A timeline, parsed.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// In the order of time; of one time, in the order of the file.
    pub(crate) events: Vec<(i64, Event)>,
    /// What is expected: minute, receiver (empty: any), the beginning of the subject, the line of the file.
    pub(crate) expected: Vec<Expected>,
    /// The last minute.
    pub(crate) until: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expected {
    pub(crate) minute: i64,
    pub(crate) receiver: String,
    pub(crate) subject: String,
    pub(crate) line: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Config(String),
    Reports { client: String, samples: Vec<Sample> },
    Answer { client: String, answer: Answer },
    Power { what: What, on: bool },
    Silence { target: String, minutes: i64 },
    Acknowledge { client: String, metric: String, minutes: Option<i64> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Collected,
    Silent,
    TimesOut,
    Refuses,
    NotReached,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Alerter,
    Collector,
    Mail,
}

/// Reads a timeline; panics with the line that is wrong.
pub(crate) fn parse(text: &str) -> Timeline {
    let mut timeline = Timeline::default();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || -> ! { panic!("line {}: {line}", number + 1) };
        let (minute, rest) = match line.strip_prefix("at ") {
            Some(rest) => time(rest).unwrap_or_else(|| wrong()),
            None => (0, line),
        };
        if let Some(rest) = rest.strip_prefix("until ") {
            timeline.until = time(rest).unwrap_or_else(|| wrong()).0;
        } else if let Some(rest) = rest.strip_prefix("expect ") {
            let (receiver, subject) = match rest.strip_prefix("to ").and_then(|rest| rest.split_once(' ')) {
                Some((receiver, subject)) => (receiver, subject),
                None => ("", rest),
            };
            let (receiver, subject) = (receiver.to_owned(), subject.to_owned());
            timeline.expected.push(Expected { minute, receiver, subject, line: number + 1 });
        } else if rest == "config" {
            let mut config = String::new();
            while let Some((_, more)) = lines.next_if(|(_, more)| more.starts_with(' ')) {
                config.extend([more, "\n"]);
            }
            timeline.events.push((minute, Event::Config(config)));
        } else {
            timeline.events.push((minute, event(rest).unwrap_or_else(|| wrong())));
        }
    }
    timeline.events.sort_by_key(|(minute, _)| *minute);
    timeline
}

/// `1d 02:05 rest` or `02:05 rest`: the minute, and the rest.
fn time(text: &str) -> Option<(i64, &str)> {
    let (day, rest) = match text.split_once("d ") {
        Some((day, rest)) if day.chars().all(|c| c.is_ascii_digit()) => (day.parse().ok()?, rest),
        _ => (0, text),
    };
    let (clock, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (hours, minutes) = clock.split_once(':')?;
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some((day * 1440 + hours * 60 + minutes, rest))
}

fn event(text: &str) -> Option<Event> {
    let (first, rest) = text.split_once(' ')?;
    let first_owned = first.to_owned();
    let what = match first {
        "alerter" => Some(What::Alerter),
        "collector" => Some(What::Collector),
        "mail" => Some(What::Mail),
        _ => None,
    };
    if let Some(what) = what {
        let on = ["stops", "runs"].iter().position(|word| *word == rest)? == 1;
        return Some(Event::Power { what, on });
    }
    match first {
        "silence" => {
            let (target, minutes) = rest.split_once(" for ")?;
            Some(Event::Silence { target: target.to_owned(), minutes: duration(minutes)? })
        }
        "acknowledge" => {
            let (rest, minutes) = match rest.split_once(" for ") {
                Some((rest, minutes)) => (rest, Some(duration(minutes)?)),
                None => (rest, None),
            };
            let (client, metric) = rest.split_once(' ')?;
            Some(Event::Acknowledge { client: client.to_owned(), metric: metric.to_owned(), minutes })
        }
        _ => {
            let answer = match rest {
                "answers" => Some(Answer::Collected),
                "says nothing" => Some(Answer::Silent),
                "times out" => Some(Answer::TimesOut),
                "refuses" => Some(Answer::Refuses),
                "is not reached" => Some(Answer::NotReached),
                _ => None,
            };
            Some(match answer {
                Some(answer) => Event::Answer { client: first_owned, answer },
                None => Event::Reports { client: first_owned, samples: samples(rest)? },
            })
        }
    }
}

/// `90m`, `2h`, `3d`, in minutes.
fn duration(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at(text.len().checked_sub(1)?);
    let factor = [("m", 1), ("h", 60), ("d", 1440)].iter().find(|(name, _)| *name == unit)?.1;
    Some(number.parse::<i64>().ok()? * factor)
}

/// `cpu 95, disk /var 91, disk-free /var 4e9`; `disk /var gone` takes a series away.
fn samples(text: &str) -> Option<Vec<Sample>> {
    text.split(", ").map(sample).collect()
}

fn sample(text: &str) -> Option<Sample> {
    let words: Vec<&str> = text.split(' ').collect();
    let (name, object, value) = match words.as_slice() {
        [name, value] => (*name, None, *value),
        [name, object, value] => (*name, Some(*object), *value),
        _ => return None,
    };
    let key = match metric::describe(name)?.object {
        "labels" => "unit",
        key => key,
    };
    let labels = object.map_or(Labels::none(), |object| Labels::one(key, object));
    let value = if value == "gone" { f64::NAN } else { value.parse().ok()? };
    Some(Sample { metric: name.to_owned(), labels, value })
}
