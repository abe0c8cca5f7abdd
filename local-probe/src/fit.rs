//! What a report leaves out where there is more than a record has room for.
//!
//! The values of the machine as a whole always stay. Of each kind of object (mounts, interfaces, devices, ...) those
//! stay that need attention most: what is in trouble, then the fullest or busiest, then what moves most bytes. How many
//! of each kind is one number: the largest up to [`MAX_OBJECTS`] with which the report fits.

use crate::order;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::record::{MAX_RECORD, MAX_SAMPLES};
use model::{Labels, ReaderOutcome, Report, Sample, Unit, metric};

/// The most objects of one kind that are told of.
const MAX_OBJECTS: usize = 512;

/// Samples that a report gets after it was made to fit: `left-out`, and `clock-offset` by the collector.
const SAMPLES_TO_COME: usize = 2;

/// Bytes that a record has beside the report, and that the report gets after it was made to fit.
const BYTES_TO_COME: usize = 4096;

/// Leaves out what there is no room for, and says how many objects that were: in the metric `left-out` and, where there
/// were any, in the outcome of a reader `report`.
pub(crate) fn fit(report: &mut Report) {
    report.samples.retain(|sample| sample.check().is_ok());
    let ranks = Ranks::of(report);
    let most = ranks.most();
    if most > MAX_OBJECTS || !has_room(report) {
        let whole = std::mem::take(&mut report.samples);
        let mounts = std::mem::take(&mut report.host.mounts);
        let cut_to = |report: &mut Report, count: usize| {
            report.samples = whole.iter().filter(|sample| ranks.keeps(sample, count)).cloned().collect();
            let kept = mounts.iter().filter(|(mount, _)| ranks.keeps_object(MOUNT, mount, count));
            report.host.mounts = order::map(kept.map(|(mount, kind)| (mount.clone(), kind.clone())));
        };
        let (mut fits, mut too_many) = (0, most.min(MAX_OBJECTS) + 1);
        while too_many - fits > 1 {
            let middle = usize::midpoint(fits, too_many);
            cut_to(report, middle);
            if has_room(report) {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        cut_to(report, fits);
        report.readers.push(ReaderOutcome {
            reader: "report".to_owned(),
            micros: 0,
            fault: Some(model::text::escape(&ranks.left_out(fits))),
        });
        push_left_out(report, ranks.count_left_out(fits));
    } else {
        push_left_out(report, 0);
    }
}

fn push_left_out(report: &mut Report, count: usize) {
    report.samples.push(Sample {
        metric: "left-out".to_owned(),
        labels: Labels::none(),
        value: count as f64,
    });
}

fn has_room(report: &Report) -> bool {
    report.samples.len() + SAMPLES_TO_COME <= MAX_SAMPLES
        && model::wire::to_cbor(report).len() + BYTES_TO_COME <= MAX_RECORD
}

/// The label of file systems.
const MOUNT: &str = "mount";

/// Of which kind of object the sample tells, and of which; `None` of the machine as a whole.
fn object(sample: &Sample) -> Option<(String, String)> {
    if metric::is_custom(&sample.metric) {
        return Some(("custom metric".to_owned(), format!("{} {}", sample.metric, sample.labels)));
    }
    let (kind, _) = sample.labels.iter().next()?;
    Some((kind.to_owned(), sample.labels.object()))
}

/// How much an object needs attention.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Need {
    /// Something is wrong with it.
    trouble: bool,
    /// How full or busy it is, how many of its packets are bad, or how hot it is.
    share: f64,
    /// What moves through it, in bytes per second.
    traffic: f64,
}

impl Need {
    fn add(&mut self, sample: &Sample) {
        let value = sample.value;
        match (sample.metric.as_str(), metric::find(&sample.metric).map_or(Unit::Count, |metric| metric.unit))
        {
            ("mount-stuck" | "bond-degraded" | "pool-degraded" | "raid", _) => self.trouble |= value > 0.0,
            (_, Unit::Percent | Unit::Celsius) => self.share = self.share.max(value),
            ("network-speed", _) => {}
            (_, Unit::BytesPerSecond) => self.traffic += value,
            _ => {}
        }
    }

    /// The greatest need first.
    fn order(&self, other: &Self) -> Ordering {
        (other.trouble.cmp(&self.trouble))
            .then(other.share.total_cmp(&self.share))
            .then(other.traffic.total_cmp(&self.traffic))
    }
}

/// For each kind its objects, with their ranks from 0.
struct Ranks(BTreeMap<String, BTreeMap<String, usize>>);

impl Ranks {
    fn of(report: &Report) -> Self {
        let mut needs: BTreeMap<String, BTreeMap<String, Need>> = BTreeMap::new();
        for mount in report.host.mounts.keys() {
            // The root says most about the machine, however empty it is.
            let need = Need { trouble: mount == "/", ..Need::default() };
            needs.entry(MOUNT.to_owned()).or_default().insert(mount.clone(), need);
        }
        for sample in &report.samples {
            if let Some((kind, object)) = object(sample) {
                needs.entry(kind).or_default().entry(object).or_default().add(sample);
            }
        }
        Self(order::map(needs.into_iter().map(|(kind, needs)| (kind, ranked(needs)))))
    }

    /// The most objects that a kind has.
    fn most(&self) -> usize {
        self.0.values().map(BTreeMap::len).max().unwrap_or(0)
    }

    /// Whether the sample stays where `count` objects of each kind do.
    fn keeps(&self, sample: &Sample, count: usize) -> bool {
        object(sample).is_none_or(|(kind, object)| self.keeps_object(&kind, &object, count))
    }

    fn keeps_object(&self, kind: &str, object: &str, count: usize) -> bool {
        self.0.get(kind).and_then(|ranks| ranks.get(object)).is_none_or(|rank| *rank < count)
    }

    fn count_left_out(&self, count: usize) -> usize {
        self.0.values().map(|ranks| ranks.len().saturating_sub(count)).sum()
    }

    /// For a person: `left out, for want of room: 4488 of 5000 mounts, ...`.
    fn left_out(&self, count: usize) -> String {
        let mut text = "left out, for want of room:".to_owned();
        let larger = self.0.iter().filter(|(_, ranks)| ranks.len() > count);
        for (at, (kind, ranks)) in larger.enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let plural = if kind.ends_with('s') { "es" } else { "s" };
            // Writing to memory cannot fail.
            let _ = write!(text, "{comma} {} of {} {kind}{plural}", ranks.len() - count, ranks.len());
        }
        text
    }
}

