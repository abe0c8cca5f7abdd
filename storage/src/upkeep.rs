//! What is done to a database as a whole: its upkeep, and moving a file into it.

#![cfg_attr(
    not(feature = "postgres"),
    expect(unused_variables, reason = "a file has no upkeep, and is moved into a database only")
)]

use std::time::Duration;

use model::{StorageUrl, Timestamp};

#[cfg(feature = "postgres")]
use crate::PostgresStore;
#[cfg(not(feature = "postgres"))]
use crate::open::left_out;
use crate::{Access, StoreError};

/// What was done to keep the storage in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintained {
    /// Partitions that were made.
    pub made: u64,
    /// Rows that were moved into them.
    pub moved: u64,
    /// Partitions that were dropped.
    pub dropped: u64,
    /// Rows that were deleted.
    pub deleted: u64,
}

/// What was moved of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The table.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// What its rows come to on both sides, in hexadecimal digits.
    pub digest: String,
}

/// Brings a database's schema up to date, makes the partitions of the days ahead, and removes what is older than `keep`
/// (`None`: nothing) and evaluated. For the role that owns the tables; to others it is [`StoreError::Denied`].
pub fn maintain(access: &Access, now: Timestamp, keep: Option<Duration>) -> Result<Maintained, StoreError> {
    match &access.url {
        StorageUrl::Sqlite(_) => Ok(Maintained::default()),
        #[cfg(feature = "postgres")]
        StorageUrl::Postgres(url) => PostgresStore::open(url, &access.to_postgres())?.maintain(now, keep),
        #[cfg(not(feature = "postgres"))]
        StorageUrl::Postgres(_) => Err(left_out()),
    }
}

/// [`maintain`], where this role owns the tables and a day went by since it was done last. `None`: not now.
pub fn maintain_daily(
    access: &Access,
    now: Timestamp,
    keep: Option<Duration>,
) -> Result<Option<Maintained>, StoreError> {
    match &access.url {
        StorageUrl::Sqlite(_) => Ok(None),
        #[cfg(feature = "postgres")]
        StorageUrl::Postgres(url) => {
            PostgresStore::open_existing(url, &access.to_postgres())?.maintain_daily(now, keep)
        }
        #[cfg(not(feature = "postgres"))]
        StorageUrl::Postgres(_) => Err(left_out()),
    }
}

/// Moves everything from the SQLite file `from` into the PostgreSQL database `to`, and gives what that was. The file is not
/// changed; while it goes on neither program runs on it, and none opens the target. What was cut short goes on where it was. `tell`
/// hears of each portion: the table, and how many of its rows are there.
pub fn transfer(
    from: &Access,
    to: &Access,
    tell: &mut dyn FnMut(&'static str, u64),
) -> Result<Vec<Moved>, StoreError> {
    #[cfg(feature = "postgres")]
    let moved = crate::transfer::transfer(from, to, tell);
    #[cfg(not(feature = "postgres"))]
    let moved = Err(left_out());
    moved
}
