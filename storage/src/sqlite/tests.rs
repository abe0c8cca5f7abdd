//! What only a file can do wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use model::Outcome;
use rusqlite::Connection;

use super::SqliteStore;
use super::fault::Fault;
use crate::conformance::{attempt, enrol, failed, named, received, refused};
use crate::{
    AlertStore as _, Content, Counts, History as _, QUARANTINED_BYTES, Received, ReportStore as _, Step,
    StoreError,
};

mod conform {
    use crate::SqliteStore;

    crate::conformance!({
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = SqliteStore::open(&directory.path().join("fleet.db")).expect("a new store");
        (directory, store)
    });
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/fleet.db");
    (directory, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A connection beside the store's, to do what no program of ours does.
fn beside(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

#[test]
fn what_is_stored_is_there_for_the_next_process() {
    let (_kept, path) = place();
    let mut store = SqliteStore::open(&path).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    let batch = [attempt(web, 10, vec![received(1, 1, 8), received(1, 2, 9)])];
    store.store(&batch).unwrap();
    let (rows, backlog, latest) =
        (store.clients(&[named("web")], &mut || web), store.backlog(9).unwrap(), store.latest().unwrap());
    let installation = store.installation().unwrap();
    drop(store);
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.clients(&[named("web")], &mut || web).unwrap(), rows.unwrap());
    assert_eq!((store.backlog(9).unwrap(), store.latest().unwrap()), (backlog, latest));
    assert_eq!(store.installation().unwrap(), installation);
    assert_eq!(store.store(&batch).unwrap(), [0]);
}

#[test]
fn two_stores_are_two_installations() {
    let ((_a, a), (_b, b)) = (place(), place());
    let installation = |path: &Path| SqliteStore::open(path).unwrap().installation().unwrap();
    assert_ne!(installation(&a), installation(&b));
}

#[test]
fn the_files_are_private() {
    let (kept, path) = place();
    let mut store = SqliteStore::open(&path).unwrap();
    enrol(&mut store, "web").unwrap();
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for file in fs::read_dir(path.parent().unwrap()).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    let open_to_all = kept.path().join("open");
    fs::create_dir(&open_to_all).unwrap();
    fs::set_permissions(&open_to_all, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = SqliteStore::open(&open_to_all.join("fleet.db"));
    assert!(matches!(refused, Err(StoreError::Unsuitable(_))), "{refused:?}");
    assert!(!open_to_all.join("fleet.db").exists());
}

#[test]
fn a_reader_makes_and_changes_nothing() {
    let (_kept, path) = place();
    let absent = SqliteStore::open_existing(&path).unwrap_err();
    let absent = format!("{absent}: {}", absent.remedy());
    assert!(absent.contains("run fleet-collector first") && absent.contains("fleet.db"), "{absent}");
    assert!(!path.exists() && !path.parent().unwrap().exists());
    let mut store = SqliteStore::open(&path).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    let mut reader = SqliteStore::open_existing(&path).unwrap();
    assert_eq!(reader.latest().unwrap().len(), 1);
    assert!(matches!(reader.store(&[failed(web, 1, refused())]), Err(StoreError::Other(_))));
    assert_eq!(store.counts().unwrap(), Counts::default());
}

#[test]
fn many_processes_may_open_a_new_store_at_once() {
    let (_kept, path) = place();
    thread::scope(|scope| {
        let opening: Vec<_> =
            (0..8).map(|_| scope.spawn(|| SqliteStore::open(&path)?.installation())).collect();
        let all: Vec<String> = opening.into_iter().map(|one| one.join().unwrap().unwrap()).collect();
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    });
}

/// The collector stores while the alerter evaluates; a third only looks. Nobody is told that the store is busy, and
/// every entry is evaluated once.
#[test]
fn collector_and_alerter_work_at_once() {
    const BATCHES: i64 = 60;
    let (_kept, path) = place();
    let web = enrol(&mut SqliteStore::open(&path).unwrap(), "web").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut store = SqliteStore::open(&path).unwrap();
            for batch in 1..=BATCHES {
                let records = vec![received(1, batch as u64, batch)];
                assert_eq!(store.store(&[attempt(web, batch, records)]).unwrap(), [1]);
            }
        });
        scope.spawn(|| {
            let mut store = SqliteStore::open(&path).unwrap();
            let mut seen = Vec::new();
            let deadline = Instant::now() + Duration::from_secs(120);
            while seen.len() < 2 * BATCHES as usize {
                assert!(Instant::now() < deadline, "only {} entries came", seen.len());
                let entries = store.backlog(7).unwrap();
                let marks = entries.iter().map(|entry| entry.mark).collect();
                seen.extend(entries.iter().map(|entry| (entry.event_time, entry.mark)));
                store.commit(&Step { marks, ..Step::default() }).unwrap();
            }
            assert!(seen.is_sorted_by(|a, b| a < b), "in order, and each once");
        });
        scope.spawn(|| {
            let mut store = SqliteStore::open_existing(&path).unwrap();
            for _ in 0..10 * BATCHES {
                store.latest().unwrap();
            }
        });
    });
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.counts().unwrap(), Counts { reports: BATCHES as u64, ..Counts::default() });
}

