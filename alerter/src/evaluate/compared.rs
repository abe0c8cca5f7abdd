//! What is compared with a rule's limits: the value as it is, an aggregate of the latest ones, or a forecast.

use model::{Aggregate, Hold, Rule, Timestamp};

use super::Observation;

/// The most values that are kept of one series: a day at one a minute, and what proves that the day is covered.
const KEPT: usize = 1500;
/// A forecast looks at so many values at most, evenly over its span.
const FITTED: i64 = 72;
/// A forecast is one from so many values on...
const FORECAST_VALUES: usize = 4;
/// ... over at least this part of its span.
const FORECAST_PART: i64 = 2;
/// Whether it goes on is seen in this part of it, the latest.
const RECENT_PART: i64 = 6;
/// Ten years, in seconds: what does not fill up before is not going to.
const NEVER: f64 = 315_360_000.0;

/// What `observation` comes to, given the `values` before it, which it is added to where the rule needs them. `None`
/// where too few are known to say.
pub(super) fn compared(
    values: &mut Vec<(Timestamp, f64)>,
    rule: &Rule,
    observation: &Observation,
) -> Option<f64> {
    if let Some(span) = rule.fit_ms {
        return forecast(values, rule, observation, span);
    }
    let Some(aggregate) = rule.aggregate else { return Some(observation.value) };
    let span = match rule.hold {
        Hold::Span(span) => span,
        Hold::Samples { .. } => 0,
    };
    let begin = observation.at.plus(-span);
    values.push((observation.at, observation.value));
    // The newest of those before the span stays: it proves that the span is covered.
    let covering = values.iter().rposition(|(at, _)| *at <= begin);
    let old = covering.unwrap_or(0).max(values.len().saturating_sub(KEPT));
    values.drain(..old);
    covering?;
    let within = values.iter().filter(|(at, _)| *at >= begin).map(|(_, value)| *value);
    Some(match aggregate {
        Aggregate::Mean => {
            let (sum, count) = within.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
            sum / count
        }
        Aggregate::Least => within.fold(f64::INFINITY, f64::min),
        Aggregate::Greatest => within.fold(f64::NEG_INFINITY, f64::max),
    })
}

/// Seconds until no space is left, by the line of least squares through the free bytes of the latest `span`. Values are
/// kept only while there is less free than the rule's floor; `None` where too few are known.
///
/// One step down is no trend: of that line, of the median of all slopes between two values (Theil and Sen), which a step
/// does not move, and of the line through the latest part alone, the gentlest counts.
fn forecast(
    values: &mut Vec<(Timestamp, f64)>,
    rule: &Rule,
    observation: &Observation,
    span: i64,
) -> Option<f64> {
    let (at, free) = (observation.at, observation.value);
    if rule.floor.is_some_and(|floor| free >= floor.warning.max(floor.critical)) {
        values.clear();
        return Some(NEVER);
    }
    values.retain(|(time, _)| at.since(*time) <= span);
    if values.last().is_none_or(|(last, _)| at.since(*last) >= span / FITTED) {
        values.push((at, free));
    }
    let known = values.first().map_or(0, |(first, _)| at.since(*first));
    if values.len() < FORECAST_VALUES || known < span / FORECAST_PART {
        return None;
    }
    let recent = values.iter().position(|(time, _)| at.since(*time) <= span / RECENT_PART).unwrap_or(0);
    let slope = slope(values).max(median_slope(values)).max(slope(&values[recent..]));
    Some(if slope >= 0.0 { NEVER } else { (free / -slope).min(NEVER) })
}

/// Units per second of the median of the slopes between any two values.
fn median_slope(values: &[(Timestamp, f64)]) -> f64 {
    let mut slopes: Vec<f64> = Vec::with_capacity(values.len() * values.len() / 2);
    for (i, (begin, before)) in values.iter().enumerate() {
        let later = values[i + 1..].iter().filter(|(end, _)| end > begin);
        slopes.extend(later.map(|(end, after)| (after - before) * 1000.0 / end.since(*begin) as f64));
    }
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}

/// Units per second of the line of least squares.
fn slope(values: &[(Timestamp, f64)]) -> f64 {
    let count = values.len() as f64;
    let first = values.first().map_or(Timestamp(0), |(at, _)| *at);
    let points = || values.iter().map(|(at, value)| (at.since(first) as f64 / 1000.0, *value));
    let (sum_x, sum_y) = points().fold((0.0, 0.0), |(x, y), (a, b)| (x + a, y + b));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let (covariance, variance) = points().fold((0.0, 0.0), |(covariance, variance), (x, y)| {
        (covariance + (x - mean_x) * (y - mean_y), variance + (x - mean_x).powi(2))
    });
    if variance == 0.0 { 0.0 } else { covariance / variance }
}
