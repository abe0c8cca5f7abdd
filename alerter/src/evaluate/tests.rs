//! One alert by itself: the documented table, the corners, and the fold against a plain model.

use model::{Aggregate, Floor};
use proptest::prelude::*;

use super::*;
use crate::fixtures;

const MINUTE: i64 = 60_000;

fn id(begin: Timestamp) -> EpisodeId {
    EpisodeId(begin.millis().to_string())
}

fn rule(hold: Hold) -> Rule {
    Rule { hold, ..fixtures::disk_rule() }
}

/// What a series of (minute, value) comes to: `minute: news` and `minute: begin` lines.
fn folded(rule: &Rule, records: &[(i64, f64)]) -> Vec<String> {
    folded_with(rule, records, |_| false)
}

fn folded_with(rule: &Rule, records: &[(i64, f64)], held: impl Fn(i64) -> bool) -> Vec<String> {
    let mut state = AlertState::default();
    let mut lines = Vec::new();
    for &(minute, value) in records {
        let observation = Observation { at: Timestamp(minute * MINUTE), value, free: None };
        let evaluation = evaluate(&state, Terms::from(rule), &observation, held(minute), id);
        state = evaluation.state;
        let minutes = |at: Timestamp| at.millis() / MINUTE;
        let change = match evaluation.change {
            Some(Change::Began { since, severity, .. }) => format!(" began {} {severity}", minutes(since)),
            Some(Change::Ended { at, why, .. }) => format!(" ended {} {why:?}", minutes(at)),
            None => String::new(),
        };
        let news = evaluation.news.map_or(String::new(), |(reason, _)| format!(" {reason:?}"));
        if !change.is_empty() || !news.is_empty() {
            lines.push(format!("{minute}:{change}{news}"));
        }
    }
    lines
}

/// A value every five minutes.
fn every_five(values: &[f64]) -> Vec<(i64, f64)> {
    (0..).step_by(5).zip(values.iter().copied()).collect()
}

/// The name of a state as docs/alerting.md writes it.
fn name(phase: &AlertPhase) -> String {
    match phase {
        AlertPhase::Inactive => "Inactive".to_owned(),
        AlertPhase::Pending { .. } => "Pending".to_owned(),
        AlertPhase::Firing(Firing { told: None, .. }) => "Firing, held back".to_owned(),
        AlertPhase::Firing(Firing { severity, told: Some(told), .. }) if severity == told => {
            format!("Firing {severity}")
        }
        AlertPhase::Firing(Firing { severity, told: Some(told), .. }) => {
            format!("Firing {severity}, told {told}")
        }
        AlertPhase::Resolved { .. } => "Resolved".to_owned(),
    }
}

fn told(news: Option<(Reason, u32)>) -> &'static str {
    match news.map(|(reason, _)| reason) {
        None => "-",
        Some(Reason::First) => "problem",
        Some(Reason::Worse) => "worse",
        Some(Reason::Resolved) => "recovered",
        Some(Reason::Flapping) => "flapping",
        Some(Reason::Steady) => "steady",
        Some(Reason::Reminder | Reason::Escalated) => unreachable!("the fold does not remind"),
    }
}

/// Every state with every kind of value, for `samples="2"`.
fn table() -> String {
    use Severity::{Critical, Warning};
    use std::fmt::Write as _;
    let rule = rule(Hold::in_a_row(2));
    let firing = |severity, told| {
        let (since, fine_since, flapping, news) = (Timestamp(1), None, false, 1);
        let firing = Firing {
            since,
            severity,
            told,
            episode: id(since),
            fine_since,
            flapping,
            told_flapping: false,
            news,
        };
        (AlertPhase::Firing(firing), 0b11)
    };
    let states = [
        (AlertPhase::Inactive, 0),
        (AlertPhase::Pending { since: Timestamp(1) }, 1),
        firing(Warning, Some(Warning)),
        firing(Critical, Some(Critical)),
        firing(Warning, Some(Critical)),
        firing(Critical, None),
        (AlertPhase::Resolved { at: Timestamp(1) }, 0),
    ];
    let mut table = String::from("| state | value | next state | told |\n|---|---|---|---|\n");
    for (phase, breaches) in states {
        let condition = rule.condition();
        let state = AlertState { phase, breaches, condition, ..AlertState::default() };
        for (value, what) in [(50.0, "fine"), (85.0, "warning"), (95.0, "critical")] {
            let observation = Observation { at: Timestamp(2), value, free: None };
            let Evaluation { state: next, news, .. } =
                evaluate(&state, Terms::from(&rule), &observation, false, id);
            let (before, after) = (name(&state.phase), name(&next.phase));
            let _ = writeln!(table, "| {before} | {what} | {after} | {} |", told(news));
        }
    }
    table
}

