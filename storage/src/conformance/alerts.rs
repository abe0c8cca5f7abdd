//! The backlog, and what a step of the fold commits.

use model::alert::EndReason;
use model::{
    AlertPhase, AlertState, ClientMemory, ClientUid, EpisodeEnd, EpisodeId, Firing, Labels, Outcome, Phase,
    Reason, Sample, Severity,
};

use super::{
    Outcomes, Store, at, attempt, enrol, episode, evidence, fact, failed, key, received, record, refused,
    sample,
};
use crate::{Content, Counts, Entry, Mark, Received, Step, Unevaluated};

fn firing(seconds: i64, id: &str) -> AlertState {
    let firing = Firing {
        since: at(seconds),
        severity: Severity::Critical,
        told: Some(Severity::Warning),
        episode: EpisodeId(id.to_owned()),
        fine_since: Some(at(seconds + 1)),
        flapping: true,
        told_flapping: true,
        news: 2,
    };
    in_phase(AlertPhase::Firing(firing))
}

fn in_phase(phase: AlertPhase) -> AlertState {
    AlertState {
        phase,
        condition: u64::MAX,
        breaches: 0b101,
        changes: 0b11,
        values: vec![(at(3), 0.1)],
        missing: Some(at(2)),
    }
}

/// What an entry is, as a text: `web report 3` is the one whose load was 3.
fn shown(entry: &Unevaluated) -> String {
    match &entry.entry {
        Entry::Report { samples, .. } => format!("{} report {}", entry.client_name, samples[0].value),
        Entry::Attempt { outcome, .. } => format!("{} {}", entry.client_name, outcome.name()),
    }
}

fn texts(entries: &[Unevaluated]) -> Vec<String> {
    entries.iter().map(shown).collect()
}

fn marks(entries: &[Unevaluated]) -> Step {
    Step { marks: entries.iter().map(|entry| entry.mark).collect(), ..Step::default() }
}

/// The same at every call.
pub fn the_installation_is_random_and_stays(store: &mut dyn Store) -> Outcomes {
    let installation = store.installation()?;
    assert!(
        installation.len() == 32 && installation.bytes().all(|b| b.is_ascii_hexdigit()),
        "{installation}"
    );
    enrol(store, "web")?;
    assert_eq!(store.installation()?, installation);
    Ok(())
}

/// Whatever the order in which it was stored: by event time, and by sequence where that is equal.
pub fn the_backlog_comes_in_event_time_order(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    store.store(&[attempt(db, 50, vec![received(2, 1, 40), received(2, 2, 45)])])?;
    store.store(&[failed(web, 20, refused())])?;
    store.store(&[attempt(web, 60, vec![received(1, 1, 5), received(1, 2, 41), received(1, 3, 41)])])?;
    let expected = [
        "web report 1",
        "web refused",
        "db report 1",
        "web report 2",
        "web report 3",
        "db report 2",
        "db collected",
        "web collected",
    ];
    let backlog = store.backlog(100)?;
    assert_eq!(texts(&backlog), expected);
    assert_eq!(backlog[0].client, web);
    let times: Vec<_> = backlog.iter().map(|entry| entry.event_time).collect();
    assert_eq!(times, [5, 20, 40, 41, 41, 45, 50, 60].map(at));
    assert_eq!(texts(&store.backlog(3)?), expected[..3]);
    assert_eq!(store.backlog(0)?, []);
    Ok(())
}

/// Any batch size gives the same entries in the same order, each once.
pub fn the_backlog_goes_on_after_a_commit(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let records = (1..=20).map(|sequence| received(1, sequence, sequence as i64)).collect();
    store.store(&[attempt(web, 30, records), failed(web, 10, refused())])?;
    let whole = store.backlog(100)?;
    assert_eq!(whole.len(), 22);
    let mut parts = Vec::new();
    for limit in [1, 2, 3, 5, 8, 13] {
        let part = store.backlog(limit)?;
        assert!(part.len() <= limit);
        store.commit(&marks(&part))?;
        parts.extend(part);
    }
    assert_eq!(parts, whole);
    assert_eq!((store.backlog(100)?, store.counts()?.unevaluated), (vec![], 0));
    // What is stored later is told, however old it is.
    let late = Received { event_time: at(2), ..received(1, 21, 2) };
    store.store(&[attempt(web, 40, vec![late])])?;
    assert_eq!(texts(&store.backlog(9)?), ["web report 21", "web collected"]);
    Ok(())
}

