//! The collector's side: clients and keys.

use std::time::Duration;

use model::wire::{StoredThrough, from_cbor};
use model::{ClientName, ClientUid, Outcome, SpoolId, Timestamp};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::fault::{Fault, corrupt};
use super::{SqliteStore, client_id, clients, parsed, store};
use crate::{Attempt, Claimed, ClientRow, ReportStore, SealedKey, StoreError};

impl ReportStore for SqliteStore {
    fn clients(
        &mut self,
        names: &[ClientName],
        new_uid: &mut dyn FnMut() -> ClientUid,
    ) -> Result<Vec<ClientRow>, StoreError> {
        let found = self.read(|transaction, _| rows(transaction, names))?;
        if found.iter().all(Option::is_some) {
            return Ok(found.into_iter().flatten().collect());
        }
        self.write(|transaction, _| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO client (uid, name) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
            )?;
            for (name, _) in names.iter().zip(&found).filter(|(_, row)| row.is_none()) {
                insert.execute((new_uid().0, name.as_str()))?;
            }
            let rows = rows(transaction, names)?.into_iter().collect::<Option<_>>();
            rows.ok_or_else(|| corrupt("a client's row is gone as soon as it is made"))
        })
    }

    fn add_key(&mut self, client: ClientUid, key: &SealedKey) -> Result<(), StoreError> {
        self.write(|transaction, _| {
            let client = client_id(transaction, client)?;
            transaction.execute(
                "INSERT INTO client_key (client_id, key_id, public_key, sealed, created) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![client, key.key_id, key.public_key, key.sealed, key.created.millis()],
            )?;
            Ok(())
        })
    }

    fn store(&mut self, attempts: &[Attempt]) -> Result<Vec<usize>, StoreError> {
        self.write(|transaction, series| {
            let stored = attempts.iter().map(|attempt| store::attempt(transaction, series, attempt));
            let stored: Vec<store::Stored> = stored.collect::<Result<_, _>>()?;
            if stored.iter().any(|stored| stored.set_aside > 0) {
                store::bound_quarantine(transaction)?;
            }
            Ok(stored.into_iter().map(|stored| stored.new).collect())
        })
    }

    fn find(&mut self, name: &ClientName) -> Result<Option<ClientRow>, StoreError> {
        self.read(|transaction, _| row(transaction, name))
    }

    fn rename(&mut self, client: ClientUid, name: &ClientName) -> Result<(), StoreError> {
        self.write(|transaction, _| clients::rename(transaction, client_id(transaction, client)?, name))
    }

    fn forget_keys(&mut self, client: ClientUid, below: u32) -> Result<(), StoreError> {
        self.write(|transaction, _| {
            let client = client_id(transaction, client)?;
            transaction.execute(
                "DELETE FROM client_key WHERE client_id = ?1 AND key_id < ?2
                 AND key_id < (SELECT max(key_id) FROM client_key WHERE client_id = ?1)",
                params![client, below],
            )?;
            Ok(())
        })
    }

    fn purge(&mut self, client: ClientUid) -> Result<(), StoreError> {
        self.write(|transaction, _| clients::purge(transaction, client_id(transaction, client)?))
    }

    fn oldest_unevaluated_run(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|transaction, _| {
            let oldest = "SELECT min(run) FROM unevaluated_attempt";
            Ok(transaction.query_row(oldest, [], |row| row.get::<_, Option<i64>>(0))?.map(Timestamp))
        })
    }

    fn claim(&mut self, wanted: &[ClientUid], _: Duration, limit: usize) -> Result<Claimed, StoreError> {
        self.read(|transaction, _| {
            let taken = wanted.iter().take(limit).map(|uid| {
                let client = client_id(transaction, *uid)?;
                let name: String = transaction.query_row(
                    "SELECT name FROM client WHERE client_id = ?1",
                    [client],
                    |row| row.get(0),
                )?;
                row(transaction, &parsed(&name)?)?.ok_or_else(|| corrupt("a client is gone while it is read"))
            });
            Ok(Claimed { taken: taken.collect::<Result<_, Fault>>()?, done: Vec::new() })
        })
    }
}

fn rows(transaction: &Transaction<'_>, names: &[ClientName]) -> Result<Vec<Option<ClientRow>>, Fault> {
    names.iter().map(|name| row(transaction, name)).collect()
}

fn row(transaction: &Transaction<'_>, name: &ClientName) -> Result<Option<ClientRow>, Fault> {
    let found = transaction
        .prepare_cached(
            "SELECT client.client_id, uid, latest.event_time, failed, spool, stored_through, digest, judged,
                    outcome
             FROM client LEFT JOIN latest USING (client_id) LEFT JOIN spool USING (spool_id)
                  LEFT JOIN collection USING (collection_id)
             WHERE name = ?1",
        )?
        .query_row([name.as_str()], |row| {
            let stored = match row.get::<_, Option<[u8; 16]>>(4)? {
                None => None,
                Some(spool) => Some((spool, row.get::<_, u64>(5)?, row.get(6)?)),
            };
            let client = ClientRow {
                name: name.clone(),
                uid: ClientUid(row.get(1)?),
                last_event_time: row.get::<_, Option<i64>>(2)?.map(Timestamp),
                stored: stored.map(|(spool, sequence, digest)| StoredThrough {
                    spool: SpoolId(spool),
                    sequence,
                    digest,
                }),
                failed_last: row.get::<_, Option<bool>>(3)?.unwrap_or(false),
                not_reached_last: false,
                last_turn: row.get::<_, Option<i64>>(7)?.map(Timestamp),
                keys: Vec::new(),
            };
            Ok((row.get::<_, Option<Vec<u8>>>(8)?, row.get::<_, i64>(0)?, client))
        })
        .optional()?;
    let Some((outcome, id, mut client)) = found else {
        return Ok(None);
    };
    if let Some(outcome) = outcome {
        let outcome: Outcome = from_cbor(&outcome).map_err(corrupt)?;
        client.not_reached_last = outcome == Outcome::NotReached;
    }
    client.keys = keys(transaction, id)?;
    Ok(Some(client))
}

fn keys(transaction: &Transaction<'_>, client: i64) -> Result<Vec<SealedKey>, Fault> {
    let mut select = transaction.prepare_cached(
        "SELECT key_id, public_key, sealed, created FROM client_key WHERE client_id = ?1 ORDER BY key_id",
    )?;
    let keys = select.query_map([client], |row| {
        Ok(SealedKey {
            key_id: row.get(0)?,
            public_key: row.get(1)?,
            sealed: row.get(2)?,
            created: Timestamp(row.get(3)?),
        })
    })?;
    Ok(keys.collect::<Result<_, _>>()?)
}
