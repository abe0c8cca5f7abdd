//! Whose clock the times in a mail go by.

use chrono::{DateTime, Datelike as _, FixedOffset, Local};
use chrono_tz::Tz;
use model::Timestamp;

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// This host's.
    Host,
    /// One of the tz database.
    Named(Tz),
}

impl Zone {
    /// `2026-07-28 04:05 +02:00`
    pub fn show(self, at: Timestamp) -> String {
        self.format(at, "%Y-%m-%d %H:%M %:z")
    }

    /// `04:05` where that is on the day of `other` and of the same offset, else all of it.
    pub fn show_beside(self, at: Timestamp, other: Timestamp) -> String {
        let day = "%Y-%m-%d %:z";
        if self.format(at, day) == self.format(other, day) { self.format(at, "%H:%M") } else { self.show(at) }
    }

    /// `28 Jul 02:10-04:35`, `28 Jul 02:10-29 Jul 04:35`
    pub(crate) fn show_span(self, from: Timestamp, to: Timestamp) -> String {
        let is_one_day = self.format(from, "%F") == self.format(to, "%F");
        let end = if is_one_day { "%H:%M" } else { "%-d %b %H:%M" };
        format!("{}-{}", self.format(from, "%-d %b %H:%M"), self.format(to, end))
    }

    /// `at` by strftime; where the calendar does not reach, by milliseconds.
    pub(crate) fn format(self, at: Timestamp, format: &str) -> String {
        match self.local(at) {
            Some(time) => time.format(format).to_string(),
            None => format!("{} ms after 1970", at.millis()),
        }
    }

    /// The latest midnight of the zone's clock at or before `at`. Where a day begins later, its first moment or one near it.
    pub(crate) fn midnight(self, at: Timestamp) -> Timestamp {
        let local = at.millis().saturating_add(self.offset_ms(at));
        let midnight = local - local.rem_euclid(24 * 3_600_000);
        // The offset may have been another one then.
        let guess = Timestamp(midnight - self.offset_ms(at));
        let midnight = Timestamp(midnight - self.offset_ms(guess));
        if midnight > at { guess } else { midnight }
    }

    /// Milliseconds that the zone's clock is ahead of UTC then.
    pub(crate) fn offset_ms(self, at: Timestamp) -> i64 {
        self.local(at).map_or(0, |time| i64::from(time.offset().local_minus_utc()) * 1000)
    }

    fn local(self, at: Timestamp) -> Option<DateTime<FixedOffset>> {
        // chrono panics where an offset leads out of its calendar: far from its ends.
        let utc =
            DateTime::from_timestamp_millis(at.millis()).filter(|utc| (1..9999).contains(&utc.year()))?;
        Some(match self {
            Self::Host => utc.with_timezone(&Local).fixed_offset(),
            Self::Named(zone) => utc.with_timezone(&zone).fixed_offset(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_offset_of_their_season() {
        let berlin = Zone::Named(Tz::Europe__Berlin);
        assert_eq!(berlin.show(Timestamp(1_785_204_000_000)), "2026-07-28 04:00 +02:00");
        assert_eq!(berlin.show(Timestamp(1_768_521_600_000)), "2026-01-16 01:00 +01:00");
        let hours = |hours: i64| Timestamp(1_785_204_000_000 + hours * 3_600_000);
        assert_eq!(berlin.show_span(hours(0), hours(2)), "28 Jul 04:00-06:00");
        assert_eq!(berlin.show_span(hours(0), hours(30)), "28 Jul 04:00-29 Jul 10:00");
        let night = Timestamp(1_785_204_000_000);
        assert_eq!(berlin.show_beside(night.plus(3_600_000), night), "05:00");
        assert_eq!(berlin.show_beside(night.plus(-5 * 3_600_000), night), "2026-07-27 23:00 +02:00");
        assert_eq!(berlin.show(Timestamp(i64::MAX)), format!("{} ms after 1970", i64::MAX));
    }
}
