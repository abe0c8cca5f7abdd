//! Who is next: clients that failed the last time hold at most a quarter of the slots until the others are done. A slot is
//! room for one process. Pure.

use std::collections::VecDeque;

/// What the queue knows of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether the client failed when it had its turn last.
    pub(crate) failed_last: bool,
    /// Whether it went without a turn the last time.
    pub(crate) not_reached_last: bool,
}

/// A visit that waits or is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    index: usize,
    /// The slots that it takes.
    processes: usize,
    failed_last: bool,
}

/// The visits of this run that wait, and those that hold slots.
pub(crate) struct Queue {
    well: VecDeque<Entry>,
    failing: VecDeque<Entry>,
    /// A failing one whose turn is owed, where a quarter of the slots has no room for it.
    owed: Option<Entry>,
    /// Whether a failing one has come already.
    has_failing: bool,
    slots: usize,
    under_way: Vec<Entry>,
}

impl Queue {
    /// Nobody waits yet.
    pub(crate) fn new(slots: usize) -> Self {
        let (well, failing) = (VecDeque::new(), VecDeque::new());
        Self { well, failing, owed: None, has_failing: false, slots: slots.max(1), under_way: Vec::new() }
    }

    /// Takes in a visit, behind those of its line; how it stands, and how many processes it has at once.
    pub(crate) fn add(&mut self, index: usize, standing: Standing, processes: usize) {
        let entry = Entry { index, processes, failed_last: standing.failed_last };
        if !entry.failed_last {
            return self.well.push_back(entry);
        }
        // That the well ones take all of every run must not keep out for ever whom a quarter of the slots is too small for
        // (of fewer than four it is none). So one a run goes first, the one that has waited longest.
        let is_first = !std::mem::replace(&mut self.has_failing, true);
        if is_first && standing.not_reached_last && processes > self.slots / 4 {
            self.owed = Some(entry);
        } else {
            self.failing.push_back(entry);
        }
    }

    /// How many more of a line may be taken in: as many as have room, and a few ahead, so that no slot waits for the storage.
    /// None as long as enough wait.
    pub(crate) fn lacks(&self, failed_last: bool) -> usize {
        let ahead = (self.slots / 8).max(1);
        let free = self.slots.saturating_sub(self.held(true) + self.held(false));
        let (line, room) = if failed_last {
            let share = if self.well.is_empty() { self.slots } else { self.slots / 4 };
            (&self.failing, share.saturating_sub(self.held(true)).min(free))
        } else {
            (&self.well, free)
        };
        let waiting: usize = line.iter().map(|entry| entry.processes).sum();
        if waiting > room + ahead / 2 { 0 } else { room + ahead - waiting }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.well.is_empty() && self.failing.is_empty() && self.owed.is_none()
    }

    /// Gives the next visit its slots; `None` where there is no room for whoever is next. The well take their three
    /// quarters first: what fails takes work, too. Nobody passes who waits for room, or those with many processes would
    /// wait for ever; one with more than there are slots has its turn alone.
    pub(crate) fn next(&mut self) -> Option<usize> {
        let (failing, well): (usize, usize) = (self.held(true), self.held(false));
        let quarter = self.slots / 4;
        let fits = |first: Option<&Entry>, held: usize, share: usize| {
            first.is_some_and(|entry| held + entry.processes <= share)
        };
        let well_first = fits(self.well.front(), well, self.slots - quarter) || well == 0;
        let line = if self.owed.is_some() {
            None
        } else if self.well.is_empty() || (!well_first && fits(self.failing.front(), failing, quarter)) {
            Some(&mut self.failing)
        } else {
            Some(&mut self.well)
        };
        let next = line.as_ref().map_or(self.owed, |line| line.front().copied())?;
        let used = failing + well;
        if used > 0 && used + next.processes > self.slots {
            return None;
        }
        match line {
            Some(line) => drop(line.pop_front()),
            None => self.owed = None,
        }
        self.under_way.push(next);
        Some(next.index)
    }

    /// The slots that those hold that failed the last time, or the others.
    fn held(&self, failed_last: bool) -> usize {
        let held = self.under_way.iter().filter(|entry| entry.failed_last == failed_last);
        held.map(|entry| entry.processes).sum()
    }

