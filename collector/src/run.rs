//! One run: who is to be visited, the visits, and what they brought into the storage.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use config::{Client, Settings, StorageUrl};
use envelope::MasterKey;
use model::{ClientUid, Exit, Timestamp};
use storage::{ClientRow, Here, Program, ReportStore, RunLock, StoreError};

use crate::batches::{Batches, Terms};
use crate::budget::Budget;
use crate::command::host;
use crate::credential::Wallet;
use crate::dead_man::Alerter;
use crate::portions::Sharing;
use crate::prepare::{Errand, Hosts, Preparer};
use crate::probe::Probes;
use crate::progress::Progress;
use crate::queue::Standing;
use crate::report::Report;
use crate::schedule::{self, Window};
use crate::supervisor::{Visit, supervise};
use crate::{keys, random, route, store, storekeeping};

/// How long a client that had its turn has rest where nobody knows how often the collector is run.
const REST: Duration = Duration::from_secs(30);

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
    let master = master_key_of(settings, &rows, store)?;

    let every = settings.collector_every.or(habit);
    let window = every.map(|every| Window::new(begun, every));
    // Whoever asks for clients by hand wants them now.
    let by_hand = !is_whole || order.fresh;
    let rest = if by_hand { Duration::ZERO } else { every.map_or(REST, |every| every / 2) };
    let sharing = Sharing {
        others: is_shared(settings),
        patience: if by_hand { Duration::ZERO } else { patience(&order) },
    };
    let terms = Terms { run: log.begin, begun, skew, rest, master: &master };
    let mut ledger = Batches::new(rows.clone(), store, terms);
    ledger.progress = if order.progress { Progress::on_terminal(rows.len()) } else { None };
    visit(order, &rows, (window, sharing), &mut ledger)?;
    ledger.flush()?;
    let mut report = ledger.report;
    report.left += report.elsewhere.len();
    if !by_hand {
        // Others see to them, and are heard of.
        report.elsewhere.clear();
    }

    report.took = begun.elapsed();
    log.end = Some(skew.now());
    (log.done, log.failed) = (report.collected() as u64, report.failed() as u64);
    store.end_run(&log)?;
    if is_shared(settings) && is_whole {
        storekeeping::daily(settings, now);
    }
    if is_whole {
        report.overdue_alerter = overdue_alerter(store, settings, &log.host, now)?;
    }
    Ok(report)
}

/// How long a run without a window waits for what others have hold of: a visit of theirs, or until a dead one's lease ends.
fn patience(order: &Order<'_>) -> Duration {
    let budget = |client: &&Client| Budget::new(client.timeout, order.probes.largest());
    let longest = |client: &&Client| budget(client).timeout() + budget(client).upload();
    order.settings.storage.lease + order.clients.iter().map(longest).max().unwrap_or_default()
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

/// The key that seals the key pairs of `rows`. Hosts that share a storage share it: where key pairs are there, and none of the
/// newest opens, this host lacks the file of the others, and none is made silently.
pub(crate) fn master_key_of(
    settings: &Settings,
    rows: &[ClientRow],
    store: &mut dyn ReportStore,
) -> Result<MasterKey, Failure> {
    let state_dir = &settings.storage.state_dir;
    if !is_shared(settings) {
        return master_key(state_dir);
    }
    let others;
    let rows = if rows.iter().all(|row| row.keys.is_empty()) {
        // These are new; what the others' key pairs are sealed under serves them too.
        others = Vec::from_iter(first_with_keys(settings, store)?);
        &others
    } else {
        rows
    };
    if rows.is_empty() {
        return master_key(state_dir);
    }
    let file = master_key_file(state_dir);
    let loaded = MasterKey::load(&file).map_err(|fault| Failure::MasterKey(fault.to_string()))?;
    let cause = match loaded {
        Some(master) if keys::any_opens(rows, &master) => return Ok(master),
        Some(_) => "it is not the master key that the storage's key pairs are sealed under",
        None => "it is not there, and the storage has key pairs that are sealed under it",
    };
    let runs = store.runs(Program::Collector, 1)?;
    let here = host();
    let other = runs.iter().map(|run| run.host.as_str()).find(|host| !host.is_empty() && *host != here);
    let other = model::text::escape_to(other.unwrap_or("HOST"), 60);
    let file = file.display();
    Err(Failure::MasterKey(format!(
        "{file}: {cause}: copy it from a host that collects already, readable for nobody else (scp -p {other}:{file} {file}). If \
         no host has it any more: fleet-collector rotate-keys --all begins anew, without what is spooled for the old one"
    )))
}

/// The first of config.xml's clients that has key pairs.
fn first_with_keys(
    settings: &Settings,
    store: &mut dyn ReportStore,
) -> Result<Option<ClientRow>, StoreError> {
    for client in &settings.clients {
        let row = store.find(&client.name)?.filter(|row| !row.keys.is_empty());
        if row.is_some() {
            return Ok(row);
        }
    }
    Ok(None)
}

/// Whether other hosts may be at work on the storage.
fn is_shared(settings: &Settings) -> bool {
    matches!(settings.storage.url, StorageUrl::Postgres(_))
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

/// Says whom to visit to whoever visits them, `ledger` taking what they bring.
fn visit(
    order: Order<'_>,
    rows: &[ClientRow],
    limits: (Option<Window>, Sharing),
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
    let held = ledger.held();
    let prepare = move |index: usize| {
        let known = held.get(index);
        let (row, identities) = &*known;
        preparer.collect(&clients[index], row, identities, Errand { fresh, ..Errand::default() })
    };
    let turns = schedule::turns(rows, random::shuffled(visits.len()));
    supervise(&visits, &turns, settings.concurrency, limits, prepare, ledger)
}
