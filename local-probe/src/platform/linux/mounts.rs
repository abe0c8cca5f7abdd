//! The mounted file systems.

use std::path::PathBuf;
use std::time::Duration;

use super::mountinfo::{Mount, parse, real};
use crate::machine::Space;
use crate::order;
use crate::reading::{MAX_LOOKED_AT, Reader, Reading, percent};
use crate::space::{Answer, Patience, Stuck, ask_all};

const PATIENCE: Patience = Patience { each: Duration::from_secs(2), all: Duration::from_secs(10) };

/// Reads mountinfo and asks each file system for its space.
pub(super) struct Mounts;

impl Reader for Mounts {
    fn name(&self) -> &'static str {
        "mounts"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let mut mounts = real(parse(&reading.machine.bytes("proc/self/mountinfo")?));
        let mut faults = Vec::new();
        if mounts.len() > MAX_LOOKED_AT {
            faults.push(format!(
                "{} mounts more than the {MAX_LOOKED_AT} that are looked at",
                mounts.len() - MAX_LOOKED_AT
            ));
            mounts.truncate(MAX_LOOKED_AT);
        }
        reading.host.mounts = order::map(mounts.iter().map(|mount| (name(mount), mount.kind.clone())));
        let known = |mount: &Mount| {
            let name = name(mount);
            reading
                .known_stuck
                .iter()
                .find(|stuck| stuck.mount == name && stuck.holds(reading.clock.wall))
                .cloned()
        };
        let (skipped, asked): (Vec<_>, Vec<_>) = mounts.into_iter().partition(|mount| known(mount).is_some());
        reading.stuck = skipped.iter().filter_map(known).collect();
        for mount in &skipped {
            flags(reading, mount, true);
        }
        let paths: Vec<PathBuf> = asked.iter().map(|mount| reading.machine.path(&mount.path)).collect();
        for (mount, answer) in asked.iter().zip(ask_all(&paths, &reading.machine.ask_space, PATIENCE)) {
            match answer {
                Answer::Space(Ok(space)) => told(reading, mount, &space),
                Answer::Space(Err(error)) => faults.push(format!("{}: {error}", name(mount))),
                Answer::Stuck => {
                    flags(reading, mount, true);
                    reading.stuck.push(Stuck { mount: name(mount), asked: reading.clock.wall });
                }
                Answer::NotAsked => faults.push(format!("{}: no time left to ask it", name(mount))),
            }
        }
        match faults.len() {
            0 => Ok(()),
            1..=3 => Err(faults.join("; ")),
            more => Err(format!("{}; {}; and {} more", faults[0], faults[1], more - 2)),
        }
    }
}

fn name(mount: &Mount) -> String {
    mount.path.to_string_lossy().into_owned()
}

fn flags(reading: &mut Reading, mount: &Mount, stuck: bool) {
    let flag = |yes: bool| f64::from(u8::from(yes));
    let was_stuck = reading.known_stuck.iter().any(|known| known.mount == name(mount));
    reading.gauge_of("read-only", "mount", &name(mount), flag(mount.read_only));
    // An ordinary mount says nothing; one that answers again says so, or an alert would never end.
    if stuck || was_stuck {
        reading.gauge_of("mount-stuck", "mount", &name(mount), flag(stuck));
    }
}

/// As df(1) counts: what root alone may fill is neither used nor free.
fn told(reading: &mut Reading, mount: &Mount, space: &Space) {
    if space.total == 0 {
        return;
    }
    flags(reading, mount, false);
    let used = space.total.saturating_sub(space.free);
    if let Some(value) = percent(used, used.saturating_add(space.available)) {
        reading.gauge_of("disk", "mount", &name(mount), value);
    }
    reading.gauge_of("disk-free", "mount", &name(mount), space.available as f64);
    reading.gauge_of("disk-total", "mount", &name(mount), space.total as f64);
    if let Some(value) = percent(space.inodes.saturating_sub(space.inodes_free), space.inodes) {
        reading.gauge_of("inodes", "mount", &name(mount), value);
    }
}
