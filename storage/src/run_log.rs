//! The log of both programs' runs, and what keeps the runs of several hosts apart.

use model::Timestamp;

use crate::StoreError;

/// The log of both programs' runs. On a storage that several hosts share it also says who may write: a run holds a lease
/// there, which is renewed for as long as its process lives.
///
/// # Obligations
/// - **One name.** No two runs of a program have the same begin: it names the run everywhere.
/// - **Over is over.** A run is over where its end is noted, where a later run of its program began on its host, or where its
///   lease ended and somebody saw that. What it writes afterwards is refused ([`StoreError::Superseded`]) and nothing of it
///   is stored.
/// - **One alerter.** While a run of the alerter is not over, no other host begins one ([`StoreError::Elsewhere`]).
pub trait RunLog {
    /// The time by the storage's own clock; by it go all who share the storage. `None`: it has none, and this host's counts.
    fn now(&mut self) -> Result<Option<Timestamp>, StoreError>;

    /// Notes that a run began, and gives it as it is noted: its begin is moved by milliseconds where another run of that
    /// program has it. What is written from then on is this run's.
    fn begin_run(&mut self, run: &Run) -> Result<Run, StoreError>;

    /// Notes a run's end and what it did. A run that is not there is an error.
    fn end_run(&mut self, run: &Run) -> Result<(), StoreError>;

    /// The latest runs of a program, newest first, at most `limit` of each host.
    fn runs(&mut self, program: Program, limit: usize) -> Result<Vec<Run>, StoreError>;
}

/// A program that leaves runs in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Program {
    /// `fleet-collector`
    Collector,
    /// `fleet-alerter`
    Alerter,
}

impl Program {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Collector => "fleet-collector",
            Self::Alerter => "fleet-alerter",
        }
    }
}

/// One run of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which program.
    pub program: Program,
    /// The host that it runs on.
    pub host: String,
    /// When it began.
    pub begin: Timestamp,
    /// When it ended; `None` while it runs, and for ever where it was killed.
    pub end: Option<Timestamp>,
    /// Clients collected, or messages sent.
    pub done: u64,
    /// Clients or messages that failed.
    pub failed: u64,
    /// Whether it was about all clients: runs with `--only` count for no verdict over the fleet.
    pub whole: bool,
}
