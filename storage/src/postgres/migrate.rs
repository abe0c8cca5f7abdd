//! From the schema that a database has to the one that this program knows, one step and one transaction at a time.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use tokio_postgres::error::SqlState;

use super::fault::{Fault, corrupt, refused};
use super::link::{Link, Mode, Tx};
use super::values::params;
use crate::StoreError;

/// One step: the statements that make schema `version` of the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// The version afterwards.
    pub(super) version: u32,
    /// The statements.
    pub(super) sql: &'static str,
    /// What goes with them where the engine has native partitions, and where it has none.
    pub(super) partitioned: &'static str,
    pub(super) whole: &'static str,
}

/// All steps, in order, without a hole.
pub(super) const STEPS: &[Step] = &[Step {
    version: 1,
    sql: include_str!("../../../sql/postgres/0001_initial.sql"),
    partitioned: include_str!("../../../sql/postgres/0001_partitioned.sql"),
    whole: include_str!("../../../sql/postgres/0001_whole.sql"),
}];

fn known(steps: &[Step]) -> u32 {
    steps.last().map_or(0, |step| step.version)
}

/// The version of the schema in the database; 0 where there is none. Refuses a newer one.
fn version(link: &mut Link, steps: &[Step]) -> Result<u32, Fault> {
    let found = link.again(Mode::Read, version_within);
    let found = match found {
        // No table: nothing was ever made here.
        Err(fault) if fault.is(&SqlState::UNDEFINED_TABLE) => 0,
        found => found?,
    };
    let known = known(steps);
    if found > known { Err(StoreError::NewerSchema { found, known }.into()) } else { Ok(found) }
}

fn version_within(tx: &mut Tx<'_>) -> Result<u32, Fault> {
    let row = tx.row("SELECT value FROM meta WHERE key = 'version'", params![])?;
    let row = row.ok_or_else(|| {
        refused("the database is another program's: its table meta names no version; name another one in config.xml")
    })?;
    row.get::<&str>(0)?.parse().map_err(corrupt)
}

/// Sees that the schema is the one that this program knows.
pub(super) fn check(link: &mut Link, steps: &[Step]) -> Result<(), Fault> {
    let (found, known) = (version(link, steps)?, known(steps));
    if found < known { Err(StoreError::OlderSchema { found, known }.into()) } else { Ok(()) }
}

/// Takes every step that the database lacks.
pub(super) fn migrate(link: &mut Link, steps: &[Step]) -> Result<(), Fault> {
    loop {
        let found = version(link, steps)?;
        let Some(step) = steps.iter().find(|step| step.version > found) else { return Ok(()) };
        let Err(fault) = link.again(Mode::Schema, |tx| take(tx, step, found)) else { continue };
        // Another process may have been faster: then there is one step less to take.
        if version(link, steps)? == found {
            return Err(fault);
        }
    }
}

/// Takes one step from `found`.
fn take(tx: &mut Tx<'_>, step: &Step, found: u32) -> Result<(), Fault> {
    let about = tx.row("SELECT version(), current_setting('server_encoding')", params![])?;
    let about = about.ok_or_else(|| corrupt("the server does not say its version"))?;
    let (engine, encoding): (&str, &str) = (about.get(0)?, about.get(1)?);
    if encoding != "UTF8" {
        return Err(refused(format!("the database is encoded in {encoding}; make one with ENCODING 'UTF8'")));
    }
    tx.batch(step.sql)?;
    tx.batch(if engine.contains("CockroachDB") { step.whole } else { step.partitioned })?;
    let version = step.version.to_string();
    if found == 0 {
        // Tells the Message-IDs of two installations apart.
        let random = || RandomState::new().hash_one(());
        let installation = format!("{:016x}{:016x}", random(), random());
        let meta = "INSERT INTO meta (key, value) VALUES ('installation', $1), ('version', $2)";
        tx.execute(meta, params![installation, version])?;
        return Ok(());
    }
    let update = "UPDATE meta SET value = $1 WHERE key = 'version' AND value = $2";
    match tx.execute(update, params![version, found.to_string()])? {
        0 => Err(refused("another process takes the same step")),
        _ => Ok(()),
    }
}
