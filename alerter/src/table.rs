//! [`Status`] as tables for a person.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::DateTime;
use model::metric::{self, Unit};
use model::text::{escape, escape_to};
use model::{EpisodeId, Timestamp};

use crate::status::{AlertStatus, ClientStatus, RunStatus, Status};
use crate::wording;

/// The widest cell of a table.
const CELL: usize = 60;

/// So many faults of readers are shown of a client.
const FAULTS: usize = 10;

/// `status` as text; `now` turns times into ages.
pub fn table(status: &Status, now: Timestamp) -> String {
    let mut text = String::new();
    clients(&mut text, status, now);
    failures(&mut text, status);
    unread(&mut text, status);
    alerts(&mut text, status, now);
    pending(&mut text, status, now);
    silences(&mut text, status, now);
    outbox(&mut text, status, now);
    let counts = &status.counts;
    let _ = writeln!(
        text,
        "\n{} reports stored, {} entries not evaluated, {} news not told, {} records set aside so far",
        counts.reports, counts.unevaluated, counts.untold, counts.quarantined
    );
    for (name, run) in [("fleet-collector", &status.runs.collector), ("fleet-alerter", &status.runs.alerter)]
    {
        let _ = writeln!(text, "last run of {name}: {}", last_run(run.as_ref(), now));
        for host in status.runs.hosts.iter().filter(|host| host.program == name) {
            let _ =
                writeln!(text, "    on {}: {}", escape_to(&host.host, CELL), last_run(Some(&host.run), now));
        }
    }
    text
}

