//! When a run has to end, and in which order clients have their turn. Pure.

use std::time::{Duration, Instant};

use storage::ClientRow;

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
    use model::Timestamp;
    use proptest::prelude::*;

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
