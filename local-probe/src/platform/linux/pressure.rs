//! `/proc/pressure` and `/proc/vmstat`: what tasks wait for, and what was killed for want of memory.

use crate::reading::{Reader, Reading};

/// Reads pressure stall information (from kernel 4.20, where it is switched on) and the count of kills (from 4.13).
pub(super) struct Pressure;

impl Reader for Pressure {
    fn name(&self) -> &'static str {
        "pressure"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        for resource in ["cpu", "io", "memory"] {
            // A kernel without it, or with psi=0, is no fault.
            let Ok(text) = reading.machine.text(&format!("proc/pressure/{resource}")) else { continue };
            let Some(some) = total(&text, "some") else {
                return Err(format!("/proc/pressure/{resource} has no total"));
            };
            // For the whole machine "full" of cpu means nothing; the kernel writes 0 (Documentation/accounting/psi.rst).
            let full = if resource == "cpu" { None } else { total(&text, "full") };
            reading.counters.stalls.insert(resource.to_owned(), (some, full));
        }
        // In a container its own count; only a cgroup below the root has that file.
        let own = reading.machine.text("sys/fs/cgroup/memory.events");
        let events = own.or_else(|_| reading.machine.text("proc/vmstat")).unwrap_or_default();
        reading.counters.oom_kills = number(&events, "oom_kill");
        Ok(())
    }
}

/// Microseconds since boot of the line that begins with `kind`.
fn total(text: &str, kind: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

/// The number of the line `name number`.
pub(super) fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn totals_are_found() {
        let text = "some avg10=0.00 avg60=1.00 avg300=0.10 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=6\n";
        assert_eq!((total(text, "some"), total(text, "full")), (Some(12_345), Some(6)));
        assert_eq!(number("oom 9\noom_kill 2\noom_group_kill 0\n", "oom_kill"), Some(2));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", line in "some [a-z0-9= ]{0,60}") {
            total(&text, "some");
            total(&line, "some");
            number(&text, "oom_kill");
        }
    }
}
