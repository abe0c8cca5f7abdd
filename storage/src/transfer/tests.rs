//! From a file that has something of everything into a real server.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use model::alert::EndReason;
use model::storage_url::PostgresUrl;
use model::{
    Acknowledgement, AlertPhase, AlertState, ClientMemory, ClientUid, Episode, EpisodeEnd, Silence,
    StorageUrl, Timestamp,
};

use super::{Moved, TABLES, transfer};
use crate::conformance::server::{self, Server};
use crate::conformance::{at, attempt, enrol, episode, fact, failed, key, named, received, refused, run};
use crate::{
    Access, Attempt, Backoff, Content, Delivery, Message, PostgresAccess, PostgresStore, Program, Received,
    Run, RunLock, SealedKey, SqliteStore, Step, Store, StoreError,
};

/// A file with something in every table, and what a client sent last.
fn filled() -> (tempfile::TempDir, PathBuf, Attempt) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let last = fill(&mut store).unwrap();
    (directory, path, last)
}

fn fill(store: &mut SqliteStore) -> Result<Attempt, StoreError> {
    let store: &mut dyn Store = store;
    let (web, db) = (enrol(store, "web")?, enrol(store, "db")?);
    for key_id in [1, 2] {
        let sealed = vec![0, 255, key_id as u8];
        store.add_key(web, &SealedKey { key_id, public_key: [7; 32], sealed, created: at(1) })?;
    }
    let collecting = store.begin_run(&run(Program::Collector, 10))?;
    let aside = Content::Quarantined { reason: "cut".to_owned(), envelope: vec![9; 99] };
    let mut records: Vec<Received> =
        (1..=2100).map(|sequence| received(1, sequence, sequence as i64)).collect();
    records.push(Received { content: aside, ..received(1, 2101, 2101) });
    let of_web = Attempt { run: at(10), ..attempt(web, 4600, records) };
    store.store(&[of_web, Attempt { run: at(10), ..failed(db, 4601, refused()) }])?;
    store.end_run(&Run { end: Some(at(4602)), done: 1, failed: 1, ..collecting })?;
    let marks = store.backlog(1500)?.into_iter().map(|entry| entry.mark).collect();
    let problem = episode(web, "/", 50);
    let end = Some(EpisodeEnd { at: at(90), why: EndReason::Vanished });
    let ended = Episode { end, held: "silenced".to_owned(), ..episode(ClientUid::FLEET, "/var", 40) };
    let pending =
        AlertState { phase: AlertPhase::Pending { since: at(3) }, breaches: 5, ..AlertState::default() };
    store.commit(&Step {
        marks,
        states: vec![(key(web, "/"), pending)],
        memories: vec![(db, ClientMemory { reached: Some(false), ..ClientMemory::default() })],
        episodes: vec![problem.clone(), ended],
        facts: (0..4).map(|ordinal| fact(&problem, "é@x", ordinal)).collect(),
    })?;
    let facts: Vec<i64> = store.untold()?.into_iter().map(|(id, _)| id).collect();
    for (number, fact) in facts[..3].iter().enumerate() {
        let id = format!("{number}@fleet");
        let (receiver, subject) = ("é@x".to_owned(), "disk".to_owned());
        let bytes = b"To: x\r\n\r\n\0\xff".to_vec();
        store.freeze(&Message { id, receiver, subject, created: at(100), bytes, facts: vec![*fact] })?;
    }
    let detail = || "451 later".to_owned();
    store.note_delivery("1@fleet", at(101), &Delivery::Sent)?;
    store.note_delivery("2@fleet", at(102), &Delivery::InDoubt { detail: detail() })?;
    store.set_backoff(&Backoff {
        receiver: "é@x".to_owned(),
        failures: 2,
        next: at(200),
        detail: detail(),
    })?;
    let silence = Silence {
        id: 0,
        target: "@all".to_owned(),
        metric: Some("disk".to_owned()),
        from: at(1),
        until: at(9000),
        why: "é".to_owned(),
    };
    store.add_silence(&silence)?;
    let (episode, why) = (problem.id, "me".to_owned());
    store.acknowledge(&Acknowledgement { episode, from: at(60), until: None, why })?;
    store.begin_run(&run(Program::Alerter, 4700))?;
    let last = attempt(db, 4800, vec![received(2, 1, 4790)]);
    store.store(std::slice::from_ref(&last))?;
    Ok(last)
}

fn place() -> (String, PostgresUrl) {
    let server = Server::shared();
    let database = server.database();
    let url = server.storage(&database);
    (database, url)
}

fn access() -> PostgresAccess {
    PostgresAccess::new(Program::Collector)
}

fn of_file(path: &Path) -> Access {
    let (url, lease) = (StorageUrl::Sqlite(path.to_owned()), Duration::from_secs(60));
    Access { url, password: None, lease, program: Program::Collector }
}

fn of_database(url: &PostgresUrl) -> Access {
    Access { url: StorageUrl::Postgres(Box::new(url.clone())), ..of_file(Path::new("")) }
}

