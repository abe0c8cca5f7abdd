//! The log of both programs' runs. One host alone writes to the file: no run has to hold a lease.

use model::Timestamp;
use rusqlite::{Transaction, params};

use super::SqliteStore;
use super::fault::{Fault, refused};
use crate::{Program, Run, RunLog, StoreError};

impl RunLog for SqliteStore {
    fn now(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    fn begin_run(&mut self, run: &Run) -> Result<Run, StoreError> {
        self.write(|transaction, _| {
            let mut run = Run { end: None, ..run.clone() };
            let mut insert = transaction.prepare_cached(
                "INSERT INTO run (program, begin, done, failed, whole, host) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (program, begin) DO NOTHING",
            )?;
            while insert.execute(params![
                run.program.name(),
                run.begin.millis(),
                run.done,
                run.failed,
                run.whole,
                run.host
            ])? == 0
            {
                run.begin = run.begin.plus(1);
            }
            Ok(run)
        })
    }

    fn end_run(&mut self, run: &Run) -> Result<(), StoreError> {
        self.write(|transaction, _| {
            let mut update = transaction.prepare_cached(
                "UPDATE run SET finish = ?3, done = ?4, failed = ?5, whole = ?6 WHERE program = ?1 AND begin = ?2",
            )?;
            let end = run.end.map(Timestamp::millis);
            match update.execute(params![
                run.program.name(),
                run.begin.millis(),
                end,
                run.done,
                run.failed,
                run.whole
            ])? {
                0 => Err(refused("the run that ends never began")),
                _ => Ok(()),
            }
        })
    }

    fn runs(&mut self, program: Program, limit: usize) -> Result<Vec<Run>, StoreError> {
        self.read(|transaction, _| runs(transaction, program, limit))
    }
}

/// The latest runs, newest first.
pub(super) fn runs(transaction: &Transaction<'_>, program: Program, limit: usize) -> Result<Vec<Run>, Fault> {
    let mut select = transaction.prepare_cached(
        "SELECT begin, finish, done, failed, whole, host FROM (
             SELECT *, row_number() OVER (PARTITION BY host ORDER BY begin DESC) AS number FROM run WHERE program = ?1)
         WHERE number <= ?2 ORDER BY begin DESC",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let runs = select.query_map((program.name(), limit), |row| {
        Ok(Run {
            program,
            begin: Timestamp(row.get(0)?),
            end: row.get::<_, Option<i64>>(1)?.map(Timestamp),
            done: row.get(2)?,
            failed: row.get(3)?,
            whole: row.get(4)?,
            host: row.get(5)?,
        })
    })?;
    Ok(runs.collect::<Result<_, _>>()?)
}