#[test]
fn the_documented_table_is_the_code() {
    let document = include_str!("../../../docs/alerting.md");
    let table = table();
    assert!(document.contains(&table), "docs/alerting.md does not hold this table:\n{table}");
}

#[test]
fn a_spike_shorter_than_its_hold_is_never_told() {
    let held = rule(Hold::Span(15 * MINUTE));
    assert_eq!(folded(&held, &every_five(&[50.0, 95.0, 95.0, 95.0, 50.0, 95.0, 50.0])), [""; 0]);
    let told = folded(&held, &every_five(&[50.0, 85.0, 95.0, 85.0, 95.0, 50.0]));
    assert_eq!(told, ["20: began 5 critical First", "25: ended 25 Recovered Resolved"]);
}

#[test]
fn a_gap_neither_resolves_nor_restarts_a_hold() {
    let held = rule(Hold::Span(15 * MINUTE));
    assert_eq!(folded(&held, &[(0, 95.0), (600, 95.0)]), ["600: began 0 critical First"]);
    let told = folded(&rule(Hold::AT_ONCE), &[(0, 95.0), (6000, 95.0), (6005, 50.0)]);
    assert_eq!(told, ["0: began 0 critical First", "6005: ended 6005 Recovered Resolved"]);
}

#[test]
fn three_of_five_begin_with_the_first_of_them_and_end_with_two() {
    let rule = rule(Hold::Samples { needed: 3, of: 5 });
    let told = folded(&rule, &every_five(&[95.0, 50.0, 95.0, 50.0, 95.0, 50.0, 50.0, 50.0, 95.0, 95.0]));
    assert_eq!(told, ["20: began 0 critical First", "25: ended 25 Recovered Resolved"]);
    // One breach that is looked back on no more does not begin anything.
    let told = folded(&rule, &every_five(&[95.0, 50.0, 50.0, 50.0, 50.0, 95.0, 95.0, 95.0]));
    assert_eq!(told, ["35: began 25 critical First"]);
}

#[test]
fn clear_and_keep_firing_for_hold_what_fires() {
    let clear = Rule { clear: Some(75.0), ..rule(Hold::AT_ONCE) };
    let told = folded(&clear, &every_five(&[85.0, 78.0, 76.0, 74.9, 78.0]));
    assert_eq!(told, ["0: began 0 warning First", "15: ended 15 Recovered Resolved"]);
    let kept = Rule { keep_firing_ms: 10 * MINUTE, ..rule(Hold::AT_ONCE) };
    let told = folded(&kept, &every_five(&[85.0, 50.0, 85.0, 50.0, 50.0, 50.0, 50.0]));
    assert_eq!(told, ["0: began 0 warning First", "25: ended 15 Recovered Resolved"]);
}

#[test]
fn a_floor_of_free_space_holds_a_percentage_back() {
    let floor = Some(Floor { warning: 10e9, critical: 5e9 });
    let rule = Rule { floor, ..rule(Hold::AT_ONCE) };
    let severity = |value, free| rule.severity(value, free);
    assert_eq!(severity(95.0, Some(20e9)), None);
    assert_eq!(severity(95.0, Some(9e9)), Some(Severity::Warning));
    assert_eq!(severity(95.0, Some(4e9)), Some(Severity::Critical));
    assert_eq!(severity(85.0, Some(4e9)), Some(Severity::Warning));
    assert_eq!(severity(95.0, None), Some(Severity::Critical));
}

