//! `silence`: for a while nobody is told of what a client or a group does.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use config::{Client, Settings};
use model::metric::Unit;
use model::text::escape_to;
use model::{Silence, Timestamp};
use storage::AlertStore;

use crate::explain::command::{Failure, unknown};
use crate::store::{existing, open};

/// The most characters of a reason.
const WHY: usize = 200;

/// The longest silence: a year.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// What `silence` is told.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// A client's name, or @ and a group
    #[arg(value_name = "NAME|@GROUP", required_unless_present_any = ["list", "end"])]
    target: Option<String>,
    /// For how long: 30m, 2h, 1d
    #[arg(long = "for", value_name = "SPAN", value_parser = span, required_unless_present_any = ["list", "end"])]
    span: Option<Duration>,
    /// Why; whoever looks at `status` reads it
    #[arg(long, value_name = "TEXT", value_parser = why, required_unless_present_any = ["list", "end"])]
    why: Option<String>,
    /// Only alerts of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Show the silences that are not over
    #[arg(long, conflicts_with_all = ["target", "span", "why", "kind", "end"])]
    list: bool,
    /// End this silence now
    #[arg(long, value_name = "ID", conflicts_with_all = ["target", "span", "why", "kind"])]
    end: Option<i64>,
}

/// A span of time on the command line: `30m`, `2h`, `1d`, up to a year.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is no span of time: write 30m, 2h or 1d, up to a year");
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(expected)?;
    let span = number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(expected)?;
    if span.is_zero() || span > LONGEST { Err(expected()) } else { Ok(span) }
}

/// A reason on the command line, as one line.
pub(crate) fn why(text: &str) -> Result<String, String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.chars().count() {
        0 => Err("say why in a few words".to_owned()),
        1..=WHY => Ok(text),
        _ => Err(format!("it has more than {WHY} characters")),
    }
}

/// `at` moved by `span`.
pub(crate) fn after(at: Timestamp, span: Duration) -> Timestamp {
    at.plus(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

/// Does what `arguments` say with the configured storage; what to print.
pub fn silence(
    arguments: &Arguments,
    settings: &Settings,
    now: Timestamp,
    time: &dyn Fn(Timestamp) -> String,
) -> Result<String, Failure> {
    if arguments.list {
        let (mut store, skew) = open(settings, storage::open_existing)?;
        return Ok(list(&store.silences(skew.there(now))?, time));
    }
    if let Some(id) = arguments.end {
        let (mut store, skew) = existing(settings)?;
        return end(&mut *store, id, skew.there(now));
    }
    let (Some(target), Some(span), Some(why)) = (&arguments.target, arguments.span, &arguments.why) else {
        return Err(Failure::Unknown("say whom, for how long and why; see --help".to_owned()));
    };
    check(settings, target, arguments.kind.as_deref())?;
    let (mut store, skew) = existing(settings)?;
    let from = skew.there(now);
    let until = after(from, span);
    let (target, metric, why) = (target.clone(), arguments.kind.clone(), why.clone());
    let text = format!("nobody is told of {} until {}", of(&target, metric.as_deref()), time(until));
    let id = store.add_silence(&Silence { id: 0, target, metric, from, until, why })?;
    Ok(format!("silence {id}: {text}; fleet-alerter silence --end {id} ends it\n"))
}

fn end(store: &mut dyn AlertStore, id: i64, now: Timestamp) -> Result<String, Failure> {
    if store.end_silence(id, now)? {
        return Ok(format!("silence {id} is over\n"));
    }
    let what = format!("there is no silence {id} that is not over: see fleet-alerter silence --list");
    Err(Failure::Unknown(what))
}

/// Whether config.xml has what is to be silent.
fn check(settings: &Settings, target: &str, kind: Option<&str>) -> Result<(), Failure> {
    let clients = || settings.clients.iter();
    let shown = escape_to(target, 60);
    let meant: Vec<&Client> = match target.strip_prefix('@') {
        Some(group) => clients().filter(|client| client.groups.contains(group)).collect(),
        None => clients().filter(|client| client.name.as_str() == target).collect(),
    };
    if meant.is_empty() {
        let groups = clients().flat_map(|client| &client.groups).map(|group| format!("@{group}"));
        let names = clients().map(|client| client.name.to_string());
        let known: BTreeSet<String> =
            if target.starts_with('@') { groups.collect() } else { names.collect() };
        let what = if target.starts_with('@') { "group" } else { "client" };
        let names = known.iter().map(String::as_str);
        return Err(unknown(format_args!("config.xml has no {what} {shown}"), target, names));
    }
    let rules = || meant.iter().flat_map(|client| &client.rules).map(|rule| rule.metric.as_str());
    match kind {
        Some(kind) if rules().all(|metric| metric != kind) => {
            let what = format!("{shown} has no rule of the type {}", escape_to(kind, 60));
            let types: BTreeSet<&str> = rules().collect();
            Err(unknown(format_args!("{what}"), kind, types.iter().copied()))
        }
        _ => Ok(()),
    }
}

/// `web1`, `load of @db`
fn of(target: &str, metric: Option<&str>) -> String {
    let kind = metric.map_or_else(String::new, |kind| format!("{kind} of "));
    escape_to(&format!("{kind}{target}"), 120)
}

fn list(silences: &[Silence], time: &dyn Fn(Timestamp) -> String) -> String {
    if silences.is_empty() {
        return "there is no silence\n".to_owned();
    }
    silences.iter().fold(String::new(), |mut text, silence| {
        let _ = writeln!(
            text,
            "{:>3}  {}, from {} until {} ({}): {}",
            silence.id,
            of(&silence.target, silence.metric.as_deref()),
            time(silence.from),
            time(silence.until),
            Unit::Seconds.show(silence.until.since(silence.from) as f64 / 1000.0),
            escape_to(&silence.why, WHY)
        );
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let seconds = |text| span(text).map(|span| span.as_secs());
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("30m"), Ok(1800));
        assert_eq!(seconds("2h"), Ok(7200));
        assert_eq!(seconds("366d"), Ok(366 * 86_400));
        for bad in ["", "2", "h", "0m", "-1h", "1.5h", "2 h", "367d", "99999999999999999999d", "2H", "2é"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reason_is_one_line() {
        assert_eq!(why(" disks\r\n are   replaced ").as_deref(), Ok("disks are replaced"));
        assert!(why(" \n").is_err() && why(&"x".repeat(201)).is_err());
    }
}
