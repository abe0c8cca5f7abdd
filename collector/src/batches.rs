//! What the visits of a run bring, on its way into the storage in batches; and the clients that the run has hold of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use envelope::{Identity, MasterKey};
use model::{ClientName, ClientUid, Record, Timestamp};
use storage::{Attempt, ClientRow, Content, Received, ReportStore, Skew, StoreError};

use crate::finished::{Finished, Incoming};
use crate::portions::Granted;
use crate::progress::Progress;
use crate::report::{Line, Report, counted, told};
use crate::slot::Slot;
use crate::supervisor::Ledger;
use crate::{check_host, event_time, keys};

/// Attempts that are stored in one transaction at most.
const BATCH: usize = 64;

/// How long an attempt waits for others to be stored with.
const BATCH_WAIT: Duration = Duration::from_millis(200);

/// Record bytes that wait to be stored at most.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// What the job of a visit is made of: the client as the storage knows it, and its key pairs, newest last.
pub(crate) type Known = (ClientRow, Vec<Identity>);

/// The clients that this run has hold of, by the numbers of their visits.
#[derive(Default)]
pub(crate) struct Held(Mutex<HashMap<usize, Arc<Known>>>);

impl Held {
    /// What is known of the client of a visit that was granted.
    pub(crate) fn get(&self, index: usize) -> Arc<Known> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(held.get(&index).expect("only a visit that was granted is prepared"))
    }

    fn insert(&self, index: usize, known: Known) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(index, Arc::new(known));
    }

    fn remove(&self, index: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
    }
}

/// What a run is known by in the storage, and what it goes by there.
pub(crate) struct Terms<'a> {
    /// When it began, as it is noted.
    pub(crate) run: Timestamp,
    /// When it began.
    pub(crate) begun: Instant,
    /// How far the storage's clock is.
    pub(crate) skew: Skew,
    /// How long before its begin a client's turn at another's hands still counts.
    pub(crate) rest: Duration,
    /// What key pairs are sealed under.
    pub(crate) master: &'a MasterKey,
}

/// Attempts on their way into the storage, and the report over those that are there.
pub(crate) struct Batches<'a> {
    rows: Vec<ClientRow>,
    store: &'a mut dyn ReportStore,
    terms: Terms<'a>,
    held: Arc<Held>,
    waiting: Vec<(Line, Attempt)>,
    /// Key pairs that nothing names once what waits is stored: the client, and the oldest that is named.
    old_keys: Vec<(ClientUid, u32)>,
    bytes: usize,
    oldest: Instant,
    /// The newest event time of each client that this run stored.
    newest: HashMap<ClientName, Timestamp>,
    pub(crate) report: Report,
    /// What a person at a terminal sees of it.
    pub(crate) progress: Option<Progress>,
}

impl<'a> Batches<'a> {
    /// Nothing waits yet; `rows` are those of the visits, in their order.
    pub(crate) fn new(rows: Vec<ClientRow>, store: &'a mut dyn ReportStore, terms: Terms<'a>) -> Self {
        Self {
            rows,
            store,
            terms,
            held: Arc::default(),
            waiting: Vec::new(),
            old_keys: Vec::new(),
            bytes: 0,
            oldest: Instant::now(),
            newest: HashMap::new(),
            report: Report::default(),
            progress: None,
        }
    }

    /// The clients that the run has hold of.
    pub(crate) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }

    /// Stores what waits.
    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        let (mut lines, attempts): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().unzip();
        self.bytes = 0;
        if attempts.is_empty() {
            return Ok(());
        }
        let stored = self.store.store(&attempts)?;
        for (client, below) in std::mem::take(&mut self.old_keys) {
            self.store.forget_keys(client, below)?;
        }
        for (line, stored) in lines.iter_mut().zip(stored) {
            line.stored = stored;
        }
        self.report.lines.append(&mut lines);
        Ok(())
    }
}

