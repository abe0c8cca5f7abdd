//! From the schema that a file has to the one that this program knows, one step and one transaction at a time.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::fault::{Fault, refused};
use crate::{StoreError, place};

/// One step: the statements that make schema `version` of the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// What `user_version` is afterwards.
    pub(super) version: u32,
    /// The statements.
    pub(super) sql: &'static str,
}

/// All steps, in order, without a hole.
pub(super) const STEPS: &[Step] = &[
    Step { version: 1, sql: include_str!("../../../sql/sqlite/0001_initial.sql") },
    Step { version: 2, sql: include_str!("../../../sql/sqlite/0002_alerts.sql") },
    Step { version: 3, sql: include_str!("../../../sql/sqlite/0003_hosts.sql") },
];

/// Marks a file as ours (`PRAGMA application_id`): "FlHe".
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"FlHe");

/// The version of the schema in the file; 0 for an empty file. Refuses the file of another program and of a newer
/// version. Reads only.
pub(super) fn version(connection: &Connection, steps: &[Step]) -> Result<u32, Fault> {
    if !connection.is_autocommit() {
        return version_within(connection, steps);
    }
    // All reads of one state: another process may be making the file.
    let transaction = connection.unchecked_transaction()?;
    version_within(&transaction, steps)
}

fn version_within(connection: &Connection, steps: &[Step]) -> Result<u32, Fault> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let (application, found) = (number("application_id")?, number("user_version")?);
    if application != APPLICATION_ID {
        let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if application != 0 || found != 0 || tables != 0 {
            return Err(refused(
                "the file is a database of another program; name another file in config.xml",
            ));
        }
    }
    let known = steps.last().map_or(0, |step| step.version);
    let found = u32::try_from(found).map_err(|_| refused(format!("the file has schema version {found}")))?;
    if found > known { Err(StoreError::NewerSchema { found, known }.into()) } else { Ok(found) }
}

/// Takes every step that the file at `path` lacks. A file that holds something is copied to `PATH.backup-vN` before.
pub(super) fn migrate(connection: &mut Connection, path: &Path, steps: &[Step]) -> Result<(), Fault> {
    let found = version(connection, steps)?;
    let missing: Vec<&Step> = steps.iter().filter(|step| step.version > found).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if found == 0 {
        // All at once: what another process finds meanwhile is an empty file or a whole one, with nothing to back up.
        return take(connection, &missing, steps);
    }
    let copy = back_up(connection, path, found)?;
    log::info!("storage: schema {found} is brought up to date; a backup is in {}", copy.display());
    missing.iter().try_for_each(|step| take(connection, &[step], steps))
}

/// Takes `missing` steps in one transaction.
fn take(connection: &mut Connection, missing: &[&Step], steps: &[Step]) -> Result<(), Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    let found = version(&transaction, steps)?;
    for step in missing.iter().filter(|step| step.version > found) {
        transaction.execute_batch(step.sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", step.version)?;
    }
    Ok(transaction.commit()?)
}

/// Copies the file to `PATH.backup-vN`, whole and on the disk, or not at all.
fn back_up(connection: &Connection, path: &Path, version: u32) -> Result<PathBuf, Fault> {
    let target = beside(path, &format!(".backup-v{version}"));
    let draft = beside(path, &format!(".backup-v{version}.{}", std::process::id()));
    let copy = || -> Result<(), Fault> {
        // SQLite writes into an empty file, and so the copy is as private as this makes it.
        place::create_private(&draft)?;
        let name = draft.to_str().ok_or_else(|| refused("the storage's path is not UTF-8"))?;
        connection.execute("VACUUM INTO ?1", [name])?;
        place::sync(&draft)?;
        fs::rename(&draft, &target).map_err(|error| place::failed("make", &target, &error))?;
        Ok(place::sync(&target)?)
    };
    copy().inspect_err(|_| {
        let _ = fs::remove_file(&draft);
    })?;
    Ok(target)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
