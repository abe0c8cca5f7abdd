//! What the storage knows around an episode when a mail about it is composed.

use model::rule::UNREACHABLE;
use model::text::{escape, escape_to};
use model::{Episode, Sample, Timestamp};
use storage::History;

use super::account::plotted;
use crate::fold::FAILED_UNIT;

/// How far back a mail shows a value, in milliseconds.
pub(super) const BACK: i64 = 24 * 3_600_000;

/// How many file systems are listed.
const DISKS: usize = 5;

/// How many failed units are listed.
const UNITS: usize = 10;

/// What the storage knows around an episode. What cannot be had is left out: a mail without it is better than none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Surroundings {
    /// The episode's own values of the last [`BACK`], oldest first.
    pub series: Vec<(Timestamp, f64)>,
    /// What says in bytes how much was left with the latest value.
    pub left: Option<f64>,
    /// The fullest file systems when it fired, the fullest first.
    pub disks: Vec<Disk>,
    /// The units of systemd that had failed when it fired; escaped.
    pub units: Vec<String>,
    /// The client's other open episodes, oldest first.
    pub others: Vec<Episode>,
    /// Clients that are unreachable because this one is, which is not told; escaped.
    pub silenced: Vec<String>,
}

/// A file system as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// Space in use, in percent.
    pub used: f64,
    /// What is free, in bytes.
    pub free: Option<f64>,
}

impl Surroundings {
    /// Reads them; `now` is the time of the run, `open` all that is open.
    pub fn read(store: &mut dyn History, episode: &Episode, open: &[Episode], now: Timestamp) -> Self {
        let client = episode.key.client;
        let labels = &episode.key.labels;
        let metric = plotted(&episode.metric);
        let series = store.series(client, metric, labels, now.plus(-BACK), now).unwrap_or_default();
        let mut samples = |at| {
            let reports = store.reports(client, at, at).unwrap_or_default();
            reports.into_iter().next_back().map(|(_, samples)| samples).unwrap_or_default()
        };
        let left = companion(&episode.metric).and_then(|metric| {
            samples(episode.last_at)
                .into_iter()
                .find(|s| s.metric == metric && s.labels == *labels)
                .map(|sample| sample.value)
        });
        let fired = samples(episode.fired);
        let (disks, units) = (disks(&fired), units(&fired));
        let is_other = |other: &&Episode| other.key.client == client && other.id != episode.id;
        let others = open.iter().filter(is_other).cloned().collect();
        let is_silenced =
            |other: &&Episode| other.metric == UNREACHABLE && is_parent(&episode.client_name, &other.held);
        let silenced = open.iter().filter(is_silenced).map(|other| escape(&other.client_name)).collect();
        Self { series, left, disks, units, others, silenced }
    }
}

/// Whether that is why an episode's news is held back ([`Episode::held`]): it is reached through `client`.
fn is_parent(client: &str, held: &str) -> bool {
    held.strip_prefix(client).is_some_and(|rest| rest.starts_with(", through which"))
}

/// The metric that says in bytes what is left where `metric` says in percent what is used.
fn companion(metric: &str) -> Option<&'static str> {
    match metric {
        "disk" => Some("disk-free"),
        "memory" => Some("memory-available"),
        _ => None,
    }
}

fn units(samples: &[Sample]) -> Vec<String> {
    let failed = samples.iter().filter(|sample| sample.metric == FAILED_UNIT && sample.value != 0.0);
    failed.take(UNITS).map(|sample| escape_to(sample.labels.get("unit").unwrap_or_default(), 60)).collect()
}

fn disks(samples: &[Sample]) -> Vec<Disk> {
    let of = |metric: &'static str| samples.iter().filter(move |sample| sample.metric == metric);
    let mut disks: Vec<Disk> = of("disk")
        .map(|used| Disk {
            mount: used.labels.object(),
            used: used.value,
            free: of("disk-free").find(|free| free.labels == used.labels).map(|free| free.value),
        })
        .collect();
    disks.sort_by(|a, b| b.used.total_cmp(&a.used).then_with(|| a.mount.cmp(&b.mount)));
    disks.truncate(DISKS);
    disks
}
