//! What people and programs ask.

use model::alert::EndReason;
use model::{Body, EpisodeEnd, Gap, Labels, Outcome, Record, Sample};

use super::{
    Outcomes, Store, at, attempt, enrol, episode, fact, failed, host, received, record, refused, sample,
    spool,
};
use crate::{Content, Counts, Received, Step};

/// By name, also those of whom nothing is known yet.
pub fn the_latest_of_every_client_is_shown(store: &mut dyn Store) -> Outcomes {
    let (web, db, _) = (enrol(store, "web")?, enrol(store, "db")?, enrol(store, "new")?);
    let mut upgraded = record(vec![sample("load1", 3.0), sample("swap", 0.5)]);
    if let Body::Report(report) = &mut upgraded.body {
        report.host = host("6.12");
        let reader = |name: &str, fault: Option<&str>| model::ReaderOutcome {
            reader: name.to_owned(),
            micros: 1,
            fault: fault.map(str::to_owned),
        };
        report.readers = vec![reader("cpu", None), reader("mounts", Some("/proc/mounts: denied"))];
    }
    let upgraded = Received { content: Content::Record(Box::new(upgraded)), ..received(1, 2, 20) };
    store.store(&[attempt(web, 10, vec![received(1, 1, 9)]), failed(db, 11, refused())])?;
    store.store(&[attempt(web, 21, vec![upgraded]), failed(web, 30, Outcome::NotReached)])?;
    let latest = store.latest()?;
    assert_eq!(latest.iter().map(|latest| latest.name.as_str()).collect::<Vec<_>>(), ["db", "new", "web"]);
    assert_eq!(latest[0].attempt, Some((at(11), refused())));
    assert_eq!((latest[0].last_contact, &latest[0].report), (None, &None));
    assert_eq!((&latest[1].attempt, latest[1].last_contact, &latest[1].report), (&None, None, &None));
    assert_eq!((latest[2].uid, latest[2].last_contact), (web, Some(at(21))));
    assert_eq!(latest[2].attempt, Some((at(30), Outcome::NotReached)));
    let samples = vec![sample("load1", 3.0), sample("swap", 0.5)];
    assert_eq!(latest[2].report, Some((at(20), host("6.12"), samples)));
    assert_eq!(latest[2].faults, [("mounts".to_owned(), "/proc/mounts: denied".to_owned())]);
    assert_eq!(latest[0].faults, []);
    Ok(())
}

/// It is an entry of the backlog without samples, and the report before it stays the latest.
pub fn a_gap_record_is_no_latest_report(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let gap = Record { body: Body::Gap(Gap { refused: 3, first: at(1), last: at(2) }), ..record(Vec::new()) };
    let gap = |sequence, seconds| {
        let content = Content::Record(Box::new(gap.clone()));
        Received { content, ..received(1, sequence, seconds) }
    };
    store.store(&[attempt(web, 10, vec![gap(1, 5)])])?;
    assert_eq!(store.latest()?[0].report, None);
    store.store(&[attempt(web, 20, vec![received(1, 2, 15), gap(3, 16)])])?;
    let report = store.latest()?.remove(0).report;
    assert_eq!(report.map(|(time, ..)| time), Some(at(15)));
    let empty = crate::Entry::Report { samples: vec![], evidence: model::Evidence::default() };
    let entries: Vec<_> = store.backlog(9)?.into_iter().filter(|entry| entry.entry == empty).collect();
    assert_eq!(entries.iter().map(|entry| entry.event_time).collect::<Vec<_>>(), [at(5), at(16)]);
    assert_eq!(store.counts()?.reports, 3);
    Ok(())
}

