//! The collector's side.

use std::collections::BTreeMap;
use std::time::Duration;

use model::wire::StoredThrough;
use model::{Body, ClientName, ClientUid, Outcome, Timestamp};

use super::{Attempted, Client, MemoryStore, Report, number, place, refused};
use crate::admit::{self, Admission, Twin};
use crate::payload::Extras;
use crate::reports::Keeping;
use crate::{Attempt, Claimed, ClientRow, Received, ReportStore, SealedKey, StoreError};

impl ReportStore for MemoryStore {
    fn clients(
        &mut self,
        names: &[ClientName],
        new_uid: &mut dyn FnMut() -> ClientUid,
    ) -> Result<Vec<ClientRow>, StoreError> {
        for name in names {
            if self.named(name).is_none() {
                self.clients.push(Client {
                    name: name.clone(),
                    uid: new_uid(),
                    purged: false,
                    keys: BTreeMap::new(),
                    spools: BTreeMap::new(),
                    last_spool: None,
                });
            }
        }
        Ok(names.iter().filter_map(|name| self.named(name)).map(|client| self.row(client)).collect())
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

    fn find(&mut self, name: &ClientName) -> Result<Option<ClientRow>, StoreError> {
        Ok(self.named(name).map(|client| self.row(client)))
    }

    fn rename(&mut self, client: ClientUid, name: &ClientName) -> Result<(), StoreError> {
        let index = self.client(client)?;
        if self.named(name).is_some_and(|holder| holder != index) {
            return Err(refused(format!("another client is called {name}")));
        }
        let before = std::mem::replace(&mut self.clients[index].name, name.clone());
        for silence in self.silences.iter_mut().filter(|silence| silence.target == before.as_str()) {
            name.as_str().clone_into(&mut silence.target);
        }
        for episode in self.episodes.values_mut().filter(|episode| episode.key.client == client) {
            name.as_str().clone_into(&mut episode.client_name);
        }
        Ok(())
    }

    fn forget_keys(&mut self, client: ClientUid, below: u32) -> Result<(), StoreError> {
        let client = self.client(client)?;
        let keys = &mut self.clients[client].keys;
        let newest = keys.keys().copied().max().unwrap_or(0);
        keys.retain(|key_id, _| *key_id >= below.min(newest));
        Ok(())
    }

    fn purge(&mut self, client: ClientUid) -> Result<(), StoreError> {
        let index = self.client(client)?;
        self.clients[index].purged = true;
        let (reports, attempts) = (&self.reports, &self.attempts);
        let of_another = |found: Option<usize>| found != Some(index);
        self.unevaluated_reports
            .retain(|(_, mark)| of_another(place(*mark).and_then(|at| Some(reports.get(at)?.client))));
        self.unevaluated_attempts
            .retain(|(_, _, mark)| of_another(place(*mark).and_then(|at| Some(attempts.get(at)?.client))));
        self.alerts.retain(|key, _| key.client != client);
        self.memories.remove(&client);
        let name = self.clients[index].name.as_str();
        self.silences.retain(|silence| silence.target != name);
        let gone: Vec<_> =
            self.episodes.values().filter(|e| e.key.client == client).map(|e| e.id.clone()).collect();
        self.episodes.retain(|id, _| !gone.contains(id));
        self.acknowledgements.retain(|(id, _), _| !gone.contains(id));
        for kept in self.facts.iter_mut().filter(|kept| gone.contains(&kept.fact.episode)) {
            // Its number stays taken; it is neither untold nor in a message.
            (kept.told, kept.message) = (true, None);
        }
        Ok(())
    }

    fn oldest_unevaluated_run(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.unevaluated_attempts.first().map(|(run, ..)| Timestamp(*run)))
    }

    fn claim(&mut self, wanted: &[ClientUid], _: Duration, limit: usize) -> Result<Claimed, StoreError> {
        let taken = wanted.iter().take(limit).map(|uid| Ok(self.row(self.client(*uid)?)));
        Ok(Claimed { taken: taken.collect::<Result<_, StoreError>>()?, done: Vec::new() })
    }
}

impl MemoryStore {
    fn named(&self, name: &ClientName) -> Option<usize> {
        self.clients.iter().position(|client| client.name == *name && !client.purged)
    }

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
            not_reached_last: self
                .attempts
                .iter()
                .filter(|attempt| attempt.client == index)
                .max_by_key(|attempt| attempt.at)
                .is_some_and(|attempt| attempt.outcome == Outcome::NotReached),
            last_turn: last.map(|attempt| attempt.at),
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
        let (run, at) = (attempt.run, attempt.at);
        self.attempts.push(Attempted { client, run, at, outcome: attempt.outcome.clone() });
        self.unevaluated_attempts.insert((run.millis(), at.millis(), number(self.attempts.len() - 1)));
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
        let faults = Extras::of(record).faults;
        let host = report.as_ref().map(|report| report.host.clone());
        let report = report.unwrap_or_default();
        self.reports.push(Report {
            client,
            event_time: received.event_time,
            samples: report.samples,
            evidence: report.evidence,
            host,
            faults,
        });
        self.unevaluated_reports.insert((received.event_time.millis(), number(self.reports.len() - 1)));
    }
}
