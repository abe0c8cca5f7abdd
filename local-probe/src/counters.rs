//! What the kernel counts since boot, kept from run to run. Rates are made of two of them in `rates.rs`.

use crate::order;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counters that are closer together than this make no rate: a tick of `/proc/stat` is 10 ms.
pub(crate) const LEAST_MILLIS: u64 = 200;

/// The most processes whose times are kept.
const MAX_PROCESSES: usize = 32_768;

/// Everything that is counted since boot, at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Which boot they count from.
    pub boot_id: String,
    /// When they were read, by CLOCK_BOOTTIME.
    pub boottime_ms: u64,
    /// All cores together.
    pub cpu: Option<CpuTimes>,
    /// Each core that is online.
    pub cores: BTreeMap<u32, CpuTimes>,
    /// What a container used of its quota; absent where it has none.
    pub quota: Option<Quota>,
    /// Bytes read from and written to swap; absent without swap.
    pub swap: Option<(u64, u64)>,
    /// Each interface.
    pub interfaces: BTreeMap<String, Traffic>,
    /// Each block device, by the name that people know it by.
    pub devices: BTreeMap<String, DeviceCounts>,
    /// TCP of the whole machine.
    pub tcp: TcpCounts,
    /// Microseconds in which tasks waited for a resource: some of them, and all of them where that is told.
    pub stalls: BTreeMap<String, (u64, Option<u64>)>,
    /// Processes that were killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Pid, start and ticks of each process that used any; sorted by pid.
    pub processes: Vec<(u32, u64, u64)>,
}

/// Where the time of one core, or of all, went: in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CpuTimes {
    /// In programs, nice ones and guests included.
    pub user: u64,
    /// In the kernel, interrupts included.
    pub system: u64,
    /// Idle, without [`Self::iowait`].
    pub idle: u64,
    /// Idle with a disk operation under way.
    pub iowait: Option<u64>,
    /// Taken by the hypervisor.
    pub steal: Option<u64>,
}

/// The processor time of a container that may not use all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Microseconds that it used.
    pub used_micros: u64,
    /// Thousandths of a core that it may use.
    pub millicores: u64,
}

/// What went through one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Packets both ways.
    pub packets: u64,
    /// Packets both ways with errors, or dropped.
    pub bad: u64,
    /// Packets dropped both ways.
    #[serde(default)]
    pub drops: Option<u64>,
}

/// What one block device did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceCounts {
    /// Tells a device from another that later has its name; absent before kernel 5.15.
    pub sequence: Option<u64>,
    /// Requests that ended, reads and writes.
    pub requests: u64,
    /// Milliseconds that those took together, waiting included.
    pub waited_ms: u64,
    /// Milliseconds in which requests were under way.
    pub busy_ms: u64,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

/// What TCP did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TcpCounts {
    /// Segments sent, those sent again left out.
    pub sent: Option<u64>,
    /// Segments sent again.
    pub sent_again: Option<u64>,
    /// Connections that found a full queue.
    pub listen_drops: Option<u64>,
}

impl CpuTimes {
    pub(crate) fn total(&self) -> u64 {
        [self.user, self.system, self.idle, self.iowait.unwrap_or(0), self.steal.unwrap_or(0)]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// The time between two readings; single counters such as iowait are known to step back a little (proc(5)).
    pub(crate) fn since(&self, before: &Self) -> Option<Self> {
        let optional = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        (self.total() > before.total()).then(|| Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            idle: self.idle.saturating_sub(before.idle),
            iowait: optional(self.iowait, before.iowait),
            steal: optional(self.steal, before.steal),
        })
    }

    /// Neither idle nor waiting for a disk; time that the hypervisor took was wanted, so it counts.
    pub(crate) fn busy(&self) -> u64 {
        self.user.saturating_add(self.system).saturating_add(self.steal.unwrap_or(0))
    }
}

impl Counters {
    /// Whether rates can be made from `self` to `now`: same boot, some time between, nothing stepped back.
    pub(crate) fn leads_to(&self, now: &Self) -> bool {
        let forward = match (&self.cpu, &now.cpu) {
            (Some(before), Some(now)) => now.total() > before.total(),
            _ => true,
        };
        !self.boot_id.is_empty()
            && self.boot_id == now.boot_id
            && now.boottime_ms.checked_sub(self.boottime_ms).is_some_and(|millis| millis >= LEAST_MILLIS)
            && forward
    }

    pub(crate) fn seconds_to(&self, now: &Self) -> Option<f64> {
        let millis = now.boottime_ms.checked_sub(self.boottime_ms).filter(|millis| *millis > 0)?;
        Some(millis as f64 / 1000.0)
    }

    /// Keeps `processes`, bounded.
    pub(crate) fn keep_processes(&mut self, processes: impl Iterator<Item = (u32, u64, u64)>) {
        self.processes = processes.filter(|(_, _, ticks)| *ticks > 0).take(MAX_PROCESSES).collect();
        order::sort(&mut self.processes);
    }

    /// Ticks that the process used up to here; 0 for one that was not seen.
    pub(crate) fn ticks_of(&self, pid: u32, start: u64) -> u64 {
        let at = self.processes.partition_point(|process| (process.0, process.1) < (pid, start));
        self.processes.get(at).filter(|process| (process.0, process.1) == (pid, start)).map_or(0, |p| p.2)
    }

    /// Percent of one core that each process of `now` used, in the order of `now`.
    pub(crate) fn process_rates(&self, now: &Self, ticks_per_second: u64) -> Vec<(u32, f64)> {
        let Some(seconds) = self.seconds_to(now) else { return Vec::new() };
        let whole = seconds * ticks_per_second as f64;
        let used = |&(pid, start, ticks): &(u32, u64, u64)| {
            (pid, 100.0 * ticks.saturating_sub(self.ticks_of(pid, start)) as f64 / whole)
        };
        now.processes.iter().map(used).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(boottime_ms: u64, cpu: CpuTimes) -> Counters {
        Counters { boot_id: "b".to_owned(), boottime_ms, cpu: Some(cpu), ..Counters::default() }
    }

    #[test]
    fn another_boot_and_a_step_back_lead_nowhere() {
        let busy = |user| CpuTimes { user, ..CpuTimes::default() };
        let before = counters(1000, busy(10));
        assert!(before.leads_to(&counters(2000, busy(20))));
        assert!(!before.leads_to(&counters(1100, busy(20))), "too close");
        assert!(!before.leads_to(&counters(500, busy(20))), "rolled back");
        assert!(!before.leads_to(&counters(2000, busy(5))), "stepped back");
        assert!(!before.leads_to(&Counters { boot_id: "c".to_owned(), ..counters(2000, busy(20)) }));
    }

    #[test]
    fn a_pid_that_was_used_again_is_another_process() {
        let mut before = counters(0, CpuTimes::default());
        before.keep_processes([(7, 1, 500), (8, 1, 0)].into_iter());
        let mut now = counters(1000, CpuTimes::default());
        now.keep_processes([(7, 99, 50), (8, 1, 10)].into_iter());
        assert_eq!(before.process_rates(&now, 100), [(7, 50.0), (8, 10.0)]);
    }
}
