//! A summary as a letter.

use model::metric::Unit;
use model::{Episode, Severity, Timestamp};

use super::disks::DiskUse;
use super::span::Period;
use super::summary::{Share, Summary};
use crate::mail::letter::{Block, Column, Heading, Letter, Picture, Table, Tone};
use crate::plot::{Bars, Plot};

/// How many rows a table has.
const ROWS: usize = 10;

/// How many open episodes are listed.
const OPEN: usize = 50;

/// `[DAILY] 2026-07-27: 12 problems on 5 of 50 clients, 2 still open`
pub(super) fn subject(period: Period, summary: &Summary) -> String {
    format!("[{}] {}", period.name().to_uppercase(), headline(summary))
}

fn headline(summary: &Summary) -> String {
    let what = match summary.episodes {
        0 => "no problem".to_owned(),
        1 => format!("1 problem on {} of {} clients", summary.afflicted, summary.clients),
        count => format!("{count} problems on {} of {} clients", summary.afflicted, summary.clients),
    };
    let open = match summary.open.len() {
        0 => String::new(),
        open => format!(", {open} still open"),
    };
    format!("{}: {what}{open}", summary.span.name())
}

/// What the receiver reads.
pub(super) fn write(
    letter: &mut Letter,
    period: Period,
    summary: &Summary,
    disks: &[DiskUse],
    (now, draws): (Timestamp, bool),
) {
    let tone = if summary.open.iter().any(|episode| episode.severity == Severity::Critical) {
        Tone::Critical
    } else if summary.open.is_empty() {
        Tone::Fine
    } else {
        Tone::Warning
    };
    letter.blocks.push(Block::Heading(Heading {
        tone,
        tag: period.name().to_uppercase(),
        text: headline(summary),
    }));
    let zone = summary.span.zone;
    letter.field("Span", format!("{} to {}", zone.show(summary.span.from), zone.show(summary.span.to)));
    letter.field(
        "Clients",
        format!("{}, {} of the time reached", summary.clients, percent(summary.availability())),
    );
    let warnings = summary.episodes - summary.criticals;
    letter.field(
        "Problems",
        format!("{} ({} critical, {warnings} warning)", summary.episodes, summary.criticals),
    );
    if draws {
        pictures(letter, summary);
    }
    open(letter, summary, now);
    tables(letter, summary, disks);
}

/// 99.95 % is not 100 %.
fn percent(value: f64) -> String {
    let rounded = (value * 100.0).floor() / 100.0;
    format!("{rounded} %")
}

fn pictures(letter: &mut Letter, summary: &Summary) {
    let span = summary.span;
    if summary.episodes > 0
        && let Some(png) = (Bars { bars: &summary.began, zone: span.zone }).png()
    {
        let alt = format!("{} problems over {}, by when they began", summary.episodes, span.name());
        letter.picture(Picture {
            caption: "Problems by when they began: critical below, warning above",
            alt,
            png,
        });
    }
    let plot = Plot {
        unit: Unit::Percent,
        series: &summary.reached,
        from: span.from,
        to: span.to,
        limits: &[],
        episode: None,
        zone: span.zone,
    };
    if !summary.unreachable.is_empty()
        && let Some(png) = plot.png()
    {
        let alt =
            format!("{} of the clients' time reached over {}", percent(summary.availability()), span.name());
        letter.picture(Picture { caption: "Clients reached", alt, png });
    }
}

/// What is open when the report is written, also what began since.
fn open(letter: &mut Letter, summary: &Summary, now: Timestamp) {
    if summary.open.is_empty() {
        letter.say("Nothing is open.");
        return;
    }
    letter.say("Open now:");
    let heading = |episode: &Episode| {
        let lasts = Unit::Seconds.show((now.since(episode.begin).max(0) / 1000) as f64);
        Heading {
            tone: episode.severity.into(),
            tag: episode.severity.to_string().to_uppercase(),
            text: format!("{}: {}, for {lasts}", crate::mail::client(episode), crate::mail::present(episode)),
        }
    };
    letter.blocks.push(Block::Contents(summary.open.iter().take(OPEN).map(heading).collect()));
    if let Some(more) = summary.open.len().checked_sub(OPEN).filter(|&more| more > 0) {
        letter.say(&format!("and {more} more: fleet-alerter status lists them"));
    }
}

fn tables(letter: &mut Letter, summary: &Summary, disks: &[DiskUse]) {
    letter.table(shares("Clients with most trouble", "CLIENT", &summary.troubled));
    letter.table(shares("Alerts that fired longest", "ALERT", &summary.alerts));
    letter.table(shares("Unreachable", "CLIENT", &summary.unreachable));
    let row = |disk: &DiskUse| {
        let free = disk.free.map_or_else(|| "-".to_owned(), |free| Unit::Bytes.show(free));
        let growth = disk.growth.map_or_else(|| "-".to_owned(), grew);
        vec![Unit::Percent.show(disk.used), growth, free, disk.name.clone()]
    };
    letter.table(Table {
        title: "Fullest disks, and how they grew".to_owned(),
        columns: columns(&[("USED", 8), ("GROWTH", 8), ("FREE", 10), ("DISK", 0)]),
        rows: disks.iter().map(row).collect(),
    });
}

/// `+1.2 %`
fn grew(growth: f64) -> String {
    let shown = format!("{growth:+.1} %");
    if ["+0.0 %", "-0.0 %"].contains(&shown.as_str()) { "0 %".to_owned() } else { shown }
}

fn shares(title: &str, what: &'static str, shares: &[Share]) -> Table {
    let row = |share: &Share| {
        let lasted = Unit::Seconds.show((share.lasted / 1000) as f64);
        vec![share.episodes.to_string(), lasted, share.name.clone()]
    };
    Table {
        title: title.to_owned(),
        columns: columns(&[("TIMES", 6), ("IN ALL", 12), (what, 0)]),
        rows: shares.iter().take(ROWS).map(row).collect(),
    }
}

fn columns(columns: &[(&'static str, usize)]) -> Vec<Column> {
    columns.iter().map(|&(name, width)| Column { name, width }).collect()
}
