//! Clients as a whole: turns, names, keys, removal.

use model::{ClientUid, Labels, Outcome};

use super::{Outcomes, Store, at, attempt, enrol, episode, fact, failed, named, received, refused, run};
use crate::{Program, SealedKey, Step};

/// The latest attempt tells whether the client had a turn, and when it had one last.
pub fn who_went_without_a_turn_is_known(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    for (seconds, outcome, expected) in [
        (10, refused(), (false, Some(at(10)))),
        (20, Outcome::NotReached, (true, Some(at(10)))),
        (30, Outcome::Collected, (false, Some(at(30)))),
        (40, Outcome::NotReached, (true, Some(at(30)))),
    ] {
        store.store(&[failed(web, seconds, outcome)])?;
        let row = store.find(&named("web"))?.expect("it is there");
        assert_eq!((row.not_reached_last, row.last_turn), expected, "{seconds}");
    }
    assert_eq!(store.find(&named("db"))?, None);
    for begin in [1, 2, 3] {
        store.begin_run(&run(Program::Collector, begin))?;
    }
    let begins: Vec<_> = store.runs(Program::Collector, 2)?.into_iter().map(|run| run.begin).collect();
    assert_eq!((begins, store.runs(Program::Alerter, 2)?), (vec![at(3), at(2)], vec![]));
    assert_eq!(store.latest_runs(Program::Collector, 2)?, store.runs(Program::Collector, 2)?);
    Ok(())
}

/// What is known of a client is known under its new name; a name in use is refused, and nothing changes.
pub fn a_new_name_takes_everything_along(store: &mut dyn Store) -> Outcomes {
    let (web, _) = (enrol(store, "web")?, enrol(store, "db")?);
    store.store(&[attempt(web, 10, vec![received(1, 1, 5)])])?;
    let open = episode(web, "/", 0);
    store.commit(&Step { episodes: vec![open.clone()], ..Step::default() })?;
    let before = store.find(&named("web"))?.expect("it is there");
    assert!(store.rename(web, &named("db")).is_err(), "two clients of one name");
    assert!(store.rename(ClientUid([0xee; 16]), &named("x")).is_err(), "a name for nobody");
    assert_eq!(store.find(&named("web"))?.as_ref(), Some(&before));
    store.rename(web, &named("www"))?;
    store.rename(web, &named("www"))?;
    assert_eq!(store.find(&named("web"))?, None);
    assert_eq!(store.find(&named("www"))?, Some(crate::ClientRow { name: named("www"), ..before }));
    assert_eq!(store.open_episodes()?[0].client_name, "www");
    assert!(store.backlog(9)?.iter().all(|entry| entry.client_name == named("www")));
    Ok(())
}

/// Lower ids go, of this client alone.
pub fn old_keys_are_forgotten_and_the_newest_never(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    for (client, key_id) in [(web, 1), (web, 2), (web, 3), (db, 1)] {
        store.add_key(client, &SealedKey { key_id, public_key: [1; 32], sealed: vec![2], created: at(3) })?;
    }
    let mut left = |below| -> Result<Vec<u32>, crate::StoreError> {
        store.forget_keys(web, below)?;
        let row = store.find(&named("web"))?.expect("it is there");
        Ok(row.keys.iter().map(|key| key.key_id).collect())
    };
    assert_eq!(left(1)?, [1, 2, 3]);
    assert_eq!(left(2)?, [2, 3]);
    assert_eq!(left(u32::MAX)?, [3]);
    assert_eq!(store.find(&named("db"))?.expect("it is there").keys.len(), 1);
    Ok(())
}

/// Nothing tells of it any more; another client is as it was; the name is free.
pub fn a_purged_client_leaves_nothing_and_harms_nobody(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    for (client, spool) in [(web, 1), (db, 2)] {
        store.store(&[attempt(client, 10, vec![received(spool, 1, 5)])])?;
        let open = episode(client, "/", 0);
        let facts = vec![fact(&open, "a@x", 0)];
        store.commit(&Step { episodes: vec![open], facts, ..Step::default() })?;
    }
    let kept = store.find(&named("db"))?;
    store.purge(web)?;
    assert!(store.purge(web).is_err());
    assert_eq!((store.find(&named("web"))?, store.find(&named("db"))?), (None, kept));
    assert!(store.backlog(9)?.iter().all(|entry| entry.client == db));
    assert_eq!((store.open_episodes()?.len(), store.untold()?.len()), (1, 1));
    assert_eq!((store.latest()?.len(), store.counts()?.reports), (1, 1));
    assert_eq!(store.series(web, "load1", &Labels::none(), at(0), at(99))?, []);
    assert_eq!(store.alerts(&[web])?, []);
    let again = store.clients(&[named("web")], &mut || ClientUid([0x77; 16]))?.remove(0);
    assert_eq!((again.uid, again.stored, again.keys), (ClientUid([0x77; 16]), None, vec![]));
    Ok(())
}
