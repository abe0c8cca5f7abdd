//! Visits clients, a bounded number of processes at once, one worker each and one for every bastion on the way; no client
//! can hold up the others for longer than its deadline.
//!
//! One thread starts the workers and waits for them all by poll(2). It must be one that lives as long as they do: a
//! worker asks to be killed with the thread that started it. Each job is prepared by a thread of its own, so that a
//! `password-command` that hangs, or a key on a file server that is gone, delays its own clients alone. Nobody waits for
//! such a thread when the visits are over: it ends with the process.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use model::{ClientName, Outcome};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, getrlimit};

use crate::budget::Budget;
use crate::finished::Finished;
use crate::portions::{Granted, Portions, Sharing};
use crate::queue::{Queue, Standing};
use crate::route::Route;
use crate::schedule::Window;
use crate::slot::Slot;

/// How long the supervisor sleeps at most, so that what came in is stored soon.
const TICK: Duration = Duration::from_millis(200);

/// What the storage takes longer than this for is a stall, and no client's time.
const STALL: Duration = Duration::from_secs(1);

/// One client to visit.
pub(crate) struct Visit {
    /// Its name, for log lines.
    pub(crate) name: ClientName,
    /// How long its phases may take.
    pub(crate) budget: Budget,
    /// How many processes it has at once.
    pub(crate) processes: usize,
    /// How the last attempts went.
    pub(crate) standing: Standing,
}

/// Who takes what the visits bring.
pub(crate) trait Ledger {
    /// Why it can take no more.
    type Error;

    /// Takes the end of one visit.
    fn take(&mut self, finished: Finished) -> Result<(), Self::Error>;

    /// Has a moment to do what has become due.
    fn tick(&mut self) -> Result<(), Self::Error>;

    /// Asks for visits: those of `wanted`, in that order, that are free for this run, at most `limit`. Where they are not
    /// `to_visit`, they are only to be noted as not reached.
    fn claim(&mut self, wanted: &[usize], limit: usize, _to_visit: bool) -> Result<Granted, Self::Error> {
        Ok(Granted { taken: wanted.iter().copied().take(limit).collect(), done: Vec::new() })
    }

    /// Hears which visits others have hold of when this run ends.
    fn leave(&mut self, _visits: &[usize]) {}

    /// Sees which visits are under way.
    fn watch(&mut self, _slots: &[Slot]) {}
}

/// Makes those of `visits` that the ledger grants, with at most `slots` processes at once, those in `order` first to last.
/// One that does not fit into the window any more is not begun, and ends as [`Outcome::NotReached`]; what is under way at its
/// end is cut. `prepare` makes the job of a visit, several at once. Where the ledger fails, all is given up.
pub(crate) fn supervise<L: Ledger>(
    visits: &[Visit],
    order: &[usize],
    slots: usize,
    (window, sharing): (Option<Window>, Sharing),
    prepare: impl Fn(usize) -> Result<Route, Outcome> + Send + Sync + 'static,
    ledger: &mut L,
) -> Result<(), L::Error> {
    let (ready, readies) = mpsc::channel();
    let (bell, ring) = std::io::pipe().expect("a process that has just begun has room for a pipe");
    let desk = Arc::new(Desk { prepare, ready, ring });
    let mut ask = |index| {
        let asked = thread::Builder::new().spawn({
            let desk = Arc::clone(&desk);
            move || desk.work(index)
        });
        if asked.is_err() {
            // No thread to spare: then the others wait for this one.
            desk.work(index);
        }
    };
    let mut supervisor = Supervisor {
        slots: Vec::new(),
        queue: Queue::new(slots.min(affordable())),
        portions: Portions::new(order, |index| visits[index].standing.failed_last),
        sharing,
        moved: Instant::now(),
        asked_last: false,
        shortest: visits.iter().map(|visit| visit.budget.timeout()).min().unwrap_or_default(),
        window,
        bell,
    };
    supervisor.run(visits, (&mut ask, &readies), ledger)
}

