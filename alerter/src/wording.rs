//! How an alert stands, in a few words; `status`, `explain` and `check` say it alike.

use model::metric::{self, Unit};
use model::text::escape_to;
use model::{AlertState, Episode, EpisodeId, Firing, Hold, Rule, Timestamp};

/// The most characters of a text that came from a client.
const TEXT: usize = 200;
/// So many digits of an episode's id are shown: `ack` takes them, and two are hardly ever the same.
const ID: usize = 8;

/// The beginning of an episode's id, by which people call it.
pub(crate) fn short_id(id: &EpisodeId) -> &str {
    id.0.get(..ID).unwrap_or(&id.0)
}

/// `disk /var`
pub(crate) fn subject(metric: &str, object: &str) -> String {
    escape_to(format!("{metric} {object}").trim_end(), TEXT)
}

/// `disk /var 93 % (limit 90 %)`; `unreachable: no route to host`
pub(crate) fn problem(episode: &Episode) -> String {
    let subject = subject(&episode.metric, &episode.key.labels.object());
    if has_value(&episode.metric) {
        let unit = metric::unit(&episode.metric);
        return format!("{subject} {} (limit {})", unit.show(episode.last_value), unit.show(episode.limit));
    }
    match episode.detail.lines().next() {
        Some(detail) if !detail.is_empty() => format!("{subject}: {}", escape_to(detail, TEXT)),
        _ => subject,
    }
}

/// Whether the values of that type say more than that it is so.
pub(crate) fn has_value(kind: &str) -> bool {
    metric::describe(kind).is_some() || metric::unit(kind) == Unit::Seconds
}

/// What an alert that waits lacks to fire, by the newest record at `at`.
pub(crate) fn missing(rule: &Rule, state: &AlertState, since: Timestamp, at: Timestamp) -> String {
    match rule.hold {
        Hold::Span(span) => format!("{} more", millis(span.saturating_sub(at.since(since)).max(0))),
        Hold::Samples { needed, of } => {
            let lacking = needed.saturating_sub(state.breaches.count_ones());
            if needed == of {
                format!("{lacking} more in a row")
            } else {
                format!("{lacking} more among {of}")
            }
        }
    }
}

/// What an alert that is fine again lacks to end, by the newest record at `at`; `None` where it is not fine.
pub(crate) fn ending(rule: &Rule, firing: &Firing, at: Timestamp) -> Option<String> {
    let since = firing.fine_since?;
    let left = rule.keep_firing_ms.saturating_sub(at.since(since));
    Some(match left {
        1.. => format!("fine for {}, ends after {} more", millis(at.since(since)), millis(left)),
        _ => format!("fine for {}", millis(at.since(since))),
    })
}

/// A span of time for people.
pub(crate) fn millis(millis: i64) -> String {
    Unit::Seconds.show((millis / 1000) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::disk_rule;

    #[test]
    fn what_is_missing() {
        let minute = |minute: i64| Timestamp(minute * 60_000);
        let mut state = AlertState { breaches: 0b10, ..AlertState::default() };
        for (hold, words) in [
            (Hold::Span(900_000), "10 min more"),
            (Hold::Span(60_000), "0 s more"),
            (Hold::in_a_row(3), "2 more in a row"),
            (Hold::Samples { needed: 3, of: 5 }, "2 more among 5"),
        ] {
            let rule = Rule { hold, ..disk_rule() };
            assert_eq!(missing(&rule, &state, minute(5), minute(10)), words);
        }
        state.breaches = 0b111;
        let rule = Rule { hold: Hold::in_a_row(2), ..disk_rule() };
        assert_eq!(missing(&rule, &state, minute(5), minute(10)), "0 more in a row");
    }
}
