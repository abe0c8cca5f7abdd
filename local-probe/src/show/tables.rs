//! What there are several of: a table for each kind.

use std::fmt::Write as _;

use model::text::escape;
use model::{Host, Process, Unit, metric};

use super::values::Values;

/// The last column's title where it holds text, which is aligned to the left.
const NOTE: &str = "NOTE";

type Rows = Vec<Vec<String>>;

/// Appends the table, unless it is empty but for its titles.
pub(super) fn section(text: &mut String, rows: &Rows) {
    if rows.len() > 1 {
        text.push('\n');
        text.push_str(&align(rows));
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A row for each object that has one of `columns` (title and metric).
fn plain(values: &Values, kind: &str, columns: &[(&str, &str)]) -> Rows {
    let titles = [kind].into_iter().chain(columns.iter().map(|(title, _)| *title)).map(str::to_owned);
    let mut rows = vec![titles.collect()];
    let metrics: Vec<&str> = columns.iter().map(|(_, metric)| *metric).collect();
    for object in values.objects(&metrics) {
        let cells = metrics.iter().map(|metric| values.show(metric, &object));
        rows.push([escape(&object)].into_iter().chain(cells).collect());
    }
    rows
}

pub(super) fn mounts(host: &Host, values: &Values) -> Rows {
    let mut rows = vec![row(["MOUNT", "USED", "FREE", "SIZE", "INODES", "TYPE", NOTE])];
    for mount in values.objects(&["read-only"]) {
        let mut notes = Vec::new();
        if values.is_set("mount-stuck", &mount) {
            notes.push("does not answer");
        }
        if values.is_set("read-only", &mount) {
            notes.push("read-only");
        }
        let show = |metric: &str| values.show(metric, &mount);
        let kind = host.mounts.get(&mount).map_or("-".to_owned(), |kind| escape(kind));
        rows.push(vec![
            escape(&mount),
            show("disk"),
            show("disk-free"),
            show("disk-total"),
            show("inodes"),
            kind,
            notes.join(", "),
        ]);
    }
    rows
}

pub(super) fn devices(values: &Values) -> Rows {
    let columns = [
        ("BUSY", "device-busy"),
        ("AWAIT", "device-await"),
        ("READ", "device-read"),
        ("WRITE", "device-write"),
    ];
    plain(values, "DEVICE", &columns)
}

pub(super) fn arrays(values: &Values) -> Rows {
    plain(values, "ARRAY", &[("DISKS", "raid-disks"), ("MISSING", "raid"), ("RESYNC", "raid-resync")])
}

pub(super) fn pools(values: &Values) -> Rows {
    plain(values, "POOL", &[("DEGRADED", "pool-degraded"), ("ERRORS", "pool-errors")])
}

pub(super) fn interfaces(values: &Values) -> Rows {
    let mut rows = vec![row(["INTERFACE", "IN", "OUT", "PACKETS", "ERRORS", "DROPS", "UP", "SPEED", NOTE])];
    for name in values.objects(&["network-in", "network-up", "bond-members"]) {
        let show = |metric: &str| values.show(metric, &name);
        let speed = values
            .find("network-speed", &name)
            .map_or("-".to_owned(), |bytes| Unit::Count.show(bytes * 8.0 / 1_000_000.0) + " Mbit/s");
        let note = values.known("bond-members", &name).map_or_else(String::new, |members| {
            let bad = if values.is_set("bond-degraded", &name) { ": degraded" } else { "" };
            format!("{} of {members} links up{bad}", show("bond-up"))
        });
        rows.push(vec![
            escape(&name),
            show("network-in"),
            show("network-out"),
            show("network-packets"),
            show("network-errors"),
            show("network-drops"),
            show("network-up"),
            speed,
            note,
        ]);
    }
    rows
}

/// The admin's own metrics, under the names that their files give them.
pub(super) fn custom(values: &Values) -> Rows {
    let mut rows = vec![row(["YOUR OWN METRIC", "VALUE"])];
    for sample in values.0.iter().filter(|sample| metric::is_custom(&sample.metric)) {
        let name = sample.metric.trim_start_matches(metric::CUSTOM);
        let shown = escape(format!("{name} {}", sample.labels.object()).trim_end());
        rows.push(vec![shown, metric::unit(&sample.metric).show(sample.value)]);
    }
    rows
}

pub(super) fn processes(title: &str, processes: &[Process]) -> Rows {
    let mut rows = vec![row([title, "CPU", "MEMORY", "USER", "PID"])];
    for process in processes {
        let cpu = process.cpu.map_or("-".to_owned(), |cpu| Unit::Percent.show(cpu));
        let memory = Unit::Bytes.show(process.memory as f64);
        let (user, pid) = (process.uid.to_string(), process.pid.to_string());
        rows.push(vec![escape(&process.name), cpu, memory, user, pid]);
    }
    rows
}

/// The first column to the left, notes too, the others to the right.
fn align(rows: &Rows) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let notes = rows.first().is_some_and(|titles| titles.last().is_some_and(|title| title == NOTE));
    // Where no row has a note, there is no such column.
    let bare = notes && rows.iter().skip(1).all(|row| row.last().is_some_and(String::is_empty));
    let shown = if bare { columns - 1 } else { columns };
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).take(shown).enumerate() {
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
        let mut rows = vec![
            row(["MOUNT", "USED", "NOTE"]),
            row(["/", "9 %", "read-only"]),
            row(["/home", "93.5 %", ""]),
        ];
        insta::assert_snapshot!(align(&rows), @r"
        MOUNT    USED  NOTE
        /         9 %  read-only
        /home  93.5 %
        ");
        rows.remove(1);
        insta::assert_snapshot!(align(&rows), @r"
        MOUNT    USED
        /home  93.5 %
        ");
    }
}