#[test]
fn no_read_stays_open_and_keeps_the_log() {
    let (_kept, path) = place();
    let mut store = SqliteStore::open(&path).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    store.store(&[attempt(web, 10, vec![received(1, 1, 9)])]).unwrap();
    store.backlog(1).unwrap();
    store.latest().unwrap();
    let emptied = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
    assert_eq!(beside(&path).query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], emptied).unwrap(), 0);
}

/// SQLite plans a statement anew for every other value bound to it, unless it is told that one plan serves all: that was
/// half of a run's time.
#[test]
fn a_statement_is_planned_once() {
    let (_kept, path) = place();
    let mut store = SqliteStore::open(&path).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    store.store(&[attempt(web, 10, (1..9).map(|sequence| received(1, sequence, 9)).collect())]).unwrap();
    for store in [store, SqliteStore::open_existing(&path).unwrap(), SqliteStore::open_copy(&path).unwrap()] {
        let sql = "SELECT digest FROM report JOIN client USING (client_id) WHERE report_id = ?1";
        let mut select = store.connection.prepare(sql).unwrap();
        for report in 1_i64..9 {
            select.query_row([report], |row| row.get::<_, i64>(0)).unwrap();
        }
        assert_eq!(select.get_status(rusqlite::StatementStatus::RePrepare), 0);
    }
}

#[test]
fn a_writer_that_does_not_end_makes_it_busy() {
    let (_kept, path) = place();
    let mut store = SqliteStore::open(&path).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    store.connection.busy_timeout(Duration::from_millis(20)).unwrap();
    let other = beside(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(store.store(&[failed(web, 1, refused())]), Err(StoreError::Busy)));
    assert_eq!(store.latest().unwrap().len(), 1, "a reader does not care");
    other.execute_batch("ROLLBACK").unwrap();
    store.store(&[failed(web, 1, refused())]).unwrap();
}