/// An attempt ends after what it brought.
pub fn of_one_time_reports_come_first(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    store.store(&[failed(web, 10, refused())])?;
    let collected = attempt(web, 10, vec![received(1, 1, 10), received(1, 2, 10)]);
    store.store(&[crate::Attempt { run: at(11), ..collected }])?;
    let expected = ["web report 1", "web report 2", "web refused", "web collected"];
    assert_eq!(texts(&store.backlog(9)?), expected);
    for (limit, taken) in [(1, 0..1), (2, 1..3), (2, 3..4)] {
        let part = store.backlog(limit)?;
        assert_eq!(texts(&part), expected[taken]);
        store.commit(&marks(&part))?;
    }
    Ok(())
}

/// Samples with their labels, values bit for bit, in their order; evidence.
pub fn what_was_reported_is_what_is_evaluated(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let labels = |key: &str, value: &str| Labels::one(key, value);
    let samples = vec![
        Sample { labels: labels("mount", "/srv;a=b\\c"), ..sample("disk", 93.25) },
        Sample { labels: labels("mount", "/"), ..sample("disk", 0.1 + 0.2) },
        sample("memory-available", 9_007_199_254_740_993.0),
        sample("made-up-metric", -1e-300),
        sample("load1", 0.0),
        sample("load1", 7.0),
    ];
    for sequence in 1..=2 {
        let content = Content::Record(Box::new(record(samples.clone())));
        store.store(&[attempt(web, 10, vec![Received { content, ..received(1, sequence, 9) }])])?;
    }
    let reports: Vec<Entry> = store.backlog(9)?.into_iter().map(|entry| entry.entry).take(2).collect();
    let expected = Entry::Report { samples, evidence: evidence() };
    assert_eq!(reports, [expected.clone(), expected]);
    Ok(())
}

/// How an attempt ended is kept with all that it says.
pub fn every_outcome_survives(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let text = || "what é it said".to_owned();
    let outcomes = [
        Outcome::Collected,
        Outcome::Dns { detail: text() },
        Outcome::Refused { detail: text() },
        Outcome::Timeout { phase: Phase::Upload },
        Outcome::Disconnected { phase: Phase::Handshake, detail: text() },
        Outcome::HostKeyUnknown { offered: text() },
        Outcome::HostKeyChanged { offered: text(), expected: text(), by: model::Objection::Pin },
        Outcome::AuthRefused { detail: text() },
        Outcome::Credential { detail: text() },
        Outcome::NoCommonAlgorithm { detail: text() },
        Outcome::ShellNoise { detail: text() },
        Outcome::NoShell { detail: text() },
        Outcome::NoExec { detail: text() },
        Outcome::NotInstalled { detail: text() },
        Outcome::WrongPlatform { uname: text() },
        Outcome::NoSpace { detail: text() },
        Outcome::ProbeFailed { detail: text() },
        Outcome::TooLarge { detail: text() },
        Outcome::Malformed { detail: text() },
        Outcome::Undecryptable { detail: text() },
        Outcome::Quarantined { count: 3, detail: text() },
        Outcome::NotReached,
        Outcome::HostKeyNotKept { detail: text() },
        Outcome::KnownHosts { detail: text() },
        Outcome::ForwardingRefused { detail: text() },
        Outcome::ProxyCommand { detail: text() },
        Outcome::Hop { hop: text(), ended: Box::new(Outcome::Timeout { phase: Phase::Auth }) },
        Outcome::WorkerFailed { detail: text() },
    ];
    let batch: Vec<_> = (1..).zip(&outcomes).map(|(at, outcome)| failed(web, at, outcome.clone())).collect();
    store.store(&batch)?;
    let kept = store.backlog(100)?.into_iter().map(|entry| match entry.entry {
        Entry::Attempt { outcome, .. } => outcome,
        Entry::Report { .. } => unreachable!("there is no report"),
    });
    assert_eq!(kept.collect::<Vec<_>>(), outcomes);
    Ok(())
}