/// Where jobs are prepared.
struct Desk<P> {
    prepare: P,
    ready: mpsc::Sender<Ready>,
    ring: PipeWriter,
}

/// The job of a visit, or why there is none.
type Ready = (usize, Result<Route, Outcome>);

impl<P: Fn(usize) -> Result<Route, Outcome>> Desk<P> {
    /// Prepares one job. A supervisor that has given up wants it no more.
    fn work(&self, index: usize) {
        if self.ready.send((index, (self.prepare)(index))).is_ok() {
            let _ = (&self.ring).write_all(&[0]);
        }
    }
}

struct Supervisor {
    slots: Vec<Slot>,
    queue: Queue,
    portions: Portions,
    sharing: Sharing,
    /// When a visit was granted or ended last.
    moved: Instant,
    /// Whether they were asked for when the window had ended: for the last time.
    asked_last: bool,
    /// The shortest deadline of a visit.
    shortest: Duration,
    window: Option<Window>,
    bell: PipeReader,
}

impl Supervisor {
    fn run<L: Ledger>(
        &mut self,
        visits: &[Visit],
        (ask, readies): (&mut dyn FnMut(usize), &mpsc::Receiver<Ready>),
        ledger: &mut L,
    ) -> Result<(), L::Error> {
        loop {
            let before = Instant::now();
            self.claim(visits, ledger)?;
            self.postpone(before);
            self.fill(visits, ask, ledger)?;
            if self.slots.is_empty() && self.queue.is_empty() && self.has_waited() {
                ledger.leave(&self.portions.give_up());
                return Ok(());
            }
            let news = self.wait();
            let now = Instant::now();
            while let Ok((index, route)) = readies.try_recv() {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.index == index) {
                    slot.launch(route, now);
                }
            }
            for (slot, news) in self.slots.iter_mut().zip(news) {
                if news {
                    slot.read(now);
                }
                slot.expire(now);
                if let Some(window) = self.window {
                    slot.cut(window, now);
                }
            }
            let (over, going) = std::mem::take(&mut self.slots).into_iter().partition(Slot::is_over);
            self.slots = going;
            let before = Instant::now();
            for slot in over {
                self.queue.leave(slot.index);
                self.moved = now;
                ledger.take(slot.into_finished())?;
            }
            ledger.watch(&self.slots);
            ledger.tick()?;
            self.postpone(before);
        }
    }

    /// What was spent since `before` on the storage is no fault of the clients, to whom nobody listened meanwhile.
    fn postpone(&mut self, before: Instant) {
        let spent = before.elapsed();
        if spent < STALL {
            return;
        }
        for slot in &mut self.slots {
            slot.postpone(spent);
        }
    }

    /// Asks for as many visits as there is room for. Once none can be begun any more, they are left to others until the
    /// window ends; what is nobody's then is asked for too, and not reached.
    fn claim<L: Ledger>(&mut self, visits: &[Visit], ledger: &mut L) -> Result<(), L::Error> {
        let now = Instant::now();
        let is_last = self.window.is_some_and(|window| now >= window.end());
        let may_begin = self.window.is_none_or(|window| window.fits(now, self.shortest));
        let leaves_them = self.sharing.waits() && !may_begin && !is_last;
        if self.portions.is_empty() || self.asked_last || leaves_them {
            return Ok(());
        }
        self.asked_last = is_last;
        self.portions.again(now, is_last);
        for failed_last in [false, true] {
            loop {
                let all_at_once = is_last || !self.sharing.others;
                let room = if all_at_once { usize::MAX } else { self.queue.lacks(failed_last) };
                let Some(request) = self.portions.request(failed_last, room) else { break };
                let granted = ledger.claim(&request.wanted, request.limit, !is_last)?;
                for &index in &granted.taken {
                    self.queue.add(index, visits[index].standing, visits[index].processes);
                    self.moved = now;
                }
                self.portions.answer(failed_last, &request, &granted);
            }
        }
        Ok(())
    }

    /// Whether nothing more is to be expected of what others have hold of.
    fn has_waited(&self) -> bool {
        let is_over = match self.window.filter(|_| self.sharing.waits()) {
            Some(_) => self.asked_last,
            None => self.moved.elapsed() >= self.sharing.patience,
        };
        is_over || self.portions.is_empty()
    }

    fn fill<L: Ledger>(
        &mut self,
        visits: &[Visit],
        ask: &mut dyn FnMut(usize),
        ledger: &mut L,
    ) -> Result<(), L::Error> {
        while let Some(index) = self.queue.next() {
            let (visit, now) = (&visits[index], Instant::now());
            let slot = Slot::new(index, visit.name.clone(), visit.budget, now);
            if self.window.is_some_and(|window| !window.fits(now, visit.budget.timeout())) {
                self.queue.leave(index);
                ledger.take(slot.into_finished())?;
                continue;
            }
            self.slots.push(slot);
            ask(index);
        }
        Ok(())
    }

    /// Sleeps until there is news; which slots have some. Jobs that became ready are told by the bell.
    fn wait(&mut self) -> Vec<bool> {
        let now = Instant::now();
        let window = self.window.map(Window::end);
        let nearest = self.slots.iter().map(Slot::deadline).chain(window).min().unwrap_or(now + TICK);
        let sleep = nearest.saturating_duration_since(now).min(TICK);
        let sleep = Timespec { tv_sec: sleep.as_secs() as i64, tv_nsec: i64::from(sleep.subsec_nanos()) };
        let outputs: Vec<Vec<_>> = self.slots.iter().map(|slot| slot.outputs().collect()).collect();
        let mut fds = vec![PollFd::new(&self.bell, PollFlags::IN)];
        fds.extend(outputs.iter().flatten().map(|output| PollFd::from_borrowed_fd(*output, PollFlags::IN)));
        // An interrupted sleep is a short one.
        let _ = poll(&mut fds, Some(&sleep));
        let mut fired = fds.iter().map(|fd| !fd.revents().is_empty());
        let bell = fired.next().unwrap_or_default();
        let any = |outputs: &Vec<_>| fired.by_ref().take(outputs.len()).fold(false, |any, fired| any | fired);
        let news = outputs.iter().map(any).collect();
        drop(fds);
        if bell {
            // As many bytes as there are; another ring comes if these were not all.
            let _ = self.bell.read(&mut [0; 64]);
        }
        news
    }
}

