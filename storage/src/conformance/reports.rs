//! Clients, keys, attempts, records, runs.

use model::{Body, ClientUid, Labels, Outcome, Record, Timestamp};

use super::{
    Outcomes, Store, at, attempt, enrol, failed, named, received, record, refused, run, sample, spool,
};
use crate::{Content, Counts, Program, Run, RunLog, SealedKey};

/// A name gets a row with a fresh uid once, and keeps it; rows come in the order that was asked for.
pub fn a_client_gets_one_row_for_ever(store: &mut dyn Store) -> Outcomes {
    let mut made = 0;
    let mut fresh = || {
        made += 1;
        ClientUid([made; 16])
    };
    let first = store.clients(&[named("b"), named("a"), named("b")], &mut fresh)?;
    let names: Vec<&str> = first.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "b"]);
    assert_eq!(first[0], first[2]);
    assert_ne!(first[0].uid, first[1].uid);
    assert_eq!((first[0].stored.as_ref(), first[0].last_event_time), (None, None));
    assert!(!first[0].failed_last && first[0].keys.is_empty());
    let second = store.clients(&[named("a"), named("c"), named("b")], &mut fresh)?;
    assert_eq!((second[0].uid, second[2].uid), (first[1].uid, first[0].uid));
    assert_eq!(store.latest()?.len(), 3);
    Ok(())
}

/// Keys come oldest first; a (client, key id) is never replaced.
pub fn keys_are_kept_and_never_replaced(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    let key =
        |key_id, fill| SealedKey { key_id, public_key: [fill; 32], sealed: vec![fill; 60], created: at(1) };
    store.add_key(web, &key(2, 2))?;
    store.add_key(web, &key(1, 1))?;
    store.add_key(db, &key(1, 3))?;
    assert!(store.add_key(web, &key(1, 9)).is_err(), "a key was replaced");
    assert!(store.add_key(ClientUid([0xee; 16]), &key(1, 9)).is_err(), "a key of nobody");
    let rows = store.clients(&[named("web"), named("db")], &mut || unreachable!("both are there"))?;
    assert_eq!(rows[0].keys, [key(1, 1), key(2, 2)]);
    assert_eq!(rows[1].keys, [key(1, 3)]);
    Ok(())
}

/// Where one attempt of a batch cannot be stored, none is, and the store goes on as if nothing had been.
pub fn a_batch_is_stored_whole_or_not_at_all(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let before = store.clients(&[named("web")], &mut || unreachable!())?;
    let batch = [attempt(web, 10, vec![received(1, 1, 9)]), attempt(ClientUid([0xee; 16]), 10, vec![])];
    assert!(store.store(&batch).is_err());
    assert_eq!(store.counts()?, Counts::default());
    assert_eq!(store.backlog(10)?, []);
    assert_eq!(store.clients(&[named("web")], &mut || unreachable!())?, before);
    // Whatever the store had numbered for the lost batch must not be used now.
    let mut other = received(1, 1, 9);
    other.content = Content::Record(Box::new(record(vec![sample("swap", 3.0), sample("load1", 4.0)])));
    assert_eq!(store.store(&[attempt(web, 10, vec![other])])?, [1]);
    assert_eq!(store.series(web, "load1", &Labels::none(), at(0), at(99))?, [(at(9), 4.0)]);
    assert_eq!(store.series(web, "swap", &Labels::none(), at(0), at(99))?, [(at(9), 3.0)]);
    Ok(())
}

/// What is sent again is not stored again; the attempts are.
pub fn storing_again_changes_nothing(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    let records = || vec![received(1, 1, 5), received(1, 2, 6), received(1, 3, 7)];
    let batch = [attempt(web, 10, records()), attempt(db, 10, vec![received(2, 1, 9)])];
    assert_eq!(store.store(&batch)?, [3, 1]);
    let rows = store.clients(&[named("web"), named("db")], &mut || unreachable!())?;
    assert_eq!(store.store(&batch)?, [0, 0]);
    assert_eq!(store.clients(&[named("web"), named("db")], &mut || unreachable!())?, rows);
    assert_eq!(store.counts()?, Counts { reports: 4, unevaluated: 4 + 4, ..Counts::default() });
    // Also within one batch, and together with what is new.
    let again = [attempt(web, 11, [records(), vec![received(1, 4, 10)]].concat())];
    assert_eq!(store.store(&[again.clone(), again].concat())?, [1, 0]);
    assert_eq!(store.counts()?.reports, 5);
    Ok(())
}

/// What a spool is stored through only grows; a spool may begin anywhere and have holes.
pub fn a_spool_is_stored_through_in_order(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let mut stored = |records| -> Result<_, crate::StoreError> {
        let new = store.store(&[attempt(web, 10, records)])?[0];
        let row = store.clients(&[named("web")], &mut || unreachable!())?.remove(0);
        Ok((new, row.stored.map(|stored| (stored.spool, stored.sequence, stored.digest))))
    };
    let through = |sequence| Some((spool(1), sequence, received(1, sequence, 0).digest));
    assert_eq!(stored(vec![])?, (0, None));
    assert_eq!(stored(vec![received(1, 7, 5), received(1, 9, 6)])?, (2, through(9)));
    assert_eq!(stored(vec![received(1, 8, 6)])?, (0, through(9)), "what is below counts as stored");
    assert_eq!(stored(vec![received(1, 9, 6), received(1, 10, 7)])?, (1, through(10)));
    assert_eq!(stored(vec![])?, (0, through(10)));
    Ok(())
}

