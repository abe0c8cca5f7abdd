//! `/sys/fs/btrfs`: devices of btrfs that made errors, or are missing (Documentation/ABI/testing/sysfs-fs-btrfs).

use std::path::Path;

use crate::machine::{Machine, line};
use crate::order;
use crate::reading::{Reader, Reading};

/// The most file systems, and the most devices of one, that are looked at.
const MAX: usize = 64;

/// Reads the counts of errors (from kernel 5.14) and whether devices are missing (from 5.6).
pub(super) struct Btrfs;

impl Reader for Btrfs {
    fn name(&self) -> &'static str {
        "btrfs"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let machine = reading.machine;
        let mut told: Vec<String> = Vec::new();
        for id in names(machine, "sys/fs/btrfs").into_iter().filter(|name| name.len() == 36) {
            let directory = format!("sys/fs/btrfs/{id}");
            let label =
                machine.text(&format!("{directory}/label")).map(|text| line(&text)).unwrap_or_default();
            // Two file systems may have one label.
            let name = if label.is_empty() || told.contains(&label) { id } else { label };
            let (mut errors, mut missing) = (None, None);
            for device in names(machine, &format!("{directory}/devinfo")) {
                let device = format!("{directory}/devinfo/{device}");
                if let Some(count) =
                    machine.text(&format!("{device}/error_stats")).ok().and_then(|text| sum(&text))
                {
                    errors = Some(errors.unwrap_or(0_u64).saturating_add(count));
                }
                if let Some(gone) = machine.number::<u8>(&format!("{device}/missing")) {
                    missing = Some(missing.unwrap_or(false) || gone != 0);
                }
            }
            if let Some(missing) = missing {
                reading.gauge_of("pool-degraded", "pool", &name, f64::from(u8::from(missing)));
            }
            if let Some(errors) = errors {
                reading.gauge_of("pool-errors", "pool", &name, errors as f64);
            }
            told.push(name);
        }
        Ok(())
    }
}

/// The names in a directory, sorted; none where it is not there.
fn names(machine: &Machine, directory: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(machine.path(Path::new(directory))) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).take(MAX).collect();
    order::sort(&mut names);
    names
}

/// The sum of lines such as `write_errs 3`; `None` where there is none, as for a device that is missing.
fn sum(text: &str) -> Option<u64> {
    let count = |line: &str| line.split_once("_errs ")?.1.trim().parse::<u64>().ok();
    text.lines().filter_map(count).reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_of_all_kinds_are_summed() {
        let text = "write_errs 1\nread_errs 2\nflush_errs 0\ncorruption_errs 30\ngeneration_errs 0\n";
        assert_eq!(sum(text), Some(33));
        assert_eq!(sum("invalid\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([a-z]{0,5}_errs [0-9]{0,30}\n|.{0,20}\n){0,9}") {
            sum(&text);
        }
    }
}
