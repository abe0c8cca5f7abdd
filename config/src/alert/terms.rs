//! When what breaches fires, and when it ends.

use std::time::Duration;

use model::rule::DISK_FORECAST;
use model::{Aggregate, Floor, Hold, Operator, Threshold, Unit};

use super::Written;
use super::kind::Kind;
use super::threshold::limit_value;
use crate::fault::Wrong;
use crate::reading::{At, Reading};
use crate::tree::Attribute;
use crate::value::{self, Value, quoted};

/// `for` and `keep-firing-for` are at most a week.
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// A line is fitted over so much at least.
const LEAST_FIT: Duration = Duration::from_secs(600);
/// The span that the line of a forecast is fitted over, where `for` says no other: 6 h.
const FIT_MS: i64 = 6 * 3_600_000;
/// The floor of a forecast, where it says none: 20 GiB.
const FORECAST_FLOOR: f64 = 20.0 * 1024.0 * 1024.0 * 1024.0;

/// When a rule that breaches fires, and when it ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Terms {
    pub(super) clear: Option<f64>,
    pub(super) floor: Option<Floor>,
    pub(super) hold: Hold,
    pub(super) aggregate: Option<Aggregate>,
    pub(super) fit_ms: Option<i64>,
    pub(super) keep_firing_ms: i64,
}

impl Terms {
    /// Those of a rule that says `hold` and nothing else.
    pub(super) fn new(hold: Hold) -> Self {
        Self { clear: None, floor: None, hold, aggregate: None, fit_ms: None, keep_firing_ms: 0 }
    }
}

