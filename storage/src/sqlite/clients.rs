//! What happens to a client as a whole.

use model::ClientName;
use rusqlite::{OptionalExtension as _, Transaction};

use super::fault::{Fault, refused};

/// Gives it another name, in its episodes and silences too.
pub(super) fn rename(transaction: &Transaction<'_>, client: i64, name: &ClientName) -> Result<(), Fault> {
    let holder: Option<i64> = transaction
        .query_row("SELECT client_id FROM client WHERE name = ?1", [name.as_str()], |row| row.get(0))
        .optional()?;
    if holder.is_some_and(|holder| holder != client) {
        return Err(refused(format!("another client is called {name}")));
    }
    transaction.execute(
        "UPDATE silence SET target = ?2 WHERE target = (SELECT name FROM client WHERE client_id = ?1)",
        (client, name.as_str()),
    )?;
    transaction.execute("UPDATE client SET name = ?2 WHERE client_id = ?1", (client, name.as_str()))?;
    transaction
        .execute("UPDATE episode SET client_name = ?2 WHERE client_id = ?1", (client, name.as_str()))?;
    Ok(())
}

/// Removes all of it; what refers to something goes before that.
pub(super) fn purge(transaction: &Transaction<'_>, client: i64) -> Result<(), Fault> {
    for statement in [
        "DELETE FROM unevaluated WHERE report_id IN (SELECT report_id FROM report WHERE client_id = ?1)",
        "DELETE FROM unevaluated_attempt
         WHERE collection_id IN (SELECT collection_id FROM collection WHERE client_id = ?1)",
        "DELETE FROM fact WHERE episode_id IN (SELECT episode_id FROM episode WHERE client_id = ?1)",
        "DELETE FROM acknowledgement
         WHERE episode_id IN (SELECT episode_id FROM episode WHERE client_id = ?1)",
        "DELETE FROM episode WHERE client_id = ?1",
        "DELETE FROM alert WHERE client_id = ?1",
        "DELETE FROM memory WHERE client_id = ?1",
        "DELETE FROM silence WHERE target = (SELECT name FROM client WHERE client_id = ?1)",
        "DELETE FROM latest WHERE client_id = ?1",
        "DELETE FROM quarantine WHERE client_id = ?1",
        "DELETE FROM report WHERE client_id = ?1",
        "DELETE FROM collection WHERE client_id = ?1",
        "DELETE FROM spool WHERE client_id = ?1",
        "DELETE FROM client_key WHERE client_id = ?1",
        "DELETE FROM client WHERE client_id = ?1",
    ] {
        transaction.execute(statement, [client])?;
    }
    Ok(())
}
