//! The collector's side.

use std::collections::BTreeMap;

use model::wire::StoredThrough;
use model::{Body, ClientName, ClientUid, Outcome};

use super::{Attempted, Client, MemoryStore, Report, number, refused};
use crate::admit::{self, Admission, Twin};
use crate::reports::Keeping;
use crate::{Attempt, ClientRow, Received, ReportStore, Run, SealedKey, StoreError};

impl ReportStore for MemoryStore {
    fn clients(
        &mut self,
        names: &[ClientName],
        new_uid: &mut dyn FnMut() -> ClientUid,
    ) -> Result<Vec<ClientRow>, StoreError> {
        for name in names {
            if !self.clients.iter().any(|client| client.name == *name) {
                self.clients.push(Client {
                    name: name.clone(),
                    uid: new_uid(),
                    keys: BTreeMap::new(),
                    spools: BTreeMap::new(),
                    last_spool: None,
                });
            }
        }
        let row = |name: &ClientName| self.clients.iter().position(|client| client.name == *name);
        Ok(names.iter().filter_map(row).map(|client| self.row(client)).collect())
    }

    fn add_key(&mut self, client: ClientUid, key: &SealedKey) -> Result<(), StoreError> {
        let client = self.client(client)?;
        let keys = &mut self.clients[client].keys;
        if keys.contains_key(&key.key_id) {
            return Err(refused(format!("the key {} is there already", key.key_id)));
        }
        keys.insert(key.key_id, key.clone());
        Ok(())
    }

    fn store(&mut self, attempts: &[Attempt]) -> Result<Vec<usize>, StoreError> {
        // All that can fail comes before the first change.
        for attempt in attempts {
            self.client(attempt.client)?;
        }
        attempts.iter().map(|attempt| self.store_attempt(attempt)).collect()
    }

    fn note_run(&mut self, run: &Run) -> Result<(), StoreError> {
        self.put_run(run);
        Ok(())
    }
}

impl MemoryStore {
    fn row(&self, index: usize) -> ClientRow {
        let client = &self.clients[index];
        let judged = |attempt: &&Attempted| attempt.client == index && attempt.outcome != Outcome::NotReached;
        let last = self.attempts.iter().filter(judged).max_by_key(|attempt| attempt.at);
        ClientRow {
            name: client.name.clone(),
            uid: client.uid,
            last_event_time: client.spools.values().filter_map(|spool| spool.last_event_time).max(),
            stored: client.last_spool.and_then(|uid| {
                let spool = client.spools.get(&uid)?;
                Some(StoredThrough { spool: uid, sequence: spool.through?, digest: spool.digest })
            }),
            failed_last: last.is_some_and(|attempt| !attempt.outcome.is_collected()),
            keys: client.keys.values().cloned().collect(),
        }
    }

    fn store_attempt(&mut self, attempt: &Attempt) -> Result<usize, StoreError> {
        let client = self.client(attempt.client)?;
        let mut conflicts = Vec::new();
        let mut stored = 0;
        for received in &attempt.records {
            let Some(sequence) = admit::sequence(received.sequence) else {
                continue;
            };
            self.clients[client].last_spool = Some(received.spool);
            if conflicts.contains(&received.spool) {
                continue;
            }
            match self.admit(client, sequence, received) {
                Admission::Known => continue,
                Admission::Conflict => {
                    conflicts.push(received.spool);
                    continue;
                }
                Admission::Moved => {}
                Admission::New => {
                    stored += 1;
                    self.keep(client, sequence, received);
                }
            }
            let spool = self.clients[client].spools.entry(received.spool).or_default();
            spool.through = Some(received.sequence);
            spool.digest = received.digest;
        }
        self.attempts.push(Attempted { client, at: attempt.at, outcome: attempt.outcome.clone() });
        self.unevaluated_attempts.insert((attempt.at.millis(), number(self.attempts.len() - 1)));
        Ok(stored)
    }

    fn admit(&self, client: usize, sequence: i64, received: &Received) -> Admission {
        let spools = &self.clients[client].spools;
        let twins: Vec<Twin> = spools
            .iter()
            .filter_map(|(uid, spool)| {
                let digest = *spool.records.get(&sequence)?;
                Some(Twin { same_spool: *uid == received.spool, digest })
            })
            .collect();
        let through = spools.get(&received.spool).and_then(|spool| spool.through);
        admit::admit(through, received.sequence, admit::short_digest(&received.digest), &twins)
    }

    fn keep(&mut self, client: usize, sequence: i64, received: &Received) {
        let spool = self.clients[client].spools.entry(received.spool).or_default();
        spool.records.insert(sequence, admit::short_digest(&received.digest));
        spool.last_event_time = spool.last_event_time.max(Some(received.event_time));
        let Keeping::Stored(record) = received.keeping() else {
            self.quarantined += 1;
            return;
        };
        let report = match &record.body {
            Body::Report(report) => Some(report.clone()),
            Body::Gap(_) => None,
        };
        let host = report.as_ref().map(|report| report.host.clone());
        let report = report.unwrap_or_default();
        self.reports.push(Report {
            client,
            event_time: received.event_time,
            samples: report.samples,
            evidence: report.evidence,
            host,
        });
        self.unevaluated_reports.insert((received.event_time.millis(), number(self.reports.len() - 1)));
    }
}
