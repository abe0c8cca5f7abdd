//! When a record was true, by the collector's clock. Pure.
//!
//! A client's clock may be wrong, alerts must not be: a record's age is taken from the client (by CLOCK_BOOTTIME where
//! the boot is the same, by its wall clock else) and subtracted from the time of receipt.

use model::record::MAX_SAMPLES;
use model::{Body, Clock, Record, Sample, Timestamp};

/// The one metric that the collector adds.
const CLOCK_OFFSET: &str = "clock-offset";

/// The event times of records that came in this order. `None` stands for one that would not open: it has no clock.
///
/// Never after the receipt, never after the next one, and never before `floor`, the newest event time that is stored
/// for the client; where the collector's own clock stepped back below `floor`, that wins.
pub(crate) fn stamp(
    now: &Clock,
    receipt: Timestamp,
    floor: Option<Timestamp>,
    records: &[Option<&Clock>],
) -> Vec<Timestamp> {
    let mut next = receipt;
    let mut times: Vec<_> = records
        .iter()
        .rev()
        .map(|clock| {
            let own = clock.map_or(next, |clock| receipt.plus(-age(now, clock)));
            next = next.min(own);
            floor.map_or(next, |floor| next.max(floor))
        })
        .collect();
    times.reverse();
    times
}

/// Milliseconds from `then` to `now`, at least 0.
fn age(now: &Clock, then: &Clock) -> i64 {
    let same_boot = !now.boot_id.is_empty() && now.boot_id == then.boot_id;
    if same_boot {
        i64::try_from(now.boottime_ms.saturating_sub(then.boottime_ms)).unwrap_or(i64::MAX)
    } else {
        now.wall.since(then.wall).max(0)
    }
}

/// Adds to the newest report how far the client's wall clock is ahead of ours, in seconds.
pub(crate) fn note_offset(record: &mut Record, now: &Clock, receipt: Timestamp) {
    if let Body::Report(report) = &mut record.body {
        report.samples.retain(|sample| sample.metric != CLOCK_OFFSET);
        // A report that is full must not become one that the storage refuses.
        report.samples.truncate(MAX_SAMPLES - 1);
        report.samples.push(Sample {
            metric: CLOCK_OFFSET.to_owned(),
            labels: model::Labels::default(),
            value: now.wall.since(receipt) as f64 / 1000.0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clock(wall: i64, boottime_ms: u64, boot: &str) -> Clock {
        Clock { wall: Timestamp(wall), boottime_ms, boot_id: boot.to_owned() }
    }

    #[test]
    fn a_stepped_wall_clock_does_not_matter_within_a_boot() {
        // The clock was ten years ahead when the first record was written, and was mended since.
        let records = [clock(400_000_000_000, 1_000, "b"), clock(90_000, 61_000, "b")];
        let stamped = stamp(
            &clock(100_000, 71_000, "b"),
            Timestamp(1_000_000),
            None,
            &records.iter().map(Some).collect::<Vec<_>>(),
        );
        assert_eq!(stamped, [Timestamp(930_000), Timestamp(990_000)]);
    }

    #[test]
    fn over_a_boot_the_wall_clock_tells() {
        let record = clock(40_000, 999_999, "old");
        let stamped = stamp(&clock(100_000, 5, "new"), Timestamp(1_000_000), None, &[Some(&record)]);
        assert_eq!(stamped, [Timestamp(940_000)]);
    }

    #[test]
    fn without_boot_ids_boottimes_are_not_compared() {
        let record = clock(40_000, 0, "");
        assert_eq!(
            stamp(&clock(100_000, 5_000, ""), Timestamp(1_000_000), None, &[Some(&record)]),
            [Timestamp(940_000)]
        );
    }

    #[test]
    fn what_is_stored_already_is_the_floor() {
        let record = clock(0, 0, "b");
        let floor = Some(Timestamp(999_000));
        assert_eq!(
            stamp(&clock(9, 500_000, "b"), Timestamp(1_000_000), floor, &[Some(&record)]),
            [Timestamp(999_000)]
        );
    }

    #[test]
    fn the_offset_is_in_the_catalogue_and_said_once() {
        assert!(model::metric::METRICS.iter().any(|metric| metric.name == CLOCK_OFFSET));
        let mut record =
            Record { version: 1, clock: clock(0, 0, ""), body: Body::Report(model::Report::default()) };
        for _ in 0..2 {
            note_offset(&mut record, &clock(7_500, 0, ""), Timestamp(10_000));
        }
        let Body::Report(report) = &record.body else { panic!() };
        assert_eq!(report.samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [-2.5]);
    }

    #[test]
    fn a_report_that_is_full_still_fits() {
        let sample = |value| Sample { metric: "disk".to_owned(), labels: model::Labels::default(), value };
        let samples = (0..MAX_SAMPLES).map(|value| sample(value as f64)).collect();
        let report = model::Report { samples, ..model::Report::default() };
        let mut record = Record { version: 1, clock: clock(0, 0, ""), body: Body::Report(report) };
        note_offset(&mut record, &clock(7_500, 0, ""), Timestamp(10_000));
        let decoded = Record::decode(&record.encode().unwrap()).unwrap();
        let Body::Report(report) = decoded.body else { panic!() };
        assert_eq!(report.samples.len(), MAX_SAMPLES);
        assert_eq!(report.samples.last().map(|last| last.metric.as_str()), Some(CLOCK_OFFSET));
    }

    fn any_clock() -> impl Strategy<Value = Clock> {
        (any::<i64>(), any::<u64>(), "[ab]?").prop_map(|(wall, boottime, boot)| clock(wall, boottime, &boot))
    }

    proptest! {
        #[test]
        fn event_time_never_goes_back_and_is_never_in_the_future(
            now in any_clock(),
            receipt in 0_i64..4_000_000_000_000,
            floor in proptest::option::of(0_i64..4_000_000_000_000),
            records in proptest::collection::vec(proptest::option::of(any_clock()), 0..8),
        ) {
            let floor = floor.map(Timestamp);
            let clocks: Vec<_> = records.iter().map(Option::as_ref).collect();
            let stamped = stamp(&now, Timestamp(receipt), floor, &clocks);
            prop_assert_eq!(stamped.len(), records.len());
            prop_assert!(stamped.is_sorted());
            prop_assert!(stamped.iter().all(|time| floor.is_none_or(|floor| *time >= floor)));
            let ceiling = floor.map_or(receipt, |floor| receipt.max(floor.0));
            prop_assert!(stamped.iter().all(|time| time.0 <= ceiling));
        }
    }
}
