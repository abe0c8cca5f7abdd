//! Where reports, alerts and messages are kept: one repository trait per user of it, in plain types of `model`.
//!
//! Every backend passes the one conformance suite in [`conformance`]; the obligations that it checks stand on the
//! traits.

use std::fmt;

use model::record::Host;
use model::wire::StoredThrough;
use model::{
    AlertKey, AlertState, ClientName, ClientUid, Episode, EpisodeId, Evidence, Fact, FactId, Labels, Outcome, Record,
    Sample, SpoolId, Timestamp,
};

/// What the collector keeps.
///
/// # Obligations
/// - **Atomic.** Each call happens as a whole or not at all, whatever is killed or loses power when; what returned `Ok`
///   is on the disk.
/// - **Idempotent.** A record that is stored already (same client, spool and sequence) changes nothing.
pub trait ReportStore {
    /// The rows of `names`, in that order; a name without a row gets one with a fresh uid from `new_uid`.
    fn clients(
        &mut self,
        names: &[ClientName],
        new_uid: &mut dyn FnMut() -> ClientUid,
    ) -> Result<Vec<ClientRow>, StoreError>;

    /// Adds a key pair. Adding a (client, key id) that is there is an error, so that no key is ever lost.
    fn add_key(&mut self, client: ClientUid, key: &SealedKey) -> Result<(), StoreError>;

    /// Stores attempts with their records. The records of an attempt come in order of sequence; each is marked as
    /// unevaluated, and so is the attempt itself. Returns for each attempt how many of its records were new.
    ///
    /// A record is known already if its (client, spool, sequence) is stored, or if that sequence is not above what
    /// the spool's row says is stored through. After a roll-back, a record is also known if the same client has it
    /// under another spool with the same sequence and digest.
    fn store(&mut self, attempts: &[Attempt]) -> Result<Vec<usize>, StoreError>;

    /// Notes that a run of `program` began, or ended with what it says.
    fn note_run(&mut self, run: &Run) -> Result<(), StoreError>;
}

/// What the collector knows of a client before it connects.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientRow {
    /// Its configured name.
    pub name: ClientName,
    /// What it is for ever.
    pub uid: ClientUid,
    /// The event time of its newest stored record.
    pub last_event_time: Option<Timestamp>,
    /// What may be acknowledged: the spool that stored last.
    pub stored: Option<StoredThrough>,
    /// Whether the latest attempt failed.
    pub failed_last: bool,
    /// Its key pairs, oldest first.
    pub keys: Vec<SealedKey>,
}

/// A key pair whose private half is sealed under the master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// Counts up from 1 per client.
    pub key_id: u32,
    /// The public half.
    pub public_key: [u8; 32],
    /// The private half, sealed.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created: Timestamp,
}

/// One attempt on one client.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The client.
    pub client: ClientUid,
    /// When it ended, by the collector's clock.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Seconds that it took.
    pub seconds: f64,
    /// Whether the probe was sent.
    pub uploaded: bool,
    /// What it brought, in order of sequence.
    pub records: Vec<Received>,
}

/// One record as it came, stamped.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The spool that it is filed under.
    pub spool: SpoolId,
    /// Its sequence there.
    pub sequence: u64,
    /// SHA-256 of its envelope.
    pub digest: [u8; 32],
    /// When it came, by the collector's clock.
    pub receipt: Timestamp,
    /// When it was true, by the collector's clock.
    pub event_time: Timestamp,
    /// What it says.
    pub content: Content,
}

/// What a received envelope held.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A record.
    Record(Box<Record>),
    /// Nothing that opens or decodes. Set aside; counts as stored.
    Quarantined {
        /// Why.
        reason: String,
        /// The envelope's bytes.
        envelope: Vec<u8>,
    },
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

/// One run of a program. Its key is (program, begin): noting it again replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which program.
    pub program: Program,
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

