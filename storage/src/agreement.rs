//! Whatever is done in whatever order: a backend and the plain store in memory say the same.
//!
//! Numbers that a store gives out may have holes. So operations name the n-th fact or silence that there is, and what is
//! shown has in place of a number the rank in which it was first seen.

mod side;

use model::{
    Acknowledgement, AlertPhase, AlertState, ClientMemory, ClientName, ClientUid, EpisodeEnd, EpisodeId,
    Firing, Labels, Outcome, Silence, Timestamp,
};
use proptest::prelude::*;

use side::{Side, nth, rank};

use crate::conformance::{
    Store, at, attempt, diverged, episode, fact, key, named, received, record, refused, run, sample,
};
use crate::{
    Attempt, Backoff, Content, Delivery, MemoryStore, Message, Program, Received, SealedKey, SqliteStore,
    Step, StoreError,
};

const NAMES: [&str; 3] = ["web", "db", "cache"];

/// The uid of each name; 3 is the fleet's, and one more is a stranger's.
fn uid(client: u8) -> ClientUid {
    if client == 3 { ClientUid::FLEET } else { ClientUid([client + 1; 16]) }
}

#[derive(Debug, Clone)]
enum Operation {
    Enrol(u8),
    Key(u8, u32),
    Store(Vec<Attempt>),
    Commit {
        entries: usize,
        twice: bool,
        states: Vec<(u8, bool)>,
        episodes: Vec<(u8, bool)>,
        facts: Vec<(u8, u32)>,
    },
    Freeze(Message, Vec<usize>),
    Note(u8, Delivery),
    Drop(Vec<usize>),
    Backoff(u8, u32),
    Run(bool, i64, bool),
    Silence(u8, i64, i64),
    EndSilence(usize, i64),
    Acknowledge(u8, i64, bool),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Collected),
        1 => Just(refused()),
        1 => Just(Outcome::NotReached),
    ]
}

fn record_of(spool: u8, sequence: u64, seconds: i64, life: u8, kind: u8) -> Received {
    let received = diverged(received(spool, sequence, seconds), life);
    let content = match kind {
        0 => Content::Quarantined { reason: "cut".to_owned(), envelope: vec![1; 9] },
        1 => Content::Record(Box::new(record(vec![sample("load1", 0.125), sample("swap", -3.5)]))),
        2 => Content::Record(Box::new(record(vec![sample("load1", f64::INFINITY)]))),
        _ => return received,
    };
    Received { content, ..received }
}

