//! Reports that found no room, told as one record.
//!
//! While the spool is full, only a small state file counts. The record is made of it when something is streamed or
//! written next, at the sequence that was next at the first refusal: nothing else can have taken that, so a record of
//! that sequence says that a crash came before the state was forgotten.

use model::wire::{Fault, from_cbor, to_cbor};
use model::{Body, Clock, Gap, Record, Timestamp};
use serde::{Deserialize, Serialize};

use super::Directory;

const NAME: &str = "gap";

/// No record has this sequence.
const UNREADABLE: u64 = 0;

/// What is counted so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// The sequence that the record will have.
    pub(super) sequence: u64,
    gap: Gap,
}

impl Pending {
    pub(super) fn into_record(self, clock: &Clock) -> Record {
        Record { version: model::record::VERSION, clock: clock.clone(), body: Body::Gap(self.gap) }
    }
}

/// The state; one that cannot be read stands for at least one refusal.
pub(super) fn pending(directory: &Directory, now: Timestamp) -> Result<Option<Pending>, Fault> {
    let unreadable = || Pending { sequence: UNREADABLE, gap: Gap { refused: 1, first: now, last: now } };
    let bytes = directory.read(NAME, 4096)?;
    Ok(bytes.map(|bytes| {
        from_cbor(&bytes).ok().filter(|p: &Pending| p.sequence != UNREADABLE).unwrap_or_else(unreadable)
    }))
}

/// One more.
pub(super) fn count(directory: &Directory, next: u64, now: Timestamp) -> Result<(), Fault> {
    let known =
        pending(directory, now)?.filter(|pending| pending.sequence == next || pending.sequence == UNREADABLE);
    let gap = match known {
        Some(Pending { gap, .. }) => Gap { refused: gap.refused.saturating_add(1), last: now, ..gap },
        None => Gap { refused: 1, first: now, last: now },
    };
    directory.replace(NAME, &to_cbor(&Pending { sequence: next, gap }), true)
}

pub(super) fn forget(directory: &Directory) -> Result<(), Fault> {
    directory.remove(NAME)?;
    directory.sync()
}
