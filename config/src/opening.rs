//! When a `<window>` is open.
//!
//! It goes by what its clock shows. Where that is put forward, the times in the gap do not come; where it is put back, they
//! come twice, and count both times.

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta, TimeZone,
    Timelike as _,
};
use model::Timestamp;

use crate::settings::Window;

/// The days of a week.
const WEEK: usize = 7;
/// Milliseconds.
const DAY: i64 = 86_400_000;

impl Window {
    /// When it closes, where it is open at `at`; `None` where it is not. What never closes does so at the end of time.
    /// `local` is the time zone of a window that names none: this host's.
    pub fn closes(&self, at: Timestamp, local: &impl TimeZone) -> Option<Timestamp> {
        match &self.time_zone {
            Some(zone) => self.closes_by(at, zone),
            None => self.closes_by(at, local),
        }
    }

    fn closes_by(&self, at: Timestamp, zone: &impl TimeZone) -> Option<Timestamp> {
        let from = match self.from {
            Some(from) => instants(zone, from)?.0,
            None => Timestamp(i64::MIN),
        };
        let until = match self.until {
            Some(until) => instants(zone, until)?.1,
            None => Timestamp(i64::MAX),
        };
        if at < from || at >= until {
            return None;
        }
        let takes_every_day = self.days.is_empty() || self.days.len() == WEEK;
        if self.daily.is_none() && takes_every_day {
            return Some(until);
        }
        // From one change to the next; a week has one that closes it.
        let mut now = at;
        while now < until {
            let shown = shown(zone, now)?;
            if !self.is_open_when(shown) {
                break;
            }
            let next = now.plus(self.next_change(shown)?.signed_duration_since(shown).num_milliseconds());
            now = change_of_offset(zone, now, next).unwrap_or(next);
        }
        (now > at).then_some(now.min(until))
    }

    /// Whether `daily` and `days` hold where the clock shows that.
    fn is_open_when(&self, shown: NaiveDateTime) -> bool {
        let today = shown.date();
        let Some(daily) = self.daily else { return self.begins_on(today) };
        let minute = shown.hour() * 60 + shown.minute();
        let (from, until) = (u32::from(daily.from), u32::from(daily.until));
        if from < until {
            (from..until).contains(&minute) && self.begins_on(today)
        } else {
            let since_yesterday = minute < until && today.pred_opt().is_some_and(|day| self.begins_on(day));
            since_yesterday || (minute >= from && self.begins_on(today))
        }
    }

    fn begins_on(&self, day: NaiveDate) -> bool {
        self.days.is_empty() || self.days.contains(&(day.weekday().number_from_monday() as u8))
    }

    /// What the clock shows when `daily` or `days` may change next, if nobody moves it.
    fn next_change(&self, shown: NaiveDateTime) -> Option<NaiveDateTime> {
        let midnight = shown.date().and_time(NaiveTime::MIN);
        let of_day = self.daily.iter().flat_map(|daily| [daily.from, daily.until]);
        let changes = of_day.map(|minute| midnight.checked_add_signed(TimeDelta::minutes(minute.into())));
        let tomorrow = midnight.checked_add_signed(TimeDelta::days(1));
        changes.chain([tomorrow]).flatten().filter(|change| *change > shown).min()
    }
}

/// Seconds that the clock is ahead of UTC; `None` beyond the times that there are.
fn offset(zone: &impl TimeZone, at: Timestamp) -> Option<i32> {
    let utc = DateTime::from_timestamp_millis(at.0)?.naive_utc();
    Some(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc())
}

/// What the clock shows.
fn shown(zone: &impl TimeZone, at: Timestamp) -> Option<NaiveDateTime> {
    let utc = DateTime::from_timestamp_millis(at.0)?.naive_utc();
    utc.checked_add_signed(TimeDelta::seconds(offset(zone, at)?.into()))
}

/// When the clock is moved, after `from` and not after `to`; these are at most some days apart, so that it happens once.
fn change_of_offset(zone: &impl TimeZone, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
    let before = offset(zone, from)?;
    if offset(zone, to)? == before {
        return None;
    }
    let (mut same, mut other) = (from.0, to.0);
    while other - same > 1 {
        let middle = same + (other - same) / 2;
        if offset(zone, Timestamp(middle))? == before { same = middle } else { other = middle }
    }
    Some(Timestamp(other))
}

