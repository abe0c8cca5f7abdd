//! What is known of the fleet, for people and for programs.

pub(crate) mod alerts;

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use config::Settings;
use model::metric::{self, Unit};
use model::text::escape;
use model::{Host, Sample, Timestamp};
use serde::Serialize;
use storage::{AlertStore, Delivery, Latest, Program, Run, Store, StoreError};

pub use alerts::{AlertStatus, PendingStatus, SilenceStatus};

/// The version of the JSON's shape; it grows when a field changes its meaning or goes, not when one is added.
pub const VERSION: u32 = 1;

/// How long a host that left is shown, in milliseconds.
const REMEMBERED_MS: i64 = 7 * 86_400_000;

/// Everything that `status` shows; its JSON is documented in docs/alerting.md. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// The configured clients and those that the storage knows, by name.
    pub clients: Vec<ClientStatus>,
    /// The open episodes, oldest first.
    pub alerts: Vec<AlertStatus>,
    /// What breaches, but not for long enough to fire, oldest first.
    pub pending: Vec<PendingStatus>,
    /// The silences that are not over.
    pub silences: Vec<SilenceStatus>,
    /// Messages that wait, are in doubt, or were given up, oldest first.
    pub outbox: Vec<MessageStatus>,
    /// Receivers that mail did not reach lately.
    pub backoffs: Vec<BackoffStatus>,
    /// How much there is of what.
    pub counts: CountStatus,
    /// The latest run of each program.
    pub runs: RunsStatus,
}

/// One client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClientStatus {
    /// Its name.
    pub name: String,
    /// Whether it is in config.xml.
    pub configured: bool,
    /// The latest attempt that collected.
    pub last_contact: Option<String>,
    /// The latest attempt.
    pub last_attempt: Option<String>,
    /// How that ended: the name of the outcome.
    pub outcome: Option<String>,
    /// What went wrong then, and what to do about it; empty where nothing did.
    pub message: String,
    /// When the newest report was true.
    pub event_time: Option<String>,
    /// The machine.
    pub host: Option<Host>,
    /// The newest values.
    pub metrics: Vec<MetricStatus>,
    /// The probe's readers that could not tell all they should for those, with why.
    pub reader_faults: BTreeMap<String, String>,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricStatus {
    /// The metric's plain name.
    pub metric: String,
    /// Which of its series.
    pub labels: BTreeMap<String, String>,
    /// The value in the metric's base unit.
    pub value: f64,
    /// `percent`, `bytes`, `bytes-per-second`, `per-second`, `seconds`, `count` or `flag` (0 or 1).
    pub unit: &'static str,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MessageStatus {
    /// Its Message-ID.
    pub id: String,
    /// The address.
    pub receiver: String,
    /// Its subject.
    pub subject: String,
    /// When it was composed.
    pub created: String,
    /// `waiting`, `in-doubt` or `refused`.
    pub state: &'static str,
    /// What happened; empty where it was not tried yet.
    pub detail: String,
}

/// One receiver that mail did not reach lately.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackoffStatus {
    /// The address.
    pub receiver: String,
    /// Failures in a row.
    pub failures: u32,
    /// Not tried before.
    pub next: String,
    /// What happened last.
    pub detail: String,
}

/// How much there is of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CountStatus {
    /// Reports and gap records stored.
    pub reports: u64,
    /// Reports and attempts not evaluated yet.
    pub unevaluated: u64,
    /// Records that were ever set aside: those that would not open or decode, or break a bound.
    pub quarantined: u64,
    /// News that no mail has told yet.
    pub untold: u64,
}

/// The latest run of each program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunsStatus {
    /// fleet-collector.
    pub collector: Option<RunStatus>,
    /// fleet-alerter.
    pub alerter: Option<RunStatus>,
    /// Where several hosts share the storage: the latest run on each of them within a week, by program and host.
    pub hosts: Vec<HostStatus>,
}

/// One host of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostStatus {
    /// `fleet-collector` or `fleet-alerter`.
    pub program: &'static str,
    /// The host.
    pub host: String,
    /// Its latest run.
    pub run: RunStatus,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunStatus {
    /// When it began.
    pub begin: String,
    /// When it ended; `null` while it runs, and for ever where it was killed.
    pub end: Option<String>,
    /// Clients collected, or messages sent.
    pub done: u64,
    /// Clients or messages that failed.
    pub failed: u64,
}

impl Status {
    /// Reads it from the store, as it is at `now`.
    pub fn read(store: &mut dyn Store, settings: &Settings, now: Timestamp) -> Result<Self, StoreError> {
        let counts = store.counts()?;
        let latest = store.latest()?;
        Ok(Self {
            version: VERSION,
            alerts: alerts::open(store, now)?,
            pending: alerts::pending(store, &latest, settings)?,
            silences: store.silences(now)?.into_iter().map(alerts::silence).collect(),
            clients: clients(latest, settings),
            outbox: store
                .unsent()?
                .into_iter()
                .map(|(message, delivery)| outgoing(message, delivery))
                .collect(),
            backoffs: backoffs(store)?,
            counts: CountStatus {
                reports: counts.reports,
                unevaluated: counts.unevaluated,
                quarantined: counts.quarantined,
                untold: counts.untold,
            },
            runs: RunsStatus {
                collector: store.last_run(Program::Collector)?.as_ref().map(run),
                alerter: store.last_run(Program::Alerter)?.as_ref().map(run),
                hosts: hosts(store, now)?,
            },
        })
    }
}

