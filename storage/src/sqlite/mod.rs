//! The store in one SQLite file, for a fleet that one machine collects.
//!
//! Write-ahead log, `synchronous=FULL`, one writer at a time. A transaction that writes begins as a writer (`BEGIN
//! IMMEDIATE`): one that reads first and then writes is told "busy" at once, whatever the timeout. No read stays open
//! between two calls, since it would keep the log from being emptied.

mod alerts;
mod clients;
mod episodes;
mod fault;
mod history;
mod migrate;
mod outbox;
mod reports;
mod run_log;
mod series;
mod silences;
mod store;
#[cfg(feature = "postgres")]
mod transfer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use model::ClientUid;
use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior};

use crate::{StoreError, place};
use fault::{Fault, corrupt};
use migrate::STEPS;
use series::Series;

/// How long a call waits for another process's transaction before [`StoreError::Busy`].
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The log is cut back to this many bytes once it was larger.
const LOG_LIMIT: i64 = 64 * 1024 * 1024;

/// A store in a file of its own. Collector and alerter each open it; every call is a transaction.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    series: Series,
}

impl SqliteStore {
    /// Opens the store at `path`, making the file (mode 0600) and its directory (mode 0700) where they are not there,
    /// and brings an older schema up to date after a backup beside it.
    ///
    /// A file that is damaged, of a newer version or another program's is left as it is. A directory that is on a
    /// network file system, or where everybody may write, is refused.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let directory = parent(path);
        place::prepare(directory)?;
        place::check_local(directory)?;
        place::create_private(path)?;
        Ok(Self::open_with(path, STEPS)?)
    }

    /// Opens the store at `path` for reading: writes fail. Neither makes nor changes a file.
    pub fn open_existing(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Absent(path.to_owned()));
        }
        place::check_local(parent(path))?;
        Ok(Self::open_to_read(path)?)
    }

    /// A private copy of the store at `path`, in memory: whatever is done to it, the file stays as it is.
    pub fn open_copy(path: &Path) -> Result<Self, StoreError> {
        Ok(Self::open_existing(path)?.copied()?)
    }

    fn copied(&self) -> Result<Self, Fault> {
        let mut connection = Connection::open_in_memory()?;
        Backup::new(&self.connection, &mut connection)?.run_to_completion(1000, Duration::ZERO, None)?;
        settle(&connection)?;
        Ok(Self { connection, series: Series::default() })
    }

    fn open_with(path: &Path, steps: &[migrate::Step]) -> Result<Self, Fault> {
        let mut connection = connect(path)?;
        // Before the first byte is written: the file may not be for us to write.
        migrate::version(&connection, steps)?;
        use_log(&connection)?;
        migrate::migrate(&mut connection, path, steps)?;
        Ok(Self { connection, series: Series::default() })
    }

    fn open_to_read(path: &Path) -> Result<Self, Fault> {
        let connection = connect(path)?;
        let (found, known) =
            (migrate::version(&connection, STEPS)?, STEPS.last().map_or(0, |step| step.version));
        if found < known {
            return Err(StoreError::OlderSchema { found, known }.into());
        }
        connection.pragma_update(None, "query_only", true)?;
        Ok(Self { connection, series: Series::default() })
    }

    /// Runs `work` in one transaction that writes: all of it happens, or nothing.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Series) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let Self { connection, series } = self;
        let result = (|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction, series)?;
            transaction.commit()?;
            Ok::<T, Fault>(value)
        })();
        if result.is_err() {
            // It may know series whose rows were rolled back.
            series.forget();
        }
        Ok(result?)
    }

    /// Runs `work` over one state of the file, as if nothing else went on.
    fn read<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Series) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let Self { connection, series } = self;
        Ok((|| work(&connection.transaction()?, series))()?)
    }
}

/// The directory that a file lies in.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn connect(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    settle(&connection)?;
    Ok(connection)
}

/// What holds for every connection, whatever it is open for.
fn settle(connection: &Connection) -> Result<(), Fault> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // One plan per statement, whatever is bound to it: else most statements are planned anew each time they run.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // What stands in the file is data: nothing of a schema that somebody edited is to run.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(())
}

/// Turns the write-ahead log on. SQLite does not wait by itself where two processes do so at once.
fn use_log(connection: &Connection) -> Result<(), Fault> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode == "wal" => break,
            Ok(mode) => {
                return Err(StoreError::Unsuitable(format!("SQLite's log stays {mode:?} there")).into());
            }
            Err(error) => match Fault::from(error) {
                Fault(StoreError::Busy) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(10));
                }
                fault => return Err(fault),
            },
        }
    }
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT, |_| Ok(()))?;
    Ok(())
}

/// The row of a client.
fn client_id(transaction: &Transaction<'_>, uid: ClientUid) -> Result<i64, Fault> {
    if uid == ClientUid::FLEET {
        return Err(fault::refused("the fleet as a whole is no client"));
    }
    subject_id(transaction, uid)
}

/// The row of a client, or that of the fleet as a whole: what an alert is about.
fn subject_id(transaction: &Transaction<'_>, uid: ClientUid) -> Result<i64, Fault> {
    transaction
        .prepare_cached("SELECT client_id FROM client WHERE uid = ?1")?
        .query_row([&uid.0[..]], |row| row.get(0))
        .optional()?
        .ok_or_else(|| fault::refused(format!("there is no client {uid}")))
}

/// A text column as a type that has rules.
fn parsed<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(corrupt)
}
