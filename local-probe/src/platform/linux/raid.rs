//! Arrays of disks: `/proc/mdstat` and the pools of ZFS.

use crate::machine::line;
use crate::reading::{Reader, Reading, percent};

/// The most arrays, and the most pools, that are told of.
const MAX_ARRAYS: usize = 64;

/// Reads `/proc/mdstat` and `/proc/spl/kstat/zfs`.
pub(super) struct Raid;

impl Reader for Raid {
    fn name(&self) -> &'static str {
        "raid"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        // A kernel without either has no such files.
        let arrays = parse(&reading.machine.text("proc/mdstat").unwrap_or_default());
        let more = arrays.len().saturating_sub(MAX_ARRAYS);
        for array in arrays.into_iter().take(MAX_ARRAYS) {
            reading.gauge_of("raid", "array", &array.name, array.disks.saturating_sub(array.active) as f64);
            reading.gauge_of("raid-disks", "array", &array.name, array.disks as f64);
            if let Some(progress) = array.progress {
                reading.gauge_of("raid-resync", "array", &array.name, progress);
            }
        }
        pools(reading);
        if more > 0 {
            Err(format!("{more} arrays more than the {MAX_ARRAYS} that are told of"))
        } else {
            Ok(())
        }
    }
}

/// Each pool has a directory with a file `state` (OpenZFS from 0.8).
fn pools(reading: &mut Reading) {
    let directory = reading.machine.path(std::path::Path::new("proc/spl/kstat/zfs"));
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names.take(MAX_ARRAYS) {
        if let Ok(state) = reading.machine.text(&format!("proc/spl/kstat/zfs/{name}/state")) {
            let degraded = line(&state) != "ONLINE";
            reading.gauge_of("pool-degraded", "pool", &name, f64::from(u8::from(degraded)));
        }
    }
}

/// One array of md(4).
#[derive(Debug, PartialEq)]
struct Array {
    name: String,
    disks: u64,
    active: u64,
    progress: Option<f64>,
}

/// `md0 : active raid1 sdb1[1] sda1[0](F)`, then a line with `[2/1] [U_]`, then perhaps one with `recovery = 12.6% (1/8)`. An
/// array without redundancy has no `[n/m]` and cannot miss a disk. One that did not come up, `md0 : inactive sdb1[1](S)`, misses
/// all that are listed.
fn parse(text: &str) -> Vec<Array> {
    let mut arrays: Vec<Array> = Vec::new();
    let mut current = None;
    for line in text.lines() {
        if let Some((name, state)) = line.split_once(" : ").filter(|(name, _)| name.starts_with("md")) {
            let mut words = state.split_whitespace();
            if words.next() == Some("inactive") {
                let disks = words.filter(|word| word.contains('[')).count().max(1) as u64;
                arrays.push(Array { name: name.to_owned(), disks, active: 0, progress: None });
            }
            current = Some(name.to_owned());
            continue;
        }
        let Some(name) = &current else { continue };
        if let Some((disks, active)) = line.split_whitespace().find_map(counts) {
            arrays.push(Array { name: name.clone(), disks, active, progress: None });
        } else if let Some(array) = arrays.last_mut().filter(|array| array.name == *name)
            && let Some(value) = progress(line)
        {
            array.progress = Some(value);
        }
    }
    arrays
}

fn counts(word: &str) -> Option<(u64, u64)> {
    let (disks, active) = word.strip_prefix('[')?.strip_suffix(']')?.split_once('/')?;
    Some((disks.parse().ok()?, active.parse().ok()?))
}

/// Of `[=>....]  recovery = 12.6% (123/456) finish=...` the blocks done.
fn progress(line: &str) -> Option<f64> {
    let kinds = ["resync =", "recovery =", "reshape =", "check =", "repair ="];
    let rest = kinds.iter().find_map(|kind| line.split_once(kind))?.1;
    let (done, all) = rest.split_once('(')?.1.split_once(')')?.0.split_once('/')?;
    percent(done.parse().ok()?, all.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_array_that_did_not_come_up_misses_all_of_its_disks() {
        let text = "Personalities :\nmd0 : inactive sdb1[1](S) sdc1[2](S)\n      1000 blocks super 1.2\n\n";
        let inactive = Array { name: "md0".to_owned(), disks: 2, active: 0, progress: None };
        assert_eq!(parse(text), [inactive]);
    }

    #[test]
    fn an_array_that_misses_a_disk_says_so() {
        let text = "Personalities : [raid1] [raid0]\n\
            md0 : active raid1 sdb1[2] sda1[0]\n      1000 blocks super 1.2 [2/1] [U_]\n\
            \x20     [==>........]  recovery = 25.0% (250/1000) finish=1.0min speed=9K/sec\n\n\
            md127 : active raid0 sdc[0] sdd[1]\n      2000 blocks super 1.2 512k chunks\n\n\
            md1 : active raid1 sdb2[1] sda2[0]\n      1000 blocks [2/2] [UU]\n\tresync=PENDING\nunused devices: <none>\n";
        let array =
            |name: &str, active, progress| Array { name: name.to_owned(), disks: 2, active, progress };
        assert_eq!(parse(text), [array("md0", 1, Some(25.0)), array("md1", 2, None)]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", lines in "(md0 : x\n|[\\[\\]0-9/() =]{0,20}|check = |\n){0,9}") {
            parse(&text);
            parse(&lines);
            progress(&format!("check = {lines}"));
        }
    }
}
