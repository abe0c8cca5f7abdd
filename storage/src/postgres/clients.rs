//! The rows of clients, and what happens to a client as a whole.

use std::collections::HashMap;

use model::wire::{StoredThrough, from_cbor};
use model::{ClientName, ClientUid, Outcome, SpoolId, Timestamp};

use super::fault::{Fault, corrupt, refused};
use super::link::Tx;
use super::parsed;
use super::values::{Row, params};
use crate::{ClientRow, SealedKey};

/// The rows of those clients that exist, in no order.
pub(super) fn named(tx: &mut Tx<'_>, names: &[ClientName]) -> Result<Vec<ClientRow>, Fault> {
    let names: Vec<&str> = names.iter().map(ClientName::as_str).collect();
    let sql = format!("{SELECT} WHERE client.name = ANY($1)");
    let rows = tx.rows(&sql, params![names])?;
    with_keys(tx, &rows)
}

/// The rows of those clients that exist, in no order.
pub(super) fn numbered(tx: &mut Tx<'_>, ids: &[i64]) -> Result<Vec<ClientRow>, Fault> {
    let sql = format!("{SELECT} WHERE client.client_id = ANY($1)");
    let rows = tx.rows(&sql, params![ids])?;
    with_keys(tx, &rows)
}

const SELECT: &str =
    "SELECT client.client_id, name, uid, latest.event_time, failed, spool.spool, stored_through, digest, judged, outcome
     FROM client LEFT JOIN latest ON latest.client_id = client.client_id
          LEFT JOIN spool ON spool.spool_id = latest.spool_id";

fn with_keys(tx: &mut Tx<'_>, rows: &[Row]) -> Result<Vec<ClientRow>, Fault> {
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
    let found = tx.rows(
        "SELECT client_id, key_id, public_key, sealed, created FROM client_key WHERE client_id = ANY($1)
         ORDER BY client_id, key_id",
        params![ids],
    )?;
    let mut keys: HashMap<i64, Vec<SealedKey>> = HashMap::new();
    for row in found {
        let key = SealedKey {
            key_id: u32::try_from(row.get::<i64>(1)?).map_err(corrupt)?,
            public_key: row.bytes(2)?,
            sealed: row.get(3)?,
            created: Timestamp(row.get(4)?),
        };
        keys.entry(row.get(0)?).or_default().push(key);
    }
    rows.iter().map(|row| client(row, keys.remove(&row.get(0)?).unwrap_or_default())).collect()
}

fn client(row: &Row, keys: Vec<SealedKey>) -> Result<ClientRow, Fault> {
    let stored = match row.get::<Option<&[u8]>>(5)? {
        None => None,
        Some(_) => Some(StoredThrough {
            spool: SpoolId(row.bytes(5)?),
            sequence: row.get::<i64>(6)? as u64,
            digest: row.bytes(7)?,
        }),
    };
    let outcome: Option<&[u8]> = row.get(9)?;
    let outcome: Option<Outcome> = outcome.map(from_cbor).transpose().map_err(corrupt)?;
    Ok(ClientRow {
        name: parsed(row.get(1)?)?,
        uid: ClientUid(row.bytes(2)?),
        last_event_time: row.get::<Option<i64>>(3)?.map(Timestamp),
        stored,
        failed_last: row.get::<Option<bool>>(4)?.unwrap_or(false),
        not_reached_last: outcome == Some(Outcome::NotReached),
        last_turn: row.get::<Option<i64>>(8)?.map(Timestamp),
        keys,
    })
}