/// A sequence that no probe reaches is left out; the others of the batch are stored.
pub fn an_absurd_sequence_harms_nobody(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    let batch = [attempt(web, 10, vec![received(1, u64::MAX, 9)]), attempt(db, 10, vec![received(2, 1, 9)])];
    assert_eq!(store.store(&batch)?, [0, 1]);
    let row = store.clients(&[named("web")], &mut || unreachable!())?.remove(0);
    assert_eq!((row.stored, row.last_event_time), (None, None));
    Ok(())
}

/// A client's last event time is that of its newest record of any kind.
pub fn the_last_event_time_never_goes_back(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    let gap = Record {
        body: Body::Gap(model::Gap { refused: 3, first: at(1), last: at(2) }),
        ..record(Vec::new())
    };
    let gap = crate::Received { content: Content::Record(Box::new(gap)), ..received(1, 2, 9) };
    let batch = [attempt(web, 10, vec![received(1, 1, 5), gap]), attempt(db, 10, vec![received(2, 1, 3)])];
    store.store(&batch)?;
    store.store(&[attempt(web, 20, vec![received(1, 3, 8)])])?;
    let rows = store.clients(&[named("web"), named("db")], &mut || unreachable!())?;
    let times: Vec<Option<Timestamp>> = rows.iter().map(|row| row.last_event_time).collect();
    assert_eq!(times, [Some(at(9)), Some(at(3))]);
    Ok(())
}

/// `failed_last` follows the newest attempt that reached its turn.
pub fn the_latest_attempt_tells_who_failed(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let aside = Outcome::Quarantined { count: 1, detail: "cut".to_owned() };
    for (seconds, outcome, expected) in [
        (10, refused(), true),
        (20, Outcome::NotReached, true),
        (30, Outcome::Collected, false),
        (40, Outcome::NotReached, false),
        (50, refused(), true),
        (60, aside, false),
        (55, refused(), false),
    ] {
        store.store(&[failed(web, seconds, outcome.clone())])?;
        let row = store.clients(&[named("web")], &mut || unreachable!())?.remove(0);
        assert_eq!(row.failed_last, expected, "{seconds} {outcome:?}");
    }
    Ok(())
}

/// A run is noted at its begin and again at its end; the latest is the one that began last. No two have one begin.
pub fn the_run_log_keeps_one_entry_per_begin(store: &mut dyn Store) -> Outcomes {
    let (collector, alerter) = (Program::Collector, Program::Alerter);
    assert_eq!(store.last_run(collector)?, None);
    let first = store.begin_run(&run(collector, 10))?;
    assert_eq!(first, run(collector, 10));
    let ended = Run { end: Some(at(15)), done: 3, failed: 1, whole: false, ..first };
    store.end_run(&ended)?;
    assert_eq!(store.last_run(collector)?.as_ref(), Some(&ended));
    let second = store.begin_run(&run(collector, 20))?;
    assert_eq!(store.last_run(collector)?.as_ref(), Some(&second));
    assert_eq!(store.last_run(alerter)?, None);
    let twin = store.begin_run(&run(collector, 20))?;
    assert_eq!(twin.begin, at(20).plus(1), "each has a name of its own");
    assert_eq!(RunLog::runs(store, collector, 9)?, [twin, second, ended]);
    let evaluating = store.begin_run(&run(alerter, 20))?;
    assert_eq!(evaluating.begin, at(20), "the programs have each a log of its own");
    let ended = Run { end: Some(at(21)), ..evaluating };
    store.end_run(&ended)?;
    assert_eq!(store.last_run(alerter)?, Some(ended));
    assert!(store.end_run(&run(alerter, 77)).is_err(), "it never began");
    Ok(())
}

/// However many hosts run a program, enough of the runs of each are there to learn its habit.
pub fn the_latest_runs_of_each_host_are_given(store: &mut dyn Store) -> Outcomes {
    for (seconds, host) in [(10, "a"), (20, "b"), (30, "a"), (40, "a"), (50, "c")] {
        let begun = store.begin_run(&Run { host: host.to_owned(), ..run(Program::Collector, seconds) })?;
        store.end_run(&Run { end: Some(at(seconds)), ..begun })?;
    }
    let runs = RunLog::runs(store, Program::Collector, 2)?;
    let shown: Vec<_> = runs.iter().map(|run| (run.host.as_str(), run.begin)).collect();
    assert_eq!(shown, [("c", at(50)), ("a", at(40)), ("a", at(30)), ("b", at(20))]);
    assert_eq!(store.latest_runs(Program::Collector, 2)?, runs);
    assert_eq!(store.last_run(Program::Collector)?.as_ref(), runs.first());
    Ok(())
}