impl Ledger for Batches<'_> {
    type Error = StoreError;

    fn claim(&mut self, wanted: &[usize], limit: usize, to_visit: bool) -> Result<Granted, StoreError> {
        let uids: Vec<_> = wanted.iter().map(|index| self.rows[*index].uid).collect();
        let claimed = self.store.claim(&uids, self.terms.rest, limit)?;
        let numbers: HashMap<_, _> = uids.into_iter().zip(wanted.iter().copied()).collect();
        let number = |uid: &ClientUid| numbers.get(uid).copied();
        let (master, now) = (self.terms.master, self.terms.skew.now());
        let warn = &mut |warning| log::warn!("{warning}");
        let mut identities = if to_visit {
            keys::open_or_make(&claimed.taken, master, now, self.store, warn)?
        } else {
            keys::Identities::new()
        };
        let mut granted =
            Granted { done: claimed.done.iter().filter_map(number).collect(), ..Granted::default() };
        for row in claimed.taken {
            let Some(index) = number(&row.uid) else { continue };
            granted.taken.push(index);
            self.rows[index] = row.clone();
            if let Some(identities) = identities.remove(&row.name) {
                self.held.insert(index, (row, identities));
            }
        }
        self.report.left += granted.done.len();
        if let Some(progress) = &mut self.progress {
            progress.leave_out(granted.done.len());
        }
        Ok(granted)
    }

    fn leave(&mut self, visits: &[usize]) {
        if let Some(progress) = &mut self.progress {
            progress.leave_out(visits.len());
        }
        self.report.elsewhere.extend(visits.iter().map(|index| self.rows[*index].name.clone()));
    }

    fn take(&mut self, finished: Finished) -> Result<(), StoreError> {
        let finished = by(self.terms.skew, finished);
        self.held.remove(finished.index);
        let row = &self.rows[finished.index];
        let after = finished.took.as_secs_f64();
        match told(&row.name, &finished.outcome) {
            text if text.is_empty() => {
                let records = counted(finished.records.len() as u64, "record");
                let clock = check_host::clock(&finished);
                log::debug!("{}: +{after:.3} s  collected: {records}, its clock {clock}", row.name);
            }
            text => log::info!("{}: +{after:.3} s  {text}", row.name),
        }
        if let Some(progress) = &mut self.progress {
            progress.count(finished.outcome.is_collected());
        }
        if self.waiting.is_empty() {
            self.oldest = Instant::now();
        }
        self.bytes += finished.records.iter().map(|record| record.bytes.len()).sum::<usize>();
        let line = Line {
            name: row.name.clone(),
            outcome: finished.outcome.clone(),
            took: finished.took,
            ended: self.terms.begun.elapsed(),
            uploaded: finished.uploaded,
            stored: 0,
        };
        if let Some(below) = keys::forgettable(row, finished.oldest_key) {
            self.old_keys.push((row.uid, below));
        }
        let floor = self.newest.get(&row.name).copied().max(row.last_event_time);
        let attempt = attempt(row.uid, self.terms.run, floor, finished);
        if let Some(record) = attempt.records.last() {
            self.newest.insert(row.name.clone(), record.event_time);
        }
        self.waiting.push((line, attempt));
        if self.waiting.len() >= BATCH || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn watch(&mut self, slots: &[Slot]) {
        if let Some(progress) = &mut self.progress {
            progress.show(slots.iter().map(Slot::standing).map(|(name, begun)| (name, begun.elapsed())));
        }
    }

    fn tick(&mut self) -> Result<(), StoreError> {
        if self.oldest.elapsed() >= BATCH_WAIT { self.flush() } else { Ok(()) }
    }
}

/// What a visit brought, by the storage's clock.
fn by(skew: Skew, mut finished: Finished) -> Finished {
    finished.at = skew.there(finished.at);
    if let Some(hello) = &mut finished.hello {
        hello.receipt = skew.there(hello.receipt);
    }
    finished
}