/// Reads what is left beside `hold`; `thresholds` are those of the alert, none where they are wrong.
pub(super) fn read(
    reading: &mut Reading<'_>,
    kind: &Kind,
    written: &Written<'_, '_>,
    thresholds: &[(&'static str, Threshold)],
    holding: Holding,
) -> Terms {
    let keep = written.take(reading, "keep-firing-for", |text| value::duration(text, Duration::ZERO, WEEK));
    let floor = written.take(reading, "free-below", floor).map(|floor| floor.value);
    let is_forecast = kind.metric.name == DISK_FORECAST;
    let default_floor = is_forecast.then_some(Floor { warning: FORECAST_FLOOR, critical: FORECAST_FLOOR });
    Terms {
        clear: clear(reading, kind, written, thresholds),
        floor: floor.or(default_floor),
        hold: holding.hold.unwrap_or(kind.hold),
        aggregate: holding.aggregate,
        fit_ms: holding.fit_ms,
        keep_firing_ms: keep.map_or(0, |keep| value::millis(keep.value)),
    }
}

/// What it takes to fire, where that is written, and what is compared.
#[derive(Clone, Copy)]
pub(super) struct Holding {
    hold: Option<Hold>,
    aggregate: Option<Aggregate>,
    fit_ms: Option<i64>,
}

/// Reads what it takes to fire; the type may be wrong.
pub(super) fn hold(reading: &mut Reading<'_>, kind: Option<&Kind>, written: &Written<'_, '_>) -> Holding {
    let is_forecast = kind.is_some_and(|kind| kind.metric.name == DISK_FORECAST);
    let least = if is_forecast { LEAST_FIT } else { Duration::ZERO };
    let aggregates = [
        ("last", None),
        ("avg", Some(Aggregate::Mean)),
        ("min", Some(Aggregate::Least)),
        ("max", Some(Aggregate::Greatest)),
    ];
    let aggregate = written.take(reading, "aggregate", |text| value::one_of(text, &aggregates));
    // What is made of many values keeps them.
    let keeps = is_forecast || aggregate.as_ref().is_some_and(|aggregate| aggregate.value.is_some());
    let most = if keeps { value::DAY } else { WEEK };
    let span = written.take(reading, "for", |text| value::duration(text, least, most));
    let samples = written.take(reading, "samples", samples);
    if is_forecast {
        return forecast(reading, span, samples);
    }
    if let (Some(both), Some(_)) = (written.get("samples"), written.get("for")) {
        let wrong = Wrong::new("`samples` cannot stand beside `for`");
        reading.report(both.at, wrong.help("keep one of the two"));
    }
    let over = span.as_ref().is_some_and(|span| !span.value.is_zero());
    if let Some(aggregate) = &aggregate
        && aggregate.value.is_some()
        && !over
        && (span.is_some() || written.get("for").is_none())
    {
        let wrong = Wrong::new("`aggregate` is taken over no time");
        reading.report(aggregate.span, wrong.help("write for=\"15m\", or another span, beside it"));
    }
    let hold = match (span, samples) {
        (Some(At { value: Duration::ZERO, .. }), _) => Some(Hold::AT_ONCE),
        (Some(span), _) => Some(Hold::Span(value::millis(span.value))),
        (None, samples) => samples.map(|samples| samples.value),
    };
    Holding { hold, aggregate: aggregate.and_then(|aggregate| aggregate.value), fit_ms: None }
}

/// `for` is the span of the line, and `samples` says how many records in a row have to lie on one that ends too soon: a
/// line looks back over hours already.
fn forecast(reading: &mut Reading<'_>, span: Option<At<Duration>>, samples: Option<At<Hold>>) -> Holding {
    let in_a_row = samples.filter(|samples| {
        let is_plain = matches!(samples.value, Hold::Samples { needed, of } if needed == of);
        if !is_plain {
            let wrong = Wrong::new("a forecast holds for records in a row");
            reading.report(samples.span, wrong.expected("one number, as in samples=\"3\""));
        }
        is_plain
    });
    let fit_ms = span.map_or(FIT_MS, |span| value::millis(span.value));
    Holding { hold: in_a_row.map(|samples| samples.value), aggregate: None, fit_ms: Some(fit_ms) }
}

/// `3`, or `3 of 5`.
fn samples(text: &str) -> Value<Hold> {
    let most = Hold::MAX_SAMPLES as usize;
    let words: Vec<_> = text.split_whitespace().collect();
    let (needed, of) = match words[..] {
        [needed] => (needed, needed),
        [needed, "of", of] => (needed, of),
        _ => ("", ""),
    };
    let wrong = || {
        Wrong::new(format!("{} does not fit", quoted(text)))
            .expected(format!("a number from 1 to {most}, or two, as in 3 of 5"))
    };
    let count = |text: &str| value::count(text, 1, most).ok().and_then(|count| u32::try_from(count).ok());
    match (count(needed), count(of)) {
        (Some(needed), Some(of)) if needed <= of => Ok(Hold::Samples { needed, of }),
        (Some(_), Some(_)) => Err(wrong().help("the first is not more than the second")),
        _ => Err(wrong()),
    }
}

/// The floor of both severities, or a warning's and a critical's.
fn floor(text: &str) -> Value<Floor> {
    let bytes = value::list(text, |item| value::limit(item, Unit::Bytes, false))?;
    if bytes.contains(&0.0) {
        let wrong = Wrong::new("less than nothing is never free: the alert would never fire");
        return Err(wrong.expected("bytes, as in 10G"));
    }
    match bytes[..] {
        [both] => Ok(Floor { warning: both, critical: both }),
        [warning, critical] if warning >= critical => Ok(Floor { warning, critical }),
        [_, _] => Err(Wrong::new("the warning's floor lies below the critical's").help("swap the two")),
        _ => Err(Wrong::new(format!("{} does not fit", quoted(text)))
            .expected("bytes, or a warning's and a critical's, as in 10G, 5G")),
    }
}

/// The value that ends what fires lies on the fine side of every limit, and can be reached.
fn clear(
    reading: &mut Reading<'_>,
    kind: &Kind,
    written: &Written<'_, '_>,
    thresholds: &[(&'static str, Threshold)],
) -> Option<f64> {
    let attribute = written.get("clear")?;
    let clear = limit_value(reading, kind, attribute)?;
    let threshold = thresholds.first()?.1;
    let cause = unfit(kind, &threshold, clear);
    if let Some(cause) = &cause {
        report(reading, attribute, cause);
    }
    Some(clear).filter(|_| cause.is_none())
}

/// Why a threshold and what clears it do not go together.
fn unfit(kind: &Kind, threshold: &Threshold, clear: f64) -> Option<String> {
    let operator = threshold.operator;
    let symbol = operator.symbol();
    let limits = [threshold.warning, threshold.critical];
    if matches!(operator, Operator::Equal | Operator::Unequal) {
        Some(format!("`clear` has no meaning with operator {symbol}"))
    } else if !limits.into_iter().flatten().all(|limit| operator.is_worse(limit, clear)) {
        Some(format!("with operator {symbol}, what clears the alert is worse than a limit, or the same"))
    } else if operator == Operator::AtLeast && clear <= 0.0 && !kind.may_be_negative() {
        Some("the alert would never end: its values are never below 0".to_owned())
    } else {
        None
    }
}

fn report(reading: &mut Reading<'_>, attribute: &Attribute<'_>, cause: &str) {
    let expected = "a value on the fine side of the limits, as in limit=\"90%\" clear=\"85%\"";
    reading.report(attribute.value_at, Wrong::new(cause).expected(expected));
}
