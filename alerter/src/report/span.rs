//! The days that a report is about.

use clap::ValueEnum;
use model::Timestamp;

use crate::zone::Zone;

const HOUR: i64 = 3_600_000;

/// How often a report comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Period {
    /// About the day before
    Daily,
    /// About the seven days before
    Weekly,
}

impl Period {
    /// Its name in subjects and in Message-IDs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
        }
    }

    fn days(self) -> i64 {
        match self {
            Self::Daily => 1,
            Self::Weekly => 7,
        }
    }
}

/// Whole days of a zone's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first midnight.
    pub from: Timestamp,
    /// The last one; it does not belong to the span.
    pub to: Timestamp,
    /// Whose days they are.
    pub zone: Zone,
}

impl Span {
    /// The days up to the latest midnight at or before `now`.
    pub fn before(now: Timestamp, period: Period, zone: Zone) -> Self {
        let to = zone.midnight(now);
        // In the middle of the first day, whichever way the clock was set in between.
        let from = zone.midnight(to.plus(-24 * HOUR * period.days() + 12 * HOUR));
        Self { from, to, zone }
    }

    /// `2026-07-27`, or `2026-07-21 to 2026-07-27`.
    pub fn name(self) -> String {
        let day = |at| self.zone.format(at, "%Y-%m-%d");
        let (first, last) = (day(self.from), day(self.to.plus(-1)));
        if first == last { first } else { format!("{first} to {last}") }
    }

    /// The hours of one day, or the days of several, each with its end.
    pub fn parts(self) -> Vec<(Timestamp, Timestamp)> {
        let is_day = self.to.since(self.from) <= 26 * HOUR;
        let next =
            |at: Timestamp| if is_day { at.plus(HOUR) } else { self.zone.midnight(at.plus(36 * HOUR)) };
        let mut parts = Vec::new();
        let mut from = self.from;
        while from < self.to {
            let to = next(from).min(self.to).max(from.plus(1));
            parts.push((from, to));
            from = to;
        }
        parts
    }

    /// The milliseconds of `from..to` that lie in the span.
    pub fn overlap(self, from: Timestamp, to: Timestamp) -> i64 {
        to.min(self.to).since(from.max(self.from)).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;

    #[test]
    fn days_are_those_of_the_zone() {
        let berlin = Zone::Named(Tz::Europe__Berlin);
        // 2026-07-28 02:00 UTC.
        let now = Timestamp(1_785_204_000_000);
        let day = Span::before(now, Period::Daily, berlin);
        assert_eq!(day.name(), "2026-07-27");
        assert_eq!(berlin.show(day.from), "2026-07-27 00:00 +02:00");
        assert_eq!(day.parts().len(), 24);
        let week = Span::before(now, Period::Weekly, berlin);
        assert_eq!((week.name().as_str(), week.parts().len()), ("2026-07-21 to 2026-07-27", 7));
        assert_eq!(week.overlap(now.plus(-24 * HOUR), now), 20 * HOUR);
        assert_eq!(Span::before(now, Period::Daily, Zone::Named(Tz::America__New_York)).name(), "2026-07-26");
    }

    #[test]
    fn a_day_on_which_the_clock_is_set_is_whole() {
        let berlin = Zone::Named(Tz::Europe__Berlin);
        // Noon of 2026-10-26; the night before the 25th had 25 hours.
        let now = Timestamp(1_793_012_400_000);
        let day = Span::before(now, Period::Daily, berlin);
        assert_eq!((day.name().as_str(), day.parts().len()), ("2026-10-25", 25));
        let week = Span::before(now, Period::Weekly, berlin);
        assert_eq!((week.name().as_str(), week.parts().len()), ("2026-10-19 to 2026-10-25", 7));
        assert!(week.parts().iter().all(|(from, _)| berlin.show(*from).contains(" 00:00 ")));
    }
}
