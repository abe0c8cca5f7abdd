//! Where the marks of an axis stand: round values, and round times of the reader's clock.

use model::Timestamp;
use model::metric::Unit;

use crate::zone::Zone;

const MINUTE: f64 = 60.0;
const HOUR: f64 = 60.0 * MINUTE;
const DAY: f64 = 24.0 * HOUR;

/// Round spans of time, in seconds.
const SPANS: [f64; 13] = [
    MINUTE,
    2.0 * MINUTE,
    5.0 * MINUTE,
    15.0 * MINUTE,
    30.0 * MINUTE,
    HOUR,
    2.0 * HOUR,
    4.0 * HOUR,
    6.0 * HOUR,
    12.0 * HOUR,
    DAY,
    2.0 * DAY,
    5.0 * DAY,
];

/// The values that a plot reaches over, with its marks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Values {
    /// The least.
    pub(super) low: f64,
    /// The greatest.
    pub(super) high: f64,
    /// Round values between them, ascending.
    pub(super) marks: Vec<f64>,
}

impl Values {
    /// An axis that shows everything from `low` to `high`, which are finite.
    pub(super) fn over(unit: Unit, low: f64, high: f64) -> Self {
        let (mut low, mut high) = (low.min(high), low.max(high));
        let is_share = unit == Unit::Percent && low >= 0.0 && high <= 100.0;
        let is_positive = low >= 0.0;
        // A line that is nearly flat is to look so.
        let size = high.abs().max(low.abs());
        let least = match size {
            _ if is_share => 2.0,
            0.0 => 0.5,
            size => size * 0.02,
        };
        let margin = ((high - low) * 0.12).max(least);
        (low, high) = (low - margin, high + margin);
        if is_positive && low < high * 0.35 {
            low = 0.0;
        }
        if is_share {
            high = if high > 88.0 { 100.0 } else { high };
            low = low.max(0.0);
        }
        let step = step(unit, (high - low) / 6.0);
        let first = (low / step).ceil();
        let marks = (0..10).map(|count| (first + f64::from(count)) * step);
        Self { low, high, marks: marks.take_while(|mark| *mark <= high).collect() }
    }

    /// An axis for whole numbers up to `highest`.
    pub(super) fn counts(highest: u32) -> Self {
        let high = f64::from(highest.max(4)) * 1.08;
        let step = decimal(high / 5.0).max(1.0);
        let marks = (0..10).map(|count| f64::from(count) * step).take_while(|mark| *mark <= high).collect();
        Self { low: 0.0, high, marks }
    }
}

/// The least round step that is at least `least`.
fn step(unit: Unit, least: f64) -> f64 {
    match unit {
        Unit::Bytes | Unit::BytesPerSecond => least.max(1.0).log2().ceil().exp2(),
        Unit::Seconds if least > 20.0 => {
            SPANS.into_iter().find(|span| *span >= least).unwrap_or_else(|| decimal(least / DAY) * DAY)
        }
        _ => decimal(least),
    }
}

/// The least of 1, 2 and 5 by a power of ten that is at least `least`.
fn decimal(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|step| *step >= least * 0.999).unwrap_or(power * 10.0)
}

/// Round times of `zone`'s clock from `from` to `to`, at most about `count`, with what to write at them.
pub(super) fn times(zone: Zone, from: Timestamp, to: Timestamp, count: f64) -> Vec<(Timestamp, String)> {
    let least = to.since(from) as f64 / 1000.0 / count;
    let step = SPANS
        .into_iter()
        .find(|span| *span >= least)
        .unwrap_or_else(|| (least / DAY).ceil() * DAY)
        .max(MINUTE) as i64
        * 1000;
    // Offsets are whole minutes and change by the half hour at the finest, so nothing round is missed.
    let walk = step.min(30 * 60_000);
    let format = if step < DAY as i64 * 1000 { "%H:%M" } else { "%-d %b" };
    let first = from.millis() - from.millis().rem_euclid(walk) + walk;
    (0..)
        .map(|count| Timestamp(first.saturating_add(walk * count)))
        .take_while(|at| *at <= to)
        .take(4000)
        .filter(|at| at.plus(zone.offset_ms(*at)).millis().rem_euclid(step) == 0)
        .map(|at| (at, zone.format(at, format)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;

    #[test]
    fn marks_are_round_and_few() {
        for (unit, low, high, expected) in [
            (Unit::Percent, 50.0, 93.0, vec!["50 %", "60 %", "70 %", "80 %", "90 %", "100 %"]),
            (Unit::Percent, 12.0, 90.0, vec!["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
            (Unit::Percent, 40.0, 40.0, vec!["38 %", "39 %", "40 %", "41 %", "42 %"]),
            (Unit::Bytes, 0.0, 3.0 * 1024.0 * 1024.0, vec!["0 B", "1 MiB", "2 MiB", "3 MiB"]),
            (Unit::Seconds, 0.0, 7200.0, vec!["0 s", "30 min", "1 h", "1 h 30 min", "2 h"]),
            (Unit::Seconds, -0.5, 0.5, vec!["-500 ms", "0 s", "500 ms"]),
            (Unit::Count, 0.0, 0.0, vec!["0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
            (Unit::Celsius, -3.0, 1.0, vec!["-3 °C", "-2 °C", "-1 °C", "0 °C", "1 °C"]),
        ] {
            let axis = Values::over(unit, low, high);
            let shown: Vec<String> = axis.marks.iter().map(|mark| unit.show(*mark)).collect();
            assert_eq!(shown, expected, "{unit:?} {low}..{high}: {axis:?}");
            assert!(axis.low <= low && axis.high >= high, "{axis:?}");
        }
    }

    #[test]
    fn times_are_round_by_the_readers_clock() {
        let day = 86_400_000;
        let shown = |zone, from, span| {
            let marks = times(Zone::Named(zone), Timestamp(from), Timestamp(from + span), 7.0);
            marks.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ")
        };
        let summer = 1_785_204_000_000;
        assert_eq!(shown(Tz::Europe__Berlin, summer, day), "08:00 12:00 16:00 20:00 00:00 04:00");
        assert_eq!(shown(Tz::Asia__Kolkata, summer, day), "08:00 12:00 16:00 20:00 00:00 04:00");
        // In the night to 2026-10-25 the clock is set back.
        assert_eq!(shown(Tz::Europe__Berlin, 1_792_792_800_000, day), "04:00 08:00 12:00 16:00 20:00 00:00");
        assert_eq!(shown(Tz::UTC, summer, 7 * day), "29 Jul 30 Jul 31 Jul 1 Aug 2 Aug 3 Aug 4 Aug");
    }
}