/// Marks, states, episodes and facts: where one cannot be, none is.
pub fn a_step_commits_whole_or_not_at_all(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    store.store(&[attempt(web, 10, vec![received(1, 1, 9)])])?;
    let begun = episode(web, "/", 9);
    let step = Step {
        states: vec![(key(web, "/"), firing(9, "e"))],
        facts: vec![fact(&begun, "a@example.org", 0)],
        episodes: vec![begun.clone()],
        ..marks(&store.backlog(9)?)
    };
    let stranger = ClientUid([0xee; 16]);
    let broken = [
        Step { states: vec![(key(stranger, "/"), firing(9, "e"))], ..step.clone() },
        Step { episodes: vec![begun.clone(), episode(stranger, "/", 9)], ..step.clone() },
        Step { facts: vec![fact(&episode(web, "/none", 9), "a@example.org", 0)], ..step.clone() },
        Step { marks: [step.marks.clone(), vec![Mark::Report(99)]].concat(), ..step.clone() },
    ];
    for broken in broken {
        assert!(store.commit(&broken).is_err());
        assert_eq!(store.counts()?, Counts { reports: 1, unevaluated: 2, ..Counts::default() });
        assert_eq!((store.firing()?, store.open_episodes()?), (vec![], vec![]));
    }
    store.commit(&step)?;
    assert_eq!(store.counts()?, Counts { reports: 1, untold: 1, ..Counts::default() });
    assert_eq!(store.firing()?, step.states);
    assert_eq!(store.open_episodes()?, [begun]);
    Ok(())
}

/// A mark that is evaluated already fails the step, and so does one that is named twice.
pub fn a_mark_is_spent_once(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    store.store(&[attempt(web, 10, vec![received(1, 1, 9)])])?;
    let step = marks(&store.backlog(9)?);
    assert!(
        store
            .commit(&Step { marks: [step.marks.clone(), step.marks.clone()].concat(), ..Step::default() })
            .is_err()
    );
    store.commit(&step)?;
    assert!(store.commit(&step).is_err());
    Ok(())
}

/// States by client; those that are idle leave no trace.
pub fn states_are_kept_and_idle_ones_are_not(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    let pending = in_phase(AlertPhase::Pending { since: at(3) });
    let states = vec![
        (key(web, "/var"), pending),
        (key(web, "/"), firing(9, "e1")),
        (key(db, "/"), firing(8, "e2")),
        (key(db, "/a=b;c"), in_phase(AlertPhase::Resolved { at: at(4) })),
        (key(db, "/quiet"), in_phase(AlertPhase::Inactive)),
    ];
    store.commit(&Step { states: states.clone(), ..Step::default() })?;
    let sorted = |mut states: Vec<_>| {
        states.sort_by(|a: &(model::AlertKey, AlertState), b| a.0.cmp(&b.0));
        states
    };
    assert_eq!(sorted(store.alerts(&[web, db, web])?), sorted(states.clone()));
    assert_eq!(sorted(store.alerts(&[web])?), sorted(states[..2].to_vec()));
    assert_eq!(store.alerts(&[])?, []);
    assert_eq!(sorted(store.firing()?), sorted(states[1..3].to_vec()));
    let inactive = vec![(key(web, "/"), AlertState::default()), (key(web, "/never"), AlertState::default())];
    store.commit(&Step { states: inactive, ..Step::default() })?;
    assert_eq!(store.alerts(&[web])?, states[..1]);
    assert_eq!(store.firing()?, states[2..3]);
    Ok(())
}

/// Every field is kept; the same id again replaces all but the id.
pub fn an_episode_is_written_over(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let (begun, other) = (episode(web, "/", 9), episode(web, "/var", 8));
    store.commit(&Step { episodes: vec![begun.clone(), other.clone()], ..Step::default() })?;
    let none = EpisodeId("none".to_owned());
    assert_eq!(store.episodes(&[begun.id.clone(), none, begun.id.clone()])?, [begun.clone()]);
    for why in [
        EndReason::Recovered,
        EndReason::RuleEdited,
        EndReason::Vanished,
        EndReason::RuleRemoved,
        EndReason::ClientRemoved,
    ] {
        let mut ended = begun.clone();
        ended.end = Some(EpisodeEnd { at: at(99), why });
        (ended.severity, ended.peak, ended.last_value) = (Severity::Critical, 99.5, 12.0);
        "the window \"night\"".clone_into(&mut ended.held);
        store.commit(&Step { episodes: vec![ended.clone()], ..Step::default() })?;
        assert_eq!(store.episodes(std::slice::from_ref(&begun.id))?, [ended]);
    }
    assert_eq!(store.open_episodes()?, [other]);
    Ok(())
}