/// Equal needs are ranked by name, so that report after report tells of the same objects.
fn ranked(needs: BTreeMap<String, Need>) -> BTreeMap<String, usize> {
    let mut needs: Vec<_> = needs.into_iter().collect();
    order::sort_by(&mut needs, |a, b| a.1.order(&b.1));
    order::map(needs.into_iter().enumerate().map(|(rank, (object, _))| (object, rank)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Body, Clock, Record, Timestamp};
    use proptest::prelude::*;

    fn sample(metric: &str, labels: Labels, value: f64) -> Sample {
        Sample { metric: metric.to_owned(), labels, value }
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let samples =
            vec![sample("cpu", Labels::none(), 1.0), sample("disk", Labels::one("mount", "/"), 2.0)];
        let mut report = Report { samples: samples.clone(), ..Report::default() };
        fit(&mut report);
        assert_eq!(report.samples[..2], samples);
        assert_eq!(report.samples[2..], [sample("left-out", Labels::none(), 0.0)]);
        assert!(report.readers.is_empty());
    }

    #[test]
    fn trouble_comes_before_shares_and_those_before_traffic() {
        let mut samples: Vec<_> = (0..1000)
            .map(|i| sample("network-in", Labels::one("interface", &format!("i{i:03}")), f64::from(i)))
            .collect();
        samples.push(sample("network-errors", Labels::one("interface", "i000"), 0.5));
        samples.extend((0..600).map(|i| sample("raid", Labels::one("array", &format!("md{i:03}")), 0.0)));
        samples.push(sample("raid", Labels::one("array", "md599"), 1.0));
        let mut report = Report { samples, ..Report::default() };
        fit(&mut report);
        let told = |object: &str| report.samples.iter().any(|sample| sample.labels.object() == object);
        assert!(told("i000") && told("i999") && told("i489"));
        assert!(!told("i001") && !told("i488"));
        assert!(told("md599") && told("md510") && !told("md511"));
        let outcome = &report.readers[0];
        let fault = "left out, for want of room: 88 of 600 arrays, 488 of 1000 interfaces";
        assert_eq!(outcome.fault.as_deref(), Some(fault));
        assert_eq!(report.samples.last(), Some(&sample("left-out", Labels::none(), 576.0)));
    }

    #[test]
    fn labels_that_no_collector_takes_are_left_out() {
        let samples = vec![
            sample("disk", Labels::one("mount", &"x".repeat(5000)), 1.0),
            sample("", Labels::none(), 1.0),
        ];
        let mut report = Report { samples, ..Report::default() };
        fit(&mut report);
        assert_eq!(report.samples.len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn whatever_there_is_the_collector_takes_it(
            counts in proptest::collection::vec((0_usize..2000, 1_usize..1000), 1..4),
            values in proptest::collection::vec(-1e9_f64..1e9, 8),
        ) {
            let names = ["disk", "read-only", "network-in", "network-errors", "custom:own"];
            let mut report = Report::default();
            for (at, (count, length)) in counts.into_iter().enumerate() {
                let kind = ["mount", "interface", "device"][at % 3];
                for i in 0..count {
                    let object = format!("{i}{}", "y".repeat(length));
                    let value = values[i % values.len()];
                    report.samples.push(sample(names[i % names.len()], Labels::one(kind, &object), value));
                    if kind == "mount" {
                        report.host.mounts.insert(object, "xfs".to_owned());
                    }
                }
            }
            report.samples.push(sample("cpu", Labels::none(), 1.0));
            fit(&mut report);
            prop_assert!(report.samples.iter().any(|sample| sample.metric == "cpu"));
            let clock = Clock { wall: Timestamp(0), boottime_ms: 0, boot_id: String::new() };
            let record = Record { version: 2, clock, body: Body::Report(report) };
            prop_assert!(Record::decode(&record.encode().unwrap()).is_ok());
        }
    }
}