prop_compose! {
    // One client in eight is a stranger, which fails the batch.
    fn an_attempt()(
        client in prop_oneof![7 => 0_u8..3, 1 => Just(9)],
        seconds in 0_i64..40,
        run in 0_i64..4,
        outcome in outcome(),
        spool in 1_u8..4,
        first in 1_u64..6,
        records in proptest::collection::vec((0_i64..40, 0_u8..2, 0_u8..6), 0..5),
    ) -> Attempt {
        let record = |(sequence, (seconds, life, kind))| record_of(spool, sequence, seconds, life, kind);
        let records = (first..).zip(records).map(record).collect();
        Attempt { outcome, run: at(run), ..attempt(uid(client), seconds, records) }
    }
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let detail = || "said so".to_owned();
    prop_oneof![
        Just(Delivery::Sent),
        Just(Delivery::Dissolved),
        Just(Delivery::InDoubt { detail: detail() }),
        Just(Delivery::Permanent { detail: detail() }),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let list = |numbers| proptest::collection::vec(numbers, 0..3);
    let message =
        (0_u8..4, 0_i64..3, proptest::bool::weighted(0.1)).prop_map(|(id, created, other)| Message {
            id: id.to_string(),
            receiver: "a@x".to_owned(),
            subject: "disk".to_owned(),
            created: at(created),
            bytes: vec![id, u8::from(other)],
            facts: Vec::new(),
        });
    let message = (message, list(0_usize..5));
    let commit = (
        0_usize..6,
        proptest::bool::weighted(0.05),
        proptest::collection::vec((0_u8..4, any::<bool>()), 0..3),
        proptest::collection::vec((0_u8..4, any::<bool>()), 0..3),
        proptest::collection::vec((0_u8..4, 0_u32..3), 0..3),
    );
    prop_oneof![
        2 => (0_u8..3).prop_map(Operation::Enrol),
        1 => (0_u8..3, 1_u32..3).prop_map(|(client, id)| Operation::Key(client, id)),
        6 => proptest::collection::vec(an_attempt(), 1..3).prop_map(Operation::Store),
        4 => commit.prop_map(|(entries, twice, states, episodes, facts)| Operation::Commit {
            entries, twice, states, episodes, facts,
        }),
        3 => message.prop_map(|(message, facts)| Operation::Freeze(message, facts)),
        3 => (0_u8..4, delivery()).prop_map(|(id, delivery)| Operation::Note(id, delivery)),
        1 => list(0_usize..5).prop_map(Operation::Drop),
        1 => (0_u8..3, 0_u32..3).prop_map(|(receiver, failures)| Operation::Backoff(receiver, failures)),
        2 => (any::<bool>(), 0_i64..4, any::<bool>()).prop_map(|(a, begin, ended)| Operation::Run(a, begin, ended)),
        1 => (0_u8..3, 0_i64..9, 0_i64..9).prop_map(|(who, from, until)| Operation::Silence(who, from, until)),
        1 => (0_usize..3, 0_i64..9).prop_map(|(nth, at)| Operation::EndSilence(nth, at)),
        1 => (0_u8..4, 0_i64..9, any::<bool>()).prop_map(|(of, from, ends)| Operation::Acknowledge(of, from, ends)),
    ]
}

/// Does it; gives what the store says, without the wording of its errors.
fn perform(side: &mut Side, operation: &Operation) -> String {
    let store = &mut *side.store;
    match operation {
        Operation::Enrol(client) => {
            let name = named(NAMES[*client as usize]);
            shown(store.clients(&[name], &mut || uid(*client)))
        }
        Operation::Key(client, key_id) => {
            let key = SealedKey { key_id: *key_id, public_key: [1; 32], sealed: vec![2], created: at(3) };
            shown(store.add_key(uid(*client), &key))
        }
        Operation::Store(attempts) => shown(store.store(attempts)),
        Operation::Commit { entries, twice, states, episodes, facts } => {
            let step = step(store, *entries, *twice, states, episodes, facts);
            shown(store.commit(&step))
        }
        Operation::Freeze(message, facts) => {
            let facts = side.all_of(facts);
            shown(side.store.freeze(&Message { facts, ..message.clone() }))
        }
        Operation::Note(id, delivery) => shown(store.note_delivery(&id.to_string(), at(5), delivery)),
        Operation::Drop(facts) => {
            let facts = side.all_of(facts);
            shown(side.store.drop_facts(&facts))
        }
        Operation::Backoff(receiver, failures) => shown(store.set_backoff(&Backoff {
            receiver: receiver.to_string(),
            failures: *failures,
            next: at(7),
            detail: String::new(),
        })),
        Operation::Silence(who, from, until) => {
            let number = store.add_silence(&Silence {
                id: 0,
                target: NAMES[*who as usize].to_owned(),
                metric: None,
                from: at(*from),
                until: at(*until),
                why: String::new(),
            });
            shown(number.map(|number| rank(&mut side.silences, number)))
        }
        Operation::EndSilence(place, seconds) => {
            shown(store.end_silence(nth(&side.silences, *place), at(*seconds)))
        }
        Operation::Acknowledge(of, from, ends) => shown(store.acknowledge(&Acknowledgement {
            episode: episode(uid(*of), "/", 0).id,
            from: at(*from),
            until: ends.then(|| at(9)),
            why: String::new(),
        })),
        Operation::Run(alerter, begin, ended) => {
            let program = if *alerter { Program::Alerter } else { Program::Collector };
            shown(side.run(&run(program, *begin), *ended))
        }
    }
}

fn step(
    store: &mut dyn Store,
    entries: usize,
    twice: bool,
    states: &[(u8, bool)],
    episodes: &[(u8, bool)],
    facts: &[(u8, u32)],
) -> Step {
    let mut marks: Vec<_> = store.backlog(entries).unwrap().into_iter().map(|entry| entry.mark).collect();
    if twice {
        marks.extend(marks.first().copied());
    }
    let state = |&(client, firing): &(u8, bool)| {
        let episode = EpisodeId("e".to_owned());
        let severity = model::Severity::Warning;
        let told = Some(severity);
        let phase = AlertPhase::Firing(Firing {
            since: at(1),
            severity,
            told,
            episode,
            fine_since: None,
            flapping: false,
            told_flapping: true,
            news: 1,
        });
        let state = AlertState { phase, ..AlertState::default() };
        (key(uid(client), "/"), if firing { state } else { AlertState::default() })
    };
    let an_episode = |&(client, open): &(u8, bool)| {
        let why = model::alert::EndReason::Recovered;
        model::Episode {
            end: (!open).then(|| EpisodeEnd { at: at(9), why }),
            ..episode(uid(client), "/", client.into())
        }
    };
    Step {
        marks,
        memories: states.iter().map(|&(c, reached)| (uid(c), memory(reached))).collect(),
        states: states.iter().map(state).collect(),
        episodes: episodes.iter().map(an_episode).collect(),
        facts: facts.iter().map(|&(c, ordinal)| fact(&episode(uid(c), "/", 0), "a@x", ordinal)).collect(),
    }
}

fn memory(reached: bool) -> ClientMemory {
    ClientMemory { since: None, reported: Some(at(1)), booted: None, reached: Some(reached) }
}

fn shown<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    result.map_or_else(|_| "an error".to_owned(), |value| format!("{value:?}"))
}

