//! Moving everything from a SQLite file into a database of PostgreSQL.
//!
//! Table by table and portion by portion, each in one transaction with a note in the target of how far it got: who is killed
//! goes on where it was cut. Rows keep their numbers and every byte. At the end both sides are read again and compared by
//! count and digest; only then may the programs use the target.

mod tables;

use model::StorageUrl;
use model::wire::to_cbor;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(crate) use tables::{Column, Kind, NUMBERED, Numbered, TABLES, Table};

use crate::postgres::{Progress, Target};
use crate::{Access, Moved, PostgresStore, Program, RunLock, SqliteStore, StoreError, sqlite};

/// The most rows of a portion, and the most bytes after which it is cut.
const PORTION_ROWS: usize = 1_000;
const PORTION_BYTES: usize = 8 * 1024 * 1024;

/// Moves everything from the SQLite file `from` into the PostgreSQL database `to`, and gives what that was. The file is not
/// changed. What was cut short goes on where it was, or begins anew where the file changed since. `tell` hears of each portion:
/// the table, and how many of its rows are there.
///
/// While it goes on, neither program runs on the file ([`StoreError::AlreadyRunning`]), and none opens the target. A target
/// that holds anything but an earlier part of the same is refused. It needs the role that owns the target's tables.
pub(crate) fn transfer(
    from: &Access,
    to: &Access,
    tell: &mut dyn FnMut(&'static str, u64),
) -> Result<Vec<Moved>, StoreError> {
    let (StorageUrl::Sqlite(path), StorageUrl::Postgres(url)) = (&from.url, &to.url) else {
        let text =
            "only a SQLite file can be moved, and only into PostgreSQL: from sqlite:///... to postgres://...";
        return Err(StoreError::Other(text.to_owned()));
    };
    let mut source = SqliteStore::open_existing(path)?;
    let state = sqlite::parent(path);
    let _runs = [RunLock::take(state, Program::Collector)?, RunLock::take(state, Program::Alerter)?];
    let about = source.about()?;
    let mut target = PostgresStore::open_target(url, &to.to_postgres(), &about)?;
    for table in TABLES {
        move_table(&mut source, &mut target, table, tell)?;
    }
    let moved = compared(&mut source, &mut target)?;
    target.finish(&about)?;
    Ok(moved)
}

/// What the source says of itself as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    /// Which installation it is.
    pub(crate) installation: String,
    /// How many records were ever set aside.
    pub(crate) quarantined: i64,
    /// The highest number in each of [`NUMBERED`]; 0 where there is no row.
    pub(crate) highest: Vec<i64>,
    /// Differs where a program or a person wrote to it: what its log of runs and what people said come to.
    pub(crate) state: String,
}

fn move_table(
    source: &mut SqliteStore,
    target: &mut Target,
    table: &'static Table,
    tell: &mut dyn FnMut(&'static str, u64),
) -> Result<(), StoreError> {
    let mut progress = target.progress(table)?;
    while !progress.done {
        let rows = source.portion(table, progress.after.as_deref())?;
        let next = Progress {
            done: rows.is_empty(),
            rows: progress.rows + rows.len() as u64,
            after: rows.last().map(|row| Table::key(row, table.source_key)).or(progress.after.clone()),
        };
        target.add(table, &rows, &progress, &next)?;
        progress = next;
        tell(table.name, progress.rows);
    }
    Ok(())
}

/// Reads both sides again. Where they differ, the next transfer begins anew.
fn compared(source: &mut SqliteStore, target: &mut Target) -> Result<Vec<Moved>, StoreError> {
    let mut moved = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let here = sum(table.source_key, |after| source.portion(table, after))?;
        let there = sum(table.target_key, |after| target.portion(table, after))?;
        if here != there {
            target.begin_anew()?;
            return Err(StoreError::Other(format!(
                "the table {} has {} rows in the file and {} in the database, or other contents: somebody wrote to one of \
                 them; say it again, it begins anew",
                table.name, here.rows, there.rows
            )));
        }
        moved.push(Moved { table: table.name, rows: here.rows, digest: here.to_string() });
    }
    Ok(moved)
}

/// A value of a row, as both sides have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Value {
    /// About how many bytes it has.
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 8,
            Self::Blob(bytes) => bytes.len() + 8,
            _ => 8,
        }
    }
}

/// The values of a row, in the order of its table's columns.
pub(crate) type Row = Vec<Value>;

/// Cuts a portion that would be too large: how long it is to be, as its rows come one by one.
#[derive(Debug, Default)]
pub(crate) struct Portion {
    /// What there is of it.
    pub(crate) rows: Vec<Row>,
    bytes: usize,
}

impl Portion {
    /// The most rows that are worth asking for.
    pub(crate) const ROWS: usize = PORTION_ROWS;

    /// Takes a row; gives whether there is room for another.
    pub(crate) fn take(&mut self, row: Row) -> bool {
        self.bytes += row.iter().map(Value::size).sum::<usize>();
        self.rows.push(row);
        self.rows.len() < PORTION_ROWS && self.bytes < PORTION_BYTES
    }
}

/// What the rows of a table come to: their number, and the sum of their SHA-256 as four numbers. In whatever order an engine
/// gives them, it is the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sum {
    rows: u64,
    lanes: [u64; 4],
}

impl Sum {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: &Row) {
        let digest = Sha256::digest(to_cbor(row));
        for (lane, bytes) in self.lanes.iter_mut().zip(digest.chunks_exact(8)) {
            let bytes = bytes.try_into().expect("a chunk of 8 has 8");
            *lane = lane.wrapping_add(u64::from_be_bytes(bytes));
        }
        self.rows += 1;
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lanes.iter().try_for_each(|lane| write!(f, "{lane:016x}"))
    }
}

/// What all rows of a table come to that `portion` gives, each time those after a key.
pub(crate) fn sum(
    key: &[usize],
    mut portion: impl FnMut(Option<&[Value]>) -> Result<Vec<Row>, StoreError>,
) -> Result<Sum, StoreError> {
    let (mut sum, mut after) = (Sum::default(), None);
    loop {
        let rows = portion(after.as_deref())?;
        let Some(last) = rows.last() else { return Ok(sum) };
        after = Some(Table::key(last, key));
        for row in &rows {
            sum.add(row);
        }
    }
}

#[cfg(test)]
mod tests;
