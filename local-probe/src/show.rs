//! A report as a table for a person, and as JSON for a program.

use std::fmt::Write as _;

use model::text::escape;
use model::{Evidence, Host, Process, ReaderOutcome, Report, Sample};
use serde::Serialize;

use crate::platform;
use crate::report::Outcome;

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
    let mut text = host(&report.host, &values);
    text.push('\n');
    text.push_str(&machine(&values));
    section(&mut text, &mounts(&values));
    section(&mut text, &interfaces(&values));
    section(&mut text, &processes("BUSIEST", &report.evidence.top_cpu));
    section(&mut text, &processes("LARGEST", &report.evidence.top_memory));
    faults(&mut text, &report.readers);
    text
}

fn section(text: &mut String, rows: &[Vec<String>]) {
    if rows.len() > 1 {
        text.push('\n');
        text.push_str(&align(rows));
    }
}

struct Values<'a>(&'a [Sample]);

impl Values<'_> {
    /// As a person reads it; `-` where it is absent.
    fn show(&self, metric: &str, object: &str) -> String {
        self.find(metric, object)
            .map_or_else(|| "-".to_owned(), |value| model::metric::unit(metric).show(value))
    }

    fn find(&self, metric: &str, object: &str) -> Option<f64> {
        let found = self.0.iter().find(|sample| sample.metric == metric && sample.labels.object() == object);
        found.map(|sample| sample.value)
    }

    /// Every object that has one of `metrics`, in the order in which they come.
    fn objects(&self, metrics: &[&str]) -> Vec<String> {
        let mut objects = Vec::new();
        for sample in self.0.iter().filter(|sample| metrics.contains(&sample.metric.as_str())) {
            let object = sample.labels.object();
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
        objects
    }
}

fn host(host: &Host, values: &Values) -> String {
    let known = |text: &str, without: &str| if text.is_empty() { without.to_owned() } else { escape(text) };
    format!(
        "{}  {}  {} {} {}  up {}\n",
        known(&host.hostname, "(no name)"),
        known(&host.os, "(unknown system)"),
        platform::NAME,
        known(&host.kernel, "?"),
        known(&host.arch, "?"),
        values.show("uptime", ""),
    )
}

fn machine(values: &Values) -> String {
    let show = |metric: &str| values.show(metric, "");
    let mut rows = vec![
        (
            "cpu",
            format!(
                "{} busy of {} cores, busiest core {}",
                show("cpu"),
                show("cores"),
                show("cpu-busiest-core")
            ),
        ),
        (
            "",
            format!(
                "user {}, system {}, iowait {}, steal {}",
                show("cpu-user"),
                show("cpu-system"),
                show("iowait"),
                show("steal")
            ),
        ),
        (
            "load",
            format!(
                "{}  {}  {}  ({} per core)",
                show("load"),
                show("load5"),
                show("load15"),
                show("load-per-core")
            ),
        ),
        (
            "memory",
            format!("{} of {}, {} available", show("memory"), show("memory-total"), show("memory-available")),
        ),
    ];
    let swap = match values.find("swap-total", "") {
        Some(_) => format!(
            "{} of {}, in {}, out {}",
            show("swap"),
            show("swap-total"),
            show("swap-in"),
            show("swap-out")
        ),
        None => "none".to_owned(),
    };
    rows.push(("swap", swap));
    let processes = format!(
        "{}, {} running, {} blocked, {} zombie",
        show("processes"),
        show("processes-running"),
        show("processes-blocked"),
        show("processes-zombie")
    );
    rows.push(("processes", processes));
    rows.push(("descriptors", format!("{} in use", show("fds"))));
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to memory cannot fail.
        let _ = writeln!(text, "{name:<13}{value}");
    }
    text
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn mounts(values: &Values) -> Vec<Vec<String>> {
    let mut rows = vec![row(["MOUNT", "USED", "FREE", "SIZE", "INODES", "NOTE"])];
    for mount in values.objects(&["read-only"]) {
        let mut notes = Vec::new();
        if values.find("mount-stuck", &mount) == Some(1.0) {
            notes.push("does not answer");
        }
        if values.find("read-only", &mount) == Some(1.0) {
            notes.push("read-only");
        }
        let show = |metric: &str| values.show(metric, &mount);
        let (used, free, size) = (show("disk"), show("disk-free"), show("disk-total"));
        rows.push(vec![escape(&mount), used, free, size, show("inodes"), notes.join(", ")]);
    }
    rows
}

fn interfaces(values: &Values) -> Vec<Vec<String>> {
    let mut rows = vec![row(["INTERFACE", "IN", "OUT", "ERRORS", "UP", "SPEED"])];
    for name in values.objects(&["network-in", "network-up"]) {
        let show = |metric: &str| values.show(metric, &name);
        let speed = values
            .find("network-speed", &name)
            .map_or("-".to_owned(), |bytes| model::Unit::Count.show(bytes * 8.0 / 1_000_000.0) + " Mbit/s");
        let errors = show("network-errors");
        rows.push(vec![
            escape(&name),
            show("network-in"),
            show("network-out"),
            errors,
            show("network-up"),
            speed,
        ]);
    }
    rows
}

fn processes(title: &str, processes: &[Process]) -> Vec<Vec<String>> {
    let mut rows = vec![row([title, "CPU", "MEMORY", "USER", "PID"])];
    for process in processes {
        let cpu = process.cpu.map_or("-".to_owned(), |cpu| model::Unit::Percent.show(cpu));
        let memory = model::Unit::Bytes.show(process.memory as f64);
        let (user, pid) = (process.uid.to_string(), process.pid.to_string());
        rows.push(vec![escape(&process.name), cpu, memory, user, pid]);
    }
    rows
}

fn faults(text: &mut String, readers: &[ReaderOutcome]) {
    for (at, reader) in readers.iter().filter(|reader| reader.fault.is_some()).enumerate() {
        let gap = if at == 0 { "\n" } else { "" };
        let fault = reader.fault.as_deref().map(escape).unwrap_or_default();
        let _ = writeln!(text, "{gap}could not tell all about {}: {fault}", reader.reader);
    }
}

/// The first column to the left, notes too, the others to the right.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let notes = rows.first().is_some_and(|titles| titles.last().is_some_and(|title| title == "NOTE"));
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let left = column == 0 || (notes && column + 1 == columns);
            let _ = if left { write!(line, "{cell:<width$}  ") } else { write!(line, "{cell:>width$}  ") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_notes_are_not_pushed_right() {
        let rows = vec![
            row(["MOUNT", "USED", "NOTE"]),
            row(["/", "9 %", "read-only"]),
            row(["/home", "93.5 %", ""]),
        ];
        insta::assert_snapshot!(align(&rows), @r"
        MOUNT    USED  NOTE
        /         9 %  read-only
        /home  93.5 %
        ");
    }
}
