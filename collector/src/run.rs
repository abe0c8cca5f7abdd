//! One run: who is to be visited, the visits, and what they brought into the storage.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use config::{Client, Settings};
use envelope::MasterKey;
use model::{ClientName, ClientUid, Exit, Record, Timestamp};
use storage::{Attempt, ClientRow, Content, Here, Program, Received, ReportStore, RunLock, StoreError};

use crate::budget::Budget;
use crate::credential::Wallet;
use crate::dead_man::Alerter;
use crate::finished::{Finished, Incoming};
use crate::keys::{self, Identities};
use crate::prepare::{Errand, Hosts, Preparer};
use crate::probe::Probes;
use crate::progress::Progress;
use crate::queue::Standing;
use crate::report::{Line, Report, counted, told};
use crate::schedule::{self, Window};
use crate::slot::Slot;
use crate::supervisor::{Ledger, Visit, supervise};
use crate::{check_host, event_time, random, route, store};

/// Attempts that are stored in one transaction at most.
const BATCH: usize = 64;

/// How long an attempt waits for others to be stored with.
const BATCH_WAIT: Duration = Duration::from_millis(200);

/// Record bytes that wait to be stored at most.
const BATCH_BYTES: usize = 16 * 1024 * 1024;

/// What a run is to do.
pub(crate) struct Order<'a> {
    /// What config.xml says.
    pub(crate) settings: &'a Settings,
    /// The clients to visit.
    pub(crate) clients: &'a [&'a Client],
    /// Whether these are all: a part counts for no verdict over the fleet.
    pub(crate) whole: bool,
    /// This host, as the run log names it.
    pub(crate) host: String,
    /// Whether each client writes a new record, however young its newest is.
    pub(crate) fresh: bool,
    /// The running user's credentials.
    pub(crate) wallet: Wallet,
    /// The files of host keys.
    pub(crate) hosts: Hosts,
    /// The programs for the clients.
    pub(crate) probes: Probes,
    /// Whether a person at a terminal is told how far it is.
    pub(crate) progress: bool,
}

/// Why a run did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The storage, or the lock.
    Storage(StoreError),
    /// The master key's file.
    MasterKey(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Storage(error)
    }
}

impl Failure {
    /// The exit status that says it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Storage(error) => error.exit(),
            Self::MasterKey(_) => Exit::Config,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storage(error) => write!(f, "{error}: {}", error.remedy()),
            Self::MasterKey(text) => f.write_str(text),
        }
    }
}

/// Collects once from the clients of `order`.
pub(crate) fn run(order: Order<'_>) -> Result<Report, Failure> {
    let (settings, is_whole) = (order.settings, order.whole);
    let state_dir = &settings.storage.state_dir;
    let begun = Instant::now();
    let _lock = RunLock::take(state_dir, Program::Collector)?;
    let (mut store, skew) = store::open(settings, storage::open)?;
    let store = &mut *store;
    let now = skew.now();
    let master = master_key(state_dir)?;

    let mut log = storage::Run {
        program: Program::Collector,
        host: order.host.clone(),
        begin: now,
        end: None,
        done: 0,
        failed: 0,
        whole: is_whole,
    };
    let habit = storage::habit(&begins(store, &order.host, now)?);
    log = store.begin_run(&log)?;
    let names: Vec<_> = order.clients.iter().map(|client| client.name.clone()).collect();
    let rows = store.clients(&names, &mut || ClientUid(random::bytes()))?;
    let identities = keys::open_or_make(&rows, &master, now, store, &mut |warning| log::warn!("{warning}"))?;

    let window = settings.collector_every.or(habit).map(|every| Window::new(begun, every));
    let mut ledger = Batches::new(&rows, store, now, begun);
    ledger.progress = if order.progress { Progress::on_terminal(rows.len()) } else { None };
    visit(order, &rows, identities, window, &mut ledger)?;
    ledger.flush()?;
    let mut report = ledger.report;

    report.took = begun.elapsed();
    log.end = Some(skew.now());
    (log.done, log.failed) = (report.collected() as u64, report.failed() as u64);
    store.end_run(&log)?;
    if is_whole {
        report.overdue_alerter = overdue_alerter(store, settings, &log.host, now)?;
    }
    Ok(report)
}

