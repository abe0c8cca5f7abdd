//! `/proc/stat`: where the processors' time went.

use std::collections::BTreeMap;

use crate::counters::CpuTimes;
use crate::reading::{Reader, Reading};

/// Reads `/proc/stat`.
pub(super) struct Cpu;

impl Reader for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let (all, cores) = parse(&reading.machine.text("proc/stat")?);
        if !cores.is_empty() {
            reading.gauge("cores", cores.len() as f64);
        }
        let known = all.is_some();
        reading.counters.cpu = all;
        reading.counters.cores = cores;
        if known { Ok(()) } else { Err("/proc/stat has no line \"cpu\"".to_owned()) }
    }
}

/// The sums over all cores, and each core that is online.
fn parse(text: &str) -> (Option<CpuTimes>, BTreeMap<u32, CpuTimes>) {
    let (mut all, mut cores) = (None, BTreeMap::new());
    for line in text.lines() {
        let Some((name, values)) = line.strip_prefix("cpu").and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let Some(times) = times(values) else { continue };
        if name.is_empty() {
            all = Some(times);
        } else if let Ok(core) = name.parse() {
            cores.insert(core, times);
        }
    }
    (all, cores)
}

/// Columns as proc(5) names them: user nice system idle iowait irq softirq steal guest guest_nice. Guest time is in
/// user time already.
fn times(values: &str) -> Option<CpuTimes> {
    let mut columns = values.split_whitespace().map_while(|value| value.parse::<u64>().ok());
    let user = columns.next()?.saturating_add(columns.next()?);
    let system = columns.next()?;
    let idle = columns.next()?;
    let iowait = columns.next();
    let interrupts = columns.next().unwrap_or(0).saturating_add(columns.next().unwrap_or(0));
    Some(CpuTimes { user, system: system.saturating_add(interrupts), idle, iowait, steal: columns.next() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn guest_time_is_not_counted_twice() {
        let (all, cores) = parse("cpu  10 1 5 100 7 2 3 4 9 9\ncpu0 1 0 0 9\nintr 5\n");
        assert_eq!(all, Some(CpuTimes { user: 11, system: 10, idle: 100, iowait: Some(7), steal: Some(4) }));
        assert_eq!(cores[&0], CpuTimes { user: 1, system: 0, idle: 9, iowait: None, steal: None });
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "cpu[0-9 \n]{0,80}") {
            parse(&String::from_utf8_lossy(&bytes));
            parse(&text);
        }
    }
}
