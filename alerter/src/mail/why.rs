//! What made a rule fire, and what ends it, in words.

use model::alert::EndReason;
use model::rule::{
    COLLECTOR_STALE, DISK_FORECAST, HOST_KEY_CHANGED, ISOLATED, MOUNT, REBOOT, SERVICE, STALE, UNREACHABLE,
    is_event,
};
use model::{Aggregate, Episode, Hold, Operator, Rule, Severity, Unit};

use super::matter::{has_value, series, show};

/// What made it fire: `>= 90 % in every record for 15 min`. Empty where the first record did.
pub(crate) fn why_now(rule: &Rule, episode: &Episode) -> String {
    let kind = rule.metric.as_str();
    let beyond = || format!("{} {}", rule.threshold.operator.symbol(), show(kind, episode.limit));
    let held = match (rule.hold, rule.aggregate) {
        (Hold::Span(0) | Hold::AT_ONCE, _) => String::new(),
        (Hold::Span(span), Some(aggregate)) => {
            let aggregate = match aggregate {
                Aggregate::Mean => "mean",
                Aggregate::Least => "least",
                Aggregate::Greatest => "greatest",
            };
            format!("the {aggregate} of the values over {} is {}", millis(span), beyond())
        }
        (Hold::Span(span), None) if has_value(kind) => {
            format!("{} in every record for {}", beyond(), millis(span))
        }
        (Hold::Span(span), None) => format!("in every record for {}", millis(span)),
        (Hold::Samples { needed, of }, _) => {
            let what = if is_of_collections(kind) { "collections" } else { "records" };
            if needed == of {
                format!("{needed} {what} in a row")
            } else {
                format!("{needed} of {of} {what}")
            }
        }
    };
    let fit =
        rule.fit_ms.map(|span| format!("by the line through its free space of the last {}", millis(span)));
    let said = [fit.unwrap_or_default(), held].into_iter().filter(|part| !part.is_empty());
    let said = said.collect::<Vec<_>>().join(", ");
    match rule.floor {
        Some(floor) => {
            let free = format!("less than {} is free", Unit::Bytes.show(floor.of(episode.severity)));
            if said.is_empty() { free } else { format!("{said}, and {free}") }
        }
        None => said,
    }
}

/// What will end it.
pub(crate) fn clears(rule: &Rule, episode: &Episode) -> String {
    let kind = rule.metric.as_str();
    let end = match kind {
        UNREACHABLE => "with the next collection that succeeds".to_owned(),
        HOST_KEY_CHANGED => "with the next collection under a trusted host key".to_owned(),
        STALE => "with the next report that is new".to_owned(),
        ISOLATED => "with the next run of fleet-collector that reaches clients".to_owned(),
        COLLECTOR_STALE => "with the next run of fleet-collector".to_owned(),
        SERVICE => "when the unit is not failed any more".to_owned(),
        MOUNT => "when it is there and writable".to_owned(),
        REBOOT => "by itself: it tells of an event".to_owned(),
        _ if is_event(kind) => "by itself: it tells of events".to_owned(),
        DISK_FORECAST => format!("when its end is more than {} away", show(kind, bound(rule))),
        _ => format!("when {} is {}", series(episode), fine(rule)),
    };
    match rule.keep_firing_ms {
        0 => end,
        _ if is_event(kind) => end,
        keep => format!("{end}, and has been so for {}", millis(keep)),
    }
}

/// The limit that what fires has to leave behind.
fn bound(rule: &Rule) -> f64 {
    rule.clear.unwrap_or_else(|| rule.threshold.limit(Severity::Warning))
}

fn fine(rule: &Rule) -> String {
    let shown = show(&rule.metric, bound(rule));
    let fine = match rule.threshold.operator {
        Operator::AtLeast => format!("below {shown}"),
        Operator::Above => format!("at {shown} or below"),
        Operator::Below => format!("at {shown} or above"),
        Operator::AtMost => format!("above {shown}"),
        Operator::Equal => format!("anything but {shown}"),
        Operator::Unequal => shown,
    };
    match rule.floor {
        Some(floor) => {
            format!("{fine}, or {} is free", Unit::Bytes.show(floor.end()))
        }
        None => fine,
    }
}

/// Why an episode ended, where it is not that all is well again.
pub(crate) fn ended(why: EndReason) -> &'static str {
    match why {
        EndReason::Recovered => "",
        EndReason::RuleEdited => "its rule was edited, and the value does not breach the new limit",
        EndReason::Vanished => "the client has not reported it for a day",
        EndReason::RuleRemoved => "config.xml has no rule for it any more",
        EndReason::ClientRemoved => "its client is no longer in config.xml",
    }
}

fn is_of_collections(kind: &str) -> bool {
    [UNREACHABLE, HOST_KEY_CHANGED, STALE, ISOLATED].contains(&kind)
}

fn millis(millis: i64) -> String {
    Unit::Seconds.show(millis as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{disk_rule, episode, rule};
    use model::{Floor, Labels};

    #[test]
    fn a_rule_says_why_and_until_when() {
        let mut disk = disk_rule();
        let full = episode("web1", "disk", Labels::one("mount", "/var"), Severity::Critical);
        let said = |rule: &Rule| (why_now(rule, &full), clears(rule, &full));
        assert_eq!(said(&disk), (String::new(), "when disk /var is below 80 %".to_owned()));
        disk.hold = Hold::Samples { needed: 3, of: 5 };
        disk.clear = Some(78.0);
        assert_eq!(said(&disk), ("3 of 5 records".to_owned(), "when disk /var is below 78 %".to_owned()));
        disk.hold = Hold::Span(900_000);
        disk.keep_firing_ms = 300_000;
        let floor = 1024.0 * 1024.0 * 1024.0;
        disk.floor = Some(Floor { warning: 10.0 * floor, critical: 5.0 * floor });
        let (why, until) = said(&disk);
        assert_eq!(why, ">= 90 % in every record for 15 min, and less than 5 GiB is free");
        assert_eq!(until, "when disk /var is below 78 %, or 11 GiB is free, and has been so for 5 min");
        disk.floor = None;
        disk.aggregate = Some(Aggregate::Mean);
        assert_eq!(said(&disk).0, "the mean of the values over 15 min is >= 90 %");
        let mut gone = rule(UNREACHABLE, None, Some(1.0));
        gone.hold = Hold::in_a_row(2);
        assert_eq!(
            said(&gone),
            ("2 collections in a row".to_owned(), "with the next collection that succeeds".to_owned())
        );
        let mut forecast = rule(DISK_FORECAST, Some(86_400.0), None);
        (forecast.hold, forecast.fit_ms) = (Hold::in_a_row(3), Some(6 * 3_600_000));
        forecast.clear = Some(129_600.0);
        let (why, until) = said(&forecast);
        assert_eq!(why, "by the line through its free space of the last 6 h, 3 records in a row");
        assert_eq!(until, "when its end is more than 1 d 12 h away");
    }
}
