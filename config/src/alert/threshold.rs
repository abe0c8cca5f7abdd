//! The limits of an `<alert>`.

use model::{Operator, Severity, Threshold, Unit};

use super::Written;
use super::kind::{Kind, Limits};
use crate::fault::Wrong;
use crate::reading::{At, Reading};
use crate::tree::{Attribute, Element};
use crate::value::{self, Value};

/// The types of the first form: their `limit` tolerates a `%`.
const FIRST_FORM: [&str; 3] = ["memory", "cpu", "uptime"];

/// When the rules that come of an `<alert>` breach, each with what the name of its rule ends in; `None` where that is
/// wrong, or where it is not written and need not be.
pub(super) fn read(
    reading: &mut Reading<'_>,
    element: &Element<'_>,
    kind: &Kind,
    written: &Written<'_, '_>,
    operator: Option<Operator>,
    severity: Option<&At<Severity>>,
    disabled: bool,
) -> Option<Vec<(&'static str, Threshold)>> {
    if let Some(count) = written.get("min").or(written.get("max")) {
        return counts(reading, written, count, severity.map(|severity| severity.value));
    }
    let operator = operator.unwrap_or(kind.operator);
    let alone = |value: f64| {
        let severity = severity.map_or(Severity::Critical, |severity| severity.value);
        vec![("", single(operator, severity, value))]
    };
    if let Some(limit) = written.get("limit").or(written.get("within")) {
        let value =
            if limit.name == "within" { within(reading, limit) } else { limit_value(reading, kind, limit) };
        if let Some(other) = written.get("warning").or(written.get("critical")) {
            let wrong = Wrong::new(format!("`{}` cannot stand beside `limit`", other.name));
            reading.report(other.at, wrong.expected("limit alone, or warning and critical"));
            return None;
        }
        return value.map(alone);
    }
    if written.get("warning").is_none() && written.get("critical").is_none() {
        return match kind.limits {
            Limits::Default(value) | Limits::Fixed(value) | Limits::Within(value) => Some(alone(value)),
            Limits::Written => {
                if !element.broken && !disabled {
                    let or_counts =
                        if kind.takes("min") { "; or min=\"...\", max=\"...\" or both" } else { "" };
                    let wrong = Wrong::new(format!("the alert on `{}` has no limit", kind.metric.name));
                    let expected =
                        format!("limit=\"...\", or warning=\"...\" and critical=\"...\"{or_counts}");
                    reading.report(element.at, wrong.expected(expected));
                }
                None
            }
        };
    }
    if let Some(severity) = severity {
        let wrong = Wrong::new("`severity` belongs to `limit`").help("remove it, or write limit=\"...\"");
        reading.report(severity.span, wrong);
    }
    pair(reading, kind, written, operator).map(|threshold| vec![("", threshold)])
}

fn single(operator: Operator, severity: Severity, value: f64) -> Threshold {
    match severity {
        Severity::Warning => Threshold { operator, warning: Some(value), critical: None },
        Severity::Critical => Threshold { operator, warning: None, critical: Some(value) },
    }
}

/// `warning` and `critical`, one of them at least.
fn pair(
    reading: &mut Reading<'_>,
    kind: &Kind,
    written: &Written<'_, '_>,
    operator: Operator,
) -> Option<Threshold> {
    // Both are read, so that both faults are told.
    let [warning, critical] = ["warning", "critical"]
        .map(|name| written.get(name).map(|attribute| limit_value(reading, kind, attribute)));
    let (warning, critical) = (transpose(warning)?, transpose(critical)?);
    if let (Some(warning), Some(critical), Some(attribute)) = (warning, critical, written.get("critical"))
        && operator.is_worse(warning, critical)
    {
        let wrong =
            Wrong::new(format!("with operator {} the warning comes after the critical", operator.symbol()));
        reading.report(attribute.value_at, wrong.help("swap the two, or correct the operator"));
        return None;
    }
    Some(Threshold { operator, warning, critical })
}

/// `None` where there was a value and it was wrong.
#[expect(clippy::option_option, reason = "absent and wrong are told apart for one step")]
fn transpose(value: Option<Option<f64>>) -> Option<Option<f64>> {
    match value {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}

/// `min` and `max` of processes: a rule each, whose names differ, so that one may come and go without the other.
fn counts(
    reading: &mut Reading<'_>,
    written: &Written<'_, '_>,
    first: &Attribute<'_>,
    severity: Option<Severity>,
) -> Option<Vec<(&'static str, Threshold)>> {
    for name in ["limit", "warning", "critical", "operator", "clear"] {
        if let Some(other) = written.get(name) {
            let wrong = Wrong::new(format!("`{name}` cannot stand beside `{}`", first.name));
            reading.report(other.at, wrong.expected("min, max or both, or a limit"));
        }
    }
    let mut bounds = Vec::new();
    for (name, ending, operator) in [("min", "[min]", Operator::Below), ("max", "[max]", Operator::Above)] {
        if let Some(count) = written.take(reading, name, |text| value::count(text, 0, 1_000_000)) {
            let severity = severity.unwrap_or(Severity::Critical);
            bounds.push((ending, single(operator, severity, count.value as f64), count));
        } else if written.get(name).is_some() {
            return None;
        }
    }
    match &bounds[..] {
        [(_, _, min), (_, _, max)] if min.value > max.value => {
            let wrong = Wrong::new("the least number lies above the greatest").help("swap `min` and `max`");
            reading.report(max.span, wrong);
            return None;
        }
        [("[min]", _, min), ..] if min.value == 0 => {
            let wrong =
                Wrong::new("there are never fewer than 0 processes").expected("min=\"1\" or more, or none");
            reading.report(min.span, wrong);
            return None;
        }
        _ => {}
    }
    Some(bounds.into_iter().map(|(ending, threshold, _)| (ending, threshold)).collect())
}

/// The time that a forecast looks ahead.
fn within(reading: &mut Reading<'_>, attribute: &Attribute<'_>) -> Option<f64> {
    let ahead = |text: &str| value::duration(text, value::MINUTE * 10, value::DAY * 90);
    reading.take(attribute, ahead).map(|within| within.value.as_secs_f64())
}

/// A value in the unit of the type.
pub(super) fn limit_value(reading: &mut Reading<'_>, kind: &Kind, attribute: &Attribute<'_>) -> Option<f64> {
    let unit = kind.metric.unit;
    let tolerant =
        attribute.name == "limit" && FIRST_FORM.contains(&kind.metric.name) && unit != Unit::Percent;
    let read = reading.take(attribute, |text| {
        let text = text.trim();
        let text = if tolerant { text.strip_suffix('%').unwrap_or(text) } else { text };
        value::limit(text, unit, kind.may_be_negative())
    });
    read.map(|at| at.value)
}

pub(super) fn operator(text: &str) -> Value<Operator> {
    let names = Operator::ALL.map(|operator| (operator.symbol(), operator));
    value::one_of(text, &names).map_err(|wrong| wrong.help("in XML, `<` is written &lt;"))
}

pub(super) fn severity(text: &str) -> Value<Severity> {
    value::one_of(text, &[("warning", Severity::Warning), ("critical", Severity::Critical)])
}
