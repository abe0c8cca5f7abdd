//! Processes as a reader saw them, and those of them that people are shown.

use model::{Evidence, Labels, Process, Sample};

use crate::machine::Machine;
use crate::order;
use crate::{Counters, platform};

/// How many are shown of the busiest and of the largest.
const TOP: usize = 5;

/// The most names that are counted.
pub(crate) const MAX_NAMES: usize = 64;

/// One process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its process id.
    pub(crate) pid: u32,
    /// Its command's name.
    pub(crate) name: String,
    /// Its state as one letter of proc_pid_stat(5): `R`, `S`, `D`, `Z`, ...
    pub(crate) state: u8,
    /// Processor time that it used, in ticks.
    pub(crate) ticks: u64,
    /// When it started; with the pid it names one process of a boot.
    pub(crate) start: u64,
    /// Pages in memory.
    pub(crate) resident_pages: u64,
}

/// The busiest between `before` and `now`, and the largest.
pub(crate) fn top(machine: &Machine, processes: &[Seen], before: &Counters, now: &Counters) -> Evidence {
    let mut rates = before.process_rates(now, machine.ticks_per_second);
    rates.retain(|(pid, rate)| *rate > 0.0 && *pid != machine.own_pid);
    let shown = |seen: &Seen| Process {
        pid: seen.pid,
        name: seen.name.clone(),
        uid: platform::owner(machine, seen.pid).unwrap_or(u32::MAX),
        cpu: rates.iter().find(|(pid, _)| *pid == seen.pid).map(|(_, rate)| *rate),
        memory: seen.resident_pages.saturating_mul(machine.page_size),
    };
    let mut busiest = rates.clone();
    order::sort_by(&mut busiest, |a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let find = |pid: u32| processes.iter().find(|seen| seen.pid == pid);
    let top_cpu = busiest.iter().filter_map(|(pid, _)| find(*pid)).take(TOP).map(shown).collect();
    let mut largest: Vec<&Seen> =
        processes.iter().filter(|seen| seen.resident_pages > 0 && seen.pid != machine.own_pid).collect();
    order::sort_by(&mut largest, |a, b| (b.resident_pages, a.pid).cmp(&(a.resident_pages, b.pid)));
    Evidence { top_cpu, top_memory: largest.into_iter().take(TOP).map(shown).collect() }
}

/// Bytes of a name that the kernel keeps (TASK_COMM_LEN less the end, proc_pid_comm(5)).
const KEPT: usize = 15;

/// How many processes of each name there are, as pgrep -x counts: by the 15 bytes that the kernel keeps, without those that
/// ended and were not waited for. `None` where others' processes are hidden.
pub(crate) fn count_named(machine: &Machine, processes: &[Seen], names: &[String]) -> Option<Vec<Sample>> {
    processes.iter().find(|seen| seen.pid == 1)?;
    let lives = |seen: &&Seen| seen.pid != machine.own_pid && !matches!(seen.state, b'Z' | b'X');
    let count = |name: &String| {
        let kept = &name.as_bytes()[..name.len().min(KEPT)];
        let same = processes.iter().filter(lives).filter(|seen| seen.name.as_bytes() == kept).count();
        Sample { metric: "process".to_owned(), labels: Labels::one("process", name), value: same as f64 }
    };
    Some(names.iter().take(MAX_NAMES).map(count).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn named_processes_are_counted_by_what_the_kernel_keeps() {
        let seen = |pid, name: &str, state| Seen {
            pid,
            name: name.to_owned(),
            state,
            ticks: 0,
            start: 0,
            resident_pages: 0,
        };
        let machine = Machine { own_pid: 9, ..Machine::this(Path::new("/")) };
        let mut processes = vec![
            seen(1, "init", b'S'),
            seen(2, "sshd", b'S'),
            seen(3, "sshd", b'Z'),
            seen(4, "unattended-upgr", b'S'),
            seen(9, "sshd", b'R'),
        ];
        let names = ["sshd", "unattended-upgrade-shutdown", "nginx"].map(str::to_owned);
        let counted = count_named(&machine, &processes, &names).unwrap();
        assert_eq!(counted.iter().map(|sample| sample.value).collect::<Vec<_>>(), [1.0, 1.0, 0.0]);
        processes.remove(0);
        assert_eq!(count_named(&machine, &processes, &names), None, "hidden is not 0");
    }
}