/// What a visit brought, stamped: the client is the one that was visited, whatever the records say.
fn attempt(client: ClientUid, run: Timestamp, floor: Option<Timestamp>, finished: Finished) -> Attempt {
    let mut attempt = Attempt {
        client,
        run,
        at: finished.at,
        outcome: finished.outcome,
        seconds: finished.took.as_secs_f64(),
        uploaded: finished.uploaded,
        records: Vec::new(),
    };
    let Some(hello) = finished.hello else {
        return attempt;
    };
    let mut contents: Vec<_> = finished.records.into_iter().map(content).collect();
    if let Some((_, _, Content::Record(newest))) = contents.last_mut() {
        event_time::note_offset(newest, &hello.clock, hello.receipt);
    }
    let clocks: Vec<_> = contents
        .iter()
        .map(|(_, _, content)| match content {
            Content::Record(record) => Some(&record.clock),
            Content::Quarantined { .. } => None,
        })
        .collect();
    let times = event_time::stamp(&hello.clock, hello.receipt, floor, &clocks);
    let stamped = contents.into_iter().zip(times).map(|((sequence, digest, content), event_time)| Received {
        spool: hello.spool,
        sequence,
        digest,
        receipt: hello.receipt,
        event_time,
        content,
    });
    attempt.records = stamped.collect();
    attempt
}

fn content(incoming: Incoming) -> (u64, [u8; 32], Content) {
    let Incoming { sequence, digest, quarantined, bytes } = incoming;
    let content = match quarantined {
        Some(reason) => Content::Quarantined { reason, envelope: bytes },
        None => match Record::decode(&bytes) {
            Ok(record) => Content::Record(Box::new(record)),
            Err(fault) => Content::Quarantined { reason: fault.to_string(), envelope: bytes },
        },
    };
    (sequence, digest, content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Body, Clock, Outcome, SpoolId};

    fn incoming(sequence: u64, boottime_ms: u64) -> Incoming {
        let clock = Clock { wall: Timestamp(7), boottime_ms, boot_id: "b".to_owned() };
        let record = Record { version: 1, clock, body: Body::Report(model::Report::default()) };
        Incoming {
            sequence,
            digest: [sequence as u8; 32],
            quarantined: None,
            bytes: record.encode().unwrap(),
        }
    }

    fn finished(records: Vec<Incoming>) -> Finished {
        let clock = Clock { wall: Timestamp(5_000_000), boottime_ms: 100_000, boot_id: "b".to_owned() };
        let hello = crate::finished::Hello { clock, spool: SpoolId([2; 16]), receipt: Timestamp(1_000_000) };
        Finished {
            index: 0,
            outcome: Outcome::Collected,
            at: Timestamp(1_000_500),
            took: Duration::from_secs(1),
            uploaded: false,
            hello: Some(hello),
            records,
            host_key: None,
            oldest_key: None,
            steps: Vec::new(),
        }
    }

    #[test]
    fn what_came_is_stamped_and_filed_under_the_visited_client() {
        let bad = Incoming {
            sequence: 2,
            digest: [2; 32],
            quarantined: Some("why".to_owned()),
            bytes: vec![1, 2, 3],
        };
        let attempt = attempt(
            ClientUid([9; 16]),
            Timestamp(900_000),
            Some(Timestamp(950_000)),
            finished(vec![incoming(1, 10_000), bad, incoming(3, 99_000)]),
        );
        assert_eq!((attempt.client, attempt.run), (ClientUid([9; 16]), Timestamp(900_000)));
        let times: Vec<_> = attempt.records.iter().map(|record| record.event_time.0).collect();
        assert_eq!(times, [950_000, 999_000, 999_000]);
        assert!(attempt.records.iter().all(|record| record.spool == SpoolId([2; 16])));
        assert!(
            matches!(&attempt.records[1].content, Content::Quarantined { envelope, .. } if envelope == &[1, 2, 3])
        );
        let Content::Record(newest) = &attempt.records[2].content else { panic!() };
        let Body::Report(report) = &newest.body else { panic!() };
        assert_eq!((report.samples[0].metric.as_str(), report.samples[0].value), ("clock-offset", 4000.0));
    }

    #[test]
    fn what_does_not_decode_is_set_aside() {
        let broken = Incoming { sequence: 1, digest: [1; 32], quarantined: None, bytes: vec![0xff] };
        let attempt = attempt(ClientUid([9; 16]), Timestamp(0), None, finished(vec![broken]));
        assert!(matches!(attempt.records[0].content, Content::Quarantined { .. }));
    }
}
