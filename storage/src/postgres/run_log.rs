//! The log of both programs' runs, and the lease that each holds.
//!
//! All that a run writes goes through its fence: the first statement of the transaction renews the lease in the run's row,
//! and finds none where the run is over. Whoever takes a run for over writes into that same row, so one of the two is first,
//! whatever any clock says. The fence counts the run's transactions too: where a connection was lost in COMMIT, the next
//! fence tells by that number whether the transaction happened.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;

use super::PostgresStore;
use super::fault::{Fault, refused};
use super::keeper::Keeper;
use super::link::{Mode, Tried, Tx};
use super::series::Series;
use super::values::{Row, params};
use crate::{Program, Run, RunLog, StoreError};

/// The database's clock in milliseconds; as it is, not as it was when the transaction began.
pub(super) const CLOCK: &str = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)";

/// The run that a store has begun and not ended.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// Ends with this.
    _keeper: Arc<Keeper>,
    pub(super) run_id: i64,
    pub(super) program: Program,
    pub(super) begin: Timestamp,
    /// When it began by the database's clock.
    pub(super) began: i64,
}

/// What a fence says.
enum Passed {
    /// The run goes on; so many transactions of it there are with this one.
    Step(i64),
    /// The transaction before, of which nobody knew, did happen.
    HappenedBefore,
}

/// Renews the lease of a run. `unsure` is the step of a transaction that may have happened.
fn fence(tx: &mut Tx<'_>, run_id: i64, lease: Duration, unsure: Option<i64>) -> Result<Passed, Fault> {
    let renew = format!(
        "UPDATE run SET until = {CLOCK} + $2, step = step + 1 WHERE run_id = $1 AND NOT over AND finish IS NULL
         RETURNING step"
    );
    let renewed = tx.row(&renew, params![run_id, millis(lease)])?;
    let step: Option<i64> = renewed.map(|row| row.get(0)).transpose()?;
    match (step, unsure) {
        (Some(step), Some(unsure)) if step > unsure => Ok(Passed::HappenedBefore),
        (Some(step), _) => Ok(Passed::Step(step)),
        (None, Some(unsure)) => {
            let last = tx.row("SELECT step FROM run WHERE run_id = $1", params![run_id])?;
            match last.map(|row| row.get::<i64>(0)).transpose()? {
                Some(step) if step >= unsure => Ok(Passed::HappenedBefore),
                _ => Err(StoreError::Superseded.into()),
            }
        }
        (None, None) => Err(StoreError::Superseded.into()),
    }
}