fn clients(text: &mut String, status: &Status, now: Timestamp) {
    let mut rows = vec![
        ["CLIENT", "CONTACT", "OUTCOME", "CPU", "MEMORY", "FULLEST DISK", "LOAD", "UP", "OS"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for client in &status.clients {
        let name = if client.configured { client.name.clone() } else { format!("{} (removed)", client.name) };
        rows.push(vec![
            name,
            client.last_contact.as_deref().map_or("never".to_owned(), |at| age(at, now)),
            client.outcome.clone().unwrap_or_else(|| "-".to_owned()),
            shown(client, "cpu"),
            shown(client, "memory"),
            fullest(client),
            shown(client, "load"),
            shown(client, "uptime"),
            client.host.as_ref().map_or("-".to_owned(), |host| escape_to(&host.os, 40)),
        ]);
    }
    columns(text, &rows);
}

/// What went wrong at the clients that could not be collected.
fn failures(text: &mut String, status: &Status) {
    let failed: Vec<_> =
        status.clients.iter().filter(|client| client.configured && !client.message.is_empty()).collect();
    if !failed.is_empty() {
        let _ = writeln!(text, "\nFailed at the latest attempt");
    }
    for client in failed {
        let _ = writeln!(text, "  {}: {}", client.name, escape_to(&client.message, 400));
    }
}

/// What the probes could not read: values that are missing above, and alerts that have nothing to go by.
fn unread(text: &mut String, status: &Status) {
    let with_faults: Vec<_> = status
        .clients
        .iter()
        .filter(|client| client.configured && !client.reader_faults.is_empty())
        .collect();
    if !with_faults.is_empty() {
        let _ = writeln!(text, "\nNot read by the probe");
    }
    for client in with_faults {
        for (reader, fault) in client.reader_faults.iter().take(FAULTS) {
            let _ =
                writeln!(text, "  {}: {}: {}", client.name, escape_to(reader, CELL), escape_to(fault, 300));
        }
    }
}

fn alerts(text: &mut String, status: &Status, now: Timestamp) {
    if status.alerts.is_empty() {
        let _ = writeln!(text, "\nNo alert fires.");
        return;
    }
    let _ = writeln!(text);
    let mut rows = vec![
        ["FIRING", "ID", "CLIENT", "ALERT", "NOW", "LIMIT", "PEAK", "SINCE", "NEWS"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for alert in &status.alerts {
        let unit = metric::unit(&alert.metric);
        // The rules over collections have no value of their own.
        let value =
            |value: f64| if wording::has_value(&alert.metric) { unit.show(value) } else { "-".to_owned() };
        rows.push(vec![
            alert.now.to_uppercase(),
            escape(wording::short_id(&EpisodeId(alert.id.clone()))),
            if alert.client.is_empty() { "(fleet)".to_owned() } else { escape(&alert.client) },
            subject(&alert.metric, &alert.labels),
            value(alert.value),
            value(alert.limit),
            value(alert.peak),
            age(&alert.begin, now),
            news(alert, now),
        ]);
    }
    columns(text, &rows);
}

/// `disk /var`
fn subject(metric: &str, labels: &BTreeMap<String, String>) -> String {
    let object = labels.values().map(String::as_str).collect::<Vec<_>>().join(" ");
    escape_to(format!("{metric} {object}").trim_end(), CELL)
}

/// What people hear of it.
fn news(alert: &AlertStatus, now: Timestamp) -> String {
    let mut news = Vec::new();
    if let Some(why) = &alert.acknowledged {
        news.push(format!("acknowledged: {}", escape_to(why, CELL)));
    }
    if !alert.held.is_empty() {
        news.push(format!("held back: {}", escape_to(&alert.held, CELL)));
    } else if !alert.told {
        news.push("not told".to_owned());
    }
    if alert.flapping {
        news.push("flapping".to_owned());
    }
    if let Some(since) = &alert.fine_since {
        news.push(format!("fine since {}", age(since, now)));
    }
    if news.is_empty() { "told".to_owned() } else { news.join("; ") }
}

fn pending(text: &mut String, status: &Status, now: Timestamp) {
    if status.pending.is_empty() {
        return;
    }
    let _ = writeln!(text);
    let mut rows = vec![["PENDING", "ALERT", "SINCE", "FIRES AFTER"].map(str::to_owned).to_vec()];
    for pending in &status.pending {
        rows.push(vec![
            escape(&pending.client),
            subject(&pending.metric, &pending.labels),
            age(&pending.since, now),
            pending.missing.clone(),
        ]);
    }
    columns(text, &rows);
}

fn silences(text: &mut String, status: &Status, now: Timestamp) {
    if status.silences.is_empty() {
        return;
    }
    let _ = writeln!(text);
    let mut rows = vec![["SILENCE", "OF", "TYPE", "BEGINS", "ENDS", "WHY"].map(str::to_owned).to_vec()];
    for silence in &status.silences {
        rows.push(vec![
            silence.id.to_string(),
            escape_to(&silence.target, CELL),
            silence.metric.as_deref().map_or("all".to_owned(), |metric| escape_to(metric, CELL)),
            when(&silence.from, now),
            when(&silence.until, now),
            escape_to(&silence.why, CELL),
        ]);
    }
    columns(text, &rows);
}

fn outbox(text: &mut String, status: &Status, now: Timestamp) {
    if !status.outbox.is_empty() {
        let _ = writeln!(text);
        let mut rows = vec![["MAIL", "TO", "SUBJECT", "COMPOSED", "DETAIL"].map(str::to_owned).to_vec()];
        for message in &status.outbox {
            rows.push(vec![
                message.state.to_owned(),
                escape_to(&message.receiver, CELL),
                escape_to(&message.subject, CELL),
                age(&message.created, now),
                escape_to(&message.detail, 120),
            ]);
        }
        columns(text, &rows);
    }
    for backoff in &status.backoffs {
        let (receiver, detail) = (escape(&backoff.receiver), escape_to(&backoff.detail, 300));
        let _ = writeln!(text, "\nmail to {receiver} failed {} times in a row: {detail}", backoff.failures);
    }
}

fn last_run(run: Option<&RunStatus>, now: Timestamp) -> String {
    let Some(run) = run else { return "never".to_owned() };
    let end = if run.end.is_some() { "" } else { ", not ended" };
    format!("{}{end}, {} done, {} failed", age(&run.begin, now), run.done, run.failed)
}

fn shown(client: &ClientStatus, name: &str) -> String {
    let found = client.metrics.iter().find(|metric| metric.metric == name);
    found.map_or("-".to_owned(), |found| metric::unit(name).show(found.value))
}

/// `93 % /var`
fn fullest(client: &ClientStatus) -> String {
    let disks = client.metrics.iter().filter(|metric| metric.metric == "disk");
    disks.max_by(|a, b| a.value.total_cmp(&b.value)).map_or("-".to_owned(), |disk| {
        let mount = disk.labels.values().map(String::as_str).collect::<Vec<_>>().join(" ");
        format!("{} {}", Unit::Percent.show(disk.value), escape_to(&mount, 30))
    })
}

/// `in 3 h`, or when it was.
fn when(at: &str, now: Timestamp) -> String {
    let ahead = DateTime::parse_from_rfc3339(at).map_or(0, |at| Timestamp(at.timestamp_millis()).since(now));
    if ahead > 0 { format!("in {}", wording::millis(ahead)) } else { age(at, now) }
}

/// `3 min 20 s ago`
fn age(at: &str, now: Timestamp) -> String {
    let Ok(at) = DateTime::parse_from_rfc3339(at) else { return "-".to_owned() };
    let seconds = now.since(Timestamp(at.timestamp_millis())) as f64 / 1000.0;
    if seconds < 0.0 {
        "in the future".to_owned()
    } else {
        format!("{} ago", Unit::Seconds.show(seconds.floor()))
    }
}

/// Pads every column to its widest cell.
fn columns(text: &mut String, rows: &[Vec<String>]) {
    let count = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    for row in rows {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
}
