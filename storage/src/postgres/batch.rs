//! What a batch of attempts does to the rows of its clients. Pure: `store.rs` reads these rows before, and writes them after.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use model::{Body, ClientUid, Host, Outcome, Record, SpoolId};

use crate::admit::{self, Admission, Twin};
use crate::reports::Keeping;
use crate::{Attempt, Content, Received};

/// The rows that a batch is about.
#[derive(Default)]
pub(super) struct Batch<'a> {
    pub(super) clients: BTreeMap<ClientUid, Client<'a>>,
    pub(super) spools: Vec<Spool<'a>>,
    /// The stored records of a client and sequence: the place of their spool in `spools`, and their short digest.
    pub(super) twins: HashMap<(i64, i64), Vec<(usize, i64)>>,
    /// What is new.
    pub(super) reports: Vec<NewReport<'a>>,
    pub(super) set_aside: Vec<SetAside<'a>>,
}

/// A client's row of `latest`.
#[derive(Default)]
pub(super) struct Client<'a> {
    pub(super) id: i64,
    /// The place of the spool in [`Batch::spools`] that it sent last.
    pub(super) spool: Option<usize>,
    pub(super) event_time: Option<i64>,
    pub(super) report_time: Option<i64>,
    /// Where this batch brought the newest report: its place in [`Batch::reports`], and the machine that it describes.
    pub(super) report: Option<(usize, &'a Host)>,
    pub(super) collection_at: Option<i64>,
    /// Where this batch has the newest attempt.
    pub(super) outcome: Option<&'a Outcome>,
    pub(super) contact: Option<i64>,
    pub(super) failed: bool,
    pub(super) judged: Option<i64>,
}

/// A spool's row.
pub(super) struct Spool<'a> {
    pub(super) client: i64,
    pub(super) uid: SpoolId,
    /// `None`: it has no row yet.
    pub(super) id: Option<i64>,
    pub(super) through: Option<u64>,
    /// The digest of the record that it is stored through, where this batch brought it.
    pub(super) digest: Option<&'a [u8; 32]>,
    pub(super) last_event_time: i64,
}

/// A report that is new.
pub(super) struct NewReport<'a> {
    pub(super) client: i64,
    pub(super) spool: usize,
    pub(super) sequence: i64,
    pub(super) received: &'a Received,
    pub(super) record: &'a Record,
}

/// A record that is new and cannot be kept.
pub(super) struct SetAside<'a> {
    pub(super) client: i64,
    pub(super) spool: usize,
    pub(super) sequence: i64,
    pub(super) received: &'a Received,
    pub(super) reason: Cow<'a, str>,
    pub(super) bytes: Cow<'a, [u8]>,
}

impl<'a> Batch<'a> {
    /// The (client, sequence) of every record of `attempts` that may be stored already.
    pub(super) fn doubtful(&self, attempts: &[Attempt]) -> Vec<(i64, i64)> {
        let mut doubtful = Vec::new();
        for attempt in attempts {
            let Some(client) = self.clients.get(&attempt.client) else { continue };
            let highest = |wanted: &dyn Fn(&Spool<'_>) -> bool| {
                let of_client = self.spools.iter().filter(|spool| spool.client == client.id && wanted(spool));
                of_client.filter_map(|spool| spool.through).max()
            };
            for received in &attempt.records {
                let Some(sequence) = admit::sequence(received.sequence) else { continue };
                let of_spool = highest(&|spool| spool.uid == received.spool);
                let of_others = highest(&|spool| spool.uid != received.spool);
                if of_spool.max(of_others) >= Some(received.sequence) {
                    doubtful.push((client.id, sequence));
                }
            }
        }
        doubtful.sort_unstable();
        doubtful.dedup();
        doubtful
    }

