//! Who is next: clients that failed the last time hold at most a quarter of the slots until the others are done. Pure.

use std::collections::VecDeque;

/// What the queue knows of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether the client failed when it had its turn last.
    pub(crate) failed_last: bool,
    /// Whether it went without a turn the last time.
    pub(crate) not_reached_last: bool,
}

/// The visits that wait, and those that hold a slot.
pub(crate) struct Queue {
    well: VecDeque<usize>,
    failing: VecDeque<usize>,
    /// A failing one whose turn is owed, where a quarter of the slots is none.
    owed: Option<usize>,
    slots: usize,
    /// Who holds a slot, and whether it failed the last time.
    under_way: Vec<(usize, bool)>,
}

impl Queue {
    /// All visits of `order`, first to last; `standing` tells of each.
    pub(crate) fn new(standing: impl Fn(usize) -> Standing, order: &[usize], slots: usize) -> Self {
        let (mut failing, well): (VecDeque<_>, _) =
            order.iter().copied().partition(|index| standing(*index).failed_last);
        // A quarter of fewer than four slots is none; that the well ones take all of every run must not keep the others
        // out for ever. So one a run goes first, the one that has waited longest.
        let owed = failing.front().copied().filter(|index| slots < 4 && standing(*index).not_reached_last);
        if owed.is_some() {
            failing.pop_front();
        }
        Self { well, failing, owed, slots: slots.max(1), under_way: Vec::new() }
    }

    /// Gives the next visit a slot; `None` where there is none for whoever waits. The well take their three quarters first:
    /// what fails takes work, too.
    pub(crate) fn next(&mut self) -> Option<usize> {
        if self.under_way.len() >= self.slots {
            return None;
        }
        let held = self.under_way.iter().filter(|(_, failed)| *failed).count();
        let quarter = self.slots / 4;
        let well_lag = self.under_way.len() - held < self.slots - quarter;
        let allowed = self.well.is_empty() || (held < quarter && !well_lag);
        let failing = self.owed.take().or_else(|| if allowed { self.failing.pop_front() } else { None });
        let next = match failing {
            Some(index) => (index, true),
            None => (self.well.pop_front()?, false),
        };
        self.under_way.push(next);
        Some(next.0)
    }

    /// Takes the slot back.
    pub(crate) fn leave(&mut self, index: usize) {
        self.under_way.retain(|(held, _)| *held != index);
    }

    /// How many wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.well.len() + self.failing.len() + usize::from(self.owed.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(failed: &[bool], slots: usize) -> Queue {
        let standing = |index: usize| Standing { failed_last: failed[index], not_reached_last: false };
        Queue::new(standing, &(0..failed.len()).collect::<Vec<_>>(), slots)
    }

    #[test]
    fn the_failing_hold_a_quarter_until_the_others_are_done() {
        let failed: Vec<_> = (0..20).map(|index| index < 10).collect();
        let mut queue = queue(&failed, 8);
        let first: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(first, [10, 11, 12, 13, 14, 15, 0, 1]);
        queue.leave(10);
        assert_eq!(queue.next(), Some(16));
        queue.leave(0);
        assert_eq!(queue.next(), Some(2));
        for well in [11, 12, 13] {
            queue.leave(well);
            queue.next();
        }
        for done in [14, 15] {
            queue.leave(done);
        }
        assert_eq!(std::iter::from_fn(|| queue.next()).collect::<Vec<_>>(), [3, 4], "none is well and waits");
    }

    #[test]
    fn with_one_slot_everybody_has_a_turn() {
        let mut queue = queue(&[true, false, true], 1);
        let mut turns = Vec::new();
        while let Some(index) = queue.next() {
            turns.push(index);
            queue.leave(index);
        }
        assert_eq!(turns, [1, 0, 2]);
    }

    #[test]
    fn with_few_slots_a_turn_that_is_owed_comes_first() {
        let standing = |index: usize| Standing { failed_last: index != 1, not_reached_last: index != 1 };
        let mut queue = Queue::new(standing, &[0, 2, 1], 1);
        let mut turns = Vec::new();
        while let Some(index) = queue.next() {
            turns.push(index);
            queue.leave(index);
        }
        assert_eq!(turns, [0, 1, 2]);
    }

    proptest! {
        /// At any time, whoever ends first: no more slots than there are; while a well one waits, the failing hold a
        /// quarter at most; in the end everybody has had a turn.
        #[test]
        fn bounds_hold_at_any_time(
            failed in proptest::collection::vec(any::<bool>(), 0..60),
            slots in 1_usize..20,
            ends in proptest::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let mut queue = queue(&failed, slots);
            let mut turns = Vec::new();
            for end in ends {
                while let Some(index) = queue.next() {
                    turns.push(index);
                    let held = queue.under_way.iter().filter(|(_, failed)| *failed).count();
                    prop_assert!(queue.under_way.len() <= slots);
                    prop_assert!(queue.well.is_empty() || held <= slots / 4);
                }
                if !queue.under_way.is_empty() {
                    let (index, _) = queue.under_way[end.index(queue.under_way.len())];
                    queue.leave(index);
                }
            }
            turns.sort_unstable();
            prop_assert_eq!(turns, (0..failed.len()).collect::<Vec<_>>());
            prop_assert_eq!(queue.waiting(), 0);
        }
    }
}
