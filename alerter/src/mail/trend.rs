//! Where a value is going.

use model::Timestamp;
use model::metric::Unit;

/// How far back the line is fitted, in milliseconds.
const BACK: i64 = 6 * 3_600_000;

/// The least time that the values have to span, in milliseconds.
const LEAST: i64 = 3_600_000;

/// The fewest values.
const FEWEST: usize = 6;

/// How much of the values' movement a straight line has to explain, from 0 to 1.
const STRAIGHT: f64 = 0.8;

/// Beyond so many hours nobody wants to hear when it is full.
const FAR: f64 = 30.0 * 24.0;

/// A straight line through the latest values (least squares).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Trend {
    /// Change per hour.
    per_hour: f64,
    /// The hours that it was seen for.
    hours: f64,
    /// The latest value.
    latest: f64,
}

impl Trend {
    /// The trend of the last hours of `series` (oldest first); `None` where the values go no straight way, or hardly move.
    pub(crate) fn of(series: &[(Timestamp, f64)]) -> Option<Self> {
        let (end, latest) = *series.last()?;
        let recent = series.iter().filter(|(at, value)| end.since(*at) <= BACK && value.is_finite());
        let points: Vec<(f64, f64)> =
            recent.map(|(at, value)| (at.since(end) as f64 / 3_600_000.0, *value)).collect();
        let hours = -points.first()?.0;
        if points.len() < FEWEST || hours * 3_600_000.0 < LEAST as f64 {
            return None;
        }
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
        let sum = |of: &dyn Fn(f64, f64) -> f64| {
            points.iter().map(|(x, y)| of(x - mean_x, y - mean_y)).sum::<f64>()
        };
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        let per_hour = xy / xx;
        let is_straight = xy * xy >= STRAIGHT * xx * yy;
        let moves = (per_hour * hours).abs() >= 0.02 * latest.abs().max(mean_y.abs());
        (per_hour.is_finite() && per_hour != 0.0 && is_straight && moves).then_some(Self {
            per_hour,
            hours,
            latest,
        })
    }

    /// `rising by 1.2 % per hour over the last 6 h; full in 5 h 40 min`; `full` is the value at which nothing is left.
    pub(crate) fn say(&self, unit: Unit, full: Option<f64>) -> String {
        let way = if self.per_hour > 0.0 { "rising" } else { "falling" };
        let said = format!(
            "{way} by {} per hour over the last {}",
            unit.show(self.per_hour.abs()),
            Unit::Seconds.show((self.hours * 3600.0).round())
        );
        let left = full.map(|full| (full - self.latest) / self.per_hour);
        match left.filter(|left| self.per_hour > 0.0 && (0.0..FAR).contains(left)) {
            Some(left) => {
                format!("{said}; at this rate full in {}", Unit::Seconds.show(rounded(left * 3600.0)))
            }
            None => said,
        }
    }
}

/// Whole minutes: a forecast is no better.
fn rounded(seconds: f64) -> f64 {
    (seconds / 60.0).ceil() * 60.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(value: impl Fn(f64) -> f64) -> Vec<(Timestamp, f64)> {
        (0..=72).map(|count| (Timestamp(count * 300_000), value(count as f64 / 12.0))).collect()
    }

    #[test]
    fn a_trend_is_said_where_there_is_one() {
        let said = |value: &dyn Fn(f64) -> f64| {
            Trend::of(&series(value)).map(|trend| trend.say(Unit::Percent, Some(100.0)))
        };
        let rising = said(&|hours| 80.0 + 2.0 * hours).unwrap();
        assert_eq!(rising, "rising by 2 % per hour over the last 6 h; at this rate full in 4 h");
        assert_eq!(said(&|hours| 90.0 - 2.0 * hours).unwrap(), "falling by 2 % per hour over the last 6 h");
        assert_eq!(said(&|hours| 90.0 + hours * 0.1), None, "hardly moves");
        assert_eq!(said(&|hours| 50.0 + 20.0 * (hours * 9.0).sin()), None, "no straight way");
        assert_eq!(said(&|_| 0.0), None);
        assert_eq!(said(&|_| f64::NAN), None);
        assert_eq!(Trend::of(&series(|hours| hours)[..5]), None, "too few");
        assert_eq!(Trend::of(&[]), None);
    }

    #[test]
    fn what_is_full_in_months_is_not_said_so() {
        let trend = Trend { per_hour: 0.01, hours: 6.0, latest: 80.0 };
        assert!(!trend.say(Unit::Percent, Some(100.0)).contains("full"));
        assert!(!Trend { per_hour: 2.0, ..trend }.say(Unit::Percent, None).contains("full"));
    }
}