#[test]
fn aggregates_wait_until_their_span_is_covered() {
    let mean = Rule { aggregate: Some(Aggregate::Mean), ..rule(Hold::Span(10 * MINUTE)) };
    let told = folded(&mean, &every_five(&[99.0, 99.0, 60.0, 85.0, 99.0, 20.0]));
    assert_eq!(
        told,
        ["10: began 10 warning First", "25: ended 25 Recovered Resolved"],
        "means 86, 81.3, 81.3, 68"
    );
    let least = Rule { aggregate: Some(Aggregate::Least), ..mean.clone() };
    assert_eq!(folded(&least, &every_five(&[99.0, 50.0, 99.0, 99.0, 99.0])), ["20: began 20 critical First"]);
    let greatest = Rule { aggregate: Some(Aggregate::Greatest), ..mean };
    let told = folded(&greatest, &every_five(&[50.0, 95.0, 50.0, 50.0, 50.0]));
    assert_eq!(told, ["10: began 10 critical First", "20: ended 20 Recovered Resolved"]);
}

#[test]
fn a_disk_that_fills_up_is_forecast_below_its_floor_only() {
    let threshold =
        model::Threshold { operator: model::Operator::AtMost, warning: Some(86_400.0), critical: None };
    let floor = Some(Floor { warning: 20e9, critical: 20e9 });
    let forecast = Rule {
        metric: model::rule::DISK_FORECAST.to_owned(),
        threshold,
        floor,
        fit_ms: Some(6 * 60 * MINUTE),
        ..rule(Hold::in_a_row(3))
    };
    // A gigabyte an hour: below the floor after ten hours, a line from three hours of it on, told when that has said so
    // three times.
    let filling: Vec<_> = (0..=30).map(|i| (i * 30, 30e9 - 0.5e9 * i as f64)).collect();
    assert_eq!(folded(&forecast, &filling), ["870: began 810 warning First"]);
    let steady: Vec<_> = (0..60).map(|i| (i * 30, 15e9 + f64::from(u8::from(i % 2 == 0)) * 1e8)).collect();
    assert_eq!(folded(&forecast, &steady), [""; 0]);
    let large: Vec<_> = (0..20).map(|i| (i * 30, 100e9 - 3e9 * i as f64)).collect();
    assert_eq!(folded(&forecast, &large), [""; 0], "there is room");
}

#[test]
fn what_changes_all_the_time_is_told_once_until_it_is_steady() {
    let rule = rule(Hold::AT_ONCE);
    let mut values: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 95.0 } else { 50.0 }).collect();
    values.extend([95.0; 30]);
    values.push(50.0);
    let told = folded(&rule, &every_five(&values));
    assert_eq!(told[..6].len(), 6);
    assert_eq!(
        told[6..],
        [
            "30: began 30 critical Flapping".to_owned(),
            "180: Steady".to_owned(),
            "250: ended 250 Recovered Resolved".to_owned()
        ],
        "{told:?}"
    );
}

#[test]
fn what_flapped_and_is_fine_ends_when_it_was_fine_first() {
    let rule = rule(Hold::AT_ONCE);
    let mut values: Vec<f64> = (0..9).map(|i| if i % 2 == 0 { 95.0 } else { 50.0 }).collect();
    values.extend([50.0; 40]);
    let told = folded(&rule, &every_five(&values));
    assert_eq!(told.last().map(String::as_str), Some("125: ended 45 Recovered Resolved"), "{told:?}");
    assert_eq!(told.len(), 8);
}

