//! The fullest file systems of a fleet.

use std::collections::BTreeSet;

use model::text::escape_to;
use model::{ClientUid, Labels};
use storage::{History, Latest, StoreError};

use super::span::Span;

/// How many are told of.
const MOST: usize = 10;

/// A file system, and how it grew.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DiskUse {
    /// `web1 /var`; escaped.
    pub(super) name: String,
    /// Space in use by the newest report, in percent.
    pub(super) used: f64,
    /// What is free, in bytes.
    pub(super) free: Option<f64>,
    /// By how much `used` changed over the span, in percent of the file system.
    pub(super) growth: Option<f64>,
}

/// The fullest ones of `clients`, the fullest first.
pub(super) fn fullest(
    store: &mut dyn History,
    latest: &[Latest],
    clients: &BTreeSet<&str>,
    span: Span,
) -> Result<Vec<DiskUse>, StoreError> {
    let mut disks: Vec<(ClientUid, Labels, DiskUse)> = Vec::new();
    for client in latest.iter().filter(|client| clients.contains(client.name.as_str())) {
        let Some((_, _, samples)) = &client.report else { continue };
        let of = |metric: &'static str| samples.iter().filter(move |sample| sample.metric == metric);
        disks.extend(of("disk").filter(|used| used.value.is_finite()).map(|used| {
            let free = of("disk-free").find(|free| free.labels == used.labels).map(|free| free.value);
            let name = format!("{} {}", client.name, escape_to(&used.labels.object(), 60));
            (client.uid, used.labels.clone(), DiskUse { name, used: used.value, free, growth: None })
        }));
    }
    disks.sort_by(|(_, _, a), (_, _, b)| b.used.total_cmp(&a.used).then_with(|| a.name.cmp(&b.name)));
    disks.truncate(MOST);
    let mut grown = Vec::new();
    for (client, labels, disk) in disks {
        let series = store.series(client, "disk", &labels, span.from, span.to)?;
        let growth = series.first().zip(series.last()).map(|(first, last)| last.1 - first.1);
        grown.push(DiskUse { growth: growth.filter(|growth| growth.is_finite()), ..disk });
    }
    Ok(grown)
}