fn moved(from: &Path, to: &PostgresUrl) -> Result<Vec<Moved>, StoreError> {
    transfer(&of_file(from), &of_database(to), &mut |_, _| {})
}

/// What can be asked, with every number that is given out.
fn all(store: &mut dyn Store) -> Vec<String> {
    let names = [named("web"), named("db")];
    let clients = store.clients(&names, &mut || unreachable!("they are there")).unwrap();
    let uids: Vec<ClientUid> = clients.iter().map(|row| row.uid).chain([ClientUid::FLEET]).collect();
    let episodes = store.episodes_between(at(0), at(9999), 99).unwrap();
    let ids: Vec<_> = episodes.iter().map(|episode| episode.id.clone()).collect();
    let backlog: Vec<_> = store
        .backlog(9999)
        .unwrap()
        .into_iter()
        // The file does not say on which host a run was.
        .map(|entry| format!("{entry:?}").replace("host: \"here\"", "host: \"\""))
        .collect();
    let spans = uids.iter().map(|uid| store.reports(*uid, Timestamp(0), Timestamp(i64::MAX)).unwrap());
    let reports = format!("{:?}", spans.collect::<Vec<_>>());
    vec![
        store.installation().unwrap(),
        format!("{clients:?}"),
        format!("{backlog:?}"),
        reports,
        format!("{episodes:?}"),
        format!("{:?}", store.latest().unwrap()),
        format!("{:?}", store.alerts(&uids).unwrap()),
        format!("{:?}", store.memories(&uids).unwrap()),
        format!("{:?}", store.untold().unwrap()),
        format!("{:?}", store.tellings(&ids).unwrap()),
        format!("{:?}", store.unsent().unwrap()),
        format!("{:?}", store.messages_since(at(0)).unwrap()),
        format!("{:?}", store.silences(at(0)).unwrap()),
        format!("{:?}", store.acknowledgements(&ids).unwrap()),
        format!("{:?}", store.backoffs().unwrap()),
        format!("{:?}", store.counts().unwrap()),
        format!("{:?}", store.last_run(Program::Collector).unwrap()),
        format!("{:?}", store.last_run(Program::Alerter).unwrap()),
    ]
}

#[test]
fn everything_is_there_afterwards_and_goes_on() {
    let (_kept, path, last) = filled();
    let (_, url) = place();
    let sums = moved(&path, &url).unwrap();
    assert_eq!(
        sums.iter().map(|moved| moved.table).collect::<Vec<_>>(),
        TABLES.iter().map(|table| table.name).collect::<Vec<_>>()
    );
    let empty: Vec<&str> = sums.iter().filter(|moved| moved.rows == 0).map(|moved| moved.table).collect();
    assert_eq!(empty, [""; 0], "the test says nothing of these tables");
    let (mut file, mut database) =
        (SqliteStore::open(&path).unwrap(), PostgresStore::open(&url, &access()).unwrap());
    assert_eq!(all(&mut database), all(&mut file));
    let go_on = |store: &mut dyn Store| {
        assert_eq!(store.store(std::slice::from_ref(&last)).unwrap(), [0], "it was acknowledged");
        let web = store.find(&named("web")).unwrap().unwrap().uid;
        let next = attempt(web, 4900, vec![received(1, 2101, 2101), received(1, 2102, 4890)]);
        let stored = store.store(&[next]).unwrap();
        let silence = store.silences(at(0)).unwrap().remove(0);
        let number = store.add_silence(&silence).unwrap();
        let new = enrol(store, "new").unwrap();
        let marks = store.backlog(9).unwrap().into_iter().map(|entry| entry.mark).collect();
        let begun = episode(new, "/", 4900);
        let facts = vec![fact(&begun, "b@x", 0)];
        store.commit(&Step { marks, episodes: vec![begun], facts, ..Step::default() }).unwrap();
        (stored, number, store.untold().unwrap())
    };
    assert_eq!(go_on(&mut database), go_on(&mut file));
    let again = moved(&path, &url).unwrap_err().to_string();
    assert!(again.contains("moved there already"), "{again}");
}

#[test]
fn cut_anywhere_it_goes_on_where_it_was() {
    let (_kept, path, _) = filled();
    let (_, whole) = place();
    let mut portions = 0;
    let expected = transfer(&of_file(&path), &of_database(&whole), &mut |_, _| portions += 1).unwrap();
    assert!(portions > 2 * TABLES.len(), "some tables come in several portions");
    let (_, url) = place();
    let (mut cut, mut told) = (1_usize, 0);
    loop {
        let mut left = cut;
        let ended = catch_unwind(AssertUnwindSafe(|| {
            transfer(&of_file(&path), &of_database(&url), &mut |_, _| {
                told += 1;
                left -= 1;
                assert!(left > 0, "cut");
            })
        }));
        let Ok(ended) = ended else {
            let opened = PostgresStore::open(&url, &access()).unwrap_err().to_string();
            assert!(opened.contains("migrate-storage"), "{opened}");
            // Primes, so that the cuts fall everywhere.
            cut = [2, 3, 5, 7, 11, 13, 17][told % 7];
            continue;
        };
        assert_eq!(ended.unwrap(), expected);
        assert_eq!(told, portions, "nothing was moved twice");
        break;
    }
}

