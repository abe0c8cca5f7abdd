//! `/proc/[pid]/stat`: the processes.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, openat};

use crate::machine::Machine;
use crate::processes::Seen;
use crate::reading::{Reader, Reading};

/// The most processes that are looked at.
const MAX_PROCESSES: usize = 100_000;

/// Reads every process once.
pub(super) struct Processes;

impl Reader for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let (processes, more) = read_all(reading.machine)?;
        reading.counters.keep_processes(processes.iter().map(|seen| (seen.pid, seen.start, seen.ticks)));
        let all_visible = processes.iter().any(|seen| seen.pid == 1);
        if all_visible {
            let others = || processes.iter().filter(|seen| seen.pid != reading.machine.own_pid);
            let count = |states: &[u8]| others().filter(|seen| states.contains(&seen.state)).count() as f64;
            let counts = [
                ("processes", others().count() as f64),
                ("processes-running", count(b"R")),
                ("processes-blocked", count(b"D")),
                ("processes-zombie", count(b"Z")),
            ];
            for (metric, value) in counts {
                reading.gauge(metric, value);
            }
        }
        reading.processes = processes;
        match (all_visible, more) {
            (false, _) => {
                Err("/proc hides the processes of others (hidepid), so that none are counted".to_owned())
            }
            (true, true) => Err(format!("only {MAX_PROCESSES} processes are looked at")),
            (true, false) => Ok(()),
        }
    }
}

/// What `/proc` lists, and whether that is not all.
fn read_all(machine: &Machine) -> Result<(Vec<Seen>, bool), String> {
    let fault = |error: std::io::Error| format!("/proc: {error}");
    let path = machine.path(std::path::Path::new("proc"));
    let directory = File::open(&path).map_err(fault)?;
    let pids = std::fs::read_dir(&path)
        .map_err(fault)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let (mut processes, mut buffer) = (Vec::new(), vec![0; 4096]);
    for pid in pids {
        if processes.len() == MAX_PROCESSES {
            return Ok((processes, true));
        }
        // A process that ended meanwhile is none.
        if let Some(length) = read_stat(&directory, pid, &mut buffer) {
            processes.extend(parse(pid, &buffer[..length]));
        }
    }
    Ok((processes, false))
}

fn read_stat(directory: impl AsFd, pid: u32, buffer: &mut [u8]) -> Option<usize> {
    let file =
        openat(directory, format!("{pid}/stat"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    rustix::io::read(file, buffer).ok()
}

/// proc_pid_stat(5): `pid (comm) state ...`. The name may hold anything, brackets and newlines too, so it ends at the
/// last bracket.
fn parse(pid: u32, bytes: &[u8]) -> Option<Seen> {
    let open = bytes.iter().position(|byte| *byte == b'(')?;
    let close = bytes.iter().rposition(|byte| *byte == b')').filter(|close| *close > open)?;
    let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.bytes().next()?;
    // utime and stime are fields 14 and 15, starttime 22, rss 24; the state was field 3.
    let mut number = |skip: usize| fields.nth(skip)?.parse::<i64>().ok().map(|value| value.max(0) as u64);
    let (user, system) = (number(10)?, number(0)?);
    let (start, resident_pages) = (number(6)?, number(1)?);
    let name = String::from_utf8_lossy(&bytes[open + 1..close]).chars().take(64).collect();
    Some(Seen { pid, name, state, ticks: user.saturating_add(system), start, resident_pages })
}

/// The effective user of a process that still runs.
pub(crate) fn owner(machine: &Machine, pid: u32) -> Option<u32> {
    machine.text(&format!("proc/{pid}/status")).ok().and_then(|status| parse_uid(&status))
}

/// proc_pid_status(5): `Uid: real effective saved filesystem`.
fn parse_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_may_hold_anything() {
        let mut stat =
            b"42 (a) R (\xff\n) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 1 0 12345 1000 ".to_vec();
        stat.extend(b"33 18446744073709551615 0 0\n");
        let seen = parse(42, &stat).unwrap();
        assert_eq!((seen.name.as_str(), seen.state, seen.ticks), ("a) R (\u{fffd}\n", b'S', 12));
        assert_eq!((seen.start, seen.resident_pages), (12345, 33));
    }

    #[test]
    fn the_effective_user_is_the_owner() {
        assert_eq!(parse_uid("Name:\tx\nUid:\t1\t2\t3\t4\n"), Some(2));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[()0-9 S-]{0,200}") {
            parse(1, &bytes);
            parse(1, text.as_bytes());
            parse_uid(&text);
        }
    }
}