/// What the alerter works on.
///
/// # Obligations
/// - **Order.** [`Self::backlog`] gives each client's entries in event-time order, whatever the order in which they
///   were stored, and never one that is committed as evaluated.
/// - **Atomic.** Marks, states, episodes and facts of a [`Step`] commit together or not at all.
/// - **Frozen.** A message's bytes never change after [`Self::freeze`].
pub trait AlertStore {
    /// Random, made with the store: tells the Message-IDs of two installations apart.
    fn installation(&mut self) -> Result<String, StoreError>;

    /// The oldest unevaluated reports and attempts by event time, at most `limit`.
    fn backlog(&mut self, limit: usize) -> Result<Vec<Unevaluated>, StoreError>;

    /// The states of all alerts of `clients` that are not [`AlertState::Inactive`].
    fn alerts(&mut self, clients: &[ClientUid]) -> Result<Vec<(AlertKey, AlertState)>, StoreError>;

    /// All alerts that are firing, of every client.
    fn firing(&mut self) -> Result<Vec<(AlertKey, AlertState)>, StoreError>;

    /// The episodes of these ids that exist.
    fn episodes(&mut self, ids: &[EpisodeId]) -> Result<Vec<Episode>, StoreError>;

    /// Commits one step of the fold. A fact of a known (episode, receiver, ordinal) changes nothing.
    fn commit(&mut self, step: &Step) -> Result<(), StoreError>;

    /// Facts that are neither told nor in a message, by their ids.
    fn untold(&mut self) -> Result<Vec<(FactId, Fact)>, StoreError>;

    /// The facts of these episodes that were told, or are in a message that is not dissolved.
    fn told(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Fact>, StoreError>;

    /// Keeps a message and ties its facts to it, before the first byte is sent.
    fn freeze(&mut self, message: &Message) -> Result<(), StoreError>;

    /// Messages that are neither sent nor given up, oldest first.
    fn outbox(&mut self) -> Result<Vec<Message>, StoreError>;

    /// Notes what became of a message: [`Delivery::Dissolved`] removes it and frees its facts.
    fn note_delivery(&mut self, message_id: &str, at: Timestamp, delivery: &Delivery) -> Result<(), StoreError>;

    /// How delivery to each receiver that has failed lately stands.
    fn backoffs(&mut self) -> Result<Vec<Backoff>, StoreError>;

    /// Replaces a receiver's back-off; `failures == 0` forgets it.
    fn set_backoff(&mut self, backoff: &Backoff) -> Result<(), StoreError>;

    /// Notes that a run began or ended.
    fn note_run(&mut self, run: &Run) -> Result<(), StoreError>;
}

/// Names an unevaluated entry to its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    /// A report.
    Report(i64),
    /// An attempt.
    Attempt(i64),
}

/// Something the alerter has not looked at yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Unevaluated {
    /// What to say when it is done.
    pub mark: Mark,
    /// The client.
    pub client: ClientUid,
    /// The client's name.
    pub client_name: ClientName,
    /// When it was true.
    pub event_time: Timestamp,
    /// What it says.
    pub entry: Entry,
}

/// What there is to evaluate.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A report (of a gap record: with no samples).
    Report {
        /// Its values.
        samples: Vec<Sample>,
        /// What helps a person.
        evidence: Evidence,
    },
    /// An attempt.
    Attempt {
        /// How it ended.
        outcome: Outcome,
    },
}

/// What one batch of the fold commits.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// What was evaluated.
    pub marks: Vec<Mark>,
    /// The alerts that changed.
    pub states: Vec<(AlertKey, AlertState)>,
    /// The episodes that began, changed or ended.
    pub episodes: Vec<Episode>,
    /// The news.
    pub facts: Vec<Fact>,
}

/// A message for one recipient, with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its Message-ID, without angle brackets.
    pub id: String,
    /// The one address that it goes to.
    pub receiver: String,
    /// Its subject; for people.
    pub subject: String,
    /// When it was composed, by the clock of the run.
    pub created: Timestamp,
    /// RFC 5322 bytes, lines ended by CRLF.
    pub bytes: Vec<u8>,
    /// The facts that it tells.
    pub facts: Vec<FactId>,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Accepted; its facts are told.
    Sent,
    /// It failed for certain before DATA: removed, its facts wait for the next run.
    Dissolved,
    /// It may or may not have been accepted: the same bytes go again.
    InDoubt {
        /// What happened.
        detail: String,
    },
    /// The recipient or the content is refused: kept and shown; its facts count as told.
    Permanent {
        /// What the server said.
        detail: String,
    },
}

