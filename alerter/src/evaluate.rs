//! The fold over one series: a state, a rule and one observation give the next state and what there is to tell.
//!
//! Time here is event time only. No I/O, no clock, no log: the same observations in the same order give the same
//! states and news, however they are split into runs. docs/alerting.md says the same in words.

mod compared;
#[cfg(test)]
mod tests;

use model::alert::EndReason;
use model::{AlertPhase, AlertState, EpisodeId, Firing, Hold, Reason, Rule, Severity, Timestamp};

use compared::compared;

/// An alert begins to flap where it changed between firing and not more often than this...
const FLAPS_ABOVE: u32 = 6;
/// ... and is steady again where it changed less often than this...
const STEADY_BELOW: u32 = 5;
/// ... with so many records (30 % and 25 % of 20).
const LOOKED_AT: u32 = 20;

/// One value of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// When it was true, in event time.
    pub at: Timestamp,
    /// The value, in the metric's base unit.
    pub value: f64,
    /// The free bytes beside it, for rules with a floor.
    pub free: Option<f64>,
}

/// A rule, and what tells its condition from others: made once, for it is asked for with every value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// [`Rule::condition`] of it.
    pub condition: u64,
}

impl<'a> From<&'a Rule> for Terms<'a> {
    fn from(rule: &'a Rule) -> Self {
        Self { rule, condition: rule.condition() }
    }
}

/// What an observation comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The next state.
    pub state: AlertState,
    /// What became of the episode.
    pub change: Option<Change>,
    /// What people are to hear of it, by their ordinals.
    pub news: Option<(Reason, u32)>,
    /// What was compared with the limits, where something was: the value, its aggregate, or what is forecast.
    pub compared: Option<f64>,
}

/// What became of an alert's episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It began.
    Began {
        /// Its name.
        episode: EpisodeId,
        /// The first breach.
        since: Timestamp,
        /// How bad it is.
        severity: Severity,
    },
    /// It is over.
    Ended {
        /// Its name.
        episode: EpisodeId,
        /// When.
        at: Timestamp,
        /// Why.
        why: EndReason,
    },
}

/// Folds one observation into a state. `held`: news is held back now, by a window, a silence or something bigger.
/// `episode_id` names the episode that begins at the given time.
pub fn evaluate(
    state: &AlertState,
    Terms { rule, condition }: Terms,
    observation: &Observation,
    held: bool,
    episode_id: impl FnOnce(Timestamp) -> EpisodeId,
) -> Evaluation {
    let mut state = state.clone();
    let edited = adopt(&mut state, condition);
    state.missing = None;
    let Some(value) = compared(&mut state.values, rule, observation) else {
        return Evaluation { state, change: None, news: None, compared: None };
    };
    let seen = Seen { at: observation.at, severity: rule.severity(value, observation.free), edited };
    let fired = fires(&state.phase);
    let holds = holds(&mut state, rule, &seen, rule.still_breaches(value, observation.free));
    let (mut change, mut news) = (None, None);
    match std::mem::take(&mut state.phase) {
        AlertPhase::Firing(firing) => {
            let stays = holds || !seen.edited && !firing.flapping && is_kept(rule, &firing, seen.at);
            let flaps = flaps(&mut state, firing.flapping, fired != stays);
            if stays || flaps && !seen.edited {
                state.phase = AlertPhase::Firing(go_on(firing, &seen, holds, flaps));
            } else {
                (change, news) = end(&mut state, rule, firing, &seen);
            }
        }
        before => {
            let since = first_breach(&state, rule, &before, seen.at);
            let worst = seen.severity.filter(|_| holds);
            let flaps = flaps(&mut state, false, worst.is_some());
            (state.phase, change) = match worst {
                Some(severity) => begin(since, severity, flaps, episode_id),
                None => (wait(&state, &before, &seen, since), None),
            };
        }
    }
    if let AlertPhase::Firing(firing) = &mut state.phase {
        news = tell(firing, held);
    }
    Evaluation { state, change, news, compared: Some(value) }
}

/// What an observation says to a rule.
struct Seen {
    at: Timestamp,
    severity: Option<Severity>,
    edited: bool,
}

/// Makes the state one of the rule's condition. True where it was made under another: then the records before say
/// nothing of this one, and what fires goes on only if it breaches still.
fn adopt(state: &mut AlertState, condition: u64) -> bool {
    // 0: by a version that did not know of conditions.
    let edited = ![0, condition].contains(&state.condition) && !state.is_idle();
    if edited {
        (state.breaches, state.changes) = (0, 0);
        state.values.clear();
        if let AlertPhase::Pending { .. } = state.phase {
            state.phase = AlertPhase::Inactive;
        }
    }
    state.condition = condition;
    edited
}

/// Whether the alert fires as people see it; what flaps fires between two fine records only.
fn fires(phase: &AlertPhase) -> bool {
    matches!(phase, AlertPhase::Firing(firing) if !firing.flapping || firing.fine_since.is_none())
}

/// Takes the record into what the hold looks back on, and says whether the hold is fulfilled.
fn holds(state: &mut AlertState, rule: &Rule, seen: &Seen, still: bool) -> bool {
    let firing = state.firing().is_some();
    let breach = if firing { still } else { seen.severity.is_some() };
    match rule.hold {
        _ if rule.aggregate.is_some() => breach,
        Hold::Span(_) if firing => breach,
        Hold::Span(span) => match state.phase {
            AlertPhase::Pending { since } => breach && seen.at.since(since) >= span,
            _ => breach && span <= 0,
        },
        Hold::Samples { needed, of } => {
            look_back(state, seen, breach, needed, of);
            state.breaches.count_ones() >= needed
        }
    }
}

