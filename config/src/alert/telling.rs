//! What an `<alert>` says of its mails: reminders, escalation, quiet times, a note.

use std::time::Duration;

use model::Escalation;

use super::Written;
use crate::fault::Wrong;
use crate::nearest::nearest;
use crate::reading::Reading;
use crate::value::{self, Value};

/// A note has at most so many characters.
const NOTE: usize = 1000;

/// How people are told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Telling {
    pub(super) repeat_ms: Option<i64>,
    pub(super) escalation: Option<Escalation>,
    pub(super) mute: Option<String>,
    pub(super) note: Option<String>,
}

/// Reads what does not depend on the type.
pub(super) fn read(reading: &mut Reading<'_>, written: &Written<'_, '_>) -> Telling {
    Telling {
        repeat_ms: written.take(reading, "repeat", value::repeat).map(|repeat| value::millis(repeat.value)),
        escalation: escalation(reading, written),
        mute: mute(reading, written),
        note: written.take(reading, "note", note).map(|note| note.value),
    }
}

fn escalation(reading: &mut Reading<'_>, written: &Written<'_, '_>) -> Option<Escalation> {
    let bounded = |text: &str| value::duration(text, value::MINUTE, value::DAY * 30);
    let after: Option<Duration> = written.take(reading, "escalate-after", bounded).map(|at| at.value);
    let to = written.take(reading, "escalate-to", value::mail_addresses).map(|at| at.value);
    let both = [
        ("escalate-after", "escalate-to=\"...\": who is told then"),
        ("escalate-to", "escalate-after=\"1h\", or as long as somebody may take"),
    ];
    if let [(Some(alone), (_, other)), (None, _)] | [(None, _), (Some(alone), (_, other))] =
        both.map(|pair| (written.get(pair.0), pair))
    {
        let wrong = Wrong::new(format!("`{}` stands alone", alone.name));
        reading.report(alone.at, wrong.expected(format!("beside it {other}")));
    }
    Some(Escalation { after_ms: value::millis(after?), to: to? })
}

/// The name of a window.
fn mute(reading: &mut Reading<'_>, written: &Written<'_, '_>) -> Option<String> {
    let name = written.take(reading, "mute", value::plain_name)?;
    if !reading.windows.contains(&name.value) {
        let near = nearest(&name.value, reading.windows.iter().map(String::as_str));
        let wrong = Wrong::new(format!("there is no window {}", value::quoted(&name.value)))
            .help(format!("write <window name=\"{}\" daily=\"02:00-04:00\"/>", name.value))
            .maybe_help(near.map(|near| format!("did you mean \"{near}\"?")));
        reading.report(name.span, wrong);
    }
    Some(name.value)
}

/// Free text, as one line: it goes into mails, a copy into every rule of every client.
fn note(text: &str) -> Value<String> {
    let words: Vec<_> = text.split_whitespace().collect();
    let note = value::text(&words.join(" "))?;
    if note.chars().count() > NOTE {
        return Err(Wrong::new(format!("a note has at most {NOTE} characters"))
            .help("put a link to the rest into it"));
    }
    Ok(note)
}
