//! `/proc/meminfo` and `/proc/vmstat`: memory and swap.

use crate::reading::{Reader, Reading, percent};

/// Reads memory and swap.
pub(super) struct Memory;

impl Reader for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let memory = parse(&reading.machine.text("proc/meminfo")?);
        let total = memory.total.ok_or("/proc/meminfo has no line MemTotal")?;
        let own = super::container::memory_limit(reading.machine, total);
        let available = memory.available();
        // A container is full when its own limit is reached, however much the machine has.
        let (total, available) = match own {
            Some(own) => (own.limit, Some(available.map_or(own.available, |all| all.min(own.available)))),
            None => (total, available),
        };
        reading.gauge("memory-total", total as f64);
        if let Some(available) = available {
            reading.gauge("memory-available", available as f64);
            if let Some(value) = percent(total.saturating_sub(available), total) {
                reading.gauge("memory", value);
            }
        }
        if let (Some(total @ 1..), Some(free)) = (memory.swap_total, memory.swap_free) {
            reading.gauge("swap-total", total as f64);
            if let Some(value) = percent(total.saturating_sub(free), total) {
                reading.gauge("swap", value);
            }
            let pages = swapped_pages(&reading.machine.text("proc/vmstat")?);
            let bytes = |pages: u64| pages.saturating_mul(reading.machine.page_size);
            reading.counters.swap = pages.map(|(read, written)| (bytes(read), bytes(written)));
        }
        match available {
            Some(_) => Ok(()),
            None => Err("/proc/meminfo says neither MemAvailable nor what it can be made of".to_owned()),
        }
    }
}

/// What is used of `/proc/meminfo`, in bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Meminfo {
    total: Option<u64>,
    available: Option<u64>,
    free: Option<u64>,
    buffers: Option<u64>,
    cached: Option<u64>,
    shmem: Option<u64>,
    swap_total: Option<u64>,
    swap_free: Option<u64>,
}

impl Meminfo {
    /// MemAvailable; before kernel 3.14 an estimate: free + buffers + cached - shmem. The kernel's commit 34e431b0ae39,
    /// which brought MemAvailable, names the fault of plain free + cached: it takes shared memory and tmpfs, which are
    /// in "Cached", for memory that can be had.
    fn available(&self) -> Option<u64> {
        self.available.or_else(|| {
            let cache = self.cached?.saturating_sub(self.shmem.unwrap_or(0));
            Some(self.free?.saturating_add(self.buffers?).saturating_add(cache))
        })
    }
}

fn parse(text: &str) -> Meminfo {
    let mut memory = Meminfo::default();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let field = match name {
            "MemTotal" => &mut memory.total,
            "MemAvailable" => &mut memory.available,
            "MemFree" => &mut memory.free,
            "Buffers" => &mut memory.buffers,
            "Cached" => &mut memory.cached,
            "Shmem" => &mut memory.shmem,
            "SwapTotal" => &mut memory.swap_total,
            "SwapFree" => &mut memory.swap_free,
            _ => continue,
        };
        let kib = value.trim().strip_suffix("kB").unwrap_or(value).trim().parse::<u64>().ok();
        *field = kib.and_then(|kib| kib.checked_mul(1024));
    }
    memory
}

/// Pages that were read from and written to swap since boot.
fn swapped_pages(vmstat: &str) -> Option<(u64, u64)> {
    let value = |name: &str| {
        vmstat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<u64>().ok())
    };
    Some((value("pswpin")?, value("pswpout")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_old_kernel_gets_an_estimate_without_shared_memory() {
        let memory =
            parse("MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 300 kB\nShmem: 120 kB\n");
        assert_eq!(memory.available(), Some((100 + 50 + 300 - 120) * 1024));
        assert_eq!(parse("MemTotal: 1000 kB\nMemAvailable: 7 kB\n").available(), Some(7 * 1024));
        assert_eq!(parse("MemTotal: 1000 kB\n").available(), None);
    }

    #[test]
    fn swapped_pages_are_found_by_their_whole_name() {
        assert_eq!(swapped_pages("pswpin_x 9\npswpin 1\npswpout 2\n"), Some((1, 2)));
        assert_eq!(swapped_pages("pgpgin 1\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", number in any::<u64>()) {
            parse(&text);
            parse(&format!("MemTotal: {number} kB"));
            swapped_pages(&text);
        }
    }
}
