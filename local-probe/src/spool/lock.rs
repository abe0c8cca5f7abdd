//! One probe at a time.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use model::wire::{Fault, FaultKind};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::Directory;
use super::fault::at;

/// How often a lock that is held is tried.
const AGAIN: Duration = Duration::from_millis(20);

/// The spool's lock, held while this lives.
pub(super) struct Lock(File, String);

impl Lock {
    pub(super) fn take(directory: &Directory, patience: Duration) -> Result<Self, Fault> {
        let place = directory.place("lock");
        let Some((file, _)) = directory.open_file("lock", OFlags::RDWR | OFlags::CREATE)? else {
            let detail = format!("{} was removed meanwhile: the next run makes it again", directory.shown());
            return Err(Fault { kind: FaultKind::Other, detail });
        };
        let start = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(file, place)),
                Err(Errno::WOULDBLOCK) if start.elapsed() < patience => std::thread::sleep(AGAIN),
                Err(Errno::WOULDBLOCK) => {
                    let waited = patience.as_secs();
                    let detail = format!(
                        "{place} is held by another probe for more than {waited} s: the next run will do"
                    );
                    return Err(Fault { kind: FaultKind::Locked, detail });
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(at(&place, "cannot be locked", &error.into(), FaultKind::Other)),
            }
        }
    }

    pub(super) fn handle(&self) -> Result<OwnedFd, Fault> {
        self.0
            .try_clone()
            .map(OwnedFd::from)
            .map_err(|error| at(&self.1, "cannot be opened twice", &error, FaultKind::Other))
    }
}

impl Drop for Lock {
    /// Unlocks for every handle of it: closing alone does not while another handle, or a thread that is stuck in a dead
    /// mount, keeps the file open.
    fn drop(&mut self) {
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}
