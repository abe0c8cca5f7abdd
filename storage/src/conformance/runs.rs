//! The backlog by runs of the collector.

use std::time::Duration;

use model::ClientUid;

use super::{Outcomes, Store, at, attempt, enrol, failed, received, refused, run};
use crate::{Attempt, Entry, Mark, Program, Run, Step, StoreError};

/// A run of the collector that begins, and has hold of all `clients`.
fn begin(store: &mut dyn Store, seconds: i64, clients: &[ClientUid]) -> Outcomes {
    store.begin_run(&run(Program::Collector, seconds))?;
    assert_eq!(store.claim(clients, Duration::ZERO, 9)?.taken.len(), clients.len());
    Ok(())
}

fn end(store: &mut dyn Store, begin: i64, end: i64) -> Outcomes {
    store.end_run(&Run { end: Some(at(end)), ..run(Program::Collector, begin) })
}

fn of_run(run: i64, attempt: Attempt) -> Attempt {
    Attempt { run: at(run), ..attempt }
}

/// Each entry as `seconds`, and those of a run as `seconds of run`.
fn shown(store: &mut dyn Store, limit: usize) -> Result<Vec<String>, StoreError> {
    let seconds = |time: model::Timestamp| (time.millis() - at(0).millis()) / 1000;
    let entries = store.backlog(limit)?.into_iter().map(|entry| match entry.entry {
        Entry::Report { .. } => seconds(entry.event_time).to_string(),
        Entry::Attempt { run, .. } => format!("{} of {}", seconds(entry.event_time), seconds(run)),
    });
    Ok(entries.collect())
}

/// Two runs, the second of which goes on.
fn prepared(store: &mut dyn Store) -> Result<ClientUid, StoreError> {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    begin(store, 10, &[web, db])?;
    store.store(&[of_run(10, failed(db, 12, refused()))])?;
    store.store(&[of_run(10, attempt(web, 19, vec![received(1, 1, 15)]))])?;
    end(store, 10, 20)?;
    begin(store, 30, &[web, db])?;
    store.store(&[of_run(30, attempt(web, 31, vec![received(1, 2, 18), received(1, 3, 22)]))])?;
    Ok(db)
}

/// They stand where the last of them does.
pub fn attempts_of_a_run_stand_together(store: &mut dyn Store) -> Outcomes {
    let db = prepared(store)?;
    store.store(&[of_run(30, failed(db, 39, refused()))])?;
    end(store, 30, 40)?;
    let expected = ["15", "18", "12 of 10", "19 of 10", "22", "31 of 30", "39 of 30"];
    assert_eq!(shown(store, 99)?, expected);
    Ok(())
}

/// Runs of several hosts overlap: what ended first comes first, whichever began first.
pub fn runs_stand_where_they_end(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    store.store(&[of_run(10, failed(web, 50, refused())), of_run(20, failed(db, 30, refused()))])?;
    store.store(&[of_run(10, attempt(db, 41, vec![received(1, 1, 40)]))])?;
    assert_eq!(shown(store, 99)?, ["30 of 20", "40", "41 of 10", "50 of 10"]);
    assert_eq!(shown(store, 1)?, ["30 of 20"]);
    Ok(())
}

/// Its records are; its attempts are where its end is noted, or where a later run began.
pub fn a_run_that_goes_on_is_not_given(store: &mut dyn Store) -> Outcomes {
    prepared(store)?;
    let before = ["15", "18", "12 of 10", "19 of 10", "22"];
    assert_eq!(shown(store, 99)?, before);
    assert_eq!(store.counts()?.unevaluated, 6, "what is not given is counted");
    assert_eq!(store.oldest_unevaluated_run()?, Some(at(10)));
    begin(store, 50, &[])?;
    assert_eq!(shown(store, 99)?, [&before[..], &["31 of 30"]].concat());
    store.begin_run(&run(Program::Alerter, 60))?;
    assert_eq!(shown(store, 99)?.len(), 6, "only the collector's runs count");
    Ok(())
}

/// However few are asked for; and any split gives the same entries in the same order.
pub fn a_run_is_never_split(store: &mut dyn Store) -> Outcomes {
    let db = prepared(store)?;
    store.store(&[of_run(30, failed(db, 39, refused()))])?;
    end(store, 30, 40)?;
    let whole: Vec<Mark> = store.backlog(99)?.into_iter().map(|entry| entry.mark).collect();
    let mut parts = Vec::new();
    for expected in [1, 1, 2, 1, 2, 0] {
        let marks: Vec<Mark> = store.backlog(1)?.into_iter().map(|entry| entry.mark).collect();
        assert_eq!(marks.len(), expected);
        store.commit(&Step { marks: marks.clone(), ..Step::default() })?;
        parts.extend(marks);
    }
    assert_eq!((parts, store.oldest_unevaluated_run()?), (whole, None));
    Ok(())
}
