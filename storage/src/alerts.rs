//! What the alerter works on: the backlog, alerts, episodes, facts and the outbox.

use std::collections::BTreeSet;

use model::{
    Acknowledgement, AlertKey, AlertState, ClientMemory, ClientName, ClientUid, Episode, EpisodeId, Evidence,
    Fact, FactId, Outcome, Sample, Silence, Timestamp,
};

use crate::{RunLog, StoreError};

/// What the alerter works on.
///
/// # Obligations
/// - **Order.** [`Self::backlog`] gives entries in order of time, whatever the order in which they were stored, and
///   never one that is committed as evaluated.
/// - **Whole runs.** The attempts of one run of the collector stand together, and come when the run is over.
/// - **Atomic.** Marks, states, memories, episodes and facts of a [`Step`] commit together or not at all.
/// - **Frozen.** A message's bytes never change after [`Self::freeze`].
/// - **The fleet.** [`ClientUid::FLEET`] may have alerts and episodes as any client; nothing else tells of it.
pub trait AlertStore: RunLog {
    /// Random, made with the store: tells the Message-IDs of two installations apart.
    fn installation(&mut self) -> Result<String, StoreError>;

    /// The oldest unevaluated reports and attempts, about `limit`; fewer where reports are large, none only where there is
    /// none. Reports stand by their event time, and the attempts of a run of the collector, in order of time, where its
    /// last one stands. Of one time, reports come before attempts, each in the order of being stored.
    ///
    /// A run's attempts are never parted, even where they go beyond `limit`; nor are they given before the run is over,
    /// [`RunLog`] says when.
    fn backlog(&mut self, limit: usize) -> Result<Vec<Unevaluated>, StoreError>;

    /// The states of all alerts of `clients` that are not idle.
    fn alerts(&mut self, clients: &[ClientUid]) -> Result<Vec<(AlertKey, AlertState)>, StoreError>;

    /// What is remembered of `clients`; one of which nothing is remembered is left out.
    fn memories(&mut self, clients: &[ClientUid]) -> Result<Vec<(ClientUid, ClientMemory)>, StoreError>;

    /// Silences that are not over at `at`, by their numbers.
    fn silences(&mut self, at: Timestamp) -> Result<Vec<Silence>, StoreError>;

    /// Keeps a silence, whatever number it says, and gives its own.
    fn add_silence(&mut self, silence: &Silence) -> Result<i64, StoreError>;

    /// Ends a silence at `at`, or at its begin if that is later. Gives whether it was there and not over. What is not told
    /// yet and waits for its end ([`Fact::after`]) waits no longer.
    fn end_silence(&mut self, id: i64, at: Timestamp) -> Result<bool, StoreError>;

    /// The acknowledgements of these episodes; of several of one episode the newest.
    fn acknowledgements(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Acknowledgement>, StoreError>;

    /// Keeps an acknowledgement; one of the same episode and begin is replaced. Of no episode it is an error.
    fn acknowledge(&mut self, acknowledgement: &Acknowledgement) -> Result<(), StoreError>;

    /// All alerts that are firing, of every client.
    fn firing(&mut self) -> Result<Vec<(AlertKey, AlertState)>, StoreError>;

    /// The episodes of these ids that exist.
    fn episodes(&mut self, ids: &[EpisodeId]) -> Result<Vec<Episode>, StoreError>;

    /// Commits one step of the fold. A fact of a known (episode, receiver, ordinal) changes nothing. A mark that is
    /// evaluated already fails the step: somebody else has folded it.
    fn commit(&mut self, step: &Step) -> Result<(), StoreError>;

    /// Facts that are neither told nor in a message, by their ids.
    fn untold(&mut self) -> Result<Vec<(FactId, Fact)>, StoreError>;

    /// The facts of these episodes that were told, or are in a message that is not dissolved.
    fn told(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Fact>, StoreError>;

    /// The facts of [`Self::told`], with what became of them.
    fn tellings(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Telling>, StoreError>;

    /// The receivers of messages that were composed at `since` or later and not refused for good, with when; oldest
    /// first. Who gets many of them is there as often.
    fn messages_since(&mut self, since: Timestamp) -> Result<Vec<(String, Timestamp)>, StoreError>;

    /// Counts untold facts as told without any message: nobody wants to hear of them. Of told ones it changes nothing;
    /// one that waits in a message is an error.
    fn drop_facts(&mut self, facts: &[FactId]) -> Result<(), StoreError>;

    /// Keeps a message and ties its facts to it, before the first byte is sent. The same message again changes nothing;
    /// another content under its id, or a fact that is told or tied elsewhere, is an error.
    fn freeze(&mut self, message: &Message) -> Result<(), StoreError>;

    /// Whether a message of that id was ever frozen, and not dissolved.
    fn has_message(&mut self, id: &str) -> Result<bool, StoreError>;

    /// Messages that are neither sent nor given up, oldest first.
    fn outbox(&mut self) -> Result<Vec<Message>, StoreError>;

    /// Notes what became of a message: [`Delivery::Dissolved`] removes it and frees its facts. What was sent or given
    /// up stays so, and what is in doubt is not dissolved, since somebody may have got it: either is an error.
    fn note_delivery(
        &mut self,
        message_id: &str,
        at: Timestamp,
        delivery: &Delivery,
    ) -> Result<(), StoreError>;

    /// How delivery to each receiver that has failed lately stands.
    fn backoffs(&mut self) -> Result<Vec<Backoff>, StoreError>;

    /// Replaces a receiver's back-off; `failures == 0` forgets it.
    fn set_backoff(&mut self, backoff: &Backoff) -> Result<(), StoreError>;
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
        /// When the collector's run began that it belongs to.
        run: Timestamp,
        /// Whether that run was about all clients; false where nothing is known of it.
        whole: bool,
        /// The host that it ran on; empty where only one collects.
        host: String,
    },
}

/// What one batch of the fold commits.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Step {
    /// What was evaluated.
    pub marks: Vec<Mark>,
    /// The alerts that changed; one that is idle is forgotten.
    pub states: Vec<(AlertKey, AlertState)>,
    /// The clients of which something else is to be remembered.
    pub memories: Vec<(ClientUid, ClientMemory)>,
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

/// A fact that is told, or on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// The fact.
    pub fact: Fact,
    /// When the message was composed that tells it, by the clock of the run; `None`: it was dropped.
    pub composed: Option<Timestamp>,
    /// Whether that message was refused for good ([`Delivery::Permanent`]).
    pub refused: bool,
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

impl Delivery {
    /// What [`crate::History::unsent`] shows of a message of which nothing is noted: it may have been tried by a run
    /// that was killed.
    pub(crate) const NOT_NOTED: Self = Self::InDoubt { detail: String::new() };

    /// Whether a message that stands like this may be noted as `next`. What is sent or given up stays so, and a message
    /// that somebody may have got is never dissolved: its facts would be told again in other words.
    pub(crate) fn may_become(&self, next: &Self) -> bool {
        match self {
            Self::Dissolved => false,
            Self::InDoubt { .. } => *next != Self::Dissolved,
            Self::Sent => *next == Self::Sent,
            Self::Permanent { .. } => matches!(next, Self::Permanent { .. }),
        }
    }
}

impl Message {
    /// Whether `other` says the same to the same receiver about the same facts.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let facts = |message: &Self| message.facts.iter().copied().collect::<BTreeSet<_>>();
        self.id == other.id
            && self.receiver == other.receiver
            && self.bytes == other.bytes
            && facts(self) == facts(other)
    }
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