/// When the clock shows `moment` or what lies behind it for the first time, and what lies before it no more: one point in
/// time, but where the clock shows it twice.
fn instants(zone: &impl TimeZone, moment: NaiveDateTime) -> Option<(Timestamp, Timestamp)> {
    let shown = zone.from_local_datetime(&moment);
    let at = |time: DateTime<_>| Timestamp(time.timestamp_millis());
    if let (Some(first), Some(last)) = (shown.clone().earliest(), shown.latest()) {
        return Some((at(first), at(last)));
    }
    let about = Timestamp(moment.and_utc().timestamp_millis());
    let skipped = change_of_offset(zone, about.plus(-DAY), about.plus(DAY))?;
    Some((skipped, skipped))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Daily;

    const MINUTE: i64 = 60_000;

    fn window(daily: Option<(u16, u16)>, days: &[u8]) -> Window {
        Window {
            name: "w".to_owned(),
            daily: daily.map(|(from, until)| Daily { from, until }),
            days: days.iter().copied().collect(),
            from: None,
            until: None,
            time_zone: None,
            source: String::new(),
        }
    }

    fn time(text: &str) -> Timestamp {
        Timestamp(DateTime::parse_from_rfc3339(text).expect(text).timestamp_millis())
    }

    /// What `closes` says by the clock of Berlin, as the clock of UTC shows it.
    fn closes(window: &Window, at: &str) -> Option<String> {
        let closes = window.closes(time(at), &Tz::Europe__Berlin)?;
        if closes == Timestamp(i64::MAX) {
            return Some("never".to_owned());
        }
        Some(DateTime::from_timestamp_millis(closes.0)?.format("%Y-%m-%dT%H:%MZ").to_string())
    }

    #[test]
    fn nights_belong_to_the_day_on_which_they_begin() {
        let friday = window(Some((22 * 60, 6 * 60)), &[5]);
        assert_eq!(closes(&friday, "2026-11-20T21:59:59+01:00"), None);
        assert_eq!(closes(&friday, "2026-11-20T22:00:00+01:00").as_deref(), Some("2026-11-21T05:00Z"));
        assert_eq!(closes(&friday, "2026-11-21T05:59:59+01:00").as_deref(), Some("2026-11-21T05:00Z"));
        assert_eq!(closes(&friday, "2026-11-21T06:00:00+01:00"), None);
        assert_eq!(closes(&friday, "2026-11-21T22:00:00+01:00"), None);
    }

    #[test]
    fn days_that_follow_each_other_are_one_opening() {
        let weekend = window(None, &[6, 7]);
        assert_eq!(closes(&weekend, "2026-11-21T00:00:00+01:00").as_deref(), Some("2026-11-22T23:00Z"));
        assert_eq!(closes(&weekend, "2026-11-23T00:00:00+01:00"), None);
        let mut holidays = Window {
            from: NaiveDate::from_ymd_opt(2026, 12, 24).map(|day| day.and_time(NaiveTime::MIN)),
            ..window(None, &[])
        };
        assert_eq!(closes(&holidays, "2026-12-23T23:59:00+01:00"), None);
        assert_eq!(closes(&holidays, "2026-12-24T00:00:00+01:00").as_deref(), Some("never"));
        holidays.until = NaiveDate::from_ymd_opt(2027, 1, 1).map(|day| day.and_time(NaiveTime::MIN));
        assert_eq!(closes(&holidays, "2026-12-24T00:00:00+01:00").as_deref(), Some("2026-12-31T23:00Z"));
    }

    #[test]
    fn the_clock_is_moved_in_the_window() {
        // Put forward on 29 March at 01:00 UTC, back on 25 October at 01:00 UTC.
        let night = window(Some((60, 150)), &[]);
        assert_eq!(closes(&night, "2026-03-29T01:30:00+01:00").as_deref(), Some("2026-03-29T01:00Z"));
        let gap = window(Some((120, 180)), &[]);
        assert_eq!(closes(&gap, "2026-03-29T01:59:00+01:00"), None);
        assert_eq!(closes(&gap, "2026-03-29T03:00:00+02:00"), None);
        assert_eq!(closes(&gap, "2026-10-25T02:10:00+02:00").as_deref(), Some("2026-10-25T02:00Z"));
        // Twice 01:00-02:30 by the clock, with half an hour between.
        assert_eq!(closes(&night, "2026-10-25T01:30:00+02:00").as_deref(), Some("2026-10-25T00:30Z"));
        assert_eq!(closes(&night, "2026-10-25T02:40:00+02:00"), None);
        assert_eq!(closes(&night, "2026-10-25T02:10:00+01:00").as_deref(), Some("2026-10-25T01:30Z"));
    }

    #[test]
    fn a_window_has_a_clock_of_its_own() {
        let tokyo = Window { time_zone: Some(Tz::Asia__Tokyo), ..window(Some((0, 60)), &[]) };
        assert_eq!(closes(&tokyo, "2026-11-20T15:30:00Z").as_deref(), Some("2026-11-20T16:00Z"));
        assert_eq!(closes(&tokyo, "2026-11-20T23:30:00Z"), None);
    }

    #[test]
    fn no_time_is_too_far_away() {
        let windows = [window(Some((60, 150)), &[]), window(None, &[1, 2]), window(None, &[])];
        for millis in
            [i64::MIN, -8_334_601_228_800_001, -8_334_601_228_800_000, 8_210_266_876_799_999, i64::MAX]
        {
            for (window, zone) in windows.iter().zip([Tz::Europe__Berlin, Tz::Pacific__Kiritimati, Tz::UTC]) {
                let closes = window.closes(Timestamp(millis), &zone);
                assert!(closes.is_none_or(|closes| closes.0 > millis), "{millis}: {closes:?}");
            }
        }
    }

    /// The minutes of some days with what the clock shows, as a table: the plain model.
    fn table(zone: Tz, first: Timestamp) -> Vec<(Timestamp, NaiveDateTime)> {
        let minute = |number: i64| {
            let at = first.plus(number * MINUTE);
            (at, DateTime::from_timestamp_millis(at.0).expect("a time").with_timezone(&zone).naive_local())
        };
        (0..16 * 24 * 60).map(minute).collect()
    }

    /// Which minutes of the table are in the window.
    fn marked(window: &Window, table: &[(Timestamp, NaiveDateTime)]) -> Vec<bool> {
        let first = window.from.map(|from| table.iter().position(|(_, shown)| *shown >= from));
        let first = first.map_or(0, |first| first.unwrap_or(table.len()));
        let last = window.until.map(|until| table.iter().rposition(|(_, shown)| *shown < until));
        let end = last.map_or(table.len(), |last| last.map_or(0, |last| last + 1));
        let days: BTreeSet<_> = table
            .iter()
            .map(|(_, shown)| shown.date())
            .flat_map(|day| [day.pred_opt(), Some(day)])
            .flatten()
            .collect();
        let (from, until) =
            window.daily.map_or((0, 1440), |daily| (i64::from(daily.from), i64::from(daily.until)));
        let until = if until < from { until + 1440 } else { until };
        let openings: Vec<_> = days
            .into_iter()
            .filter(|day| {
                window.days.is_empty() || window.days.contains(&(day.weekday().number_from_monday() as u8))
            })
            .map(|day| day.and_time(NaiveTime::MIN))
            .map(|midnight| midnight + TimeDelta::minutes(from)..midnight + TimeDelta::minutes(until))
            .collect();
        let is_marked = |(number, (_, shown)): (usize, &(Timestamp, NaiveDateTime))| {
            (first..end).contains(&number) && openings.iter().any(|opening| opening.contains(shown))
        };
        table.iter().enumerate().map(is_marked).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn closing_agrees_with_a_table_of_minutes(
            (zone, change) in proptest::sample::select(vec![
                (Tz::Europe__Berlin, "2026-03-29T01:00:00Z"),
                (Tz::Europe__Berlin, "2026-10-25T01:00:00Z"),
                (Tz::America__New_York, "2026-03-08T07:00:00Z"),
                (Tz::America__New_York, "2026-11-01T06:00:00Z"),
            ]),
            daily in proptest::option::of((0_u16..1440, 1_u16..1440).prop_map(|(from, length)| (from, (from + length) % 1440))),
            days in proptest::collection::btree_set(1_u8..8, 0..7),
            from in proptest::option::of(-2000_i64..2000),
            length in proptest::option::of(1_i64..6000),
            minutes in proptest::collection::vec(0_usize..6 * 24 * 60, 40),
        ) {
            let change = time(change);
            let table = table(zone, change.plus(-3 * DAY));
            let around = DateTime::from_timestamp_millis(change.0).expect("a time").with_timezone(&zone).naive_local();
            let from_moment = from.map(|from| around + TimeDelta::minutes(from));
            let until = length.map(|length| around + TimeDelta::minutes(from.unwrap_or_default() + length));
            let days: Vec<_> = days.into_iter().collect();
            let window = Window { from: from_moment, until, ..window(daily, &days) };
            let marked = marked(&window, &table);
            for minute in minutes {
                let expected = marked[minute].then(|| {
                    let end = marked[minute..].iter().position(|open| !open);
                    end.map_or(Timestamp(i64::MAX), |length| table[minute + length].0)
                });
                prop_assert_eq!(window.closes(table[minute].0, &zone), expected, "{:?} at {}", window, table[minute].1);
            }
        }
    }
}
