//! Which clients to ask the storage for next, where several collectors share a fleet: as many as there is room for, and a few
//! ahead. Pure.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// How often those are asked for again that others have hold of.
const AGAIN: Duration = Duration::from_secs(1);

/// How many are asked for at once beyond those that are wanted: others may have some of them.
const SPARE: usize = 32;

/// How a run shares the fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sharing {
    /// Whether others collect it too: alone, a run takes all at once.
    pub(crate) others: bool,
    /// For how long it waits for what others have hold of, while nothing else is left to do.
    pub(crate) patience: Duration,
}

impl Sharing {
    /// Nobody else is there.
    pub(crate) const ALONE: Self = Self { others: false, patience: Duration::ZERO };

    /// Whether it waits for others at all.
    pub(crate) fn waits(self) -> bool {
        self.others && !self.patience.is_zero()
    }
}

/// What came of asking: those that are this run's now, and those that had their turn at another's hands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) taken: Vec<usize>,
    pub(crate) done: Vec<usize>,
}

/// What is to be asked for: these, in that order, at most so many.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) wanted: Vec<usize>,
    pub(crate) limit: usize,
}

/// Visits that are nobody's or others', in the order of their turns.
#[derive(Debug, Default)]
struct Line {
    /// To be asked for.
    open: VecDeque<usize>,
    /// Others had hold of them when they were asked for.
    held: Vec<usize>,
}

impl Line {
    fn request(&self, room: usize) -> Option<Request> {
        let wanted: Vec<_> = self.open.iter().copied().take(room.saturating_add(SPARE)).collect();
        (room > 0 && !wanted.is_empty()).then_some(Request { wanted, limit: room })
    }

    fn answer(&mut self, request: &Request, granted: &Granted) {
        let rest: Vec<_> = self.open.drain(..request.wanted.len()).collect();
        let settled: HashSet<_> = granted.taken.iter().chain(&granted.done).copied().collect();
        let settled = |index: &usize| settled.contains(index);
        let rest = rest.into_iter().filter(|index| !settled(index));
        if granted.taken.len() < request.limit {
            self.held.extend(rest);
        } else {
            // There may be free ones among them: the limit was met before.
            for index in rest.rev() {
                self.open.push_front(index);
            }
        }
    }
}

/// The visits of a run that are not its own yet: those of well clients, and of those that failed the last time.
#[derive(Debug)]
pub(crate) struct Portions {
    well: Line,
    failing: Line,
    asked: Option<Instant>,
}

impl Portions {
    /// All of `order`, first to last.
    pub(crate) fn new(order: &[usize], failed_last: impl Fn(usize) -> bool) -> Self {
        let (failing, well) = order.iter().copied().partition(|index| failed_last(*index));
        let line = |open| Line { open, held: Vec::new() };
        Self { well: line(well), failing: line(failing), asked: None }
    }

    fn line(&mut self, failed_last: bool) -> &mut Line {
        if failed_last { &mut self.failing } else { &mut self.well }
    }

    /// What to ask for where a line has `room` for so many more.
    pub(crate) fn request(&mut self, failed_last: bool, room: usize) -> Option<Request> {
        self.line(failed_last).request(room)
    }

    /// Takes note of what came of it.
    pub(crate) fn answer(&mut self, failed_last: bool, request: &Request, granted: &Granted) {
        self.line(failed_last).answer(request, granted);
    }

    /// Has those asked for again that others have hold of, from time to time; always where it is the `last` time.
    pub(crate) fn again(&mut self, now: Instant, last: bool) {
        if last || self.asked.is_none_or(|asked| now >= asked + AGAIN) {
            self.asked = Some(now);
            for line in [&mut self.well, &mut self.failing] {
                line.open.extend(line.held.drain(..));
            }
        }
    }

    /// Whether none is left.
    pub(crate) fn is_empty(&self) -> bool {
        [&self.well, &self.failing].iter().all(|line| line.open.is_empty() && line.held.is_empty())
    }