#[test]
fn news_that_was_held_back_comes_when_that_ends_if_it_still_fires() {
    let rule = rule(Hold::AT_ONCE);
    let held = |minute| minute < 10;
    let told = folded_with(&rule, &every_five(&[95.0, 95.0, 95.0, 50.0]), held);
    assert_eq!(told, ["0: began 0 critical", "10: First", "15: ended 15 Recovered Resolved"]);
    let told = folded_with(&rule, &every_five(&[95.0, 50.0, 50.0]), held);
    assert_eq!(told, ["0: began 0 critical", "5: ended 5 Recovered"], "nobody heard of it, nor of its end");
    let told = folded_with(&rule, &every_five(&[85.0, 95.0, 95.0]), |minute| minute == 5);
    assert_eq!(told, ["0: began 0 warning First", "10: Worse"]);
}

#[test]
fn an_edited_condition_goes_on_where_it_still_breaches_and_else_ends() {
    let before = rule(Hold::AT_ONCE);
    let first = Observation { at: Timestamp(0), value: 85.0, free: None };
    let state = evaluate(&AlertState::default(), Terms::from(&before), &first, false, id).state;
    let second = Observation { at: Timestamp(1), ..first };
    for (limit, change, news) in
        [(82.0, None, None), (86.0, Some(EndReason::RuleEdited), Some((Reason::Resolved, 1)))]
    {
        let mut edited = rule(Hold::Samples { needed: 3, of: 5 });
        edited.threshold.warning = Some(limit);
        let evaluation = evaluate(&state, Terms::from(&edited), &second, false, id);
        let ended = match evaluation.change {
            Some(Change::Ended { why, .. }) => Some(why),
            _ => None,
        };
        assert_eq!((ended, evaluation.news), (change, news), "{limit}");
    }
}

#[test]
fn episodes_within_one_millisecond_have_names_of_their_own() {
    let rule = rule(Hold::AT_ONCE);
    let mut state = AlertState::default();
    let mut begins = Vec::new();
    for value in [95.0, 50.0, 95.0, 50.0, 95.0] {
        let observation = Observation { at: Timestamp(7), value, free: None };
        let evaluation = evaluate(&state, Terms::from(&rule), &observation, false, id);
        if let Some(Change::Began { since, .. }) = evaluation.change {
            begins.push(since.millis());
        }
        state = evaluation.state;
    }
    assert_eq!(begins, [7, 8, 9]);
}

#[test]
fn what_is_fine_is_forgotten() {
    let rule = rule(Hold::Samples { needed: 2, of: 3 });
    let mut state = AlertState::default();
    for (minute, value) in
        every_five(&[95.0, 95.0, 50.0, 50.0].into_iter().chain([50.0; 25]).collect::<Vec<_>>())
    {
        let observation = Observation { at: Timestamp(minute * MINUTE), value, free: None };
        state = evaluate(&state, Terms::from(&rule), &observation, false, id).state;
    }
    assert!(state.is_idle(), "{state:?}");
}

/// The plain model: looks at the whole list at once, and knows nothing of states.
struct Model<'a> {
    rule: &'a Rule,
    records: &'a [(i64, f64)],
}