/// Tells the process that [`killed_anywhere_it_goes_on`] starts what to move: the file, and the database's port and name.
const TOLD: &str = "FLEET_TEST_MOVE";

#[test]
#[ignore = "another test starts it, and kills it"]
fn moves_what_it_is_told_to() {
    let told = std::env::var(TOLD).expect("who starts it says what to move");
    let told: Vec<&str> = told.split('|').collect();
    let url = server::storage("127.0.0.1", told[1].parse().unwrap(), told[2]);
    moved(Path::new(told[0]), &url).unwrap();
}

/// The process is killed after a while, and that is longer each time, until it comes to its end.
#[test]
fn killed_anywhere_it_goes_on() {
    let (_kept, path, _) = filled();
    let (database, url) = place();
    let told = format!("{}|{}|{database}", path.display(), Server::shared().port());
    let (mut kills, mut patience) = (0, Duration::from_millis(40));
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "transfer::tests::moves_what_it_is_told_to", "--ignored"])
            .env(TOLD, &told)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(patience);
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        patience = patience * 7 / 5;
    }
    assert!(kills > 2, "it was killed {kills} times");
    let mut database = PostgresStore::open(&url, &access()).unwrap();
    assert_eq!(all(&mut database), all(&mut SqliteStore::open(&path).unwrap()));
}

#[test]
fn a_file_that_changed_in_between_is_moved_anew() {
    let (_kept, path, _) = filled();
    let (_, url) = place();
    let cut = catch_unwind(AssertUnwindSafe(|| {
        transfer(&of_file(&path), &of_database(&url), &mut |table, _| assert_ne!(table, "episode", "cut"))
    }));
    assert!(cut.is_err());
    let mut file = SqliteStore::open(&path).unwrap();
    let begun = crate::RunLog::begin_run(&mut file, &run(Program::Alerter, 4900)).unwrap();
    let mut problem = episode(ClientUid::FLEET, "/", 50);
    problem.detail = "changed".to_owned();
    let facts = vec![fact(&problem, "c@x", 0)];
    crate::AlertStore::commit(&mut file, &Step { episodes: vec![problem], facts, ..Step::default() })
        .unwrap();
    crate::RunLog::end_run(&mut file, &Run { end: Some(at(4901)), ..begun }).unwrap();
    moved(&path, &url).unwrap();
    assert_eq!(all(&mut PostgresStore::open(&url, &access()).unwrap()), all(&mut file));
}

#[test]
fn what_must_not_be_moved_is_refused() {
    let (kept, path, _) = filled();
    let (_, url) = place();
    for program in [Program::Collector, Program::Alerter] {
        let _running = RunLock::take(kept.path(), program).unwrap();
        let refused = moved(&path, &url);
        assert!(matches!(refused, Err(StoreError::AlreadyRunning(which)) if which == program), "{refused:?}");
    }
    let absent = moved(&kept.path().join("none.db"), &url);
    assert!(matches!(absent, Err(StoreError::Absent(_))), "{absent:?}");
    let (_, used) = place();
    enrol(&mut PostgresStore::open(&used, &access()).unwrap(), "other").unwrap();
    let refused = moved(&path, &used).unwrap_err().to_string();
    assert!(refused.contains("holds something already (table client)"), "{refused}");
    moved(&path, &url).unwrap();
}

/// A column that is added to one of the schemas must not be forgotten here.
#[test]
fn every_column_of_both_schemas_is_moved() {
    let (_kept, path, _) = filled();
    let (database, url) = place();
    drop(PostgresStore::open(&url, &access()).unwrap());
    let columns = Server::shared().sql(
        &database,
        "SELECT table_name || '.' || column_name FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name NOT LIKE 'report\\_%' AND table_name NOT LIKE 'collection\\_%'",
    );
    let of_target = |table: &super::Table| -> Vec<String> {
        table.columns.iter().map(|column| format!("{}.{}", table.name, column.name)).collect()
    };
    let moved: BTreeSet<String> = TABLES.iter().flat_map(of_target).collect();
    // Notes of the database's own: which installation it is goes along apart.
    let own = ["meta.", "counter.", "program.", "claim."];
    let there: BTreeSet<String> = columns
        .lines()
        .filter(|column| !own.iter().any(|own| column.starts_with(own)))
        .map(str::to_owned)
        .collect();
    assert_eq!(moved, there);
    let file = rusqlite::Connection::open(&path).unwrap();
    let mut select = file
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c
             WHERE t.type = 'table' AND t.name <> 'meta'",
        )
        .unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    for row in rows {
        let (table, column): (String, String) = row.unwrap();
        let known = TABLES.iter().find(|known| known.name == table).expect("the table is moved");
        // `latest` names rows by number that the database's own has inside.
        let inside = table == "latest" && ["report_id", "collection_id"].contains(&column.as_str());
        let is_read = known.columns.iter().any(|known| known.source.contains(&column));
        assert!(is_read || inside, "{table}.{column}");
    }
}
