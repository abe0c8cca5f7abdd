//! What several hosts may do to one storage at once. Each check is given what opens another store of the same, empty
//! storage, whose runs hold leases of the length that it says.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use model::{ClientUid, Outcome};

use super::{Outcomes, Store, at, attempt, enrol, failed, received, run};
use crate::{Attempt, Claimed, Program, Run, StoreError};

/// Opens a store whose runs hold such leases.
pub type Open<'a> = &'a (dyn Fn(Duration) -> Box<dyn Store + Send> + Sync);

/// A `#[test]` of every check over `$open`, which gives something to keep while the test runs, and an [`Open`].
#[macro_export]
macro_rules! sharing {
    ($make:expr) => {
        $crate::sharing!(@ $make;
            runs_have_hold_of_different_clients
            claims_at_once_leave_none_out_and_take_none_twice
            who_had_its_turn_is_not_collected_again
            who_was_not_reached_is_left_to_others
            a_dead_runs_clients_are_free_when_its_lease_is_over
            what_comes_after_its_run_is_refused_whole
            an_attempt_on_anothers_client_is_refused
            one_alerter_at_a_time
            a_dead_alerter_makes_room
            a_lease_is_kept
            a_later_turn_is_not_evaluated_before_an_earlier_one
        );
    };
    (@ $make:expr; $($check:ident)*) => {$(
        #[test]
        fn $check() {
            let (_kept, open) = $make;
            $crate::conformance::sharing::$check(&open).expect("the store does it");
        }
    )*};
}

/// Longer than any check takes.
const LONG: Duration = Duration::from_secs(600);

/// As short as a check needs that waits for its end.
const SHORT: Duration = Duration::from_millis(600);

/// Half of an interval.
const REST: Duration = Duration::from_secs(30);

/// A run of `program` on a host.
fn begin(store: &mut dyn Store, program: Program, host: &str, seconds: i64) -> Result<Run, StoreError> {
    store.begin_run(&Run { host: host.to_owned(), ..run(program, seconds) })
}

/// A store with a run of the collector on `host`.
fn collecting(open: Open<'_>, host: &str) -> Result<(Box<dyn Store + Send>, Run), StoreError> {
    let mut store = open(LONG);
    let run = begin(&mut *store, Program::Collector, host, 10)?;
    Ok((store, run))
}

fn fleet(store: &mut dyn Store, size: usize) -> Result<Vec<ClientUid>, StoreError> {
    (0..size).map(|number| enrol(store, &format!("c{number}"))).collect()
}

fn taken(claimed: &Claimed) -> Vec<ClientUid> {
    claimed.taken.iter().map(|row| row.uid).collect()
}

fn of(run: &Run, attempt: Attempt) -> Attempt {
    Attempt { run: run.begin, ..attempt }
}

/// Does it until it gives something.
fn until<T>(mut work: impl FnMut() -> Result<Option<T>, StoreError>) -> Result<T, StoreError> {
    let begin = Instant::now();
    loop {
        if let Some(value) = work()? {
            return Ok(value);
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "it never comes");
        thread::sleep(Duration::from_millis(50));
    }
}

/// In the order that was asked for; what a run that goes on has hold of is neither given nor done.
pub fn runs_have_hold_of_different_clients(open: Open<'_>) -> Outcomes {
    let ((mut a, run), (mut b, _)) = (collecting(open, "a")?, collecting(open, "b")?);
    let clients = fleet(&mut *a, 6)?;
    assert_eq!(taken(&a.claim(&clients, REST, 2)?), clients[..2]);
    let of_b = b.claim(&clients, REST, 9)?;
    assert_eq!((taken(&of_b), of_b.done), (clients[2..].to_vec(), vec![]));
    assert_eq!(a.claim(&clients, REST, 9)?, Claimed::default(), "nor what it has itself");
    a.store(&[of(&run, attempt(clients[0], 12, vec![received(1, 1, 5)]))])?;
    assert_eq!(b.claim(&clients, REST, 9)?, Claimed { taken: vec![], done: vec![clients[0]] });
    a.end_run(&Run { end: Some(at(20)), ..run })?;
    assert_eq!(taken(&b.claim(&clients, REST, 9)?), [clients[1]], "a run that ended lets go");
    Ok(())
}

