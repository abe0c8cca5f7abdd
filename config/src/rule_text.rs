//! A rule in words, as `check-config` and `explain` show it.

use model::{Aggregate, Hold, Operator, Rule, Severity, Unit, metric};

/// When a rule breaches, fires and ends: `warning >= 80 %, critical >= 90 %, for 15 min`.
pub fn rule_text(rule: &Rule) -> String {
    let parts = [limits(rule), floor(rule), fit(rule), hold(rule), clear(rule), keep(rule)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Whether it has a limit that is worth a word: what is there or not has none.
fn has_limit(rule: &Rule) -> bool {
    let unit = metric::unit(&rule.metric);
    let is_yes = unit == Unit::Flag && rule.threshold.operator == Operator::AtLeast;
    !is_yes && (metric::describe(&rule.metric).is_some() || unit == Unit::Seconds)
}

fn limits(rule: &Rule) -> String {
    let unit = metric::unit(&rule.metric);
    let limits = [(Severity::Warning, rule.threshold.warning), (Severity::Critical, rule.threshold.critical)];
    let shown = limits.iter().filter_map(|(severity, limit)| {
        let limit = (*limit)?;
        Some(if has_limit(rule) {
            format!("{severity} {} {}", rule.threshold.operator.symbol(), unit.show(limit))
        } else {
            severity.to_string()
        })
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn floor(rule: &Rule) -> String {
    let Some(floor) = rule.floor else { return String::new() };
    let (warning, critical) = (Unit::Bytes.show(floor.warning), Unit::Bytes.show(floor.critical));
    let relevant = match (rule.threshold.warning, rule.threshold.critical) {
        (Some(_), Some(_)) if warning != critical => format!("{warning} or {critical}"),
        (None, _) => critical,
        _ => warning,
    };
    format!("below {relevant} free")
}

fn fit(rule: &Rule) -> String {
    rule.fit_ms.map_or_else(String::new, |span| format!("by the last {}", millis(span)))
}

fn hold(rule: &Rule) -> String {
    let of = match rule.aggregate {
        None => "for",
        Some(Aggregate::Mean) => "as the mean over",
        Some(Aggregate::Least) => "as the least over",
        Some(Aggregate::Greatest) => "as the greatest over",
    };
    match rule.hold {
        Hold::AT_ONCE if has_limit(rule) => String::new(),
        Hold::AT_ONCE => "at once".to_owned(),
        Hold::Samples { needed, of } if needed == of => format!("{needed} in a row"),
        Hold::Samples { needed, of } => format!("{needed} of {of}"),
        Hold::Span(span) => format!("{of} {}", millis(span)),
    }
}

fn clear(rule: &Rule) -> String {
    let Some(clear) = rule.clear else { return String::new() };
    let fine = match rule.threshold.operator {
        Operator::AtLeast => "<",
        Operator::Above => "<=",
        Operator::Below => ">=",
        Operator::AtMost => ">",
        // What has no fine side has no `clear`.
        Operator::Equal | Operator::Unequal => return String::new(),
    };
    format!("clears {fine} {}", metric::unit(&rule.metric).show(clear))
}

fn keep(rule: &Rule) -> String {
    match rule.keep_firing_ms {
        0 => String::new(),
        keep => format!("ends after {} fine", millis(keep)),
    }
}

fn millis(millis: i64) -> String {
    Unit::Seconds.show(millis as f64 / 1000.0)
}
