//! `<window>`: times by name.

use std::collections::{BTreeSet, HashMap};

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime, Weekday};

use crate::fault::Wrong;
use crate::grammar;
use crate::reading::{At, Reading};
use crate::settings::{Daily, Window};
use crate::source::Span;
use crate::tree::Element;
use crate::value::{self, Value, quoted};

/// The days of a week, as they are written.
const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Mon),
    ("tue", Weekday::Tue),
    ("wed", Weekday::Wed),
    ("thu", Weekday::Thu),
    ("fri", Weekday::Fri),
    ("sat", Weekday::Sat),
    ("sun", Weekday::Sun),
];
/// The minutes of a day.
const DAY: u16 = 24 * 60;

/// Reads every `<window>`; a name twice is a fault.
pub(crate) fn read_all(reading: &mut Reading<'_>, elements: &[Element<'_>]) -> Vec<Window> {
    let mut places: HashMap<String, Span> = HashMap::new();
    let mut windows = Vec::new();
    for element in elements {
        let Some(At { value: window, span }) = read(reading, element) else { continue };
        reading.windows.insert(window.name.clone());
        if let Some(first) = places.get(&window.name) {
            let line = reading.line(*first, span);
            let wrong = Wrong::new(format!("there is another window \"{}\" in {line}", window.name));
            reading.report(span, wrong.help("give one of the two another name"));
            continue;
        }
        places.insert(window.name.clone(), span);
        windows.push(window);
    }
    windows
}

fn read(reading: &mut Reading<'_>, element: &Element<'_>) -> Option<At<Window>> {
    reading.holds_nothing(element);
    let (mut name, mut daily, mut days, mut from, mut until, mut time_zone) =
        (None, None, None, None, None, None);
    for attribute in grammar::known(&mut reading.sink, element) {
        match attribute.name {
            "name" => name = reading.take(attribute, value::plain_name),
            "daily" => daily = reading.take(attribute, self::daily),
            "days" => days = reading.take(attribute, self::days),
            "from" => from = reading.take(attribute, |text| moment(text, false)),
            "until" => until = reading.take(attribute, |text| moment(text, true)),
            _ => time_zone = reading.take(attribute, value::time_zone),
        }
    }
    reading.missing(element, "name", "name=\"...\": what alerts will call it by");
    let given = |name: &str| element.attributes.iter().any(|attribute| attribute.name == name);
    if !element.broken && !["daily", "days", "from", "until"].into_iter().any(given) {
        let wrong = Wrong::new("the window is always open");
        reading.report(element.at, wrong.expected("daily, days, from or until"));
    }
    if let (Some(from), Some(until)) = (&from, &until)
        && from.value >= until.value
    {
        let wrong = Wrong::new("the window ends before it begins");
        reading.report(until.span, wrong.help("swap `from` and `until`, or correct one of the two"));
    }
    let At { value: name, span } = name?;
    let window = Window {
        name,
        daily: daily.map(|at| at.value),
        days: days.map(|at| at.value).unwrap_or_default(),
        from: from.map(|at| at.value),
        until: until.map(|at| at.value),
        time_zone: time_zone.map(|at| at.value),
        source: reading.mark(element.at),
    };
    Some(At { value: window, span })
}

/// `02:00-04:00`; an end that is not after the beginning lies in the next day.
fn daily(text: &str) -> Value<Daily> {
    let wrong = |cause: &str| {
        Wrong::new(format!("{} is no daily time: {cause}", quoted(text)))
            .expected("HH:MM-HH:MM, as in 02:00-04:00 or 22:00-06:00")
    };
    let (from, until) = text.split_once('-').ok_or_else(|| wrong("there is no `-`"))?;
    let from = minute(from.trim())
        .filter(|&minute| minute < DAY)
        .ok_or_else(|| wrong("its beginning is no time"))?;
    let until = minute(until.trim()).ok_or_else(|| wrong("its end is no time"))?;
    if from == until % DAY {
        return Err(wrong("it takes the whole day").help("leave it out, and say days, from or until"));
    }
    Ok(Daily { from, until })
}