/// SQLite says SQLITE_FULL where the file may not grow as where the disk may not: what was begun is undone.
#[test]
fn a_full_disk_loses_nothing_that_was_there() {
    let (_kept, path) = place();
    let mut store = SqliteStore::open(&path).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    store.store(&[attempt(web, 10, vec![received(1, 1, 9)])]).unwrap();
    let (before, row) = (store.counts().unwrap(), store.clients(&[named("web")], &mut || web).unwrap());
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |store: &SqliteStore, pages: i64| {
        store.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    limit(&store, pages + 4);
    let many = [attempt(web, 20, (2..2000).map(|sequence| received(1, sequence, 19)).collect())];
    assert!(matches!(store.store(&many), Err(StoreError::Full)));
    assert_eq!(store.counts().unwrap(), before);
    assert_eq!(store.clients(&[named("web")], &mut || web).unwrap(), row);
    limit(&store, 1 << 20);
    assert_eq!(store.store(&many).unwrap(), [1998]);
}

#[test]
fn a_file_that_is_no_database_is_left_as_it_is() {
    let (_kept, path) = place();
    fs::create_dir(path.parent().unwrap()).unwrap();
    let garbage = b"not a database at all ".repeat(500);
    fs::write(&path, &garbage).unwrap();
    let opened = SqliteStore::open(&path);
    assert!(matches!(opened, Err(StoreError::Corrupt(_))), "{opened:?}");
    assert_eq!(fs::read(&path).unwrap(), garbage);
}

#[test]
fn a_damaged_page_is_reported_and_left_as_it_is() {
    let (_kept, path) = place();
    let mut store = SqliteStore::open(&path).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    store.store(&[attempt(web, 20, (1..500).map(|sequence| received(1, sequence, 19)).collect())]).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[8192..length / 4 * 3].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let met = SqliteStore::open(&path).and_then(|mut store| {
        store.backlog(1000)?;
        store.latest()?;
        store.store(&[attempt(web, 30, vec![received(1, 600, 29)])])
    });
    assert!(matches!(met, Err(StoreError::Corrupt(_))), "{met:?}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

/// Whoever edits the file forges history, and no more: what cannot be read is named.
#[test]
fn bytes_are_validated_on_reading() {
    for edit in [
        "UPDATE report SET payload = x'ff00'",
        "UPDATE report SET payload = x'01ffffff7f'",
        "UPDATE series SET label = 'no label'",
        "DELETE FROM series",
        "UPDATE collection SET outcome = x'00'",
        "UPDATE client SET name = 'web' || char(10) || 'x' WHERE client_id <> 0",
        "DELETE FROM report",
    ] {
        let (_kept, path) = place();
        let mut store = SqliteStore::open(&path).unwrap();
        let web = enrol(&mut store, "web").unwrap();
        store.store(&[attempt(web, 10, vec![received(1, 1, 9)])]).unwrap();
        drop(store);
        let editor = beside(&path);
        editor.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
        editor.execute_batch(edit).unwrap();
        let read = SqliteStore::open(&path).unwrap().backlog(9);
        assert!(matches!(read, Err(StoreError::Corrupt(_))), "{edit}: {read:?}");
    }
}

#[test]
fn what_is_set_aside_is_bounded_by_bytes() {
    let (_kept, path) = place();
    let mut store = SqliteStore::open(&path).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    let aside = |sequence| {
        let envelope = vec![7; QUARANTINED_BYTES / 4];
        let content = Content::Quarantined { reason: "a\u{1b}[31mb".to_owned(), envelope };
        Received { content, ..received(1, sequence, 9) }
    };
    for sequence in 1..=6 {
        store.store(&[attempt(web, 10, vec![aside(sequence)])]).unwrap();
    }
    let (kept, oldest): (i64, i64) = beside(&path)
        .query_row("SELECT count(*), min(sequence) FROM quarantine", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((kept, oldest), (4, 3));
    assert_eq!(store.counts().unwrap().quarantined, 6);
}

#[test]
fn what_is_set_aside_is_bounded_by_number() {
    let (_kept, path) = place();
    let mut store = SqliteStore::open(&path).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    let aside = |sequence| {
        let content = Content::Quarantined { reason: "cut".to_owned(), envelope: vec![7; 9] };
        Received { content, ..received(1, sequence, 9) }
    };
    store.store(&[attempt(web, 10, (1..=1010).map(aside).collect())]).unwrap();
    let (kept, oldest): (i64, i64) = beside(&path)
        .query_row("SELECT count(*), min(sequence) FROM quarantine", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    assert_eq!((kept, oldest), (1000, 11));
}

#[test]
fn failures_are_told_apart() {
    let (_kept, path) = place();
    let mut store = SqliteStore::open(&path).unwrap();
    let broken = store.write(|transaction, _| -> Result<(), Fault> {
        transaction.execute_batch("INSERT INTO spool SELECT 1, 4711, zeroblob(16), 1, zeroblob(32), 1")?;
        Ok(())
    });
    assert!(matches!(broken, Err(StoreError::Other(_))), "a missing client: {broken:?}");
    assert_eq!(broken.unwrap_err().exit(), model::Exit::Storage);
    let web = enrol(&mut store, "web").unwrap();
    store.store(&[failed(web, 1, Outcome::Collected)]).unwrap();
}

#[test]
fn what_is_no_file_to_write_is_named_with_what_it_has_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("fleet.db");
    fs::create_dir(&database).unwrap();
    let Err(error) = SqliteStore::open(&database) else { panic!("a directory is no database") };
    let text = error.to_string();
    assert!(text.contains("fleet.db") && text.contains("it has to be a file"), "{text}");
}