/// How delivery to a receiver stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    /// The address.
    pub receiver: String,
    /// Failures in a row.
    pub failures: u32,
    /// Not before this, by the clock of the run.
    pub next: Timestamp,
    /// What happened last.
    pub detail: String,
}

/// What people and programs ask; changes nothing.
pub trait History {
    /// The latest of every client, by name.
    fn latest(&mut self) -> Result<Vec<Latest>, StoreError>;

    /// A series of a client over `from..=to` in event time, oldest first.
    fn series(
        &mut self,
        client: ClientUid,
        metric: &str,
        labels: &Labels,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, f64)>, StoreError>;

    /// The episodes that are open, oldest first.
    fn open_episodes(&mut self) -> Result<Vec<Episode>, StoreError>;

    /// Messages that wait, are in doubt, or were given up, with what became of them; oldest first.
    fn unsent(&mut self) -> Result<Vec<(Message, Delivery)>, StoreError>;

    /// The latest run of a program.
    fn last_run(&mut self, program: Program) -> Result<Option<Run>, StoreError>;

    /// How much there is of what.
    fn counts(&mut self) -> Result<Counts, StoreError>;
}

/// The latest of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Latest {
    /// Its name.
    pub name: ClientName,
    /// What it is for ever.
    pub uid: ClientUid,
    /// The latest attempt.
    pub attempt: Option<(Timestamp, Outcome)>,
    /// The latest attempt that collected.
    pub last_contact: Option<Timestamp>,
    /// The newest report: its event time, the machine, its values.
    pub report: Option<(Timestamp, Host, Vec<Sample>)>,
}

/// How much there is of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Reports and gap records stored.
    pub reports: u64,
    /// Reports and attempts that were not evaluated yet.
    pub unevaluated: u64,
    /// Records that would not open or decode.
    pub quarantined: u64,
    /// Facts that no mail has told yet.
    pub untold: u64,
}

/// Why the storage did not do it. Each says what to do.
#[derive(Debug)]
pub enum StoreError {
    /// Another run of the same program holds the lock.
    AlreadyRunning(Program),
    /// Another process wrote for longer than the busy timeout.
    Busy,
    /// The file is of a newer version of this program.
    NewerSchema {
        /// The file's version.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The file's contents are damaged.
    Corrupt(String),
    /// No space is left.
    Full,
    /// The place is no local disk, or is a place where others may write.
    Unsuitable(String),
    /// Anything else.
    Other(String),
}

impl StoreError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::AlreadyRunning(_) => "nothing: the next run will do it; if runs always overlap, let cron start fewer",
            Self::Busy => "nothing: the next run will do it",
            Self::NewerSchema { .. } => "run the newer version of Fleet Health, or restore the backup beside the file",
            Self::Corrupt(_) => "restore a backup; the file was left as it is",
            Self::Full => "free space on the storage's file system; what was not stored is still at the clients",
            Self::Unsuitable(_) => "name a directory of your own on a local disk in <storage url=\"sqlite:///...\"/>",
            Self::Other(_) => "see the message; nothing was lost at the clients",
        }
    }

    /// The exit status that says it.
    pub fn exit(&self) -> model::Exit {
        match self {
            Self::AlreadyRunning(_) | Self::Busy => model::Exit::Busy,
            _ => model::Exit::Storage,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRunning(program) => write!(f, "another {} is running", program.name()),
            Self::Busy => write!(f, "the storage is busy"),
            Self::NewerSchema { found, known } => {
                write!(f, "the storage has schema version {found}, this program knows {known} at most")
            }
            Self::Corrupt(detail) => write!(f, "the storage is damaged: {detail}"),
            Self::Full => write!(f, "no space is left for the storage"),
            Self::Unsuitable(detail) => write!(f, "the storage cannot live there: {detail}"),
            Self::Other(detail) => write!(f, "the storage failed: {detail}"),
        }
    }
}

impl std::error::Error for StoreError {}