/// Minutes since midnight, up to 24:00.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= DAY).then_some(minute)
}

/// A list of days and of spans of days, as in `mon-fri` or `sat, sun`; a span may cross Sunday.
fn days(text: &str) -> Value<BTreeSet<u8>> {
    let mut days = BTreeSet::new();
    for item in value::items(text) {
        let lower = item.to_ascii_lowercase();
        let (first, last) = lower.split_once('-').unwrap_or((&lower, &lower));
        let (first, last) = (value::one_of(first, &DAYS)?, value::one_of(last, &DAYS)?);
        let mut day = first;
        days.insert(day.number_from_monday() as u8);
        while day != last {
            day = day.succ();
            days.insert(day.number_from_monday() as u8);
        }
    }
    if days.is_empty() {
        return Err(Wrong::new("the list is empty").expected("days, as in mon-fri or sat, sun"));
    }
    Ok(days)
}

/// A date or a date-time; a date as the end of a window is the end of that day.
fn moment(text: &str, is_end: bool) -> Value<NaiveDateTime> {
    let date = |text: &str| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| text.len() == 10);
    let time = |text: &str| {
        let format = if text.len() == 5 { "%H:%M" } else { "%H:%M:%S" };
        NaiveTime::parse_from_str(text, format).ok().filter(|_| text.len() == 5 || text.len() == 8)
    };
    let moment = match text.split_once(['T', ' ']) {
        None if is_end => date(text)
            .and_then(|date| date.checked_add_days(Days::new(1)))
            .map(|date| date.and_time(NaiveTime::MIN)),
        None => date(text).map(|date| date.and_time(NaiveTime::MIN)),
        Some((day, of_day)) => date(day).zip(time(of_day)).map(|(day, of_day)| day.and_time(of_day)),
    };
    moment.ok_or_else(|| {
        Wrong::new(format!("{} is neither a date nor a date with a time", quoted(text)))
            .expected("YYYY-MM-DD, or YYYY-MM-DDTHH:MM")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daily_times() {
        assert_eq!(daily("02:00-04:30").ok(), Some(Daily { from: 120, until: 270 }));
        assert_eq!(daily("22:00 - 06:00").ok(), Some(Daily { from: 1320, until: 360 }));
        assert_eq!(daily("22:00-24:00").ok(), Some(Daily { from: 1320, until: 1440 }));
        for bad in [
            "",
            "02:00",
            "2:00-4:00",
            "02:60-04:00",
            "24:00-01:00",
            "02:00-02:00",
            "00:00-24:00",
            "02:00-25:00",
        ] {
            assert!(daily(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn days_of_the_week() {
        let days = |text| days(text).ok().map(|days| days.into_iter().collect::<Vec<_>>());
        assert_eq!(days("mon-fri"), Some(vec![1, 2, 3, 4, 5]));
        assert_eq!(days("Sat, sun"), Some(vec![6, 7]));
        assert_eq!(days("sat-mon"), Some(vec![1, 6, 7]));
        for bad in ["", "monday", "mon-", "mon-fri-sun", "1"] {
            assert_eq!(days(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_and_times() {
        let at = |text, is_end| moment(text, is_end).ok().map(|moment| moment.to_string());
        assert_eq!(at("2026-12-24", false).as_deref(), Some("2026-12-24 00:00:00"));
        assert_eq!(at("2026-12-31", true).as_deref(), Some("2027-01-01 00:00:00"));
        assert_eq!(at("2026-12-24T18:00", true).as_deref(), Some("2026-12-24 18:00:00"));
        assert_eq!(at("2026-12-24 18:00:30", false).as_deref(), Some("2026-12-24 18:00:30"));
        for bad in
            ["", "24.12.2026", "2026-02-30", "2026-12-24T25:00", "2026-12-24T18", "26-12-24", "2026-12-24Z"]
        {
            assert_eq!(at(bad, false), None, "{bad}");
        }
    }
}