/// Everything that can be asked.
fn state(side: &mut Side) -> Vec<String> {
    let uids: Vec<ClientUid> = (0..4).map(uid).collect();
    let episodes: Vec<EpisodeId> = uids.iter().map(|uid| episode(*uid, "/", 0).id).collect();
    let backlog = side.store.backlog(1000).map(|entries| side.ranked(entries));
    let outbox =
        side.store.outbox().map(|all| all.into_iter().map(|m| side.with_ranks(m)).collect::<Vec<_>>());
    let unsent = side.store.unsent();
    let unsent = unsent.map(|all| all.into_iter().map(|(m, d)| (side.with_ranks(m), d)).collect::<Vec<_>>());
    let (untold, silences) = (side.untold(), side.silences());
    let store = &mut *side.store;
    let known: Vec<ClientName> = store.latest().unwrap().into_iter().map(|latest| latest.name).collect();
    let mut all = vec![
        shown(store.clients(&known, &mut || unreachable!("all are there"))),
        shown(store.latest()),
        shown(backlog),
        shown(store.alerts(&uids)),
        shown(store.firing()),
        shown(store.episodes(&episodes)),
        shown(store.open_episodes()),
        shown(untold),
        shown(store.told(&episodes)),
        shown(store.tellings(&episodes)),
        shown(store.messages_since(at(1))),
        shown(store.memories(&uids)),
        shown(silences),
        shown(store.acknowledgements(&episodes)),
        shown(store.episodes_between(at(0), at(5), 2)),
        shown(store.episodes_named("episode-0", 9)),
        shown(outbox),
        shown(unsent),
        shown(store.backoffs()),
        shown(store.counts()),
        shown(store.last_run(Program::Collector)),
        shown(store.last_run(Program::Alerter)),
    ];
    let (first, last) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    all.extend(uids.iter().map(|uid| shown(store.series(*uid, "load1", &Labels::none(), first, last))));
    all
}

