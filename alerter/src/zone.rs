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
    /// `2026-07-28 04:05:00 +02:00`
    pub fn show(self, at: Timestamp) -> String {
        self.format(at, "%Y-%m-%d %H:%M:%S %:z")
    }

    /// `at` by strftime; where the calendar does not reach, by milliseconds.
    pub(crate) fn format(self, at: Timestamp, format: &str) -> String {
        match self.local(at) {
            Some(time) => time.format(format).to_string(),
            None => format!("{} ms after 1970", at.millis()),
        }
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
        assert_eq!(berlin.show(Timestamp(1_785_204_000_000)), "2026-07-28 04:00:00 +02:00");
        assert_eq!(berlin.show(Timestamp(1_768_521_600_000)), "2026-01-16 01:00:00 +01:00");
        assert_eq!(berlin.show(Timestamp(i64::MAX)), format!("{} ms after 1970", i64::MAX));
    }
}