/// A span as the database counts it.
pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl PostgresStore {
    /// Runs `work` in one transaction that writes: all of it happens, or nothing. It may run several times, until one goes
    /// through. While a run goes on, it is that run's, and happens once; outside of one, it is to change nothing where it is
    /// done again.
    pub(super) fn write<T>(
        &mut self,
        mut work: impl FnMut(&mut Tx<'_>, &mut Series) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let result = if let Some(run_id) = self.run.as_ref().map(|run| run.run_id) {
            self.write_of_run(run_id, &mut work)
        } else {
            let Self { link, series, .. } = self;
            let mut again = false;
            link.again(Mode::Write, |tx| {
                if again {
                    // What it learnt before need not have happened.
                    series.forget();
                }
                again = true;
                work(tx, series)
            })
        };
        if result.is_err() {
            self.series.forget();
        }
        Ok(result?)
    }

    /// As [`Self::write`], for what must not be done again: where nobody said whether it happened, the error says so.
    pub(super) fn write_once<T>(
        &mut self,
        mut work: impl FnMut(&mut Tx<'_>, &mut Series) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        if self.run.is_some() {
            return self.write(work);
        }
        let mut patience = self.link.patience();
        loop {
            let Self { link, series, .. } = self;
            match link.once(Mode::Write, &mut |tx| work(tx, series)) {
                Tried::Committed(value) => return Ok(value),
                Tried::Unsure(_, fault) => {
                    series.forget();
                    return Err(StoreError::Unreachable(format!(
                        "{}; see whether it was done before you do it again",
                        fault.error
                    )));
                }
                Tried::Failed(fault) => {
                    series.forget();
                    patience.after(fault)?;
                }
            }
        }
    }

    fn write_of_run<T>(
        &mut self,
        run_id: i64,
        work: &mut dyn FnMut(&mut Tx<'_>, &mut Series) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut patience = self.link.patience();
        let mut unsure: Option<(i64, T)> = None;
        loop {
            let Self { link, series, lease, .. } = self;
            let step_before = unsure.as_ref().map(|(step, _)| *step);
            let tried = link.once(Mode::Write, &mut |tx| match fence(tx, run_id, *lease, step_before)? {
                Passed::HappenedBefore => Ok(None),
                Passed::Step(step) => Ok(Some((step, work(tx, series)?))),
            });
            let fault = match tried {
                Tried::Committed(Some((_, value))) => return Ok(value),
                Tried::Committed(None) | Tried::Unsure(None, _) => match unsure {
                    Some((_, value)) => return Ok(value),
                    None => return Err(refused("a transaction happened that nobody made")),
                },
                Tried::Unsure(Some(done), fault) => {
                    unsure = Some(done);
                    fault
                }
                Tried::Failed(fault) => fault,
            };
            // What it learnt need not have happened.
            series.forget();
            patience.after(fault)?;
        }
    }
}

impl RunLog for PostgresStore {
    fn now(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|tx, _| Ok(Some(Timestamp(clock(tx)?))))
    }

    fn begin_run(&mut self, run: &Run) -> Result<Run, StoreError> {
        if self.link.is_private() {
            // Its row would be in the way of those that are true.
            return Ok(Run { end: None, ..run.clone() });
        }
        let run_id = (RandomState::new().hash_one(()) >> 1) as i64;
        let lease = self.lease;
        // What this store began before is over from here on; this is no part of it.
        self.run = None;
        let (run, began) = self.write(|tx, _| begin(tx, run, run_id, lease))?;
        let keeper = Arc::new(Keeper::start(self.link.another(lease / 6), run_id, lease)?);
        self.run = Some(Held { run_id, program: run.program, begin: run.begin, began, _keeper: keeper });
        Ok(run)
    }

    fn end_run(&mut self, run: &Run) -> Result<(), StoreError> {
        if self.link.is_private() {
            return Ok(());
        }
        if self.run.as_ref().is_some_and(|held| (held.program, held.begin) == (run.program, run.begin)) {
            self.run = None;
        }
        let held = self.run.take();
        let ended = self.write(|tx, _| end(tx, run));
        self.run = held;
        ended
    }

    fn runs(&mut self, program: Program, limit: usize) -> Result<Vec<Run>, StoreError> {
        self.read(|tx, _| runs(tx, program, limit))
    }
}

/// The time by the database's clock.
pub(super) fn clock(tx: &mut Tx<'_>) -> Result<i64, Fault> {
    let now = tx.row(&format!("SELECT {CLOCK}"), params![])?;
    now.ok_or_else(|| refused("the server does not say what time it is"))?.get(0)
}

/// Longer than any lease: what ends later was renewed by a clock that was ahead, and a living run renews it by this one.
const NO_LEASE: Duration = Duration::from_secs(15 * 60);

/// Takes every run for over whose lease has ended. One whose row is locked is writing at this moment, and goes on.
pub(super) fn bury(tx: &mut Tx<'_>) -> Result<(), Fault> {
    let dead = format!(
        "SELECT run_id FROM run
         WHERE finish IS NULL AND NOT over AND until NOT BETWEEN {CLOCK} AND {CLOCK} + $1 FOR UPDATE SKIP LOCKED"
    );
    let dead = tx.rows(&dead, params![millis(NO_LEASE)])?;
    let dead: Vec<i64> = dead.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
    if !dead.is_empty() {
        tx.execute("UPDATE run SET over = true WHERE run_id = ANY($1)", params![dead])?;
    }
    Ok(())
}