/// Makes rows for names that have none.
pub(super) fn enrol(tx: &mut Tx<'_>, new: &[(ClientName, ClientUid)]) -> Result<(), Fault> {
    let names: Vec<&str> = new.iter().map(|(name, _)| name.as_str()).collect();
    let uids: Vec<&[u8]> = new.iter().map(|(_, uid)| &uid.0[..]).collect();
    tx.execute(
        "INSERT INTO client (uid, name) SELECT uid, name FROM unnest($1, $2) AS new (uid, name)
         ON CONFLICT (name) DO NOTHING",
        params![uids, names],
    )?;
    // Nobody has hold of them.
    tx.execute(
        "INSERT INTO claim (client_id) SELECT client_id FROM client WHERE name = ANY($1)
         ON CONFLICT (client_id) DO NOTHING",
        params![names],
    )?;
    Ok(())
}

/// Adds a key pair. Where it is done `again`, the same one may be there.
pub(super) fn add_key(tx: &mut Tx<'_>, client: i64, key: &SealedKey, again: bool) -> Result<(), Fault> {
    let added = tx.execute(
        "INSERT INTO client_key (client_id, key_id, public_key, sealed, created) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (client_id, key_id) DO NOTHING",
        params![
            client,
            i64::from(key.key_id),
            &key.public_key[..],
            key.sealed.as_slice(),
            key.created.millis()
        ],
    )?;
    if added > 0 {
        return Ok(());
    }
    let same = tx.row(
        "SELECT key_id FROM client_key WHERE client_id = $1 AND key_id = $2 AND public_key = $3 AND sealed = $4",
        params![client, i64::from(key.key_id), &key.public_key[..], key.sealed.as_slice()],
    )?;
    match same {
        Some(_) if again => Ok(()),
        _ => Err(refused(format!("the key {} is there already", key.key_id))),
    }
}

/// Gives it another name, in its episodes and silences too.
pub(super) fn rename(tx: &mut Tx<'_>, client: i64, name: &ClientName) -> Result<(), Fault> {
    let holder = tx.row("SELECT client_id FROM client WHERE name = $1", params![name.as_str()])?;
    let holder: Option<i64> = holder.map(|row| row.get(0)).transpose()?;
    if holder.is_some_and(|holder| holder != client) {
        return Err(refused(format!("another client is called {name}")));
    }
    for statement in [
        "UPDATE silence SET target = $2 WHERE target = (SELECT name FROM client WHERE client_id = $1)",
        "UPDATE client SET name = $2 WHERE client_id = $1",
        "UPDATE episode SET client_name = $2 WHERE client_id = $1",
    ] {
        tx.execute(statement, params![client, name.as_str()])?;
    }
    Ok(())
}

/// Removes all of it; what refers to something goes before that.
pub(super) fn purge(tx: &mut Tx<'_>, client: i64) -> Result<(), Fault> {
    for statement in [
        // First: who stores what this client brought holds this row until it is done.
        "DELETE FROM claim WHERE client_id = $1",
        "DELETE FROM unevaluated WHERE report_id IN (SELECT report_id FROM report WHERE client_id = $1)",
        "DELETE FROM unevaluated_attempt
         WHERE collection_id IN (SELECT collection_id FROM collection WHERE client_id = $1)",
        "DELETE FROM fact WHERE episode_id IN (SELECT episode_id FROM episode WHERE client_id = $1)",
        "DELETE FROM acknowledgement
         WHERE episode_id IN (SELECT episode_id FROM episode WHERE client_id = $1)",
        "DELETE FROM episode WHERE client_id = $1",
        "DELETE FROM alert WHERE client_id = $1",
        "DELETE FROM memory WHERE client_id = $1",
        "DELETE FROM silence WHERE target = (SELECT name FROM client WHERE client_id = $1)",
        "DELETE FROM latest WHERE client_id = $1",
        "DELETE FROM quarantine WHERE client_id = $1",
        "DELETE FROM report WHERE client_id = $1",
        "DELETE FROM collection WHERE client_id = $1",
        "DELETE FROM spool WHERE client_id = $1",
        "DELETE FROM client_key WHERE client_id = $1",
        "DELETE FROM client WHERE client_id = $1",
    ] {
        tx.execute(statement, params![client])?;
    }
    Ok(())
}