/// Whether a rule's hold looks at several records of which not all need to breach.
fn has_slack(hold: Hold) -> bool {
    matches!(hold, Hold::Samples { needed, of } if needed < of)
}

/// Keeps what the latest `of` records said; nothing where none of them breached.
fn look_back(state: &mut AlertState, seen: &Seen, breach: bool, needed: u32, of: u32) {
    let all = u32::MAX >> (32 - of.clamp(1, Hold::MAX_SAMPLES));
    let before = match state.firing() {
        // As if the edited rule had been there all the time.
        Some(_) if seen.edited && breach => all,
        // In a row: one that does not breach, and the count begins anew.
        _ if needed == of && !breach => 0,
        _ => state.breaches,
    };
    state.breaches = (before << 1 | u32::from(breach)) & all;
    if needed < of {
        state.values.push((seen.at, f64::from(u8::from(breach))));
        let old = state.values.len().saturating_sub(of as usize);
        state.values.drain(..old);
        if state.breaches == 0 {
            state.values.clear();
        }
    }
}

/// Whether what is fine at `at` has not been so for long enough to end.
fn is_kept(rule: &Rule, firing: &Firing, at: Timestamp) -> bool {
    at.since(firing.fine_since.unwrap_or(at)) < rule.keep_firing_ms
}

/// Counts the changes, and says whether there are too many to tell each.
fn flaps(state: &mut AlertState, was_flapping: bool, changed: bool) -> bool {
    state.changes = (state.changes << 1 | u32::from(changed)) & (u32::MAX >> (32 - LOOKED_AT));
    match state.changes.count_ones() {
        count if was_flapping => count >= STEADY_BELOW,
        count => changed && count > FLAPS_ABOVE,
    }
}

fn go_on(mut firing: Firing, seen: &Seen, holds: bool, flaps: bool) -> Firing {
    firing.flapping = flaps;
    if holds {
        firing.fine_since = None;
        firing.severity = seen.severity.unwrap_or(firing.severity);
    } else {
        firing.fine_since.get_or_insert(seen.at);
    }
    firing
}

/// What fired is over, since the first of the records that are fine.
fn end(
    state: &mut AlertState,
    rule: &Rule,
    firing: Firing,
    seen: &Seen,
) -> (Option<Change>, Option<(Reason, u32)>) {
    // Never before the begin, so that a next episode within the same millisecond begins after it.
    let at = firing.fine_since.unwrap_or(seen.at).max(firing.since);
    let why = if seen.edited { EndReason::RuleEdited } else { EndReason::Recovered };
    (state.phase, state.breaches) = (AlertPhase::Resolved { at }, 0);
    if has_slack(rule.hold) {
        state.values.clear();
    }
    // An end is for those who heard of the problem; the mail about an event said all.
    let is_told = firing.told.is_some() && !model::rule::is_event(&rule.metric);
    let news = is_told.then_some((Reason::Resolved, firing.news));
    (Some(Change::Ended { episode: firing.episode, at, why }), news)
}

fn begin(
    since: Timestamp,
    severity: Severity,
    flapping: bool,
    episode_id: impl FnOnce(Timestamp) -> EpisodeId,
) -> (AlertPhase, Option<Change>) {
    let id = episode_id(since);
    let change = Change::Began { episode: id.clone(), since, severity };
    let (told, fine_since, told_flapping, news) = (None, None, false, 0);
    let firing = Firing { since, severity, told, episode: id, fine_since, flapping, told_flapping, news };
    (AlertPhase::Firing(firing), Some(change))
}

/// What does not fire waits for its hold, or is fine.
fn wait(state: &AlertState, before: &AlertPhase, seen: &Seen, since: Timestamp) -> AlertPhase {
    match before {
        _ if seen.severity.is_some() || state.breaches > 0 => AlertPhase::Pending { since },
        // Kept for as long as another episode could begin within its last millisecond.
        AlertPhase::Resolved { at } if seen.at <= *at => AlertPhase::Resolved { at: *at },
        _ => AlertPhase::Inactive,
    }
}

/// When what breaches now began to. Two episodes of an alert never begin at the same time, for the begin is part of
/// their names.
fn first_breach(state: &AlertState, rule: &Rule, before: &AlertPhase, at: Timestamp) -> Timestamp {
    let (first, earliest) = match before {
        AlertPhase::Pending { since } => (*since, Timestamp(i64::MIN)),
        AlertPhase::Resolved { at: end } => (at, end.plus(1)),
        _ => (at, Timestamp(i64::MIN)),
    };
    // Where records need not breach in a row, the oldest that does and is still looked back on.
    let oldest = state.values.iter().find(|(_, breach)| has_slack(rule.hold) && *breach > 0.0);
    oldest.map_or(first, |(at, _)| *at).max(earliest)
}

/// What people are to hear of what fires; remembers that they do.
fn tell(firing: &mut Firing, held: bool) -> Option<(Reason, u32)> {
    let is_fine = firing.fine_since.is_some();
    let reason = match (firing.flapping, firing.told) {
        _ if held => return None,
        (true, _) if !firing.told_flapping => Reason::Flapping,
        _ if is_fine => return None,
        (_, None) => Reason::First,
        (_, Some(told)) if firing.severity > told => Reason::Worse,
        (false, Some(_)) if firing.told_flapping => Reason::Steady,
        _ => return None,
    };
    firing.told = firing.told.max(Some(firing.severity));
    firing.told_flapping = firing.flapping;
    firing.news += 1;
    Some((reason, firing.news - 1))
}