/// The processes that our file descriptors allow: two for each, two for a connection that is being made to it, and some
/// for everything else.
fn affordable() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let left = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(64);
    (left / 4).max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;

    use super::*;

    fn visits(failed: &[bool]) -> Vec<Visit> {
        let visit = |failed: &bool| Visit {
            name: "a".parse().unwrap(),
            budget: Budget::new(Duration::from_secs(1), 0),
            processes: 1,
            standing: Standing { failed_last: *failed, not_reached_last: false },
        };
        failed.iter().map(visit).collect()
    }

    struct Seen(Vec<(usize, Outcome)>);

    impl Ledger for Seen {
        type Error = ();

        fn take(&mut self, finished: Finished) -> Result<(), ()> {
            self.0.push((finished.index, finished.outcome));
            Ok(())
        }

        fn tick(&mut self) -> Result<(), ()> {
            Ok(())
        }
    }

    #[test]
    fn every_visit_ends_though_no_job_can_be_made() {
        let mut seen = Seen(Vec::new());
        let refuse = |index: usize| Err(Outcome::Credential { detail: index.to_string() });
        let order: Vec<_> = (0..50).rev().collect();
        supervise(&visits(&[false; 50]), &order, 4, (None, Sharing::ALONE), refuse, &mut seen).unwrap();
        seen.0.sort_by_key(|(index, _)| *index);
        let expected = (0..50).map(|index| (index, refuse(index).unwrap_err())).collect::<Vec<_>>();
        assert_eq!(seen.0, expected);
    }

    /// Lets go of a gate when it has seen that many ends.
    struct Gate(Seen, usize, mpsc::Sender<()>);

    impl Ledger for Gate {
        type Error = ();

        fn take(&mut self, finished: Finished) -> Result<(), ()> {
            self.0.take(finished)?;
            if self.0.0.len() == self.1 {
                self.2.send(()).unwrap();
            }
            Ok(())
        }

        fn tick(&mut self) -> Result<(), ()> {
            Ok(())
        }
    }

    #[test]
    fn a_credential_that_is_slow_to_come_holds_up_nobody_else() {
        let (open, opened) = mpsc::channel();
        let opened = std::sync::Mutex::new(opened);
        let prepare = move |index: usize| {
            if index == 0 {
                let _ = opened.lock().unwrap().recv();
            }
            Err(Outcome::Credential { detail: String::new() })
        };
        let mut gate = Gate(Seen(Vec::new()), 9, open);
        supervise(
            &visits(&[false; 10]),
            &(0..10).collect::<Vec<_>>(),
            4,
            (None, Sharing::ALONE),
            prepare,
            &mut gate,
        )
        .unwrap();
        let Gate(Seen(ended), ..) = gate;
        assert_eq!(ended.last().map(|(index, _)| *index), Some(0));
        assert!(ended.iter().all(|(_, outcome)| matches!(outcome, Outcome::Credential { .. })), "{ended:?}");
    }

    #[test]
    fn a_file_that_never_answers_holds_up_no_run() {
        let (keep, kept) = mpsc::channel::<()>();
        let kept = std::sync::Mutex::new(kept);
        let prepare = move |_| {
            // As a file on a server that is gone: nothing ends this but the end of the process.
            let _ = kept.lock().unwrap().recv();
            Err(Outcome::NotReached)
        };
        let mut seen = Seen(Vec::new());
        let window = Window::new(Instant::now(), Duration::from_secs(60));
        supervise(&visits(&[false; 2]), &[0, 1], 2, (Some(window), Sharing::ALONE), prepare, &mut seen)
            .unwrap();
        assert_eq!(seen.0.len(), 2);
        assert!(seen.0.iter().all(|(_, outcome)| matches!(outcome, Outcome::Timeout { .. })), "{:?}", seen.0);
        drop(keep);
    }

    #[test]
    fn a_visit_counts_for_all_its_processes() {
        let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let prepare = {
            let counts = Arc::clone(&counts);
            move |_| {
                let (now, most) = &*counts;
                most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                thread::sleep(Duration::from_millis(5));
                now.fetch_sub(1, SeqCst);
                Err(Outcome::Credential { detail: String::new() })
            }
        };
        let mut visits = visits(&[false; 12]);
        for visit in &mut visits {
            visit.processes = 3;
        }
        let mut seen = Seen(Vec::new());
        supervise(&visits, &(0..12).collect::<Vec<_>>(), 6, (None, Sharing::ALONE), prepare, &mut seen)
            .unwrap();
        assert_eq!(seen.0.len(), 12);
        assert!(counts.1.load(SeqCst) <= 2);
    }

    #[test]
    fn after_its_end_a_run_reaches_nobody() {
        let mut seen = Seen(Vec::new());
        let prepare = |_| panic!("nothing is to be prepared");
        let over = Window::new(Instant::now(), Duration::ZERO);
        supervise(&visits(&[false; 3]), &[0, 1, 2], 4, (Some(over), Sharing::ALONE), prepare, &mut seen)
            .unwrap();
        assert_eq!(seen.0.iter().filter(|(_, outcome)| *outcome == Outcome::NotReached).count(), 3);
    }
}
