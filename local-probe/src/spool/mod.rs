//! The spool: sealed records on the client's disk until they are stored for good.
//!
//! ```text
//! <remote-dir>/                  ours, 0700
//!   probe-<sha256>               0500
//!   <client uid>/                ours, 0700
//!     00000000000000000001 ...   one envelope each; the name is its sequence
//!     spool-id recipient gap counters stuck-mounts lock
//!     sample -> ../probe-<sha256>
//! ```
//!
//! A record is written under a temporary name, synced, renamed, the directory synced; only then is it told of. The
//! newest record is never removed, so that the sequence never starts again. Everything happens under one lock.
//!
//! A file whose start is no header of its own sequence (a disk that lost power may leave such) can neither be filed nor
//! acknowledged by the collector: it is not streamed, goes once a newer record is there, and the next report says so.

mod directory;
mod fault;
mod gap;
mod lock;
mod records;
mod stored;

#[cfg(test)]
pub(crate) mod tests;

use std::os::fd::OwnedFd;
use std::time::Duration;

use envelope::Header;
use model::wire::{Fault, FaultKind, Recipient};
use model::{ClientUid, Record, SpoolId, Timestamp};

pub use directory::Directory;
pub(crate) use directory::modified;
pub(crate) use fault::{at, other};
use lock::Lock;
pub(crate) use records::Entry;
pub use stored::Agreement;

/// How full a spool may become.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all records.
    pub bytes: u64,
    /// Records.
    pub records: usize,
    /// Spools of one directory: a new one beyond it is refused.
    pub spools: usize,
    /// How long is waited for the lock.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let (bytes, records) = (16 * 1024 * 1024, 20_000);
        Self { bytes, records, spools: usize::MAX, patience: Duration::from_secs(5) }
    }
}

/// What a record may take at most: no report is made for which there might be no room.
const ROOM: u64 = model::wire::MAX_FRAME as u64;

/// One client's spool, locked while this lives.
pub struct Spool {
    directory: Directory,
    lock: Lock,
    client: ClientUid,
    id: SpoolId,
    entries: Vec<Entry>,
    limits: Limits,
}

impl Spool {
    /// Opens, or makes, the spool of `client` in `home`, the remote-dir, and takes its lock. Stale temporaries go.
    pub fn open(home: &Directory, client: ClientUid, limits: Limits) -> Result<Self, Fault> {
        let name = client.to_string();
        if home.stat(&name).is_none() && spools(home)? >= limits.spools {
            let (place, most) = (home.shown(), limits.spools);
            return Err(other(format!(
                "{place} holds {most} spools and takes no more: remove those whose management host is gone"
            )));
        }
        let directory = home.child(&name)?;
        let lock = Lock::take(&directory, limits.patience)?;
        directory.remove_temporaries()?;
        let entries = records::scan(&directory)?;
        let id = match directory.read("spool-id", 64)?.and_then(|bytes| parse_id(&bytes)) {
            Some(id) => id,
            None => new_id(&directory)?,
        };
        Ok(Self { directory, lock, client, id, entries, limits })
    }

    /// Which life of the spool this is.
    pub fn id(&self) -> SpoolId {
        self.id
    }

    /// Whose it is.
    pub(crate) fn client(&self) -> ClientUid {
        self.client
    }

    /// Where the probe's other state lies.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// A second handle of the lock, by which another thread can give it up.
    pub fn lock_handle(&self) -> Result<OwnedFd, Fault> {
        self.lock.handle()
    }

