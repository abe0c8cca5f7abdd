//! One run of a program at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::{Program, StoreError, place};

/// Held while a program runs; given back when it is dropped or the process ends, however it ends.
///
/// It is a `flock(2)` on `<state directory>/<program>.lock`. The file stays: removing it would let two runs lock two
/// files of one name.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock of `program`, making `state_dir` (mode 0700) where it is not there.
    /// [`StoreError::AlreadyRunning`] where another process holds it.
    pub fn take(state_dir: &Path, program: Program) -> Result<Self, StoreError> {
        place::prepare(state_dir)?;
        let path = state_dir.join(format!("{}.lock", program.name()));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| place::failed("open", &path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::AlreadyRunning(program)),
            Err(TryLockError::Error(error)) => Err(place::failed("lock", &path, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_at_a_time_per_program() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let held = RunLock::take(&state, Program::Collector).unwrap();
        let second = RunLock::take(&state, Program::Collector);
        assert!(matches!(second, Err(StoreError::AlreadyRunning(Program::Collector))));
        RunLock::take(&state, Program::Alerter).expect("the programs do not hinder each other");
        drop(held);
        RunLock::take(&state, Program::Collector).expect("the lock was given back");
    }
}