/// Each client goes to one of those who ask at the same time.
pub fn claims_at_once_leave_none_out_and_take_none_twice(open: Open<'_>) -> Outcomes {
    let clients = fleet(&mut *open(LONG), 120)?;
    let all = thread::scope(|scope| {
        let claiming: Vec<_> = ["a", "b", "c"]
            .map(|host| {
                let clients = &clients;
                scope.spawn(move || -> Result<Vec<ClientUid>, StoreError> {
                    let (mut store, _) = collecting(open, host)?;
                    let mut mine = Vec::new();
                    loop {
                        let claimed = taken(&store.claim(clients, REST, 7)?);
                        if claimed.is_empty() {
                            return Ok(mine);
                        }
                        mine.extend(claimed);
                    }
                })
            })
            .into_iter()
            .collect();
        let ended = claiming.into_iter().map(|one| one.join().expect("it does not panic"));
        ended.collect::<Result<Vec<_>, StoreError>>()
    })?;
    let all = all.concat();
    // A run that ends without a word while another asks may leave some: none is ever in two hands.
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    let (mut last, _) = collecting(open, "d")?;
    let free = taken(&last.claim(&clients, REST, 999)?);
    assert_eq!(all.len() + free.len(), clients.len());
    Ok(())
}

/// However often it is asked for, and whoever asks, until it rested.
pub fn who_had_its_turn_is_not_collected_again(open: Open<'_>) -> Outcomes {
    let (mut a, run) = collecting(open, "a")?;
    let clients = fleet(&mut *a, 2)?;
    a.claim(&clients, REST, 9)?;
    a.store(&clients.iter().map(|client| of(&run, attempt(*client, 12, vec![]))).collect::<Vec<_>>())?;
    a.end_run(&Run { end: Some(at(20)), ..run })?;
    // Its cron is a little late, or its clock a little slow.
    let (mut b, _) = collecting(open, "b")?;
    assert_eq!(b.claim(&clients, REST, 9)?, Claimed { taken: vec![], done: clients.clone() });
    let (mut a, _) = collecting(open, "a")?;
    let mut done = a.claim(&clients, REST, 9)?.done;
    done.sort();
    assert_eq!(done, clients);
    assert_eq!(taken(&a.claim(&clients, Duration::ZERO, 9)?), clients);
    Ok(())
}

/// It had no turn.
pub fn who_was_not_reached_is_left_to_others(open: Open<'_>) -> Outcomes {
    let ((mut a, run), (mut b, _)) = (collecting(open, "a")?, collecting(open, "b")?);
    let clients = fleet(&mut *a, 1)?;
    a.claim(&clients, REST, 9)?;
    assert_eq!(b.claim(&clients, REST, 9)?, Claimed::default());
    a.store(&[of(&run, failed(clients[0], 12, Outcome::NotReached))])?;
    assert_eq!(taken(&b.claim(&clients, REST, 9)?), clients);
    Ok(())
}

/// Without a word of it.
pub fn a_dead_runs_clients_are_free_when_its_lease_is_over(open: Open<'_>) -> Outcomes {
    let mut a = open(SHORT);
    begin(&mut *a, Program::Collector, "a", 10)?;
    let clients = fleet(&mut *a, 3)?;
    assert_eq!(a.claim(&clients, REST, 2)?.taken.len(), 2);
    drop(a);
    let (mut b, run) = collecting(open, "b")?;
    let mut of_b = taken(&b.claim(&clients, REST, 9)?);
    while of_b.len() < 3 {
        let freed =
            until(|| Ok(Some(b.claim(&clients, REST, 9)?).filter(|claimed| !claimed.taken.is_empty())))?;
        of_b.extend(taken(&freed));
    }
    b.store(&of_b.iter().map(|client| of(&run, failed(*client, 12, super::refused()))).collect::<Vec<_>>())?;
    Ok(())
}

/// Nothing of it is there, and who has its clients now stores the same.
pub fn what_comes_after_its_run_is_refused_whole(open: Open<'_>) -> Outcomes {
    let (mut a, run_a) = collecting(open, "a")?;
    let clients = fleet(&mut *a, 2)?;
    a.claim(&clients, REST, 9)?;
    let brought = |run: &Run| {
        let both = [(clients[0], 1), (clients[1], 2)];
        both.map(|(client, spool)| of(run, attempt(client, 12, vec![received(spool, 1, 5)])))
    };
    a.store(&brought(&run_a)[..1])?;
    // The admin saw it hang and started another.
    let (mut again, run) = collecting(open, "a")?;
    let late = a.store(&brought(&run_a)[1..]);
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
    assert!(matches!(a.claim(&clients, REST, 9), Err(StoreError::Superseded)));
    let late = a.end_run(&Run { end: Some(at(20)), ..run_a });
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
    assert_eq!(again.counts()?.reports, 1);
    assert_eq!(taken(&again.claim(&clients, REST, 9)?), clients[1..]);
    assert_eq!(again.store(&brought(&run)[1..])?, [1]);
    Ok(())
}

