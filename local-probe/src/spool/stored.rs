//! "Stored through": what may be removed.

use model::wire::{Fault, StoredThrough};

use super::{Spool, new_id, records};

/// What the spool makes of "stored through".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Everything up to this sequence is stored and may go.
    Through(u64),
    /// It speaks of another spool, or of another past of this one: somebody was rolled back. The spool has a new id
    /// now, nothing goes, and all is sent.
    InDoubt,
}

impl Spool {
    /// Compares `stored` with what is there. A doubt gives the spool a new id, durably, before this returns.
    ///
    /// Another spool's id is a doubt too: a machine that goes back to one snapshot twice has its first id again, under
    /// which the collector has later records of the same sequences by then.
    pub fn agree(&mut self, stored: &StoredThrough) -> Result<Agreement, Fault> {
        if stored.spool == self.id && self.has_past(stored)? {
            return Ok(Agreement::Through(stored.sequence));
        }
        self.id = new_id(&self.directory)?;
        Ok(Agreement::InDoubt)
    }

    /// Whether what is stored is this spool's own past: the record is gone, as it was acknowledged before, or the same.
    fn has_past(&self, stored: &StoredThrough) -> Result<bool, Fault> {
        let oldest = self.entries.first().map_or(u64::MAX, |entry| entry.sequence);
        let gone = stored.sequence <= self.newest() && stored.sequence < oldest;
        Ok(gone || self.digest_of(stored.sequence)? == Some(stored.digest))
    }

    fn digest_of(&self, sequence: u64) -> Result<Option<[u8; 32]>, Fault> {
        let Ok(at) = self.entries.binary_search_by_key(&sequence, |entry| entry.sequence) else {
            return Ok(None);
        };
        Ok(self.envelope(&self.entries[at])?.map(|bytes| envelope::digest(&bytes)))
    }

    /// Whether a record that can be streamed is not stored yet.
    pub(crate) fn owes(&self, agreement: Agreement) -> bool {
        let through = match agreement {
            Agreement::Through(through) => through,
            Agreement::InDoubt => 0,
        };
        self.entries.iter().any(|entry| entry.whole && entry.sequence > through)
    }

    /// Removes what is stored, but never the newest record. A loss of power may bring files back; they are sent again.
    pub fn remove_stored(&mut self, agreement: Agreement) -> Result<(), Fault> {
        let Agreement::Through(through) = agreement else { return Ok(()) };
        let newest = self.newest();
        let goes = |sequence: u64| sequence <= through && sequence != newest;
        for entry in self.entries.iter().filter(|entry| goes(entry.sequence)) {
            self.directory.remove(&records::name(entry.sequence))?;
        }
        self.entries.retain(|entry| !goes(entry.sequence));
        Ok(())
    }
}
