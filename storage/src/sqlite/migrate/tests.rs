//! Upgrades, and what must not be touched.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use model::wire::to_cbor;
use model::{AlertPhase, ClientUid, EpisodeId, Severity};
use rusqlite::Connection;

use super::{STEPS, Step};
use crate::conformance::{at, attempt, enrol, episode, evidence, fact, named, received};
use crate::old_state::tests::Written;
use crate::sqlite::SqliteStore;
use crate::{AlertStore as _, Entry, History as _, ReportStore as _, Step as Commit, StoreError};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sql/sqlite/schema.sql");

/// The schema as SQLite keeps it, and its version.
fn schema(path: &Path) -> (String, u32) {
    let connection = Connection::open(path).unwrap();
    let mut select = connection
        .prepare(
            "SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY tbl_name, type DESC, name",
        )
        .unwrap();
    let all: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    (all.join("\n\n") + "\n", version)
}

/// A store of the shipped schema with something in it.
fn filled() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    store.store(&[attempt(web, 10, vec![received(1, 1, 9)])]).unwrap();
    (directory, path)
}

fn with(next: &'static str) -> Vec<Step> {
    let version = STEPS.last().unwrap().version + 1;
    [STEPS, &[Step { version, sql: next }]].concat()
}

#[test]
fn the_snapshot_is_what_the_steps_make() {
    let (_kept, path) = filled();
    let (schema, version) = schema(&path);
    let expected = format!(
        "-- Schema {version}, as the steps beside make it. UPDATE_SCHEMA=1 cargo test -p storage writes it.\n\n{schema}"
    );
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(SNAPSHOT, &expected).unwrap();
    }
    assert_eq!(fs::read_to_string(SNAPSHOT).unwrap(), expected);
}

#[test]
fn steps_are_numbered_without_a_hole() {
    for (step, version) in STEPS.iter().zip(1..) {
        assert_eq!(step.version, version);
    }
}

#[test]
fn an_older_schema_is_brought_up_to_date_after_a_backup() {
    let (_kept, path) = filled();
    let before = schema(&path);
    let steps = with("ALTER TABLE run ADD COLUMN room TEXT; CREATE TABLE rollup (hour INTEGER) STRICT;");
    let mut store = SqliteStore::open_with(&path, &steps).unwrap();
    assert_eq!(store.backlog(9).unwrap().len(), 2, "what was there is there");
    let (after, version) = schema(&path);
    assert_eq!(version, before.1 + 1);
    assert!(after.contains("rollup"));
    let backup = PathBuf::from(format!("{}.backup-v{}", path.display(), before.1));
    assert_eq!(schema(&backup), before);
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o7777, 0o600);
    let mut restored = SqliteStore::open(&backup).unwrap();
    assert_eq!(restored.backlog(9).unwrap(), store.backlog(9).unwrap());
    // A second opening has nothing to do, and makes no second backup.
    fs::remove_file(&backup).unwrap();
    SqliteStore::open_with(&path, &steps).unwrap();
    assert!(!backup.exists());
}

#[test]
fn a_step_that_fails_leaves_the_version_before_it() {
    let (_kept, path) = filled();
    let before = schema(&path);
    let steps =
        with("CREATE TABLE rollup (hour INTEGER) STRICT; DROP TABLE alert; INSERT INTO nowhere VALUES (1);");
    let failed = SqliteStore::open_with(&path, &steps).unwrap_err();
    assert!(failed.0.to_string().contains("nowhere"), "{:?}", failed.0);
    assert_eq!(schema(&path), before);
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.backlog(9).unwrap().len(), 2);
}

#[test]
fn no_backup_no_step() {
    let (_kept, path) = filled();
    let before = schema(&path);
    // A directory stands where the backup would.
    let backup = PathBuf::from(format!("{}.backup-v{}", path.display(), before.1));
    fs::create_dir(&backup).unwrap();
    SqliteStore::open_with(&path, &with("CREATE TABLE rollup (hour INTEGER) STRICT;")).unwrap_err();
    assert_eq!(schema(&path), before);
    let names = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    let drafts = names.filter(|name| name.to_string_lossy().contains(&format!(".{}", std::process::id())));
    assert_eq!(drafts.count(), 0, "no half of a backup stays");
}