impl Model<'_> {
    fn breaches(&self, i: usize) -> bool {
        self.records[i].1 >= 80.0
    }

    fn goes_on(&self, i: usize) -> bool {
        self.records[i].1 >= self.rule.clear.unwrap_or(80.0)
    }

    fn span(&self, from: usize, to: usize) -> i64 {
        (self.records[to].0 - self.records[from].0) * MINUTE
    }

    /// Where an episode begins that fires at `at`, looking back to `earliest` at most.
    fn begin(&self, earliest: usize, at: usize) -> Option<usize> {
        if !self.breaches(at) {
            return None;
        }
        match self.rule.hold {
            Hold::Span(span) => {
                let begin = (earliest..=at).rev().take_while(|&i| self.breaches(i)).last()?;
                (self.span(begin, at) >= span).then_some(begin)
            }
            Hold::Samples { needed, of } => {
                let from = earliest.max((at + 1).saturating_sub(of as usize));
                let breaches: Vec<usize> = (from..=at).filter(|&i| self.breaches(i)).collect();
                (breaches.len() >= needed as usize).then(|| breaches[0])
            }
        }
    }

    /// Whether what fired at `fired` has its hold broken at `at`.
    fn is_broken(&self, earliest: usize, fired: usize, at: usize) -> bool {
        match self.rule.hold {
            Hold::Samples { needed, of } => {
                let from = earliest.max((at + 1).saturating_sub(of as usize));
                let counts = |i: &usize| if *i <= fired { self.breaches(*i) } else { self.goes_on(*i) };
                (from..=at).filter(counts).count() < needed as usize
            }
            Hold::Span(_) => !self.goes_on(at),
        }
    }

    fn lines(&self) -> Vec<String> {
        let minute = |i: usize| self.records[i].0;
        let severity = |i: usize| if self.records[i].1 >= 90.0 { "critical" } else { "warning" };
        let (mut lines, mut earliest) = (Vec::new(), 0);
        while let Some((fired, begin)) =
            (earliest..self.records.len()).find_map(|at| self.begin(earliest, at).map(|begin| (at, begin)))
        {
            lines.push(format!("{}: began {} {} First", minute(fired), minute(begin), severity(fired)));
            let mut told_critical = severity(fired) == "critical";
            let mut fine_since = None;
            let mut end = None;
            for at in fired + 1..self.records.len() {
                if self.is_broken(earliest, fired, at) {
                    let since = *fine_since.get_or_insert(at);
                    if self.span(since, at) >= self.rule.keep_firing_ms {
                        lines.push(format!("{}: ended {} Recovered Resolved", minute(at), minute(since)));
                        end = Some(at);
                        break;
                    }
                } else {
                    fine_since = None;
                }
                if severity(at) == "critical" && self.breaches(at) && !told_critical && fine_since.is_none() {
                    lines.push(format!("{}: Worse", minute(at)));
                    told_critical = true;
                }
            }
            let Some(end) = end else { return lines };
            earliest = end + 1;
        }
        lines
    }
}

fn any_hold() -> impl Strategy<Value = Hold> {
    prop_oneof![
        (0_i64..30).prop_map(|minutes| Hold::Span(minutes * MINUTE)),
        (1_u32..5).prop_map(Hold::in_a_row),
        (1_u32..4, 0_u32..4).prop_map(|(needed, more)| Hold::Samples { needed, of: needed + more }),
    ]
}

prop_compose! {
    /// Runs of like values, with gaps; few changes, so that nothing flaps.
    fn some_records()(
        runs in proptest::collection::vec(
            (prop_oneof![Just(50.0), Just(77.0), Just(85.0), Just(95.0)], 1_usize..9), 1..14),
        gaps in proptest::collection::vec(prop_oneof![9 => 1_i64..8, 1 => 100_i64..2000], 120),
    ) -> Vec<(i64, f64)> {
        let values = runs.into_iter().flat_map(|(value, count)| vec![value; count]);
        let mut minute = 0;
        values.zip(gaps).map(|(value, gap)| { minute += gap; (minute, value) }).collect()
    }
}

/// Whether the plain model, which does not damp, speaks for these lines: never more than six within twenty records.
fn is_steady(records: &[(i64, f64)], lines: &[String]) -> bool {
    let changes: Vec<usize> = lines
        .iter()
        .filter(|line| !line.ends_with(": Worse"))
        .filter_map(|line| {
            let minute: i64 = line.split_once(':')?.0.parse().ok()?;
            records.iter().position(|(at, _)| *at == minute)
        })
        .collect();
    changes.windows(7).all(|window| window[6] - window[0] >= 20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn the_fold_is_the_plain_model(
        records in some_records(),
        hold in any_hold(),
        clear in prop_oneof![Just(None), Just(Some(75.0))],
        keep in prop_oneof![Just(0_i64), 1_i64..40],
    ) {
        let rule = Rule { clear, keep_firing_ms: keep * MINUTE, ..rule(hold) };
        let expected = Model { rule: &rule, records: &records }.lines();
        prop_assume!(is_steady(&records, &expected));
        prop_assert_eq!(folded(&rule, &records), expected);
    }
}
