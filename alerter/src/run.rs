//! One run: fold what is new, then tell people.

use std::collections::{BTreeMap, BTreeSet};

use config::Settings;
use log::debug;
use model::rule::{COLLECTOR_STALE, ISOLATED};
use model::{AlertKey, AlertState, ClientUid, EpisodeId, Exit, Labels, Timestamp, Unit};
use storage::{AlertStore, Here, Program, Run, Skew, Step, Store, StoreError};

use crate::fold::{self, Known};
use crate::mail::Letterhead;
use crate::outbox::Tally;
use crate::rulebook::Rulebook;
use crate::tell::{keep, tell};
use crate::transport::Transport;

/// Entries per batch: one transaction with its write to the disk, and what is in memory at once.
const BATCH: usize = 2000;

/// Who has news of an episode, told or not.
type Audience = BTreeMap<EpisodeId, BTreeSet<String>>;

/// What [`run`] works for and with.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// config.xml.
    pub settings: &'a Settings,
    /// The sender's address.
    pub from: &'a str,
    /// What messages say of this place.
    pub letterhead: Letterhead<'a>,
    /// When the run began.
    pub now: Timestamp,
    /// When this host booted, by the same clock; `None`: long ago.
    pub booted: Option<Timestamp>,
    /// Asked once more at the end.
    pub clock: &'a dyn Fn() -> Timestamp,
}

impl Job<'_> {
    /// The same by the clock of the storage.
    #[must_use]
    pub(crate) fn by(self, skew: Skew) -> Self {
        Self { now: skew.there(self.now), booted: self.booted.map(|at| skew.there(at)), ..self }
    }
}

/// One whole run. `transport` is `None` where there is no way to send mail: then the news waits.
pub fn run(
    store: &mut dyn Store,
    job: Job,
    transport: Option<&mut dyn Transport>,
) -> Result<Exit, StoreError> {
    let rules = Rulebook::of(job.settings);
    let log = begin(store, job, true)?;
    fold_backlog(store, &rules)?;
    close_removed(store, &rules)?;
    observe_collector(store, &rules, job)?;
    let tally = match transport {
        Some(transport) => tell(store, job, &rules, transport)?,
        None => keep(store, job)?,
    };
    end(store, job, log, tally)
}

/// Begins a run; one that does not evaluate is not `whole`, and says nothing of whether the alerter runs.
pub(crate) fn begin(store: &mut dyn Store, job: Job, whole: bool) -> Result<Run, StoreError> {
    let (program, host) = (Program::Alerter, job.letterhead.hostname.to_owned());
    store.begin_run(&Run { program, host, begin: job.now, end: None, done: 0, failed: 0, whole })
}

/// Notes its end; the exit status that says how it went.
pub(crate) fn end(store: &mut dyn Store, job: Job, log: Run, tally: Tally) -> Result<Exit, StoreError> {
    let Tally { sent: done, failed } = tally;
    store.end_run(&Run { end: Some((job.clock)()), done, failed, ..log })?;
    Ok(if failed == 0 { Exit::Ok } else { Exit::Partial })
}

/// Folds everything that was not evaluated yet, batch by batch.
fn fold_backlog(store: &mut dyn AlertStore, rules: &Rulebook) -> Result<(), StoreError> {
    let mut untold = audience(store)?;
    loop {
        let batch = store.backlog(BATCH)?;
        let Some(oldest) = batch.iter().map(|entry| entry.event_time).min() else { return Ok(()) };
        let clients = fold::clients(&batch);
        let states = store.alerts(&clients)?;
        let mut known = known(store, states, &untold)?;
        known.memories = store.memories(&clients)?.into_iter().collect();
        known.silences = store.silences(oldest)?;
        let step = fold::fold(&batch, known, rules);
        debug!("all: evaluate: {} entries, {} facts", step.marks.len(), step.facts.len());
        store.commit(&step)?;
        for fact in step.facts {
            untold.entry(fact.episode).or_default().insert(fact.receiver);
        }
    }
}

