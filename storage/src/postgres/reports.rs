//! The collector's side.

use std::collections::HashMap;
use std::time::Duration;

use model::{ClientName, ClientUid, Timestamp};

use super::fault::{corrupt, refused};
use super::values::params;
use super::{PostgresStore, claims, client_id, clients, store};
use crate::{Attempt, Claimed, ClientRow, Program, ReportStore, SealedKey, StoreError};

impl ReportStore for PostgresStore {
    fn clients(
        &mut self,
        names: &[ClientName],
        new_uid: &mut dyn FnMut() -> ClientUid,
    ) -> Result<Vec<ClientRow>, StoreError> {
        let found = by_name(self.read(|tx, _| clients::named(tx, names))?);
        let mut new: Vec<(ClientName, ClientUid)> = Vec::new();
        for name in names.iter().filter(|name| !found.contains_key(name)) {
            if new.iter().all(|(other, _)| other != name) {
                new.push((name.clone(), new_uid()));
            }
        }
        let rows = if new.is_empty() {
            found
        } else {
            by_name(self.write(|tx, _| {
                clients::enrol(tx, &new)?;
                clients::named(tx, names)
            })?)
        };
        let rows = names.iter().map(|name| rows.get(name).cloned()).collect::<Option<_>>();
        Ok(rows.ok_or_else(|| corrupt("a client's row is gone as soon as it is made"))?)
    }

    fn add_key(&mut self, client: ClientUid, key: &SealedKey) -> Result<(), StoreError> {
        // What is there already may be what this did, where nobody said whether it was committed.
        let mut again = false;
        self.write(|tx, _| {
            let client = client_id(tx, client)?;
            let added = clients::add_key(tx, client, key, again);
            again = true;
            added
        })
    }

    fn store(&mut self, attempts: &[Attempt]) -> Result<Vec<usize>, StoreError> {
        let run = self.run.clone().filter(|run| run.program == Program::Collector);
        self.write(|tx, series| store::attempts(tx, series, run.as_ref(), attempts))
    }

    fn find(&mut self, name: &ClientName) -> Result<Option<ClientRow>, StoreError> {
        let names = [name.clone()];
        Ok(self.read(|tx, _| clients::named(tx, &names))?.pop())
    }

    fn rename(&mut self, client: ClientUid, name: &ClientName) -> Result<(), StoreError> {
        self.write(|tx, _| {
            let client = client_id(tx, client)?;
            clients::rename(tx, client, name)
        })
    }

    fn forget_keys(&mut self, client: ClientUid, below: u32) -> Result<(), StoreError> {
        self.write(|tx, _| {
            let client = client_id(tx, client)?;
            tx.execute(
                "DELETE FROM client_key WHERE client_id = $1 AND key_id < $2
                 AND key_id < (SELECT max(key_id) FROM client_key WHERE client_id = $1)",
                params![client, i64::from(below)],
            )?;
            Ok(())
        })
    }

    fn purge(&mut self, client: ClientUid) -> Result<(), StoreError> {
        self.write_once(|tx, _| {
            let client = client_id(tx, client)?;
            clients::purge(tx, client)
        })
    }

    fn oldest_unevaluated_run(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|tx, _| {
            let oldest = tx.row("SELECT min(run) FROM unevaluated_attempt", params![])?;
            Ok(oldest.map(|row| row.get::<Option<i64>>(0)).transpose()?.flatten().map(Timestamp))
        })
    }

    fn claim(&mut self, wanted: &[ClientUid], rest: Duration, limit: usize) -> Result<Claimed, StoreError> {
        let run = self.run.clone().filter(|run| run.program == Program::Collector);
        let Some(run) = run else {
            return Err(refused("clients are claimed for a run, and none goes on").into());
        };
        self.write(|tx, _| claims::claim(tx, &run, wanted, rest, limit))
    }
}

fn by_name(rows: Vec<ClientRow>) -> HashMap<ClientName, ClientRow> {
    rows.into_iter().map(|row| (row.name.clone(), row)).collect()
}