    /// Takes in one attempt; gives how many of its records were new. Its client is one of the batch.
    pub(super) fn take(&mut self, attempt: &'a Attempt) -> usize {
        let Some(id) = self.clients.get(&attempt.client).map(|client| client.id) else { return 0 };
        let mut conflicts: Vec<usize> = Vec::new();
        let mut new = 0;
        for received in &attempt.records {
            let Some(sequence) = admit::sequence(received.sequence) else {
                log::warn!(
                    "client {}: a record numbered {} is not stored",
                    attempt.client,
                    received.sequence
                );
                continue;
            };
            let spool = self.spool(id, received);
            self.see(attempt.client, |client| client.spool = Some(spool));
            if conflicts.contains(&spool) {
                continue;
            }
            match self.admission(id, spool, sequence, received) {
                Admission::Known => continue,
                Admission::Conflict => {
                    log::warn!(
                        "client {}: record {} of spool {} is not the one that is stored: the machine was rolled back",
                        attempt.client,
                        received.sequence,
                        received.spool
                    );
                    conflicts.push(spool);
                    continue;
                }
                Admission::Moved => {}
                Admission::New => {
                    new += 1;
                    self.keep(attempt.client, id, spool, sequence, received);
                }
            }
            let row = &mut self.spools[spool];
            row.through = Some(received.sequence);
            row.digest = Some(&received.digest);
            row.last_event_time = row.last_event_time.max(received.event_time.millis());
        }
        self.see(attempt.client, |client| client.see_attempt(attempt));
        new
    }

    fn see(&mut self, uid: ClientUid, change: impl FnOnce(&mut Client<'a>)) {
        if let Some(client) = self.clients.get_mut(&uid) {
            change(client);
        }
    }

    /// The place of the spool that `received` came from.
    fn spool(&mut self, client: i64, received: &'a Received) -> usize {
        let found = self.spools.iter().position(|row| row.client == client && row.uid == received.spool);
        found.unwrap_or_else(|| {
            self.spools.push(Spool {
                client,
                uid: received.spool,
                id: None,
                through: None,
                digest: None,
                last_event_time: received.event_time.millis(),
            });
            self.spools.len() - 1
        })
    }

    fn admission(&self, client: i64, spool: usize, sequence: i64, received: &Received) -> Admission {
        let twins = self.twins.get(&(client, sequence)).into_iter().flatten();
        let twins: Vec<Twin> =
            twins.map(|(of, digest)| Twin { same_spool: *of == spool, digest: *digest }).collect();
        let digest = admit::short_digest(&received.digest);
        admit::admit(self.spools[spool].through, received.sequence, digest, &twins)
    }

    fn keep(&mut self, uid: ClientUid, client: i64, spool: usize, sequence: i64, received: &'a Received) {
        let digest = admit::short_digest(&received.digest);
        self.twins.entry((client, sequence)).or_default().push((spool, digest));
        let time = received.event_time.millis();
        match received.keeping() {
            Keeping::Stored(record) => {
                let place = self.reports.len();
                self.reports.push(NewReport { client, spool, sequence, received, record });
                if let Body::Report(report) = &record.body {
                    self.see(uid, |client| client.see_report(place, time, &report.host));
                }
            }
            Keeping::SetAside { reason, bytes } => {
                if let Content::Record(_) = received.content {
                    log::warn!("client {uid}: record {sequence} is set aside: {reason}");
                }
                self.set_aside.push(SetAside { client, spool, sequence, received, reason, bytes });
            }
        }
        self.see(uid, |client| client.event_time = client.event_time.max(Some(time)));
    }
}

impl<'a> Client<'a> {
    fn see_report(&mut self, place: usize, event_time: i64, host: &'a Host) {
        if self.report_time <= Some(event_time) {
            self.report_time = Some(event_time);
            self.report = Some((place, host));
        }
    }

    fn see_attempt(&mut self, attempt: &'a Attempt) {
        let at = Some(attempt.at.millis());
        if self.collection_at <= at {
            self.collection_at = at;
            self.outcome = Some(&attempt.outcome);
        }
        if attempt.outcome != Outcome::NotReached && self.judged <= at {
            self.failed = !attempt.outcome.is_collected();
            self.judged = at;
        }
        if attempt.outcome.is_collected() {
            self.contact = self.contact.max(at);
        }
    }
}
