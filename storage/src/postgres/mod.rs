//! The store in a database of PostgreSQL, or of what speaks its protocol and scales further: for a fleet that several hosts
//! work on.
//!
//! Every call is one transaction, which is done anew where another one was in its way or the connection was lost. Nothing is
//! kept in the session: a pooler may give each transaction another connection, and servers may change under it. What a run
//! writes goes through its fence ([`run_log`]), so that nothing is taken of a run that others think dead, and nothing twice.

mod access;
mod alerts;
mod backlog;
mod batch;
mod claims;
mod clients;
mod episodes;
mod fault;
mod history;
mod keeper;
mod link;
mod migrate;
mod outbox;
mod partitions;
mod passfile;
mod reports;
mod run_log;
mod series;
mod session;
mod silences;
mod states;
mod store;
mod tls;
mod transfer;
mod values;

#[cfg(test)]
mod tests;

use model::{ClientUid, storage_url::PostgresUrl};

pub use access::PostgresAccess;
pub(crate) use transfer::{Progress, Target};

use crate::StoreError;
use fault::{Fault, corrupt, refused};
use link::{Link, Mode, Tx};
use run_log::Held;
use series::Series;
use values::params;

/// A store in a database that several hosts may share.
#[derive(Debug)]
pub struct PostgresStore {
    link: Link,
    series: Series,
    /// The run that was begun through this store and goes on.
    run: Option<Held>,
    lease: std::time::Duration,
}

impl PostgresStore {
    /// Opens the store, and makes or brings up to date its schema where this role may.
    pub fn open(url: &PostgresUrl, access: &PostgresAccess) -> Result<Self, StoreError> {
        let mut store = Self::connected(url, access)?;
        migrate::migrate(&mut store.link, migrate::STEPS)?;
        transfer::check(&mut store.link)?;
        Ok(store)
    }

    /// Opens the store to look at it: its schema is neither made nor changed.
    pub fn open_existing(url: &PostgresUrl, access: &PostgresAccess) -> Result<Self, StoreError> {
        let mut store = Self::connected(url, access)?;
        migrate::check(&mut store.link, migrate::STEPS)?;
        transfer::check(&mut store.link)?;
        Ok(store)
    }

    /// Opens the store as it is at this moment, to try something out: whatever is done to it is seen here alone and gone with
    /// it. Its runs are not noted and hold no lease. As long as it is there, whoever wants to evaluate the same entries waits
    /// for it; who collects does not.
    pub fn open_copy(url: &PostgresUrl, access: &PostgresAccess) -> Result<Self, StoreError> {
        let mut store = Self::open_existing(url, access)?;
        store.link.keep_private();
        Ok(store)
    }

    fn connected(url: &PostgresUrl, access: &PostgresAccess) -> Result<Self, Fault> {
        let link = Link::new(access.doors(url)?, tls::connector(url)?, access.patience, access.answer);
        Ok(Self { link, series: Series::default(), run: None, lease: access.lease })
    }

    /// Runs `work` over one state of the database. It may run several times, until one goes through.
    fn read<T>(
        &mut self,
        mut work: impl FnMut(&mut Tx<'_>, &mut Series) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let Self { link, series, .. } = self;
        Ok(link.again(Mode::Read, |tx| work(tx, series))?)
    }
}

/// The row of a client.
fn client_id(tx: &mut Tx<'_>, uid: ClientUid) -> Result<i64, Fault> {
    if uid == ClientUid::FLEET {
        return Err(refused("the fleet as a whole is no client"));
    }
    subject_id(tx, uid)
}

/// The row of a client, or that of the fleet as a whole: what an alert is about.
fn subject_id(tx: &mut Tx<'_>, uid: ClientUid) -> Result<i64, Fault> {
    match tx.row("SELECT client_id FROM client WHERE uid = $1", params![&uid.0[..]])? {
        Some(row) => row.get(0),
        None => Err(refused(format!("there is no client {uid}"))),
    }
}

/// A text column as a type that has rules.
fn parsed<T: std::str::FromStr<Err = String>>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(corrupt)
}
