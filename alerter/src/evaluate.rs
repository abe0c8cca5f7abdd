//! The fold over one series: a state, a rule and one observation give the next state and what there is to tell.
//!
//! Time here is event time only. No I/O, no clock, no log: the same observations in the same order give the same
//! states and transitions, however they are split into runs.

use model::{AlertState, EpisodeId, Hold, Rule, Severity, Timestamp};

/// One value of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// When it was true, in event time.
    pub at: Timestamp,
    /// The value, in the metric's base unit.
    pub value: f64,
}

/// What changed for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// An episode began.
    Fired {
        /// How bad it is.
        severity: Severity,
        /// The first breach.
        since: Timestamp,
    },
    /// The severity rose above all that was told of this episode; told at once.
    Worse {
        /// How bad it is now.
        severity: Severity,
    },
    /// The severity fell, and still breaches; silent.
    Eased {
        /// How bad it is now.
        severity: Severity,
    },
    /// The episode is over.
    Resolved,
}

/// Folds one observation into a state. `episode_id` names the episode that begins at the given time.
pub fn evaluate(
    state: &AlertState,
    rule: &Rule,
    observation: &Observation,
    episode_id: impl FnOnce(Timestamp) -> EpisodeId,
) -> (AlertState, Option<Transition>) {
    match (state, rule.threshold.severity(observation.value)) {
        (AlertState::Firing { since, severity, worst, episode }, Some(now)) => {
            let next = AlertState::Firing {
                since: *since,
                severity: now,
                worst: now.max(*worst),
                episode: episode.clone(),
            };
            let transition = if now > *worst {
                Some(Transition::Worse { severity: now })
            } else if now < *severity {
                Some(Transition::Eased { severity: now })
            } else {
                None
            };
            (next, transition)
        }
        (AlertState::Firing { since, .. }, None) => {
            // Never before the begin, so that a next episode within the same millisecond begins after it.
            (AlertState::Resolved { at: observation.at.max(*since) }, Some(Transition::Resolved))
        }
        (AlertState::Pending { since, breaches }, Some(severity)) => {
            breach(rule.hold, *since, breaches.saturating_add(1), severity, episode_id)
        }
        (AlertState::Resolved { at }, Some(severity)) => {
            // Two episodes of an alert never begin at the same time, for the begin is part of their names.
            breach(rule.hold, observation.at.max(at.plus(1)), 1, severity, episode_id)
        }
        (AlertState::Inactive, Some(severity)) => breach(rule.hold, observation.at, 1, severity, episode_id),
        (AlertState::Resolved { at }, None) => (AlertState::Resolved { at: *at }, None),
        (AlertState::Inactive | AlertState::Pending { .. }, None) => (AlertState::Inactive, None),
    }
}