/// RFC 3339 in UTC with milliseconds.
fn rfc3339(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp_millis(at.millis())
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default()
}

fn unit(metric: &str) -> &'static str {
    match metric::unit(metric) {
        Unit::Percent => "percent",
        Unit::Bytes => "bytes",
        Unit::BytesPerSecond => "bytes-per-second",
        Unit::PerSecond => "per-second",
        Unit::Seconds => "seconds",
        Unit::Celsius => "celsius",
        Unit::Count => "count",
        Unit::Flag => "flag",
    }
}

fn labels(labels: &model::Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn clients(latest: Vec<Latest>, settings: &Settings) -> Vec<ClientStatus> {
    let configured =
        settings.clients.iter().map(|client| (client.name.to_string(), never(client.name.as_str())));
    let mut clients: BTreeMap<String, ClientStatus> = configured.collect();
    for latest in latest {
        let name = latest.name.to_string();
        let configured = clients.contains_key(&name);
        let status = client(&name, latest, configured);
        clients.insert(name, status);
    }
    clients.into_values().collect()
}

/// A client that was never tried.
fn never(name: &str) -> ClientStatus {
    ClientStatus {
        name: name.to_owned(),
        configured: true,
        last_contact: None,
        last_attempt: None,
        outcome: None,
        message: String::new(),
        event_time: None,
        host: None,
        metrics: Vec::new(),
        reader_faults: BTreeMap::new(),
    }
}

fn client(name: &str, latest: Latest, configured: bool) -> ClientStatus {
    let mut status =
        ClientStatus { configured, last_contact: latest.last_contact.map(rfc3339), ..never(name) };
    if let Some((at, outcome)) = latest.attempt {
        status.last_attempt = Some(rfc3339(at));
        status.outcome = Some(outcome.name().to_owned());
        let (message, remedy) = (outcome.message(), outcome.remedy());
        status.message = if remedy.is_empty() { message } else { format!("{message}: {remedy}") };
    }
    status.reader_faults = latest.faults.into_iter().collect();
    if let Some((at, host, samples)) = latest.report {
        status.event_time = Some(rfc3339(at));
        status.host = Some(host);
        status.metrics = samples.iter().map(value).collect();
        status.metrics.sort_by(|a, b| (&a.metric, &a.labels).cmp(&(&b.metric, &b.labels)));
    }
    status
}

fn value(sample: &Sample) -> MetricStatus {
    let unit = unit(&sample.metric);
    MetricStatus { metric: sample.metric.clone(), labels: labels(&sample.labels), value: sample.value, unit }
}

fn outgoing(message: storage::Message, delivery: Delivery) -> MessageStatus {
    let (state, detail) = match delivery {
        Delivery::Permanent { detail } => ("refused", detail),
        Delivery::InDoubt { detail } if !detail.is_empty() => ("in-doubt", detail),
        Delivery::InDoubt { .. } | Delivery::Sent | Delivery::Dissolved => ("waiting", String::new()),
    };
    let storage::Message { id, receiver, subject, created, .. } = message;
    MessageStatus { id, receiver, subject, created: rfc3339(created), state, detail: escape(&detail) }
}

fn backoffs(store: &mut dyn AlertStore) -> Result<Vec<BackoffStatus>, StoreError> {
    let mut backoffs = store.backoffs()?;
    backoffs.sort_by(|a, b| a.receiver.cmp(&b.receiver));
    let status = |backoff: storage::Backoff| BackoffStatus {
        receiver: backoff.receiver,
        failures: backoff.failures,
        next: rfc3339(backoff.next),
        detail: backoff.detail,
    };
    Ok(backoffs.into_iter().map(status).collect())
}

/// The hosts of each program that more than one runs.
fn hosts(store: &mut dyn Store, now: Timestamp) -> Result<Vec<HostStatus>, StoreError> {
    let mut hosts = Vec::new();
    for program in [Program::Collector, Program::Alerter] {
        let mut latest = store.latest_runs(program, 1)?;
        latest.retain(|run| !run.host.is_empty() && now.since(run.begin) < REMEMBERED_MS);
        latest.sort_by(|a, b| a.host.cmp(&b.host));
        if latest.len() > 1 {
            let status =
                |of: &Run| HostStatus { program: program.name(), host: of.host.clone(), run: run(of) };
            hosts.extend(latest.iter().map(status));
        }
    }
    Ok(hosts)
}

fn run(run: &Run) -> RunStatus {
    RunStatus { begin: rfc3339(run.begin), end: run.end.map(rfc3339), done: run.done, failed: run.failed }
}
