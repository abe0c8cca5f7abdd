//! Records that would not open or decode, or that no store can keep.

use model::{Labels, Sample};

use super::{Outcomes, Store, at, attempt, enrol, named, received, record, sample};
use crate::{Content, Counts, Entry, QUARANTINED_RECORDS, Received};

fn set_aside(spool: u8, sequence: u64, seconds: i64) -> Received {
    let content = Content::Quarantined { reason: "trailing bytes".to_owned(), envelope: vec![7; 40] };
    Received { content, ..received(spool, sequence, seconds) }
}

/// It may be acknowledged, and leaves nothing to evaluate; sent again, it is known.
pub fn what_is_set_aside_counts_as_stored(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let batch = [attempt(web, 10, vec![received(1, 1, 5), set_aside(1, 2, 6)])];
    assert_eq!(store.store(&batch)?, [2]);
    assert_eq!(store.store(&batch)?, [0]);
    let row = store.clients(&[named("web")], &mut || unreachable!())?.remove(0);
    assert_eq!(row.stored.map(|stored| stored.sequence), Some(2));
    assert_eq!(row.last_event_time, Some(at(6)));
    let reports = store.backlog(10)?.into_iter().filter(|e| matches!(e.entry, Entry::Report { .. }));
    assert_eq!(reports.count(), 1);
    assert_eq!(store.counts()?, Counts { reports: 1, unevaluated: 3, quarantined: 1, untold: 0 });
    Ok(())
}

/// Under a new spool id it is known as well.
pub fn what_is_set_aside_is_recognised_after_a_roll_back(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    store.store(&[attempt(web, 10, vec![received(1, 1, 5), set_aside(1, 2, 6)])])?;
    let again = vec![received(2, 1, 5), set_aside(2, 2, 6), set_aside(2, 3, 7)];
    assert_eq!(store.store(&[attempt(web, 11, again)])?, [1]);
    assert_eq!(store.counts()?.quarantined, 2);
    Ok(())
}

/// The oldest of it goes, its number stays.
pub fn what_is_set_aside_is_counted_beyond_the_bound(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let many = QUARANTINED_RECORDS as u64 + 20;
    let records = (1..=many).map(|sequence| set_aside(1, sequence, 5)).collect();
    assert_eq!(store.store(&[attempt(web, 10, records)])?, [many as usize]);
    assert_eq!(store.counts()?.quarantined, many);
    Ok(())
}

/// A record that breaks a bound, or whose value is not finite, harms neither its neighbours nor the other clients: it
/// would come again with every run.
pub fn what_cannot_be_kept_is_set_aside_alone(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    let absurd = |sequence, samples| Received {
        content: Content::Record(Box::new(record(samples))),
        ..received(1, sequence, 6)
    };
    // No two of these are alike, so that it gets no smaller: an index takes no such entry.
    let letter = |number: u32| char::from(b'a' + (number.wrapping_mul(2_654_435_761) >> 24) as u8 % 26);
    let long: String = (0..4_000).map(letter).collect();
    let records = vec![
        received(1, 1, 5),
        absurd(2, vec![sample("load1", f64::NAN)]),
        absurd(3, vec![sample("load1", 1.0); model::record::MAX_SAMPLES + 1]),
        received(1, 4, 7),
        absurd(5, vec![Sample { labels: Labels::one("mount", "/a\0b"), ..sample("disk", 1.0) }]),
        absurd(6, vec![Sample { labels: Labels::one("mount", &long), ..sample("disk", 1.0) }]),
    ];
    let batch = [attempt(web, 10, records), attempt(db, 10, vec![received(2, 1, 9)])];
    assert_eq!(store.store(&batch)?, [6, 1]);
    assert_eq!(store.store(&batch)?, [0, 0]);
    let row = store.clients(&[named("web")], &mut || unreachable!())?.remove(0);
    assert_eq!(row.stored.map(|stored| stored.sequence), Some(6));
    assert_eq!(store.counts()?, Counts { reports: 3, unevaluated: 3 + 4, quarantined: 4, untold: 0 });
    let reports = store.backlog(10)?.into_iter().filter(|e| matches!(e.entry, Entry::Report { .. }));
    assert_eq!(reports.count(), 3);
    Ok(())
}