/// What to say of an alerter that does not run any more.
fn overdue_alerter(
    store: &mut dyn ReportStore,
    settings: &Settings,
    host: &str,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let alerter = Alerter {
        runs: &store.runs(Program::Alerter, storage::RUNS_LOOKED_AT)?,
        every: settings.alerter_every,
        unevaluated: store.oldest_unevaluated_run()?,
        tells: settings
            .clients
            .iter()
            .flat_map(|client| &client.rules)
            .any(|rule| !rule.receivers.is_empty()),
    };
    Ok(alerter.overdue(Here { host, booted: storage::booted(now) }, now))
}

/// The key that seals the clients' key pairs, made where there is none.
pub(crate) fn master_key(state_dir: &Path) -> Result<MasterKey, Failure> {
    MasterKey::load_or_create(&master_key_file(state_dir))
        .map_err(|fault| Failure::MasterKey(fault.to_string()))
}

/// Where that key lies.
pub(crate) fn master_key_file(state_dir: &Path) -> PathBuf {
    state_dir.join("master.key")
}

/// When the latest whole runs of this host began, this one included. What an earlier version noted says no host.
fn begins(store: &mut dyn ReportStore, host: &str, now: Timestamp) -> Result<Vec<Timestamp>, StoreError> {
    let runs = store.runs(Program::Collector, storage::RUNS_LOOKED_AT)?;
    let ours = |run: &&storage::Run| run.whole && (run.host == host || run.host.is_empty());
    let whole = runs.iter().filter(ours).map(|run| run.begin);
    Ok(whole.chain([now]).collect())
}

fn visit(
    order: Order<'_>,
    rows: &[ClientRow],
    identities: Identities,
    window: Option<Window>,
    ledger: &mut Batches<'_>,
) -> Result<(), StoreError> {
    let visits: Vec<_> = order
        .clients
        .iter()
        .zip(rows)
        .map(|(client, row)| Visit {
            name: client.name.clone(),
            budget: Budget::new(client.timeout, order.probes.largest()),
            processes: route::processes(client),
            standing: Standing { failed_last: row.failed_last, not_reached_last: row.not_reached_last },
        })
        .collect();
    let Order { clients, fresh, settings, wallet, hosts, probes, .. } = order;
    let preparer = Preparer::new(wallet, hosts, probes);
    let clients: Vec<Client> = clients.iter().copied().cloned().collect();
    let owned = rows.to_vec();
    let prepare = move |index: usize| {
        let row = &owned[index];
        preparer.collect(&clients[index], row, &identities[&row.name], Errand { fresh, ..Errand::default() })
    };
    let turns = schedule::turns(rows, random::shuffled(visits.len()));
    supervise(&visits, &turns, settings.concurrency, window, prepare, ledger)
}

/// Attempts on their way into the storage, and the report over those that are there.
pub(crate) struct Batches<'a> {
    rows: &'a [ClientRow],
    store: &'a mut dyn ReportStore,
    /// When the run began.
    run: Timestamp,
    begun: Instant,
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
    /// Nothing waits yet; `rows` are those of the visits, in their order; `run` and `begun` say when the run began.
    pub(crate) fn new(
        rows: &'a [ClientRow],
        store: &'a mut dyn ReportStore,
        run: Timestamp,
        begun: Instant,
    ) -> Self {
        let report = Report::default();
        Self {
            rows,
            store,
            run,
            begun,
            waiting: Vec::new(),
            old_keys: Vec::new(),
            bytes: 0,
            oldest: Instant::now(),
            newest: HashMap::new(),
            report,
            progress: None,
        }
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

    fn take(&mut self, finished: Finished) -> Result<(), StoreError> {
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
            ended: self.begun.elapsed(),
            uploaded: finished.uploaded,
            stored: 0,
        };
        if let Some(below) = keys::forgettable(row, finished.oldest_key) {
            self.old_keys.push((row.uid, below));
        }
        let floor = self.newest.get(&row.name).copied().max(row.last_event_time);
        let attempt = attempt(row.uid, self.run, floor, finished);
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
