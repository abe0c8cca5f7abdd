//! What the collector keeps: clients, their keys, attempts and records, the run log.

use std::borrow::Cow;
use std::time::Duration;

use model::record::MAX_RECORD;
use model::wire::{StoredThrough, to_cbor};
use model::{ClientName, ClientUid, Outcome, Record, SpoolId, Timestamp};

use crate::{RunLog, StoreError, payload};

/// What the collector keeps.
///
/// # Obligations
/// - **Atomic.** Each call happens as a whole or not at all, whatever is killed or loses power when; what returned `Ok`
///   is on the disk.
/// - **Idempotent.** A record that is stored already (same client, spool and sequence) changes nothing.
pub trait ReportStore: RunLog {
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
    /// A record that is set aside ([`Content::Quarantined`]) is stored too, but leaves nothing to evaluate. So is one
    /// that breaks a bound or whose value is not finite: it fails neither its neighbours nor the other clients, since
    /// it would come again with every run.
    ///
    /// A record is known already if its (client, spool, sequence) is stored, or if that sequence is not above what
    /// the spool's row says is stored through. After a roll-back, a record is also known if the same client has it
    /// under another spool with the same sequence and digest. Where another record is stored under the same spool and
    /// sequence, the client was rolled back to a spool that had gone on: then nothing from there on is stored or counts
    /// as stored through; by the digest in [`ClientRow::stored`] the probe sees it, and sends it under a new spool id.
    fn store(&mut self, attempts: &[Attempt]) -> Result<Vec<usize>, StoreError>;

    /// The row of `name`, where there is one; makes none.
    fn find(&mut self, name: &ClientName) -> Result<Option<ClientRow>, StoreError>;

    /// Gives a client another name. Its history, keys, spools, alerts, episodes and silences stay its own and say the new
    /// name from then on. A name that another client has is an error.
    fn rename(&mut self, client: ClientUid, name: &ClientName) -> Result<(), StoreError>;

    /// Forgets the key pairs of a client whose id is lower than `below`. The newest is never forgotten.
    fn forget_keys(&mut self, client: ClientUid, below: u32) -> Result<(), StoreError>;

    /// Removes a client and everything that is kept of it: keys, records, attempts, alerts, episodes and their facts.
    /// Silences of
    /// its name go too. Messages stay, frozen as they are: others are told by them too. One that is not there is an error.
    fn purge(&mut self, client: ClientUid) -> Result<(), StoreError>;

    /// When the oldest run began of whose attempts some were not evaluated.
    fn oldest_unevaluated_run(&mut self) -> Result<Option<Timestamp>, StoreError>;

    /// Takes clients for the run that was begun: those of `wanted`, in that order, of which no run that goes on has hold and
    /// which no run has had that began less than `rest` before this one, at most `limit`. On a storage that only one
    /// collector writes to these are simply the first. A client is let go when an attempt on it is stored or its run is over;
    /// an attempt on a client that is not this run's is refused ([`StoreError::Superseded`]).
    fn claim(&mut self, wanted: &[ClientUid], rest: Duration, limit: usize) -> Result<Claimed, StoreError>;
}

/// What came of asking for clients.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Claimed {
    /// Those that are this run's now, in the order that was asked for, as the storage knows them at this moment.
    pub taken: Vec<ClientRow>,
    /// Those of the others that had their turn: nobody is to wait for them.
    pub done: Vec<ClientUid>,
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
    /// What may be acknowledged: how far the spool is stored that records came from last.
    pub stored: Option<StoredThrough>,
    /// Whether the latest attempt failed; one that was [`Outcome::NotReached`] says nothing.
    pub failed_last: bool,
    /// Whether the latest attempt was [`Outcome::NotReached`].
    pub not_reached_last: bool,
    /// When the latest attempt ended that was not [`Outcome::NotReached`].
    pub last_turn: Option<Timestamp>,
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
    /// When the run of the collector began that it belongs to: [`Run::begin`].
    pub run: Timestamp,
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

/// What a store does with a record that is new to it.
pub(crate) enum Keeping<'a> {
    /// Stores it.
    Stored(&'a Record),
    /// Sets it aside.
    SetAside {
        /// Why.
        reason: Cow<'a, str>,
        /// The envelope's bytes; of what opened and cannot be kept, the start of its CBOR.
        bytes: Cow<'a, [u8]>,
    },
}

impl Received {
    /// What every backend does with it where it is new.
    pub(crate) fn keeping(&self) -> Keeping<'_> {
        match &self.content {
            Content::Quarantined { reason, envelope } => {
                Keeping::SetAside { reason: reason.into(), bytes: envelope.into() }
            }
            Content::Record(record) => match payload::check(record) {
                Ok(()) => Keeping::Stored(record),
                Err(fault) => {
                    let mut bytes = to_cbor(record);
                    bytes.truncate(MAX_RECORD);
                    Keeping::SetAside { reason: fault.into(), bytes: bytes.into() }
                }
            },
        }
    }
}

/// The most records that are kept set aside; beyond it the oldest go. [`crate::Counts::quarantined`] counts them still.
pub const QUARANTINED_RECORDS: usize = 1000;

/// The most bytes of envelopes that are kept set aside.
pub const QUARANTINED_BYTES: usize = 64 * 1024 * 1024;

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
