//! `fleet-alerter backtest`: where the history comes from, and under which rules it is looked at.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use config::{Environment, Settings};
use model::{ClientName, Exit, Rule, Timestamp};
use storage::StoreError;

use super::{Outcome, Runs, count, csv, replay, report};
use crate::rulebook::Rulebook;
use crate::store;

const DAY: i64 = 86_400_000;
/// How often the alerter runs where config.xml does not say it.
const EVERY: i64 = 300_000;
/// After how long a reminder comes where nobody says otherwise.
const REPEAT: i64 = 12 * 3_600_000;

/// Says what the rules would have told of a history, and how many mails that makes
#[derive(Debug, Args)]
pub struct Arguments {
    /// The history: a CSV file with the header client,metric,labels,time,value [default: what is stored]
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// So many days of what is stored, up to now
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3650), conflicts_with = "from")]
    days: u16,
    /// This rule for every client, instead of those of config.xml
    #[arg(long, value_name = "<alert .../>")]
    rule: Option<String>,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The file cannot be read, or is no history.
    File(String),
    /// The rule is none.
    Rule(config::Faults),
    /// The storage.
    Storage(StoreError),
    /// Standard output.
    Output(io::Error),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Storage(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Answers on `out`. `now` ends what is looked at of the storage.
pub fn backtest(
    arguments: &Arguments,
    settings: &Settings,
    now: Timestamp,
    time: &dyn Fn(Timestamp) -> String,
    out: &mut dyn Write,
) -> Result<Exit, Failure> {
    let tried = arguments.rule.as_deref().map(|rule| with_rule(settings, rule)).transpose()?;
    let rules = Rulebook::of(tried.as_ref().unwrap_or(settings));
    let outcome = match &arguments.from {
        Some(path) => replay(from_file(path, settings)?.into_reports(), &rules),
        None => stored(settings, i64::from(arguments.days) * DAY, now, &rules)?,
    };
    let runs = runs(settings, &outcome);
    let mails = count(&outcome.facts, &outcome.episodes, &rules, runs);
    if arguments.json {
        serde_json::to_writer(&mut *out, &report::answer(&outcome, mails)).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", report::text(&outcome, mails, &rules, time))?;
    }
    Ok(Exit::Ok)
}

/// The same fleet with this rule for every client, told to whom each client's rules tell unless it says otherwise.
fn with_rule(settings: &Settings, rule: &str) -> Result<Settings, Failure> {
    // It stands on a line of its own, which a fault shows. The windows are there by name; the real ones are kept.
    let windows: Vec<_> = settings
        .windows
        .iter()
        .map(|window| format!("<window name=\"{}\" daily=\"00:00-01:00\"/>", window.name))
        .collect();
    let client = "<client name=\"any\" ip=\"127.0.0.1\" connection=\"local\">";
    let text = format!("<config>{}{client}\n{rule}\n</client></config>\n", windows.concat());
    let place = PathBuf::from("--rule");
    let tried = config::parse(&text, &place, &Environment::default()).map_err(Failure::Rule)?;
    let tried: Vec<Rule> = tried.clients.into_iter().flat_map(|client| client.rules).collect();
    let mut settings = settings.clone();
    for client in &mut settings.clients {
        let receivers: BTreeSet<String> =
            client.rules.iter().flat_map(|rule| &rule.receivers).cloned().collect();
        client.rules.clone_from(&tried);
        for rule in client.rules.iter_mut().filter(|rule| rule.receivers.is_empty()) {
            rule.receivers = receivers.iter().cloned().collect();
        }
    }
    Ok(settings)
}

fn from_file(path: &PathBuf, settings: &Settings) -> Result<csv::Table, Failure> {
    let place = path.display().to_string();
    let file = File::open(path).map_err(|error| Failure::File(format!("{place}: {error}")))?;
    let known = settings.clients.iter().map(|client| client.name.as_str()).collect();
    csv::read(io::BufReader::new(file), &place, &known).map_err(Failure::File)
}

/// Folds what is stored of each configured client, one after the other: `length` milliseconds up to now.
fn stored(settings: &Settings, length: i64, now: Timestamp, rules: &Rulebook) -> Result<Outcome, Failure> {
    let (mut store, skew) = store::open(settings, storage::open_existing)?;
    let to = skew.there(now);
    let from = to.plus(-length);
    let configured: BTreeSet<&ClientName> = settings.clients.iter().map(|client| &client.name).collect();
    let clients = store.latest()?.into_iter().filter(|client| configured.contains(&client.name));
    let clients: Vec<_> = clients.map(|client| (client.name, client.uid)).collect();
    let mut failed = None;
    let history = clients.into_iter().map_while(|(name, uid)| match store.reports(uid, from, to) {
        Ok(reports) => Some((name, reports)),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let outcome = replay(history, rules);
    failed.map_or(Ok(outcome), |error| Err(Failure::Storage(error)))
}

fn runs(settings: &Settings, outcome: &Outcome) -> Runs {
    let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let every_ms = settings.alerter_every.map_or(EVERY, millis);
    let repeat = settings.mail.as_ref().and_then(|mail| mail.mailing.repeat).map_or(REPEAT, millis);
    let end = outcome.span.map_or(Timestamp(0), |(_, end)| end);
    Runs { every_ms, repeat_ms: Some(repeat), end }
}