/// Of one client, metric and labels; both ends belong to the span; whether it was evaluated does not matter.
pub fn a_series_is_told_over_a_span(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    let root = Labels::one("mount", "/");
    let report = |number, sequence, seconds, value| {
        let disk = |labels: &Labels, value| Sample { labels: labels.clone(), ..sample("disk", value) };
        let samples =
            vec![disk(&root, value), disk(&Labels::one("mount", "/var"), 1.0), sample("load1", 2.0)];
        let content = Content::Record(Box::new(record(samples)));
        Received { content, spool: spool(number), ..received(number, sequence, seconds) }
    };
    let of_web = (1..=5).map(|sequence| report(1, sequence, 10 * sequence as i64, 90.0 + sequence as f64));
    store.store(&[attempt(web, 60, of_web.collect()), attempt(db, 60, vec![report(2, 1, 30, 5.0)])])?;
    let backlog = store.backlog(3)?;
    store.commit(&Step { marks: backlog.iter().map(|entry| entry.mark).collect(), ..Step::default() })?;
    let expected = [(at(20), 92.0), (at(30), 93.0), (at(40), 94.0)];
    assert_eq!(store.series(web, "disk", &root, at(20), at(40))?, expected);
    assert_eq!(store.series(web, "disk", &Labels::none(), at(0), at(99))?, []);
    assert_eq!(store.series(web, "never", &root, at(0), at(99))?, []);
    assert_eq!(store.series(db, "disk", &root, at(0), at(99))?, [(at(30), 5.0)]);
    assert_eq!(store.series(db, "disk", &root, at(40), at(20))?, []);
    let reports = store.reports(web, at(20), at(30))?;
    assert_eq!(
        reports.iter().map(|(at, samples)| (*at, samples.len())).collect::<Vec<_>>(),
        [(at(20), 3), (at(30), 3)]
    );
    assert!(reports[0].1.contains(&Sample { labels: root, ..sample("disk", 92.0) }));
    Ok(())
}

/// Those that ended are not among them.
pub fn open_episodes_come_oldest_first(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let (late, early) = (episode(web, "/", 50), episode(web, "/var", 10));
    let end = Some(EpisodeEnd { at: at(70), why: EndReason::Recovered });
    let ended = model::Episode { end, ..episode(web, "/srv", 5) };
    store.commit(&Step { episodes: vec![late.clone(), ended, early.clone()], ..Step::default() })?;
    assert_eq!(store.open_episodes()?, [early, late]);
    Ok(())
}

/// Whatever lasted at some time of the span, the newest of too many; and whatever begins with those characters.
pub fn episodes_are_found_by_time_and_by_name(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let lasting = |id: &str, begin, end: Option<i64>| {
        let end = end.map(|end| EpisodeEnd { at: at(end), why: EndReason::Recovered });
        model::Episode { id: model::EpisodeId(id.to_owned()), end, ..episode(web, id, begin) }
    };
    let all = [
        lasting("ab1", 10, Some(20)),
        lasting("ab2", 10, None),
        lasting("a", 15, Some(30)),
        lasting("b%", 40, None),
    ];
    store.commit(&Step { episodes: all.to_vec(), ..Step::default() })?;
    for (from, to, limit, expected) in [
        (0, 99, 9, &all[..]),
        (0, 99, 2, &all[2..]),
        (21, 30, 9, &all[1..3]),
        (20, 39, 9, &all[..3]),
        (31, 39, 9, &all[1..2]),
        (0, 9, 9, &[]),
        (0, 99, 0, &[]),
    ] {
        assert_eq!(store.episodes_between(at(from), at(to), limit)?, expected, "{from} {to} {limit}");
    }
    for (prefix, limit, expected) in [
        ("a", 9, "a ab1 ab2"),
        ("ab", 9, "ab1 ab2"),
        ("ab", 1, "ab1"),
        ("ab2", 9, "ab2"),
        ("%", 9, ""),
        ("", 1, "a"),
    ] {
        let found = store.episodes_named(prefix, limit)?;
        let ids: Vec<&str> = found.iter().map(|episode| episode.id.0.as_str()).collect();
        assert_eq!(ids.join(" "), expected, "{prefix}");
    }
    Ok(())
}

/// How much there is of what.
pub fn there_are_counts(store: &mut dyn Store) -> Outcomes {
    assert_eq!(store.counts()?, Counts::default());
    let web = enrol(store, "web")?;
    store.store(&[attempt(web, 10, vec![received(1, 1, 8), received(1, 2, 9)])])?;
    assert_eq!(store.counts()?, Counts { reports: 2, unevaluated: 3, quarantined: 0, untold: 0 });
    let begun = episode(web, "/", 9);
    let marks = store.backlog(1)?.into_iter().map(|entry| entry.mark).collect();
    let facts = vec![fact(&begun, "a@x", 0), fact(&begun, "b@x", 0)];
    store.commit(&Step { marks, episodes: vec![begun], facts, ..Step::default() })?;
    assert_eq!(store.counts()?, Counts { reports: 2, unevaluated: 2, quarantined: 0, untold: 2 });
    Ok(())
}
