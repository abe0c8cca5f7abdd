//! The store in memory: the plain reading of the traits, for tests and for runs that are to leave nothing.

mod alerts;
mod history;
mod reports;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;

use model::record::Host;
use model::{
    Acknowledgement, AlertKey, AlertState, ClientMemory, ClientName, ClientUid, Episode, EpisodeId, Evidence,
    Fact, Outcome, Sample, Silence, SpoolId, Timestamp,
};

use crate::backlog::Queued;
use crate::{Backoff, Delivery, Message, Program, Run, RunLog, SealedKey, StoreError};

/// A store that ends with its process.
#[derive(Debug)]
pub struct MemoryStore {
    installation: String,
    clients: Vec<Client>,
    reports: Vec<Report>,
    attempts: Vec<Attempted>,
    /// Marks: event time and number of what is in `reports`, and the same of `attempts` after the begin of their run.
    unevaluated_reports: BTreeSet<(i64, i64)>,
    unevaluated_attempts: BTreeSet<Queued>,
    quarantined: u64,
    alerts: BTreeMap<AlertKey, AlertState>,
    memories: BTreeMap<ClientUid, ClientMemory>,
    silences: Vec<Silence>,
    /// By episode and begin.
    acknowledgements: BTreeMap<(EpisodeId, Timestamp), Acknowledgement>,
    episodes: BTreeMap<EpisodeId, Episode>,
    facts: Vec<Kept>,
    messages: Vec<Frozen>,
    backoffs: BTreeMap<String, Backoff>,
    runs: BTreeMap<(&'static str, Timestamp), Run>,
}

#[derive(Debug)]
struct Client {
    name: ClientName,
    uid: ClientUid,
    /// Nothing of it is told any more; its place stays, since the others are numbered by theirs.
    purged: bool,
    keys: BTreeMap<u32, SealedKey>,
    /// What came under each spool, and which of them sent last.
    spools: BTreeMap<SpoolId, Spool>,
    last_spool: Option<SpoolId>,
}

#[derive(Debug, Default)]
struct Spool {
    through: Option<u64>,
    digest: [u8; 32],
    /// The short digest of every record that is stored or set aside.
    records: BTreeMap<i64, i64>,
    last_event_time: Option<Timestamp>,
}

#[derive(Debug)]
struct Report {
    client: usize,
    event_time: Timestamp,
    samples: Vec<Sample>,
    evidence: Evidence,
    /// `None` for a gap record.
    host: Option<Host>,
    faults: Vec<(String, String)>,
}

#[derive(Debug)]
struct Attempted {
    client: usize,
    run: Timestamp,
    at: Timestamp,
    outcome: Outcome,
}

#[derive(Debug)]
struct Kept {
    fact: Fact,
    told: bool,
    message: Option<String>,
}

#[derive(Debug)]
struct Frozen {
    message: Message,
    /// `None` where nothing is noted.
    delivery: Option<Delivery>,
}

impl Frozen {
    fn is_refused(&self) -> bool {
        matches!(self.delivery, Some(Delivery::Permanent { .. }))
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let random = || RandomState::new().hash_one(());
        Self {
            installation: format!("{:016x}{:016x}", random(), random()),
            clients: Vec::new(),
            reports: Vec::new(),
            attempts: Vec::new(),
            unevaluated_reports: BTreeSet::new(),
            unevaluated_attempts: BTreeSet::new(),
            quarantined: 0,
            alerts: BTreeMap::new(),
            memories: BTreeMap::new(),
            silences: Vec::new(),
            acknowledgements: BTreeMap::new(),
            episodes: BTreeMap::new(),
            facts: Vec::new(),
            messages: Vec::new(),
            backoffs: BTreeMap::new(),
            runs: BTreeMap::new(),
        }
    }

    fn client(&self, uid: ClientUid) -> Result<usize, StoreError> {
        let found = self.clients.iter().position(|client| client.uid == uid && !client.purged);
        found.ok_or_else(|| refused(format!("there is no client {uid}")))
    }

    fn latest_run(&self, program: Program) -> Option<Run> {
        let of_program = |&(_, run): &(_, &Run)| run.program == program;
        self.runs.iter().rev().find(of_program).map(|(_, run)| run.clone())
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl RunLog for MemoryStore {
    fn now(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    fn begin_run(&mut self, run: &Run) -> Result<Run, StoreError> {
        let mut run = Run { end: None, ..run.clone() };
        while self.runs.contains_key(&(run.program.name(), run.begin)) {
            run.begin = run.begin.plus(1);
        }
        self.runs.insert((run.program.name(), run.begin), run.clone());
        Ok(run)
    }

    fn end_run(&mut self, run: &Run) -> Result<(), StoreError> {
        let begun = self.runs.get_mut(&(run.program.name(), run.begin));
        *begun.ok_or_else(|| refused("the run that ends never began"))? = run.clone();
        Ok(())
    }

    fn runs(&mut self, program: Program, limit: usize) -> Result<Vec<Run>, StoreError> {
        let mut of_host: BTreeMap<&str, usize> = BTreeMap::new();
        let runs = self.runs.values().rev().filter(|run| {
            let seen = of_host.entry(&run.host).or_default();
            *seen += usize::from(run.program == program);
            run.program == program && *seen <= limit
        });
        Ok(runs.cloned().collect())
    }
}

fn refused(what: impl Into<String>) -> StoreError {
    StoreError::Other(what.into())
}

/// The number of what is at `place`, as a store gives it out: from 1.
fn number(place: usize) -> i64 {
    place as i64 + 1
}

/// Where what has this number is, if it is there.
fn place(number: i64) -> Option<usize> {
    usize::try_from(number).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    crate::conformance!(((), super::MemoryStore::new()));
}
