//! Processes as a reader saw them, and those of them that people are shown.

use model::{Evidence, Process};

use crate::machine::Machine;
use crate::{Counters, platform};

/// How many are shown of the busiest and of the largest.
const TOP: usize = 5;

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
    busiest.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let find = |pid: u32| processes.iter().find(|seen| seen.pid == pid);
    let top_cpu = busiest.iter().filter_map(|(pid, _)| find(*pid)).take(TOP).map(shown).collect();
    let mut largest: Vec<&Seen> =
        processes.iter().filter(|seen| seen.resident_pages > 0 && seen.pid != machine.own_pid).collect();
    largest.sort_by_key(|seen| (std::cmp::Reverse(seen.resident_pages), seen.pid));
    Evidence { top_cpu, top_memory: largest.into_iter().take(TOP).map(shown).collect() }
}
