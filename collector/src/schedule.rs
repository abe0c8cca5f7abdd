//! When a run has to end, and in which order clients have their turn. Pure.

use std::time::{Duration, Instant};

use model::Timestamp;
use storage::ClientRow;

/// Intervals between runs of which a habit is learnt at least.
const HABIT: usize = 6;

/// The runs of the log that are looked at.
pub(crate) const LOOKED_AT: usize = 21;

/// Cron knows no shorter interval than this (crontab(5)).
const MINUTE: Duration = Duration::from_secs(60);

/// The time that one run has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    begin: Instant,
    length: Duration,
}

impl Window {
    /// A run that began at `begin` where one begins `every` so often: a tenth is left to store what came last.
    pub(crate) fn new(begin: Instant, every: Duration) -> Self {
        Self { begin, length: every.mul_f64(0.9) }
    }

    /// When it ends.
    pub(crate) fn end(self) -> Instant {
        self.begin + self.length
    }

    /// Whether a visit with that deadline may begin now. One with a long deadline may use the last quarter of the
    /// window for nothing, but has to be able to begin at all.
    pub(crate) fn fits(self, now: Instant, timeout: Duration) -> bool {
        now + timeout.min(self.length / 4) <= self.end()
    }

    /// Whether a visit that the window's end cuts had time enough for a verdict over the client.
    pub(crate) fn was_enough(self, begun: Instant) -> bool {
        self.end().saturating_duration_since(begun) >= self.length / 2
    }
}

/// How often runs begin, learnt from when whole runs began: the usual interval, where two thirds of them keep to it by a
/// twentieth or 5 seconds. Runs by hand cut an interval in two, and outages leave long ones; neither is a habit.
pub(crate) fn learnt(begins: &[Timestamp]) -> Option<Duration> {
    let mut begins: Vec<i64> = begins.iter().map(|begin| begin.millis()).collect();
    begins.sort_unstable();
    let mut intervals: Vec<i64> = begins.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if intervals.len() < HABIT {
        return None;
    }
    intervals.sort_unstable();
    let median = intervals[intervals.len() / 2];
    let tolerance = (median / 20).max(5_000);
    let regular = intervals.iter().filter(|interval| (*interval - median).abs() <= tolerance).count();
    // By whole minutes: a run begins a little late now and then.
    let minutes = (median + 30_000) / 60_000;
    (regular * 3 >= intervals.len() * 2 && minutes >= 1)
        .then(|| MINUTE.saturating_mul(u32::try_from(minutes).unwrap_or(u32::MAX)))
}

/// The order of turns: who went without one the last time comes first, whoever waits longest before the others; the rest
/// stay in the order of `shuffled`.
pub(crate) fn turns(rows: &[ClientRow], mut shuffled: Vec<usize>) -> Vec<usize> {
    shuffled.sort_by_key(|index| {
        let row = &rows[*index];
        (!row.not_reached_last, if row.not_reached_last { row.last_turn } else { None })
    });
    shuffled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(seconds: &[i64]) -> Vec<Timestamp> {
        let mut now = 1_700_000_000;
        let mut begins = vec![Timestamp::from_seconds(now)];
        for interval in seconds {
            now += interval;
            begins.push(Timestamp::from_seconds(now));
        }
        begins
    }

    #[test]
    fn a_habit_is_learnt_and_chance_is_not() {
        let learnt = |seconds: &[i64]| learnt(&after(seconds)).map(|every| every.as_secs());
        assert_eq!(learnt(&[300; 5]), None, "too few");
        assert_eq!(learnt(&[300; 6]), Some(300));
        assert_eq!(learnt(&[301, 299, 300, 298, 303, 300]), Some(300), "cron begins a little late");
        assert_eq!(learnt(&[300, 300, 120, 180, 300, 300, 300, 300]), Some(300), "one run by hand");
        assert_eq!(learnt(&[300, 300, 300, 86_400, 300, 300, 300]), Some(300), "an outage");
        assert_eq!(learnt(&[5, 20, 3, 4, 7, 6, 5]), None, "somebody tries things out");
        assert_eq!(learnt(&[40, 900, 3000, 10, 400, 77, 250]), None, "no habit");
        assert_eq!(learnt(&[60; 20]), Some(60));
    }

    #[test]
    fn what_would_not_end_in_time_does_not_begin() {
        let begin = Instant::now();
        let window = Window::new(begin, Duration::from_secs(300));
        let at = |seconds| begin + Duration::from_secs(seconds);
        let minute = Duration::from_secs(60);
        assert!(window.fits(at(210), minute) && !window.fits(at(211), minute));
        assert!(window.fits(at(0), Duration::from_secs(1000)), "a long deadline has its turn too");
        assert!(window.was_enough(at(100)) && !window.was_enough(at(200)));
    }

    fn row(name: usize, not_reached_last: bool, last_turn: Option<i64>) -> ClientRow {
        ClientRow {
            name: format!("c{name}").parse().unwrap(),
            uid: model::ClientUid([name as u8; 16]),
            last_event_time: None,
            stored: None,
            failed_last: false,
            not_reached_last,
            last_turn: last_turn.map(Timestamp),
            keys: Vec::new(),
        }
    }

    #[test]
    fn who_went_without_a_turn_comes_first() {
        let rows = [row(0, false, Some(9)), row(1, true, Some(8)), row(2, true, None), row(3, false, None)];
        assert_eq!(turns(&rows, vec![3, 1, 0, 2]), [2, 1, 3, 0]);
    }

    proptest! {
        /// However few a run reaches, everybody has had a turn after as many runs as it takes to serve all.
        #[test]
        fn nobody_starves(count in 1_usize..30, reached in 1_usize..10, seeds in proptest::collection::vec(any::<u64>(), 40)) {
            let mut rows: Vec<_> = (0..count).map(|name| row(name, false, None)).collect();
            let runs = count.div_ceil(reached);
            for (run, seed) in (1..=runs).zip(&seeds) {
                let mut shuffled: Vec<_> = (0..count).collect();
                shuffled.sort_by_key(|index| seed.rotate_left(*index as u32).wrapping_mul(0x9e37_79b9));
                for (turn, index) in turns(&rows, shuffled).into_iter().enumerate() {
                    rows[index].not_reached_last = turn >= reached;
                    if turn < reached {
                        rows[index].last_turn = Some(Timestamp(run as i64));
                    }
                }
            }
            prop_assert!(rows.iter().all(|row| row.last_turn.is_some()));
        }
    }
}
