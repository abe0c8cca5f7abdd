//! Machines that were set back to an earlier state, with their spools.

use model::Labels;

use super::{Outcomes, Store, at, attempt, diverged, enrol, named, received, spool};
use crate::{Received, StoreError};

fn stored(store: &mut dyn Store, records: Vec<Received>) -> Result<(usize, (u8, u64)), StoreError> {
    let web = enrol(store, "web")?;
    let new = store.store(&[attempt(web, 1000, records)])?[0];
    let row = store.clients(&[named("web")], &mut || unreachable!())?.remove(0);
    Ok((new, row.stored.map_or((0, 0), |stored| (stored.spool.0[0], stored.sequence))))
}

/// The same sequence of another spool is another record, unless its bytes are the same; another client's is always.
pub fn spools_of_a_client_are_apart(store: &mut dyn Store) -> Outcomes {
    let db = enrol(store, "db")?;
    assert_eq!(stored(store, vec![received(1, 1, 5)])?, (1, (1, 1)));
    assert_eq!(stored(store, vec![diverged(received(2, 1, 6), 1)])?, (1, (2, 1)));
    assert_eq!(store.store(&[attempt(db, 10, vec![received(1, 1, 5)])])?, [1]);
    assert_eq!(store.counts()?.reports, 3);
    Ok(())
}

/// Under the new spool id everything is sent again: what is known counts as stored through, and is not stored.
pub fn nothing_is_stored_twice_after_a_roll_back(store: &mut dyn Store) -> Outcomes {
    stored(store, (1..=5).map(|sequence| received(1, sequence, sequence as i64)).collect())?;
    // The snapshot had 1 to 3; then it wrote another fourth.
    assert_eq!(stored(store, vec![received(2, 2, 2), received(2, 3, 3)])?, (0, (2, 3)));
    let fourth = || diverged(received(2, 4, 40), 1);
    assert_eq!(stored(store, vec![received(2, 3, 3), fourth()])?, (1, (2, 4)));
    assert_eq!(stored(store, vec![fourth(), received(2, 6, 60)])?, (1, (2, 6)));
    assert_eq!(store.counts()?.reports, 7);
    Ok(())
}

/// Recognising goes on after the first run under the new spool id.
pub fn a_long_spool_after_a_roll_back_drains_over_runs(store: &mut dyn Store) -> Outcomes {
    stored(store, (1..=9).map(|sequence| received(1, sequence, sequence as i64)).collect())?;
    for sequence in 4..=8 {
        let through = (2, sequence);
        assert_eq!(stored(store, vec![received(2, sequence, sequence as i64)])?, (0, through));
    }
    assert_eq!(store.counts()?.reports, 9);
    Ok(())
}

/// Set back to a spool that had gone on: what was written since then must not pass for what is stored. What may be
/// acknowledged is then what the probe cannot agree with, so that it sends all of it under a new spool id.
pub fn a_second_roll_back_loses_nothing(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    stored(store, (1..=4).map(|sequence| received(1, sequence, sequence as i64)).collect())?;
    stored(store, vec![received(2, 1, 1), received(2, 2, 2), diverged(received(2, 3, 30), 1)])?;
    // Back to the first spool with two records, and then three others.
    let resent = |number| {
        let others = (3..=5).map(|sequence| diverged(received(number, sequence, 100 + sequence as i64), 2));
        [received(number, 1, 1), received(number, 2, 2)].into_iter().chain(others).collect::<Vec<_>>()
    };
    assert_eq!(stored(store, resent(1))?, (0, (1, 4)));
    let row = store.clients(&[named("web")], &mut || unreachable!())?.remove(0);
    assert_eq!(row.stored.map(|s| (s.spool, s.digest)), Some((spool(1), received(1, 4, 4).digest)));
    assert_eq!(stored(store, resent(3))?, (3, (3, 5)));
    let since = store.series(web, "load1", &Labels::none(), at(100), at(999))?;
    assert_eq!(since, [(at(103), 3.0), (at(104), 4.0), (at(105), 5.0)]);
    Ok(())
}