/// Begins a run; gives it as it is noted, and when it began by the database's clock.
fn begin(tx: &mut Tx<'_>, run: &Run, run_id: i64, lease: Duration) -> Result<(Run, i64), Fault> {
    let program = run.program.name();
    // One begin at a time.
    tx.execute("UPDATE program SET begun = begun + 1 WHERE name = $1", params![program])?;
    // Where COMMIT was not answered, it may be there.
    let noted = tx.row("SELECT begin, began FROM run WHERE run_id = $1", params![run_id])?;
    if let Some(noted) = noted {
        let begun = Run { begin: Timestamp(noted.get(0)?), end: None, ..run.clone() };
        return Ok((begun, noted.get(1)?));
    }
    bury(tx)?;
    tx.execute(
        "UPDATE run SET over = true WHERE program = $1 AND host = $2 AND finish IS NULL AND NOT over",
        params![program, run.host.as_str()],
    )?;
    if run.program == Program::Alerter {
        let other = "SELECT host FROM run WHERE program = $1 AND finish IS NULL AND NOT over LIMIT 1";
        if let Some(other) = tx.row(other, params![program])? {
            return Err(StoreError::Elsewhere(run.program, other.get(0)?).into());
        }
    }
    let taken = "SELECT begin FROM run WHERE program = $1 AND begin >= $2 ORDER BY begin LIMIT 1000";
    let taken = tx.rows(taken, params![program, run.begin.millis()])?;
    let mut begin = run.begin;
    for row in taken {
        if row.get::<i64>(0)? == begin.millis() {
            begin = begin.plus(1);
        }
    }
    let now = clock(tx)?;
    tx.execute(
        "INSERT INTO run (run_id, program, begin, done, failed, whole, host, began, until)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        params![
            run_id,
            program,
            begin.millis(),
            run.done as i64,
            run.failed as i64,
            run.whole,
            run.host.as_str(),
            now,
            now.saturating_add(millis(lease))
        ],
    )?;
    Ok((Run { begin, end: None, ..run.clone() }, now))
}

/// Notes a run's end, unless it is over.
fn end(tx: &mut Tx<'_>, run: &Run) -> Result<(), Fault> {
    let (program, begin) = (run.program.name(), run.begin.millis());
    let ended = tx.execute(
        "UPDATE run SET finish = $3, done = $4, failed = $5, whole = $6 WHERE program = $1 AND begin = $2 AND NOT over",
        params![program, begin, run.end.map(Timestamp::millis), run.done as i64, run.failed as i64, run.whole],
    )?;
    if ended > 0 {
        return Ok(());
    }
    let noted = tx.row("SELECT host FROM run WHERE program = $1 AND begin = $2", params![program, begin])?;
    Err(if noted.is_some() {
        StoreError::Superseded.into()
    } else {
        refused("the run that ends never began")
    })
}

/// The latest runs of each host, newest first.
pub(super) fn runs(tx: &mut Tx<'_>, program: Program, limit: usize) -> Result<Vec<Run>, Fault> {
    let rows = tx.rows(
        "SELECT begin, finish, done, failed, whole, host FROM (
             SELECT run.*, row_number() OVER (PARTITION BY host ORDER BY begin DESC) AS number
             FROM run WHERE program = $1) AS latest
         WHERE number <= $2 ORDER BY begin DESC",
        params![program.name(), i64::try_from(limit).unwrap_or(i64::MAX)],
    )?;
    let run = |row: &Row| {
        Ok(Run {
            program,
            begin: Timestamp(row.get(0)?),
            end: row.get::<Option<i64>>(1)?.map(Timestamp),
            done: row.get::<i64>(2)? as u64,
            failed: row.get::<i64>(3)? as u64,
            whole: row.get(4)?,
            host: row.get(5)?,
        })
    };
    rows.iter().map(run).collect()
}