/// Both do it, and say the same before and after.
fn agree(one: &mut Side, other: &mut Side, operation: &Operation) -> Result<(), TestCaseError> {
    prop_assert_eq!(perform(one, operation), perform(other, operation), "{:?}", operation);
    prop_assert_eq!(state(one), state(other), "after {:?}", operation);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn file_and_memory_say_the_same(operations in proptest::collection::vec(operation(), 1..30)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fleet.db");
        let mut file = Side::new(SqliteStore::open(&path).unwrap());
        let mut memory = Side::new(MemoryStore::new());
        for (number, operation) in operations.iter().enumerate() {
            // A program that starts anew remembers nothing but the file.
            if number % 7 == 6 {
                file.store = Box::new(SqliteStore::open(&path).unwrap());
            }
            agree(&mut file, &mut memory, operation)?;
        }
    }
}

/// The same with runs that begin one after the other, as by one clock.
#[cfg(feature = "postgres")]
fn in_order(operations: &[Operation]) -> Vec<Operation> {
    let mut begins = 0..;
    let in_order = operations.iter().map(|operation| match operation {
        Operation::Run(alerter, _, ended) => Operation::Run(*alerter, begins.next().unwrap_or(0), *ended),
        other => other.clone(),
    });
    in_order.collect()
}

#[cfg(feature = "postgres")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 64, ..ProptestConfig::default() })]

    /// A file that is moved into a database in the middle of it all goes on there as if nothing had been.
    #[test]
    fn what_is_moved_goes_on_the_same(operations in proptest::collection::vec(operation(), 2..30)) {
        use crate::conformance::server::Server;
        use crate::{Access, PostgresAccess, PostgresStore};

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fleet.db");
        let mut side = Side::new(SqliteStore::open(&path).unwrap());
        let mut memory = Side::new(MemoryStore::new());
        let (before, after) = operations.split_at(operations.len() / 2);
        // Nothing runs while it is moved.
        let before = [before, &[Operation::Run(false, 0, true)]].concat();
        for operation in in_order(&before) {
            perform(&mut side, &operation);
            perform(&mut memory, &operation);
        }
        prop_assert_eq!(state(&mut side), state(&mut memory));
        let server = Server::shared();
        let url = server.storage(&server.database());
        let lease = std::time::Duration::from_secs(60);
        let from = Access { url: model::StorageUrl::Sqlite(path), password: None, lease, program: Program::Collector };
        let to = Access { url: model::StorageUrl::Postgres(Box::new(url.clone())), ..from.clone() };
        crate::transfer(&from, &to, &mut |_, _| {}).unwrap();
        let open = || PostgresStore::open(&url, &PostgresAccess::new(Program::Collector)).unwrap();
        side.store = Box::new(open());
        side.runner = Some(Box::new(open()));
        prop_assert_eq!(state(&mut side), state(&mut memory), "when it was moved");
        for operation in after.iter().filter(|operation| !matches!(operation, Operation::Run(..))) {
            agree(&mut side, &mut memory, operation)?;
        }
    }
}

#[cfg(feature = "postgres")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn database_and_memory_say_the_same(operations in proptest::collection::vec(operation(), 1..20)) {
        use crate::conformance::server::Server;
        use crate::{PostgresAccess, PostgresStore};

        let server = Server::shared();
        let url = server.storage(&server.database());
        let open = || PostgresStore::open(&url, &PostgresAccess::new(Program::Collector)).unwrap();
        // Runs are noted by another process: what is written here is none of theirs.
        let mut database = Side { runner: Some(Box::new(open())), ..Side::new(open()) };
        let mut memory = Side::new(MemoryStore::new());
        for (number, operation) in in_order(&operations).iter().enumerate() {
            if number % 7 == 6 {
                database.store = Box::new(open());
            }
            agree(&mut database, &mut memory, operation)?;
        }
    }
}
