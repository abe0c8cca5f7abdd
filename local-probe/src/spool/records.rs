//! The records as files.

use std::io::Read as _;

use model::wire::{Fault, FaultKind};
use rustix::fs::OFlags;

use super::Directory;
use super::fault::at;
use crate::order;

/// One record's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its place in the spool.
    pub(crate) sequence: u64,
    /// Its size.
    pub(crate) bytes: u64,
    /// Whether it starts with the header of its own sequence, and is no larger than an envelope can be.
    pub(crate) whole: bool,
}

/// The file's name: 20 digits, so that names sort as sequences.
pub(super) fn name(sequence: u64) -> String {
    format!("{sequence:020}")
}

fn sequence(name: &str) -> Option<u64> {
    let digits = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    name.parse().ok().filter(|_| digits)
}

/// Every record, oldest first. One that is a link, a FIFO or foreign makes the whole spool unsafe.
pub(super) fn scan(directory: &Directory) -> Result<Vec<Entry>, Fault> {
    let mut sequences: Vec<u64> = directory.names()?.iter().filter_map(|name| sequence(name)).collect();
    order::sort(&mut sequences);
    let mut entries = Vec::with_capacity(sequences.len());
    for sequence in sequences {
        let name = name(sequence);
        let Some((file, stat)) = directory.open_file(&name, OFlags::RDONLY)? else { continue };
        let mut head = Vec::with_capacity(HEAD as usize);
        file.take(HEAD)
            .read_to_end(&mut head)
            .map_err(|error| at(&directory.place(&name), "cannot be read", &error, FaultKind::Other))?;
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        let headed = envelope::split(&head).is_ok_and(|(header, _)| header.sequence == sequence);
        entries.push(Entry {
            sequence,
            bytes,
            whole: headed && bytes > HEAD && bytes <= model::wire::MAX_FRAME as u64,
        });
    }
    Ok(entries)
}

/// More than the header, less than any envelope.
const HEAD: u64 = 64;
