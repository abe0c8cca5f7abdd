//! What a visit brought. A worker reads the bytes of its client, and may have been taken over by them: what it says is
//! bounded and checked once more here.

use std::time::Duration;

use model::wire::MAX_RECORDS;
use model::{Clock, Outcome, Phase, SpoolId, Timestamp};

use crate::found::Found;

/// A visit that ended, with what it brought.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Which of the visits.
    pub(crate) index: usize,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// When.
    pub(crate) at: Timestamp,
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether the probe was sent.
    pub(crate) uploaded: bool,
    /// Where its records belong, where any stream began.
    pub(crate) hello: Option<Hello>,
    /// Its records, in order of sequence.
    pub(crate) records: Vec<Incoming>,
    /// The host key that was asked for, or was not known, and on which leg of the way.
    pub(crate) host_key: Option<(usize, Vec<u8>)>,
    /// Where all that is spooled came: the oldest key pair that it is sealed to.
    pub(crate) oldest_key: Option<u32>,
    /// Its steps, and when each came, counted from the beginning.
    pub(crate) steps: Vec<(Duration, Step)>,
}

/// One step of a visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A phase began.
    Phase(Phase),
    /// Something was found.
    Found(Found),
    /// A hop was passed.
    Hop {
        /// Its name.
        hop: String,
        /// What was found there.
        met: String,
    },
}

/// The most steps that are kept of one visit.
const MAX_STEPS: usize = 100;

/// How a stream began.
#[derive(Debug)]
pub(crate) struct Hello {
    /// The client's clocks at that moment.
    pub(crate) clock: Clock,
    /// The spool.
    pub(crate) spool: SpoolId,
    /// That moment, by our clock.
    pub(crate) receipt: Timestamp,
}

/// One record as a worker sent it up.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Its place in the spool.
    pub(crate) sequence: u64,
    /// SHA-256 of its envelope.
    pub(crate) digest: [u8; 32],
    /// Why it was set aside; `None` for a good one.
    pub(crate) quarantined: Option<String>,
    /// The record's CBOR, or the quarantined envelope.
    pub(crate) bytes: Vec<u8>,
}

impl Finished {
    /// A visit that has brought nothing yet.
    pub(crate) fn nothing(index: usize) -> Self {
        Self {
            index,
            outcome: Outcome::NotReached,
            at: Timestamp(0),
            took: Duration::ZERO,
            uploaded: false,
            hello: None,
            records: Vec::new(),
            host_key: None,
            oldest_key: None,
            steps: Vec::new(),
        }
    }

    /// Keeps one more step, unless a worker has none of an honest one's bounds.
    pub(crate) fn mark(&mut self, after: Duration, step: Step) {
        if self.steps.len() < MAX_STEPS {
            self.steps.push((after, step));
        }
    }

    /// Keeps one more record. Refuses, with why, what no spool can have and no storage takes.
    pub(crate) fn keep(&mut self, incoming: Incoming) -> Result<(), String> {
        let sequence = incoming.sequence;
        let before = self.records.last().map_or(0, |record| record.sequence);
        if sequence <= before || i64::try_from(sequence).is_err() {
            return Err(format!("it sent record {sequence} after record {before}"));
        }
        if self.records.len() as u64 >= MAX_RECORDS {
            return Err(format!("it sent more than {MAX_RECORDS} records"));
        }
        self.records.push(incoming);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(sequence: u64) -> Incoming {
        Incoming { sequence, digest: [0; 32], quarantined: None, bytes: Vec::new() }
    }

    #[test]
    fn only_sequences_that_count_up_and_can_be_stored_are_kept() {
        let mut finished = Finished::nothing(0);
        for (sequence, kept) in [(0, false), (4, true), (4, false), (3, false), (9, true), (u64::MAX, false)]
        {
            assert_eq!(finished.keep(incoming(sequence)).is_ok(), kept, "{sequence}");
        }
        assert_eq!(finished.records.len(), 2);
    }

    #[test]
    fn no_visit_brings_records_without_end() {
        let mut finished = Finished::nothing(0);
        assert!((1..=MAX_RECORDS).all(|sequence| finished.keep(incoming(sequence)).is_ok()));
        assert!(finished.keep(incoming(MAX_RECORDS + 1)).is_err());
    }
}