/// One more breach of what does not fire yet.
fn breach(
    hold: Hold,
    since: Timestamp,
    breaches: u32,
    severity: Severity,
    episode_id: impl FnOnce(Timestamp) -> EpisodeId,
) -> (AlertState, Option<Transition>) {
    let Hold::Samples(needed) = hold;
    if breaches < needed {
        return (AlertState::Pending { since, breaches }, None);
    }
    let firing = AlertState::Firing { since, severity, worst: severity, episode: episode_id(since) };
    (firing, Some(Transition::Fired { severity, since }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use proptest::prelude::*;

    fn id(begin: Timestamp) -> EpisodeId {
        EpisodeId(begin.millis().to_string())
    }

    fn rule(samples: u32) -> Rule {
        Rule { hold: Hold::Samples(samples), ..fixtures::disk_rule() }
    }

    /// The name of a state as docs/alerting.md writes it.
    fn name(state: &AlertState) -> String {
        match state {
            AlertState::Inactive => "Inactive".to_owned(),
            AlertState::Pending { .. } => "Pending".to_owned(),
            AlertState::Firing { severity, worst, .. } if severity == worst => format!("Firing {severity}"),
            AlertState::Firing { severity, worst, .. } => format!("Firing {severity}, told {worst}"),
            AlertState::Resolved { .. } => "Resolved".to_owned(),
        }
    }

    fn told(transition: Option<Transition>) -> &'static str {
        match transition {
            None => "-",
            Some(Transition::Fired { .. }) => "problem",
            Some(Transition::Worse { .. }) => "worse",
            Some(Transition::Eased { .. }) => "(eased)",
            Some(Transition::Resolved) => "recovered",
        }
    }

    /// Every state with every kind of value, for `samples="2"`.
    fn table() -> String {
        use std::fmt::Write as _;
        let firing = |severity, worst| AlertState::Firing {
            since: Timestamp(1),
            severity,
            worst,
            episode: id(Timestamp(1)),
        };
        let states = [
            AlertState::Inactive,
            AlertState::Pending { since: Timestamp(1), breaches: 1 },
            firing(Severity::Warning, Severity::Warning),
            firing(Severity::Critical, Severity::Critical),
            firing(Severity::Warning, Severity::Critical),
            AlertState::Resolved { at: Timestamp(1) },
        ];
        let mut table = String::from("| state | value | next state | told |\n|---|---|---|---|\n");
        for state in &states {
            for (value, what) in [(50.0, "fine"), (85.0, "warning"), (95.0, "critical")] {
                let (next, transition) =
                    evaluate(state, &rule(2), &Observation { at: Timestamp(2), value }, id);
                let _ =
                    writeln!(table, "| {} | {what} | {} | {} |", name(state), name(&next), told(transition));
            }
        }
        table
    }

    #[test]
    fn the_documented_table_is_the_code() {
        let document = include_str!("../../docs/alerting.md");
        let table = table();
        assert!(document.contains(&table), "docs/alerting.md does not hold this table:\n{table}");
    }

    #[test]
    fn one_sample_fires_at_once() {
        let (state, transition) =
            evaluate(&AlertState::Inactive, &rule(1), &Observation { at: Timestamp(7), value: 95.0 }, id);
        assert_eq!(transition, Some(Transition::Fired { severity: Severity::Critical, since: Timestamp(7) }));
        assert_eq!(name(&state), "Firing critical");
    }

    #[test]
    fn episodes_within_one_millisecond_have_names_of_their_own() {
        let mut state = AlertState::Inactive;
        let mut begins = Vec::new();
        for value in [95.0, 50.0, 95.0, 50.0, 95.0] {
            let (next, transition) = evaluate(&state, &rule(1), &Observation { at: Timestamp(7), value }, id);
            if let Some(Transition::Fired { since, .. }) = transition {
                begins.push(since.millis());
            }
            state = next;
        }
        assert_eq!(begins, [7, 8, 9]);
    }

    /// The plain model: looks at the whole list at once, and knows nothing of states.
    fn model(values: &[f64], samples: usize) -> Vec<String> {
        let severity = |value: f64| if value >= 90.0 { 2 } else { i32::from(value >= 80.0) };
        let mut news = Vec::new();
        let mut start = 0;
        for run in values.chunk_by(|a, b| (severity(*a) > 0) == (severity(*b) > 0)) {
            let end = start + run.len();
            if severity(run[0]) > 0 && run.len() >= samples {
                let fired = start + samples - 1;
                news.push((fired, format!("{fired}: fired {}", severity(values[fired]))));
                let worse = (fired + 1..end).find(|&i| severity(values[i]) > severity(values[fired]));
                if let Some(worse) = worse {
                    news.push((worse, format!("{worse}: worse")));
                }
                if end < values.len() {
                    news.push((end, format!("{end}: resolved")));
                }
            }
            start = end;
        }
        news.into_iter().map(|(_, text)| text).collect()
    }

    fn folded(values: &[f64], samples: u32) -> Vec<String> {
        let mut state = AlertState::Inactive;
        let mut news = Vec::new();
        for (i, &value) in values.iter().enumerate() {
            let observation = Observation { at: Timestamp(i as i64), value };
            let (next, transition) = evaluate(&state, &rule(samples), &observation, id);
            state = next;
            match transition {
                Some(Transition::Fired { severity: Severity::Critical, .. }) => {
                    news.push(format!("{i}: fired 2"));
                }
                Some(Transition::Fired { .. }) => news.push(format!("{i}: fired 1")),
                Some(Transition::Worse { .. }) => news.push(format!("{i}: worse")),
                Some(Transition::Resolved) => news.push(format!("{i}: resolved")),
                Some(Transition::Eased { .. }) | None => {}
            }
        }
        news
    }

    proptest! {
        #[test]
        fn the_fold_is_the_plain_model(
            values in proptest::collection::vec(prop_oneof![Just(50.0), Just(85.0), Just(95.0)], 0..60),
            samples in 1_u32..4,
        ) {
            prop_assert_eq!(folded(&values, samples), model(&values, samples as usize));
        }
    }
}