    /// The sequence of the newest record; 0 where there is none.
    pub fn newest(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.sequence)
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Records that can be streamed.
    pub fn whole(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.whole).count() as u64
    }

    fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// Whether there is no room for another report.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.limits.records || self.bytes().saturating_add(ROOM) > self.limits.bytes
    }

    /// The key that records are sealed to, as an earlier run left it.
    pub fn recipient(&self) -> Result<Option<Recipient>, Fault> {
        let bytes = self.directory.read("recipient", 4096)?;
        Ok(bytes.and_then(|bytes| model::wire::from_cbor(&bytes).ok()))
    }

    /// Keeps `recipient` beside the spool, for runs that no collector starts.
    pub fn keep_recipient(&self, recipient: &Recipient) -> Result<(), Fault> {
        if self.recipient()?.as_ref() == Some(recipient) {
            return Ok(());
        }
        self.directory.replace("recipient", &model::wire::to_cbor(recipient), true)
    }

    /// Seals and adds a record. When this returns, it survives a loss of power. The lost reports before it come first.
    pub fn append(&mut self, recipient: &Recipient, record: &Record) -> Result<u64, Fault> {
        if !self.settle_gap(recipient, &record.clock)? {
            return Err(other(format!("{} is full", self.directory.shown())));
        }
        let sequence = self.next()?;
        self.write(sequence, recipient, record)?;
        self.drop_damaged()?;
        Ok(sequence)
    }

    fn next(&self) -> Result<u64, Fault> {
        self.newest()
            .checked_add(1)
            .ok_or_else(|| other("the spool's sequence has come to its end".to_owned()))
    }

    fn write(&mut self, sequence: u64, recipient: &Recipient, record: &Record) -> Result<(), Fault> {
        let plaintext = record.encode().map_err(|error| other(error.to_string()))?;
        let header = Header { key_id: recipient.key_id, client: self.client, spool: self.id, sequence };
        let envelope = envelope::seal(recipient, &header, &plaintext)
            .map_err(|error| other(format!("cannot seal a record: {error}")))?;
        self.directory.replace(&records::name(sequence), &envelope, true)?;
        self.entries.push(Entry { sequence, bytes: envelope.len() as u64, whole: true });
        Ok(())
    }

    /// The bytes of one envelope; `None` where they are not what they were.
    pub(crate) fn envelope(&self, entry: &Entry) -> Result<Option<Vec<u8>>, Fault> {
        let bytes = self.directory.read(&records::name(entry.sequence), model::wire::MAX_FRAME as u64 + 1)?;
        Ok(bytes.filter(|bytes| bytes.len() as u64 == entry.bytes))
    }

    /// What [`Self::append`] will remove, for the report to tell; `None` where nothing is damaged.
    pub fn damage(&self) -> Option<String> {
        let damaged: Vec<u64> =
            self.entries.iter().filter(|entry| !entry.whole).map(|entry| entry.sequence).collect();
        let first = damaged.first()?;
        let count = damaged.len();
        Some(format!(
            "{count} damaged records, the first of sequence {first}, were removed: check the client's disk"
        ))
    }

    /// Removes what is damaged; the newest stays, as it says where the sequence is.
    fn drop_damaged(&mut self) -> Result<(), Fault> {
        let newest = self.newest();
        for entry in self.entries.iter().filter(|entry| !entry.whole && entry.sequence != newest) {
            self.directory.remove(&records::name(entry.sequence))?;
        }
        self.entries.retain(|entry| entry.whole || entry.sequence == newest);
        Ok(())
    }

    /// Counts a report that found no room.
    pub fn refuse(&mut self, now: Timestamp) -> Result<(), Fault> {
        gap::count(&self.directory, self.next()?, now)
    }

    /// Writes the record of the reports that found no room, if there were any; after this it never changes.
    ///
    /// It may exceed the caps by its own size; but where the collector never acknowledges, not for ever: then it waits
    /// and counts on, and the answer is `false`.
    pub fn settle_gap(&mut self, recipient: &Recipient, clock: &model::Clock) -> Result<bool, Fault> {
        let Some(pending) = gap::pending(&self.directory, clock.wall)? else { return Ok(true) };
        // A crash may have come between the record and the end of its state.
        let written = pending.sequence == self.newest();
        if !written {
            if self.entries.len() >= self.limits.records.saturating_add(256)
                || self.bytes() > self.limits.bytes.saturating_add(64 * 1024)
            {
                return Ok(false);
            }
            self.write(self.next()?, recipient, &pending.into_record(clock))?;
        }
        gap::forget(&self.directory)?;
        Ok(true)
    }
}

fn spools(home: &Directory) -> Result<usize, Fault> {
    Ok(home.names()?.iter().filter(|name| name.parse::<ClientUid>().is_ok()).count())
}

fn parse_id(bytes: &[u8]) -> Option<SpoolId> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// Writes a new id down before anything is filed under it.
fn new_id(directory: &Directory) -> Result<SpoolId, Fault> {
    let mut random = [0; 16];
    let fault = |error: std::io::Error| at("/dev/urandom", "cannot be read", &error, FaultKind::Other);
    let mut source = std::fs::File::open("/dev/urandom").map_err(fault)?;
    std::io::Read::read_exact(&mut source, &mut random).map_err(fault)?;
    let id = SpoolId(random);
    directory.replace("spool-id", format!("{id}\n").as_bytes(), true)?;
    Ok(id)
}
