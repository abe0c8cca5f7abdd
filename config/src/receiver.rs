//! `<receiver>`: what an address wants to get.

use std::collections::HashMap;

use model::Severity;

use crate::fault::Wrong;
use crate::grammar;
use crate::reading::{At, Reading};
use crate::settings::{Mailing, Receiver};
use crate::source::Span;
use crate::tree::{Attribute, Element};
use crate::value::{self, Value};

/// Reads an attribute that `<receiver>` and `<mail>` share into `mailing`.
pub(crate) fn read_mailing(reading: &mut Reading<'_>, attribute: &Attribute<'_>, mailing: &mut Mailing) {
    match attribute.name {
        "repeat" => mailing.repeat = reading.take(attribute, value::repeat).map(|at| at.value),
        "max-per-hour" => {
            let count = reading.take(attribute, |text| value::count(text, 1, 10_000));
            mailing.max_per_hour = count.map(|at| at.value);
        }
        _ => mailing.text_only = reading.take(attribute, value::boolean).map(|at| at.value),
    }
}

/// Reads every `<receiver>`; an address twice is a fault.
pub(crate) fn read_all(reading: &mut Reading<'_>, elements: &[Element<'_>]) -> Vec<Receiver> {
    let mut places: HashMap<String, Span> = HashMap::new();
    let mut receivers = Vec::new();
    for element in elements {
        let Some(At { value: receiver, span }) = read(reading, element) else { continue };
        if let Some(first) = places.get(&receiver.mail.to_ascii_lowercase()) {
            let line = reading.line(*first, span);
            let wrong = Wrong::new(format!("there is another <receiver> of this address in {line}"));
            reading.report(span, wrong.help("put both into one"));
            continue;
        }
        places.insert(receiver.mail.to_ascii_lowercase(), span);
        receivers.push(receiver);
    }
    receivers
}

fn read(reading: &mut Reading<'_>, element: &Element<'_>) -> Option<At<Receiver>> {
    reading.holds_nothing(element);
    let (mut mail, mut time_zone, mut min_severity) = (None, None, None);
    let mut mailing = Mailing::default();
    for attribute in grammar::known(&mut reading.sink, element) {
        match attribute.name {
            "mail" => mail = reading.take(attribute, value::mail_address),
            "time-zone" => time_zone = reading.take(attribute, value::time_zone),
            "min-severity" => min_severity = reading.take(attribute, severity),
            _ => read_mailing(reading, attribute, &mut mailing),
        }
    }
    reading.missing(element, "mail", "mail=\"...\": the address that this is about");
    let At { value: mail, span } = mail?;
    let receiver = Receiver {
        mail,
        time_zone: time_zone.map(|at| at.value),
        min_severity: min_severity.map(|at| at.value),
        mailing,
        source: reading.mark(element.at),
    };
    Some(At { value: receiver, span })
}

fn severity(text: &str) -> Value<Severity> {
    value::one_of(text, &[("warning", Severity::Warning), ("critical", Severity::Critical)])
}