#[test]
fn a_newer_schema_is_refused_with_both_versions() {
    let (_kept, path) = filled();
    drop(SqliteStore::open_with(&path, &with("CREATE TABLE rollup (hour INTEGER) STRICT;")).unwrap());
    let bytes = fs::read(&path).unwrap();
    let known = STEPS.last().unwrap().version;
    for opened in [SqliteStore::open(&path), SqliteStore::open_existing(&path)] {
        let refused = opened.unwrap_err();
        assert!(
            matches!(refused, StoreError::NewerSchema { found, known: k } if (found, k) == (known + 1, known))
        );
        let said =
            format!("the storage has schema version {}, this program knows {known} at most", known + 1);
        assert_eq!(refused.to_string(), said);
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let bytes = fs::read(&path).unwrap();
    let refused = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(refused.contains("another program"), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_reader_brings_nothing_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.db");
    fs::write(&path, "").unwrap();
    let refused = SqliteStore::open_existing(&path).unwrap_err();
    assert_eq!(refused.remedy(), "run fleet-collector first: it brings the file up to date", "{refused}");
    assert_eq!(fs::read(&path).unwrap(), b"");
    let mut store = SqliteStore::open(&path).unwrap();
    store.clients(&[named("web")], &mut || ClientUid([1; 16])).unwrap();
}

/// A file of schema 1, as its programs left it: a client with an alert in each phase, an open episode that was told, and
/// two attempts that nobody has evaluated.
fn of_version_1() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.db");
    fs::write(&path, "").unwrap();
    drop(SqliteStore::open_with(&path, &STEPS[..1]).unwrap());
    let file = Connection::open(&path).unwrap();
    let begun = episode(ClientUid([7; 16]), "/", 9);
    let (times, outcome) = (begun.begin.millis(), to_cbor(&model::Outcome::Collected));
    file.execute("INSERT INTO client (client_id, uid, name) VALUES (1, ?1, 'web')", [[7_u8; 16]]).unwrap();
    for (id, seconds) in [(1, 10), (2, 70)] {
        let at = at(seconds).millis();
        let sql = "INSERT INTO collection VALUES (?1, 1, ?2, ?3, 0.5, 0, 0)";
        file.execute(sql, (id, at, &outcome)).unwrap();
        file.execute("INSERT INTO unevaluated_collection VALUES (?1, ?2)", (at, id)).unwrap();
    }
    file.execute(
        "INSERT INTO episode VALUES (?1, 1, 'disk', 'mount=/', 'web', 'disk', ?2, ?2, 'warning', 91, 90, 97, ?2, 93,
                                     ?2, '', ?3, NULL, NULL)",
        (&begun.id.0, times, to_cbor(&evidence())),
    )
    .unwrap();
    file.execute(
        "INSERT INTO fact VALUES (1, ?1, 'a@x', 0, 'first', 'warning', ?2, 1, NULL)",
        (&begun.id.0, times),
    )
    .unwrap();
    let severity = Severity::Warning;
    let states = [
        ("/", true, Written::Firing { since: times, severity, worst: severity, episode: "e" }),
        ("/pending", false, Written::Pending { since: times, breaches: 2 }),
        ("/resolved", false, Written::Resolved { at: times }),
    ];
    for (mount, firing, state) in states {
        let sql = "INSERT INTO alert VALUES (1, 'disk', 'mount=' || ?1, ?2, ?3)";
        file.execute(sql, (mount, firing, to_cbor(&state))).unwrap();
    }
    (directory, path)
}

#[test]
fn a_file_of_schema_1_goes_on() {
    let (_kept, path) = of_version_1();
    let mut store = SqliteStore::open(&path).unwrap();
    let web = ClientUid([7; 16]);
    assert_eq!(store.latest().unwrap().len(), 1, "the fleet is no client");
    let entries = store.backlog(9).unwrap();
    let runs = entries.iter().map(|entry| match entry.entry {
        Entry::Attempt { run, .. } => run,
        Entry::Report { .. } => panic!("there is no report"),
    });
    assert_eq!(runs.collect::<Vec<_>>(), [at(10), at(70)], "each is a run of its own, and over");
    let states = store.alerts(&[web]).unwrap();
    let firing = states[0].1.firing().unwrap();
    assert_eq!(
        (firing.told, firing.news, &firing.episode),
        (Some(Severity::Warning), 3, &EpisodeId("e".to_owned()))
    );
    assert_eq!((&states[1].1.phase, states[1].1.breaches), (&AlertPhase::Pending { since: at(9) }, 0b11));
    assert_eq!(states[2].1.phase, AlertPhase::Resolved { at: at(9) });
    let open = store.open_episodes().unwrap().remove(0);
    assert_eq!((open.held.as_str(), open.evidence.clone()), ("", evidence()));
    assert!(
        store.told(std::slice::from_ref(&open.id)).unwrap()[0].after <= at(0),
        "what it knows may be told"
    );
    // What it writes from now on is read as it was written.
    let marks = entries.iter().map(|entry| entry.mark).collect();
    let facts = vec![fact(&open, "a@x", 3)];
    store.commit(&Commit { marks, states: states.clone(), facts, ..Commit::default() }).unwrap();
    assert_eq!((store.alerts(&[web]).unwrap(), store.backlog(9).unwrap()), (states, vec![]));
    assert_eq!(store.untold().unwrap().len(), 1);
}