    /// Takes its slots back.
    pub(crate) fn leave(&mut self, index: usize) {
        self.under_way.retain(|entry| entry.index != index);
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

    fn queue(visits: &[(bool, usize)], slots: usize) -> Queue {
        let of = |index: usize| {
            let (failed_last, processes) = visits[index];
            (Standing { failed_last, not_reached_last: false }, processes)
        };
        filled(of, &(0..visits.len()).collect::<Vec<_>>(), slots)
    }

    fn filled(of: impl Fn(usize) -> (Standing, usize), order: &[usize], slots: usize) -> Queue {
        let mut queue = Queue::new(slots);
        for &index in order {
            let (standing, processes) = of(index);
            queue.add(index, standing, processes);
        }
        queue
    }

    fn begun(queue: &mut Queue) -> Vec<usize> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    #[test]
    fn the_failing_hold_a_quarter_until_the_others_are_done() {
        let failed: Vec<_> = (0..20).map(|index| (index < 10, 1)).collect();
        let mut queue = queue(&failed, 8);
        assert_eq!(begun(&mut queue), [10, 11, 12, 13, 14, 15, 0, 1]);
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
        assert_eq!(begun(&mut queue), [3, 4], "none is well and waits");
    }

    #[test]
    fn with_one_slot_everybody_has_a_turn() {
        let mut queue = queue(&[(true, 1), (false, 1), (true, 1)], 1);
        let mut turns = Vec::new();
        while let Some(index) = queue.next() {
            turns.push(index);
            queue.leave(index);
        }
        assert_eq!(turns, [1, 0, 2]);
    }

    #[test]
    fn a_turn_that_is_owed_comes_first_where_a_quarter_has_no_room_for_it() {
        for (slots, processes) in [(1, 1), (3, 1), (4, 2), (8, 3), (2, 5)] {
            let of = |index: usize| {
                (Standing { failed_last: index != 1, not_reached_last: index != 1 }, processes)
            };
            let mut queue = filled(of, &[0, 2, 1], slots);
            let mut turns = Vec::new();
            while let Some(index) = queue.next() {
                turns.push(index);
                queue.leave(index);
            }
            assert_eq!(turns, [0, 1, 2], "{slots} slots for visits of {processes}");
        }
    }

    #[test]
    fn behind_a_bastion_the_failing_have_their_quarter_too() {
        let visits: Vec<_> = (0..100).map(|index| (index >= 60, 2)).collect();
        let mut queue = queue(&visits, 64);
        assert_eq!(begun(&mut queue), (0..24).chain(60..68).collect::<Vec<_>>());
    }

    #[test]
    fn who_needs_much_room_is_not_passed_for_ever() {
        let visits: Vec<_> = (0..20).map(|index| (index > 0, if index == 0 { 4 } else { 1 })).collect();
        let mut queue = queue(&visits, 4);
        assert_eq!(begun(&mut queue), [0], "it fills more than its three quarters");
        queue.leave(0);
        assert_eq!(begun(&mut queue), [1, 2, 3, 4]);
    }

    #[test]
    fn no_more_are_taken_in_than_have_room_and_a_few() {
        let mut queue = Queue::new(16);
        assert_eq!((queue.lacks(false), queue.lacks(true)), (18, 18));
        let standing = |failed_last| Standing { failed_last, not_reached_last: false };
        for index in 0..18 {
            queue.add(index, standing(false), 1);
        }
        assert_eq!((queue.lacks(false), queue.lacks(true)), (0, 6));
        for index in 18..24 {
            queue.add(index, standing(true), 1);
        }
        assert_eq!((queue.lacks(false), queue.lacks(true)), (0, 0));

        let mut queue = Queue::new(16);
        for index in 0..18 {
            queue.add(index, standing(false), 1);
        }
        assert_eq!((begun(&mut queue).len(), queue.lacks(false)), (16, 0));
        queue.leave(0);
        assert_eq!((begun(&mut queue).len(), queue.lacks(false)), (1, 1), "half of the few are used up");
    }

    proptest! {
        /// At any time, whoever ends first: no more slots than there are, but for one that has its turn alone; while a
        /// well one waits, the failing hold a quarter at most; from the first moment they have their quarter; no more
        /// is left free than whoever is next needs; in the end everybody has had a turn.
        #[test]
        fn bounds_hold_at_any_time(
            visits in proptest::collection::vec((any::<bool>(), 1_usize..5), 0..60),
            slots in 1_usize..20,
            ends in proptest::collection::vec(any::<prop::sample::Index>(), 60),
        ) {
            let mut queue = queue(&visits, slots);
            let most = visits.iter().map(|(_, processes)| *processes).max().unwrap_or(1);
            let mut turns = Vec::new();
            for (at, end) in ends.into_iter().enumerate() {
                while let Some(index) = queue.next() {
                    turns.push(index);
                    let (failing, well) = (queue.held(true), queue.held(false));
                    prop_assert!(failing + well <= slots || queue.under_way.len() == 1);
                    prop_assert!(queue.well.is_empty() || failing <= slots / 4);
                }
                let (failing, well) = (queue.held(true), queue.held(false));
                prop_assert!(queue.waiting() == 0 || failing + well + most > slots);
                if at == 0 && most <= slots / 4 && let Some(next) = queue.failing.front() {
                    prop_assert!(failing + next.processes > slots / 4);
                }
                if !queue.under_way.is_empty() {
                    let ended = queue.under_way[end.index(queue.under_way.len())];
                    queue.leave(ended.index);
                }
            }
            turns.sort_unstable();
            prop_assert_eq!(turns, (0..visits.len()).collect::<Vec<_>>());
            prop_assert_eq!(queue.waiting(), 0);
        }
    }
}