/// Closes what fires for a rule or client that is gone from config.xml.
fn close_removed(store: &mut dyn AlertStore, rules: &Rulebook) -> Result<(), StoreError> {
    let untold = audience(store)?;
    let states = store.firing()?;
    let step = fold::close_removed(known(store, states, &untold)?, rules);
    commit(store, &step)
}

/// Whether the collector still runs: if it does not, there is no news of anybody. A host of several on which it does not
/// run any more is cut off from nothing.
fn observe_collector(store: &mut dyn Store, rules: &Rulebook, job: Job) -> Result<(), StoreError> {
    let runs = store.latest_runs(Program::Collector, storage::RUNS_LOOKED_AT)?;
    let every = job.settings.collector_every;
    for host in storage::gone(&runs, every, job.now) {
        let collector = fold::collector(&host);
        if store.firing()?.iter().any(|(key, _)| key.client == ClientUid::FLEET && key.labels == collector) {
            fold_fleet(store, rules, (ISOLATED, &collector), job.now, (0.0, ""))?;
        }
    }
    let here = job.booted.map(|booted| Here { host: job.letterhead.hostname, booted });
    let Some(found) = storage::punctuality(&runs, every, here, job.now) else { return Ok(()) };
    let show = |seconds: f64| Unit::Seconds.show(seconds);
    let detail = if found.overdue.is_zero() {
        String::new()
    } else {
        let silent = show(job.now.since(found.last) as f64 / 1000.0);
        let since = match found.unended {
            0 => format!("its last run began {silent} ago"),
            count => format!("its last {count} runs did not end, for {silent}"),
        };
        format!(
            "it is run every {}, and {since}\nsee its line in cron and what cron mails of it, or type fleet-collector",
            show(found.every.as_secs_f64())
        )
    };
    let value = (found.overdue.as_secs_f64(), detail.as_str());
    fold_fleet(store, rules, (COLLECTOR_STALE, &Labels::none()), job.now, value)
}

/// Folds what this run sees of the fleet: one value of the fleet's own rule of that type.
fn fold_fleet(
    store: &mut dyn AlertStore,
    rules: &Rulebook,
    about: (&str, &Labels),
    at: Timestamp,
    (value, detail): (f64, &str),
) -> Result<(), StoreError> {
    let untold = audience(store)?;
    let states = store.alerts(&[ClientUid::FLEET])?;
    let mut known = known(store, states, &untold)?;
    known.silences = store.silences(at)?;
    commit(store, &fold::fold_fleet(about, at, value, detail, known, rules))
}

fn commit(store: &mut dyn AlertStore, step: &Step) -> Result<(), StoreError> {
    if *step == Step::default() { Ok(()) } else { store.commit(step) }
}

/// Who is to hear of which episode and did not yet.
fn audience(store: &mut dyn AlertStore) -> Result<Audience, StoreError> {
    let mut audience = Audience::new();
    for (_, fact) in store.untold()? {
        audience.entry(fact.episode).or_default().insert(fact.receiver);
    }
    Ok(audience)
}

/// What the fold has to know of these alerts.
fn known(
    store: &mut dyn AlertStore,
    states: Vec<(AlertKey, AlertState)>,
    untold: &Audience,
) -> Result<Known, StoreError> {
    let open: BTreeSet<EpisodeId> =
        states.iter().filter_map(|(_, state)| Some(state.firing()?.episode.clone())).collect();
    let ids: Vec<EpisodeId> = open.iter().cloned().collect();
    let episodes = store.episodes(&ids)?.into_iter().map(|episode| (episode.id.clone(), episode)).collect();
    let waiting = |id: EpisodeId| untold.get(&id).cloned().map(|receivers| (id, receivers));
    let audience = open.into_iter().filter_map(waiting).collect();
    let acknowledged = store.acknowledgements(&ids)?;
    let acknowledgements = acknowledged.into_iter().map(|ack| (ack.episode.clone(), ack)).collect();
    let states = states.into_iter().collect();
    let mut known = Known { states, episodes, audience, acknowledgements, ..Known::default() };
    known.add_audience(&store.told(&ids)?);
    Ok(known)
}