/// Also where its run goes on.
pub fn an_attempt_on_anothers_client_is_refused(open: Open<'_>) -> Outcomes {
    let ((mut a, run), (mut b, _)) = (collecting(open, "a")?, collecting(open, "b")?);
    let clients = fleet(&mut *a, 2)?;
    a.claim(&clients[..1], REST, 9)?;
    b.claim(&clients[1..], REST, 9)?;
    let batch = [of(&run, attempt(clients[0], 12, vec![])), of(&run, attempt(clients[1], 12, vec![]))];
    assert!(matches!(a.store(&batch), Err(StoreError::Superseded)));
    assert_eq!(a.counts()?.unevaluated, 0);
    a.store(&batch[..1])?;
    assert!(matches!(a.store(&batch[..1]), Err(StoreError::Superseded)), "it was let go");
    Ok(())
}

/// A second host's is told where it runs; it goes on once that one ended.
pub fn one_alerter_at_a_time(open: Open<'_>) -> Outcomes {
    let (mut a, mut b) = (open(LONG), open(LONG));
    let first = begin(&mut *a, Program::Alerter, "a", 10)?;
    let second = begin(&mut *b, Program::Alerter, "b", 11);
    assert!(
        matches!(&second, Err(StoreError::Elsewhere(Program::Alerter, host)) if host == "a"),
        "{second:?}"
    );
    begin(&mut *b, Program::Collector, "b", 11)?;
    a.end_run(&Run { end: Some(at(20)), ..first })?;
    begin(&mut *b, Program::Alerter, "b", 21)?;
    Ok(())
}

/// When its lease is over.
pub fn a_dead_alerter_makes_room(open: Open<'_>) -> Outcomes {
    let mut a = open(SHORT);
    begin(&mut *a, Program::Alerter, "a", 10)?;
    drop(a);
    let mut b = open(LONG);
    until(|| match begin(&mut *b, Program::Alerter, "b", 11) {
        Err(StoreError::Elsewhere(..)) => Ok(None),
        other => Ok(Some(other?)),
    })?;
    Ok(())
}

/// A run that says nothing for longer than its lease is alive while its process is.
pub fn a_lease_is_kept(open: Open<'_>) -> Outcomes {
    // Long enough that a busy machine renews it in time.
    let lease = Duration::from_secs(3);
    let mut a = open(lease);
    let run = begin(&mut *a, Program::Collector, "a", 10)?;
    let clients = fleet(&mut *a, 1)?;
    a.claim(&clients, REST, 9)?;
    thread::sleep(lease + lease / 3);
    let (mut b, _) = collecting(open, "b")?;
    assert_eq!(b.claim(&clients, REST, 9)?, Claimed::default());
    a.store(&[of(&run, attempt(clients[0], 12, vec![]))])?;
    Ok(())
}

/// Of one turn, runs that are over do not wait for those that go on.
pub fn a_later_turn_is_not_evaluated_before_an_earlier_one(open: Open<'_>) -> Outcomes {
    let ((mut a, slow), (mut b, quick)) = (collecting(open, "a")?, collecting(open, "b")?);
    let clients = fleet(&mut *a, 2)?;
    a.claim(&clients[..1], REST, 9)?;
    b.claim(&clients[1..], REST, 9)?;
    a.store(&[of(&slow, attempt(clients[0], 12, vec![]))])?;
    b.store(&[of(&quick, attempt(clients[1], 13, vec![]))])?;
    b.end_run(&Run { end: Some(at(14)), ..quick })?;
    let times = |store: &mut dyn Store| -> Result<Vec<_>, StoreError> {
        Ok(store.backlog(9)?.into_iter().map(|entry| entry.event_time).collect())
    };
    assert_eq!(times(&mut *b)?, [at(13)]);
    let later = begin(&mut *b, Program::Collector, "b", 310)?;
    b.claim(&clients[1..], Duration::ZERO, 9)?;
    b.store(&[of(&later, attempt(clients[1], 311, vec![]))])?;
    b.end_run(&Run { end: Some(at(312)), ..later })?;
    assert_eq!(times(&mut *b)?, [at(13)], "what the other host found before may still come");
    a.end_run(&Run { end: Some(at(313)), ..slow })?;
    assert_eq!(times(&mut *b)?, [at(12), at(13), at(311)]);
    Ok(())
}
