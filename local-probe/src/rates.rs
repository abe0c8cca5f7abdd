//! The rates between two readings of the counters. What stepped back, or is new, makes none.

use std::collections::BTreeMap;

use model::{Labels, Sample};

use crate::counters::{Counters, CpuTimes, DeviceCounts, Quota, TcpCounts, Traffic};
use crate::reading::percent;

type Stalls = BTreeMap<String, (u64, Option<u64>)>;

impl Counters {
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
            for (name, now) in &now.devices {
                if let Some(before) = self.devices.get(name) {
                    rates.device(name, before, now, seconds);
                }
            }
            rates.quota(self.quota, now.quota, seconds);
            rates.stalls(&self.stalls, &now.stalls, seconds);
            rates.tcp(&self.tcp, &now.tcp, seconds);
        }
        rates.kernel(self, now);
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

    fn quota(&mut self, before: Option<Quota>, now: Option<Quota>, seconds: f64) {
        let Some((before, now)) = before.zip(now) else { return };
        if let Some(micros) = now.used_micros.checked_sub(before.used_micros) {
            let allowed = now.millicores as f64 * 1000.0 * seconds;
            self.push("cpu-quota", Labels::none(), (100.0 * micros as f64 / allowed).min(100.0));
        }
    }

    fn traffic(&mut self, name: &str, before: &Traffic, now: &Traffic, seconds: f64) {
        let labels = || Labels::one("interface", name);
        self.per_second("network-in", labels(), before.bytes_in, now.bytes_in, seconds);
        self.per_second("network-out", labels(), before.bytes_out, now.bytes_out, seconds);
        self.per_second("network-packets", labels(), before.packets, now.packets, seconds);
        if let (Some(before), Some(now)) = (before.drops, now.drops) {
            self.per_second("network-drops", labels(), before, now, seconds);
        }
        let (packets, bad) = (now.packets.checked_sub(before.packets), now.bad.checked_sub(before.bad));
        if let (Some(packets), Some(bad)) = (packets, bad) {
            // A quiet interface had no errors.
            let value = percent(bad, packets.saturating_add(bad)).unwrap_or(0.0);
            self.push("network-errors", labels(), value);
        }
    }

    fn device(&mut self, name: &str, before: &DeviceCounts, now: &DeviceCounts, seconds: f64) {
        if before.sequence != now.sequence {
            return;
        }
        let labels = || Labels::one("device", name);
        let more = |field: fn(&DeviceCounts) -> u64| field(now).checked_sub(field(before));
        let busy = more(|counts| counts.busy_ms);
        if let Some(busy) = busy {
            self.push("device-busy", labels(), (busy as f64 / (10.0 * seconds)).min(100.0));
        }
        match (more(|counts| counts.requests), more(|counts| counts.waited_ms)) {
            // An idle device kept nobody waiting; one that is busy and ends nothing has no mean.
            (Some(0), _) if busy == Some(0) => self.push("device-await", labels(), 0.0),
            (Some(requests @ 1..), Some(waited)) => {
                self.push("device-await", labels(), waited as f64 / requests as f64 / 1000.0);
            }
            _ => {}
        }
        self.per_second("device-read", labels(), before.read, now.read, seconds);
        self.per_second("device-write", labels(), before.written, now.written, seconds);
    }

    fn stalls(&mut self, before: &Stalls, now: &Stalls, seconds: f64) {
        for (resource, now) in now {
            let Some(before) = before.get(resource) else { continue };
            let labels = || Labels::one("resource", resource);
            let share = |before: u64, now: u64| {
                now.checked_sub(before).map(|micros| (micros as f64 / (seconds * 10_000.0)).min(100.0))
            };
            if let Some(value) = share(before.0, now.0) {
                self.push("pressure", labels(), value);
            }
            if let Some(value) = before.1.zip(now.1).and_then(|(before, now)| share(before, now)) {
                self.push("pressure-full", labels(), value);
            }
        }
    }

    fn tcp(&mut self, before: &TcpCounts, now: &TcpCounts, seconds: f64) {
        let more = |before: Option<u64>, now: Option<u64>| now?.checked_sub(before?);
        let again = more(before.sent_again, now.sent_again);
        if let (Some(sent), Some(again)) = (more(before.sent, now.sent), again) {
            // Who sent nothing lost nothing.
            let value = percent(again, sent.saturating_add(again)).unwrap_or(0.0);
            self.push("tcp-retransmits", Labels::none(), value);
        }
        if let (Some(before), Some(now)) = (before.listen_drops, now.listen_drops) {
            self.per_second("tcp-listen-drops", Labels::none(), before, now, seconds);
        }
    }

    /// What is no rate over time, but more of something since then.
    fn kernel(&mut self, before: &Counters, now: &Counters) {
        let kills = now.oom_kills.zip(before.oom_kills).and_then(|(now, before)| now.checked_sub(before));
        if let Some(kills) = kills {
            self.push("oom", Labels::none(), kills as f64);
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
    fn a_quota_is_used_by_so_much_of_it() {
        let quota = |used_micros| Some(Quota { used_micros, millicores: 500 });
        let mut rates = Rates(Vec::new());
        rates.quota(quota(1_000_000), quota(2_000_000), 10.0);
        assert_eq!(value(&rates.0, "cpu-quota"), Some(20.0));
        let mut rates = Rates(Vec::new());
        rates.quota(quota(1), None, 10.0);
        rates.quota(quota(5), quota(1), 10.0);
        assert!(rates.0.is_empty());
    }

    fn device(requests: u64, waited_ms: u64, busy_ms: u64) -> DeviceCounts {
        DeviceCounts { requests, waited_ms, busy_ms, ..DeviceCounts::default() }
    }

    fn of_device(before: DeviceCounts, now: DeviceCounts) -> Vec<Sample> {
        let mut rates = Rates(Vec::new());
        rates.device("sda", &before, &now, 10.0);
        rates.0
    }

    #[test]
    fn a_device_is_busy_for_a_share_of_the_time() {
        let rates = of_device(device(100, 1000, 500), device(200, 3000, 5500));
        assert_eq!(value(&rates, "device-busy"), Some(50.0));
        assert_eq!(value(&rates, "device-await"), Some(0.02));
        assert_eq!(value(&of_device(device(1, 1, 1), device(1, 1, 1)), "device-await"), Some(0.0), "idle");
        let hung = of_device(device(1, 1, 1), device(1, 1, 10_001));
        assert_eq!((value(&hung, "device-busy"), value(&hung, "device-await")), (Some(100.0), None));
    }

    #[test]
    fn another_device_of_the_same_name_has_no_rate() {
        let (first, second) = (
            DeviceCounts { sequence: Some(1), ..device(1, 1, 1) },
            DeviceCounts { sequence: Some(2), ..device(9, 9, 9) },
        );
        assert!(of_device(first, second).is_empty());
    }

    #[test]
    fn stalls_kills_and_retransmits_are_since_the_last_report() {
        let mut before = counters(0, CpuTimes::default());
        let mut now = counters(2000, CpuTimes::default());
        before.stalls = BTreeMap::from([("io".to_owned(), (100, Some(0))), ("cpu".to_owned(), (0, None))]);
        now.stalls =
            BTreeMap::from([("io".to_owned(), (1_000_100, Some(200_000))), ("cpu".to_owned(), (0, None))]);
        (before.oom_kills, now.oom_kills) = (Some(3), Some(5));
        before.tcp = TcpCounts { sent: Some(0), sent_again: Some(0), listen_drops: None };
        now.tcp = TcpCounts { sent: Some(90), sent_again: Some(10), listen_drops: Some(4) };
        let rates = before.rates(&now);
        let shown: Vec<_> =
            rates.iter().map(|rate| format!("{} {} {}", rate.metric, rate.labels, rate.value)).collect();
        assert_eq!(
            shown,
            [
                "pressure resource=cpu 0",
                "pressure resource=io 50",
                "pressure-full resource=io 10",
                "tcp-retransmits  10",
                "oom  2",
            ]
        );
    }

    fn any_times() -> impl Strategy<Value = CpuTimes> {
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<Option<u64>>(), any::<Option<u64>>())
            .prop_map(|(user, system, idle, iowait, steal)| CpuTimes { user, system, idle, iowait, steal })
    }

    proptest! {
        #[test]
        fn rates_are_finite_and_shares_stay_within_bounds(a in any_times(), b in any_times(), t in any::<u64>(), u in any::<u64>()) {
            let traffic = |times: &CpuTimes| Traffic {
                bytes_in: times.user, bytes_out: times.system, packets: times.idle, bad: times.user, drops: times.iowait,
            };
            let (mut before, mut now) = (counters(t, a), counters(u, b));
            before.interfaces.insert("e".to_owned(), traffic(&a));
            now.interfaces.insert("e".to_owned(), traffic(&b));
            let device = |times: &CpuTimes| DeviceCounts {
                sequence: None, requests: times.user, waited_ms: times.system, busy_ms: times.idle, read: 0, written: 9,
            };
            before.devices.insert("d".to_owned(), device(&a));
            now.devices.insert("d".to_owned(), device(&b));
            for (counters, times) in [(&mut before, a), (&mut now, b)] {
                counters.stalls.insert("io".to_owned(), (times.user, times.iowait));
                counters.tcp = TcpCounts { sent: times.steal, sent_again: times.iowait, listen_drops: times.steal };
            }
            for sample in before.rates(&now) {
                prop_assert!(sample.value.is_finite() && sample.value >= 0.0);
                if model::metric::unit(&sample.metric) == model::Unit::Percent {
                    prop_assert!(sample.value <= 100.0);
                }
            }
        }
    }
}