/// (episode, receiver, ordinal) is told once, whatever else a later fact of it says.
pub fn a_known_fact_changes_nothing(store: &mut dyn Store) -> Outcomes {
    let web = enrol(store, "web")?;
    let begun = episode(web, "/", 9);
    let reasons = [
        Reason::First,
        Reason::Worse,
        Reason::Flapping,
        Reason::Steady,
        Reason::Reminder,
        Reason::Escalated,
        Reason::Resolved,
    ];
    let of_a = (0..).zip(reasons).map(|(ordinal, reason)| model::Fact {
        reason,
        after: at(i64::from(ordinal)),
        ..fact(&begun, "a@example.org", ordinal)
    });
    let facts: Vec<_> = of_a.chain([fact(&begun, "b@example.org", 0)]).collect();
    store.commit(&Step { episodes: vec![begun.clone()], facts: facts.clone(), ..Step::default() })?;
    let mut changed = facts[0].clone();
    changed.severity = Severity::Critical;
    store.commit(&Step { facts: vec![changed, facts[7].clone()], ..Step::default() })?;
    let untold = store.untold()?;
    assert_eq!(untold.iter().map(|(_, fact)| fact.clone()).collect::<Vec<_>>(), facts);
    assert!(untold.is_sorted_by(|a, b| a.0 < b.0), "by their ids");
    assert_eq!(store.told(&[begun.id])?, []);
    Ok(())
}

/// Alerts, episodes and facts of the fleet are kept as any others; no list of clients names it, and nothing is stored of it.
pub fn the_fleet_has_episodes_and_is_no_client(store: &mut dyn Store) -> Outcomes {
    let fleet = ClientUid::FLEET;
    let begun = model::Episode { client_name: String::new(), ..episode(fleet, "/", 9) };
    let step = Step {
        states: vec![(key(fleet, "/"), firing(9, "e"))],
        memories: vec![(fleet, ClientMemory { reported: Some(at(1)), ..ClientMemory::default() })],
        facts: vec![fact(&begun, "a@example.org", 0)],
        episodes: vec![begun.clone()],
        ..Step::default()
    };
    store.commit(&step)?;
    assert_eq!((store.firing()?, store.alerts(&[fleet])?), (step.states.clone(), step.states));
    assert_eq!((store.open_episodes()?, store.memories(&[fleet])?), (vec![begun], step.memories));
    assert_eq!((store.latest()?, store.counts()?), (vec![], Counts { untold: 1, ..Counts::default() }));
    assert!(store.store(&[attempt(fleet, 10, vec![])]).is_err(), "nobody collects from it");
    assert!(store.purge(fleet).is_err() && store.rename(fleet, &super::named("x")).is_err());
    let web = enrol(store, "web")?;
    store.purge(web)?;
    assert_eq!((store.open_episodes()?.len(), store.latest()?), (1, vec![]));
    Ok(())
}

/// Each field; of one of whom nothing is remembered there is nothing.
pub fn what_is_remembered_of_a_client_is_replaced(store: &mut dyn Store) -> Outcomes {
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    let memory = ClientMemory {
        since: Some(at(2)),
        reported: Some(at(9)),
        booted: Some(at(-5)),
        reached: Some(false),
    };
    for memories in [
        vec![(web, ClientMemory::default())],
        vec![(web, memory), (db, ClientMemory { reached: Some(true), ..memory })],
        vec![(web, ClientMemory { booted: None, ..memory })],
    ] {
        store.commit(&Step { memories: memories.clone(), ..Step::default() })?;
        assert_eq!(store.memories(&[web])?, memories[..1]);
    }
    assert_eq!(store.memories(&[db, web, db])?.len(), 2);
    store.purge(web)?;
    assert_eq!(store.memories(&[web])?, []);
    assert!(store.commit(&Step { memories: vec![(web, memory)], ..Step::default() }).is_err());
    Ok(())
}
