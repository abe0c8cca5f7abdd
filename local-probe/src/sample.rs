//! One more record into the spool.

use model::wire::{Fault, Recipient, from_cbor, to_cbor};
use model::{Body, Clock, ReaderOutcome, Record};

use crate::Counters;
use crate::machine::{MAX_FILE, Machine};
use crate::processes::MAX_NAMES;
use crate::report;
use crate::space::Stuck;
use crate::spool::{Directory, Spool};

/// A record that is younger than this is new enough.
const FRESH_MILLIS: u64 = 10_000;

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is written, and survives a loss of power.
    Written(u64),
    /// The newest record is less than 10 s old.
    Recent,
    /// The spool is full; that is counted, and told by a gap record.
    Refused,
}

/// Looks at `machine` and writes the report into the spool; unless `fresh`, not if the newest is younger than 10 s.
pub fn take(
    spool: &mut Spool,
    machine: &Machine,
    recipient: &Recipient,
    fresh: bool,
) -> Result<Taken, Fault> {
    let clock = machine.clock();
    let before: Option<Counters> = recall(spool.directory(), "counters")?;
    if !fresh && spool.newest() > 0 && before.as_ref().is_some_and(|before| is_recent(before, &clock)) {
        return Ok(Taken::Recent);
    }
    if spool.is_full() {
        spool.refuse(clock.wall)?;
        return Ok(Taken::Refused);
    }
    let known_stuck: Vec<Stuck> = recall(spool.directory(), "stuck-mounts")?.unwrap_or_default();
    let names: Vec<String> = recall(spool.directory(), "processes")?.unwrap_or_default();
    let (mut record, counters, stuck) =
        report::take(machine, before.as_ref(), &known_stuck, &names).into_record();
    add_damage(&mut record, spool);
    let sequence = spool.append(recipient, &record)?;
    // Both only help the next run, so that no fault of theirs makes a record less true.
    let _ = spool.directory().replace("counters", &to_cbor(&counters), false);
    if stuck != known_stuck {
        let _ = spool.directory().replace("stuck-mounts", &to_cbor(&stuck), false);
    }
    Ok(Taken::Written(sequence))
}

/// Keeps the names of the processes to count beside the spool, for this run and for those that no collector starts.
pub fn keep_names(spool: &Spool, names: &[String]) -> Result<(), Fault> {
    let names = &names[..names.len().min(MAX_NAMES)];
    let kept: Vec<String> = recall(spool.directory(), "processes")?.unwrap_or_default();
    if kept == names { Ok(()) } else { spool.directory().replace("processes", &to_cbor(&names), true) }
}

/// The link `sample` in the spool, by which the client's own cron takes samples, is pointed at the probe that runs.
pub fn link(spool: &Spool, home: &Directory) {
    let Ok(probe) = std::fs::read_link("/proc/self/exe") else { return };
    let Some(name) = probe.file_name().and_then(|name| name.to_str()) else { return };
    let target = if name.starts_with("probe-") && home.stat(name).is_some() {
        home.touch(name);
        format!("../{name}")
    } else {
        probe.to_string_lossy().into_owned()
    };
    // Without it the collector's own runs still go on.
    let _ = spool.directory().point("sample", &target);
}

fn recall<T: serde::de::DeserializeOwned>(directory: &Directory, name: &str) -> Result<Option<T>, Fault> {
    Ok(directory.read(name, MAX_FILE)?.and_then(|bytes| from_cbor(&bytes).ok()))
}

fn is_recent(before: &Counters, now: &Clock) -> bool {
    let age = now.boottime_ms.checked_sub(before.boottime_ms);
    !now.boot_id.is_empty() && before.boot_id == now.boot_id && age.is_some_and(|age| age < FRESH_MILLIS)
}

fn add_damage(record: &mut Record, spool: &Spool) {
    if let (Body::Report(report), Some(fault)) = (&mut record.body, spool.damage()) {
        report.readers.push(ReaderOutcome { reader: "spool".to_owned(), micros: 0, fault: Some(fault) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;

    fn clock(boot: &str, boottime_ms: u64) -> Clock {
        Clock { wall: Timestamp(0), boottime_ms, boot_id: boot.to_owned() }
    }

    #[test]
    fn ten_seconds_of_one_boot_are_recent() {
        let before = Counters { boot_id: "b".to_owned(), boottime_ms: 5000, ..Counters::default() };
        assert!(is_recent(&before, &clock("b", 14_999)));
        assert!(!is_recent(&before, &clock("b", 15_000)));
        assert!(!is_recent(&before, &clock("b", 4000)), "rolled back");
        assert!(!is_recent(&before, &clock("c", 6000)));
    }
}
