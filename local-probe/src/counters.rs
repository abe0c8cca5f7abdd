//! What the kernel counts since boot, kept from run to run, and the rates between two of them.

use std::collections::BTreeMap;

use model::{Labels, Sample};
use serde::{Deserialize, Serialize};

use crate::reading::percent;

/// Counters that are closer together than this make no rate: a tick of `/proc/stat` is 10 ms.
pub(crate) const LEAST_MILLIS: u64 = 200;

/// The most processes whose times are kept.
const MAX_PROCESSES: usize = 32_768;

/// Everything that is counted since boot, at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Which boot they count from.
    pub boot_id: String,
    /// When they were read, by CLOCK_BOOTTIME.
    pub boottime_ms: u64,
    /// All cores together.
    pub cpu: Option<CpuTimes>,
    /// Each core that is online.
    pub cores: BTreeMap<u32, CpuTimes>,
    /// Bytes read from and written to swap; absent without swap.
    pub swap: Option<(u64, u64)>,
    /// Each interface.
    pub interfaces: BTreeMap<String, Traffic>,
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
}

impl CpuTimes {
    fn total(&self) -> u64 {
        [self.user, self.system, self.idle, self.iowait.unwrap_or(0), self.steal.unwrap_or(0)]
            .into_iter()
            .fold(0, u64::saturating_add)
    }

    /// The time between two readings; single counters such as iowait are known to step back a little (proc(5)).
    fn since(&self, before: &Self) -> Option<Self> {
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
    fn busy(&self) -> u64 {
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

    fn seconds_to(&self, now: &Self) -> Option<f64> {
        let millis = now.boottime_ms.checked_sub(self.boottime_ms).filter(|millis| *millis > 0)?;
        Some(millis as f64 / 1000.0)
    }

    /// Keeps `processes`, bounded.
    pub(crate) fn keep_processes(&mut self, processes: impl Iterator<Item = (u32, u64, u64)>) {
        self.processes = processes.filter(|(_, _, ticks)| *ticks > 0).take(MAX_PROCESSES).collect();
        self.processes.sort_unstable();
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

    /// Every rate between `self` and `now`. What stepped back or is new makes none.
    pub(crate) fn rates(&self, now: &Self) -> Vec<Sample> {
        let mut rates = Rates(Vec::new());
        rates.cpu(self, now);
        if let Some(seconds) = self.seconds_to(now) {
            if let (Some(before), Some(now)) = (self.swap, now.swap) {
                rates.per_second("swap-in", Labels::none(), before.0, now.0, seconds);
                rates.per_second("swap-out", Labels::none(), before.1, now.1, seconds);
            }
            for (name, now) in &now.interfaces {
                if let Some(before) = self.interfaces.get(name) {
                    rates.traffic(name, before, now, seconds);
                }
            }
        }
        rates.0
    }
}

struct Rates(Vec<Sample>);

impl Rates {
    fn push(&mut self, metric: &str, labels: Labels, value: f64) {
        self.0.push(Sample { metric: metric.to_owned(), labels, value });
    }

    fn per_second(&mut self, metric: &str, labels: Labels, before: u64, now: u64, seconds: f64) {
        if let Some(more) = now.checked_sub(before) {
            self.push(metric, labels, more as f64 / seconds);
        }
    }

    fn cpu(&mut self, before: &Counters, now: &Counters) {
        let Some(spent) = now.cpu.zip(before.cpu).and_then(|(now, before)| now.since(&before)) else {
            return;
        };
        let shares = [
            ("cpu", Some(spent.busy())),
            ("cpu-user", Some(spent.user)),
            ("cpu-system", Some(spent.system)),
            ("iowait", spent.iowait),
            ("steal", spent.steal),
        ];
        for (metric, part) in shares {
            if let Some(value) = part.and_then(|part| percent(part, spent.total())) {
                self.push(metric, Labels::none(), value);
            }
        }
        let busy = |(core, now): (&u32, &CpuTimes)| {
            let spent = now.since(before.cores.get(core)?)?;
            percent(spent.busy(), spent.total())
        };
        if let Some(value) = now.cores.iter().filter_map(busy).max_by(f64::total_cmp) {
            self.push("cpu-busiest-core", Labels::none(), value);
        }
    }

    fn traffic(&mut self, name: &str, before: &Traffic, now: &Traffic, seconds: f64) {
        let labels = || Labels::one("interface", name);
        self.per_second("network-in", labels(), before.bytes_in, now.bytes_in, seconds);
        self.per_second("network-out", labels(), before.bytes_out, now.bytes_out, seconds);
        let (packets, bad) = (now.packets.checked_sub(before.packets), now.bad.checked_sub(before.bad));
        if let (Some(packets), Some(bad)) = (packets, bad) {
            // A quiet interface had no errors.
            let value = percent(bad, packets.saturating_add(bad)).unwrap_or(0.0);
            self.push("network-errors", labels(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counters(boottime_ms: u64, cpu: CpuTimes) -> Counters {
        Counters { boot_id: "b".to_owned(), boottime_ms, cpu: Some(cpu), ..Counters::default() }
    }

    fn value(samples: &[Sample], metric: &str) -> Option<f64> {
        samples.iter().find(|sample| sample.metric == metric).map(|sample| sample.value)
    }

    #[test]
    fn shares_are_of_the_time_between() {
        let before = counters(0, CpuTimes { user: 100, system: 50, idle: 850, iowait: Some(0), steal: None });
        let now =
            counters(1000, CpuTimes { user: 150, system: 60, idle: 880, iowait: Some(10), steal: None });
        let rates = before.rates(&now);
        assert_eq!(value(&rates, "cpu"), Some(60.0));
        assert_eq!(value(&rates, "cpu-user"), Some(50.0));
        assert_eq!(value(&rates, "iowait"), Some(10.0));
        assert_eq!(value(&rates, "steal"), None, "what the kernel does not offer is absent");
    }

    #[test]
    fn an_interface_that_was_made_anew_has_no_rate() {
        let traffic =
            |bytes_in| BTreeMap::from([("eth0".to_owned(), Traffic { bytes_in, ..Traffic::default() })]);
        let mut before = counters(0, CpuTimes::default());
        let mut now = counters(2000, CpuTimes::default());
        (before.interfaces, now.interfaces) = (traffic(1000), traffic(3000));
        assert_eq!(value(&before.rates(&now), "network-in"), Some(1000.0));
        (before.interfaces, now.interfaces) = (traffic(1000), traffic(10));
        assert_eq!(value(&before.rates(&now), "network-in"), None);
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

    fn any_times() -> impl Strategy<Value = CpuTimes> {
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<Option<u64>>(), any::<Option<u64>>())
            .prop_map(|(user, system, idle, iowait, steal)| CpuTimes { user, system, idle, iowait, steal })
    }

    proptest! {
        #[test]
        fn rates_are_finite_and_shares_stay_within_bounds(a in any_times(), b in any_times(), t in any::<u64>(), u in any::<u64>()) {
            let traffic = |times: &CpuTimes| Traffic {
                bytes_in: times.user, bytes_out: times.system, packets: times.idle, bad: times.user,
            };
            let (mut before, mut now) = (counters(t, a), counters(u, b));
            before.interfaces.insert("e".to_owned(), traffic(&a));
            now.interfaces.insert("e".to_owned(), traffic(&b));
            for sample in before.rates(&now) {
                prop_assert!(sample.value.is_finite() && sample.value >= 0.0);
                if sample.metric.starts_with("cpu") || sample.metric == "network-errors" {
                    prop_assert!(sample.value <= 100.0);
                }
            }
        }
    }
}
