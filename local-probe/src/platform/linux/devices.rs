//! `/proc/diskstats`: the block devices.

use std::collections::BTreeMap;

use crate::counters::DeviceCounts;
use crate::machine::{Machine, line};
use crate::order;
use crate::reading::{MAX_LOOKED_AT, Reader, Reading};

/// Devices whose work is that of others, or of memory.
const SKIPPED: [&str; 6] = ["loop", "ram", "zram", "sr", "fd", "nbd"];

/// Reads `/proc/diskstats`.
pub(super) struct Devices;

impl Reader for Devices {
    fn name(&self) -> &'static str {
        "devices"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let mut devices = whole(&parse(&reading.machine.text("proc/diskstats")?));
        let too_many = devices.len().saturating_sub(MAX_LOOKED_AT);
        order::sort_by(&mut devices, |a, b| (b.1.busy_ms, &a.0).cmp(&(a.1.busy_ms, &b.0)));
        devices.truncate(MAX_LOOKED_AT);
        for (name, mut counts) in devices {
            let directory = format!("sys/block/{}", name.replace('/', "!"));
            counts.sequence = reading.machine.number(&format!("{directory}/diskseq"));
            reading.counters.devices.insert(shown(reading.machine, &directory, name), counts);
        }
        match too_many {
            0 => Ok(()),
            more => Err(format!("{more} devices less busy than the {MAX_LOOKED_AT} that are looked at")),
        }
    }
}

/// What people call it: the volume's name for device mapper, whose numbers change from boot to boot.
fn shown(machine: &Machine, directory: &str, name: String) -> String {
    let volume = machine.text(&format!("{directory}/dm/name")).map(|text| line(&text)).unwrap_or_default();
    if volume.is_empty() { name } else { volume }
}

/// Columns as the kernel's Documentation/admin-guide/iostats.rst names them, after `major minor name`: reads, merged,
/// sectors, milliseconds; the same of writes; under way; milliseconds busy; more. A sector is 512 bytes for every device.
fn parse(text: &str) -> BTreeMap<String, DeviceCounts> {
    let device = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.nth(2)?.to_owned();
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let [reads, _, read, read_ms, writes, _, written, write_ms, _, busy_ms, ..] = numbers[..] else {
            return None;
        };
        let counts = DeviceCounts {
            sequence: None,
            requests: reads.saturating_add(writes),
            waited_ms: read_ms.saturating_add(write_ms),
            busy_ms,
            read: read.saturating_mul(512),
            written: written.saturating_mul(512),
        };
        Some((name, counts))
    };
    order::map(text.lines().filter_map(device))
}

/// Those that are no part of another and ever did something.
fn whole(devices: &BTreeMap<String, DeviceCounts>) -> Vec<(String, DeviceCounts)> {
    let skipped = |name: &str| {
        let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
        SKIPPED.contains(&kind) || is_partition(name, devices)
    };
    let wanted = |(name, counts): (&String, &DeviceCounts)| {
        (counts.requests > 0 && !skipped(name)).then(|| (name.clone(), *counts))
    };
    devices.iter().filter_map(wanted).collect()
}

/// `sda1` of `sda`, `nvme0n1p2` of `nvme0n1`: where a disk's name ends with a digit, a `p` stands between.
fn is_partition(name: &str, devices: &BTreeMap<String, DeviceCounts>) -> bool {
    let start = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let numbered = start.strip_suffix('p').filter(|disk| disk.ends_with(|c: char| c.is_ascii_digit()));
    start.len() < name.len()
        && [Some(start), numbered].iter().flatten().any(|disk| devices.contains_key(*disk))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_disks_that_did_something_are_told() {
        let line = |name: &str, reads: u64| format!("   8  0 {name} {reads} 0 16 40 2 0 8 60 0 70 100\n");
        let text: String = ["sda", "sda1", "nvme0n1", "nvme0n1p1", "dm-1", "dm-10", "md0", "loop0", "xvda1"]
            .iter()
            .map(|name| line(name, 3))
            .collect();
        let devices = whole(&parse(&(text + "   8 16 sdb 0 0 0 0 0 0 0 0 0 0 0\n   8 1 sdc1 5 6 7 8\n")));
        let names: Vec<_> = devices.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["dm-1", "dm-10", "md0", "nvme0n1", "sda", "xvda1"]);
        let counts = DeviceCounts {
            sequence: None,
            requests: 5,
            waited_ms: 100,
            busy_ms: 70,
            read: 8192,
            written: 4096,
        };
        assert_eq!(devices[4].1, counts);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", columns in "[a-z0-9 ]{0,200}") {
            whole(&parse(&text));
            whole(&parse(&columns));
        }
    }
}