    /// Those that are left; they are asked for no more.
    pub(crate) fn give_up(&mut self) -> Vec<usize> {
        let lines = [&mut self.well, &mut self.failing];
        lines
            .into_iter()
            .flat_map(|line| line.open.drain(..).chain(line.held.drain(..)).collect::<Vec<_>>())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn granted(taken: &[usize], done: &[usize]) -> Granted {
        Granted { taken: taken.to_vec(), done: done.to_vec() }
    }

    #[test]
    fn what_others_have_hold_of_is_asked_for_again() {
        let now = Instant::now();
        let mut portions = Portions::new(&[4, 0, 3, 1, 2], |index| index == 3);
        portions.again(now, false);
        assert_eq!(portions.request(false, 0), None, "there is no room");
        let request = portions.request(false, 3).unwrap();
        assert_eq!(request, Request { wanted: vec![4, 0, 1, 2], limit: 3 });
        portions.answer(false, &request, &granted(&[0], &[2]));
        assert_eq!(portions.request(false, 9), None);
        portions.again(now + AGAIN / 2, false);
        assert_eq!(portions.request(false, 9), None, "not yet");
        portions.again(now + AGAIN, false);
        assert_eq!(portions.request(false, 1).unwrap().wanted, [4, 1]);
        assert_eq!(portions.request(true, 1).unwrap().wanted, [3]);
        assert_eq!(portions.give_up(), [4, 1, 3]);
        assert!(portions.is_empty());
    }

    #[test]
    fn what_a_limit_left_out_stays_first() {
        let mut portions = Portions::new(&[0, 1, 2, 3], |_| false);
        let request = portions.request(false, 2).unwrap();
        portions.answer(false, &request, &granted(&[1, 2], &[]));
        assert_eq!(portions.request(false, 9).unwrap().wanted, [0, 3]);
    }

    /// A storage that some runs share.
    #[derive(Default)]
    struct Claims {
        held: BTreeSet<usize>,
        done: BTreeSet<usize>,
    }

    impl Claims {
        fn claim(&mut self, request: &Request) -> Granted {
            let free = |index: &&usize| !self.held.contains(index) && !self.done.contains(index);
            let taken: Vec<_> = request.wanted.iter().filter(free).take(request.limit).copied().collect();
            let done = request.wanted.iter().filter(|index| self.done.contains(index)).copied().collect();
            self.held.extend(&taken);
            Granted { taken, done }
        }
    }

    proptest! {
        /// However runs take turns, and though one of them dies: each client is visited once, but for those that the dead one
        /// had hold of, which others visit; nobody is visited twice, and all runs come to an end.
        #[test]
        fn each_is_visited_once_by_whoever_comes_first(
            count in 0_usize..60,
            runs in 1_usize..4,
            room in 1_usize..9,
            steps in proptest::collection::vec((0_usize..4, any::<bool>(), any::<bool>()), 0..120),
            death in proptest::option::of(0_usize..120),
        ) {
            let mut now = Instant::now();
            let mut claims = Claims::default();
            let mut portions: Vec<_> = (0..runs)
                .map(|run| {
                    let order: Vec<_> = (0..count).map(|index| (index + 13 * run) % count).collect();
                    Portions::new(&order, |index| index % 5 == run)
                })
                .collect();
            let mut own = vec![Vec::new(); runs];
            let mut visited = vec![0; count];
            let dead = runs - 1;
            let mut died = runs == 1;
            let rounds = (0..count * 3 + 9).flat_map(|_| (0..runs).flat_map(|run| [(run, false, true), (run, true, true)]));
            for (at, (run, failing, ends)) in steps.iter().copied().chain(rounds).enumerate() {
                let run = run % runs;
                if !died && death == Some(at) {
                    died = true;
                    for index in own[dead].drain(..) {
                        claims.held.remove(&index);
                    }
                    portions[dead].give_up();
                }
                now += AGAIN;
                portions[run].again(now, false);
                if let Some(request) = portions[run].request(failing, room) {
                    let granted = claims.claim(&request);
                    prop_assert!(granted.taken.len() <= room);
                    own[run].extend(&granted.taken);
                    portions[run].answer(failing, &request, &granted);
                }
                if ends && let Some(index) = own[run].pop() {
                    visited[index] += 1;
                    claims.held.remove(&index);
                    claims.done.insert(index);
                }
            }
            for index in own.into_iter().flatten() {
                visited[index] += 1;
                claims.done.insert(index);
            }
            prop_assert_eq!(visited, vec![1; count]);
            for portions in &mut portions {
                portions.again(now + AGAIN, true);
                for failing in [false, true] {
                    while let Some(request) = portions.request(failing, room) {
                        let granted = claims.claim(&request);
                        prop_assert!(granted.taken.is_empty());
                        portions.answer(failing, &request, &granted);
                    }
                }
                prop_assert!(portions.is_empty());
            }
        }
    }
}
