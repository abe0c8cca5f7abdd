//! A report as a table for a person, and as JSON for a program.

mod machine;
mod tables;
mod values;

use std::fmt::Write as _;

use model::text::escape;
use model::{Evidence, Host, ReaderOutcome, Report, Sample};
use serde::Serialize;

use crate::report::Outcome;
use values::Values;

/// The version of the JSON's shape.
const JSON_VERSION: u32 = 1;

/// What `--json` prints. Fields may be added; a change of what is there counts `version` up.
#[derive(Serialize)]
struct Json<'a> {
    /// [`JSON_VERSION`].
    version: u32,
    /// The probe's version.
    probe: &'static str,
    /// Milliseconds since the epoch, by this machine's clock.
    wall_ms: i64,
    /// Which boot.
    boot_id: &'a str,
    host: &'a Host,
    /// `metric`, `labels` (absent where there are none), `value` in the base unit.
    samples: &'a [Sample],
    /// The busiest and the largest processes.
    evidence: &'a Evidence,
    /// How each reader fared, in microseconds, with `fault` where it could not tell all.
    readers: &'a [ReaderOutcome],
}

/// The report as one JSON object.
pub fn json(outcome: &Outcome) -> String {
    let Report { host, samples, readers, evidence } = &outcome.report;
    let json = Json {
        version: JSON_VERSION,
        probe: env!("CARGO_PKG_VERSION"),
        wall_ms: outcome.clock.wall.millis(),
        boot_id: &outcome.clock.boot_id,
        host,
        samples,
        evidence,
        readers,
    };
    let mut text = serde_json::to_string_pretty(&json).unwrap_or_default();
    text.push('\n');
    text
}

/// The report as aligned text.
pub fn table(outcome: &Outcome) -> String {
    let report = &outcome.report;
    let values = Values(&report.samples);
    let mut text = machine::host(&report.host, &values);
    text.push('\n');
    text.push_str(&machine::machine(&values));
    for rows in [
        tables::mounts(&report.host, &values),
        tables::devices(&values),
        tables::arrays(&values),
        tables::pools(&values),
        tables::interfaces(&values),
        tables::custom(&values),
        tables::processes("BUSIEST", &report.evidence.top_cpu),
        tables::processes("LARGEST", &report.evidence.top_memory),
    ] {
        tables::section(&mut text, &rows);
    }
    faults(&mut text, &report.readers);
    text
}

fn faults(text: &mut String, readers: &[ReaderOutcome]) {
    for (at, reader) in readers.iter().filter(|reader| reader.fault.is_some()).enumerate() {
        let gap = if at == 0 { "\n" } else { "" };
        let fault = reader.fault.as_deref().map(escape).unwrap_or_default();
        let _ = writeln!(text, "{gap}could not tell all about {}: {fault}", reader.reader);
    }
}
