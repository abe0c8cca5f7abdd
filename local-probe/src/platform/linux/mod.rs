//! Linux from kernel 3.2 on: files of `/proc`, `/sys`, `/etc` and `/run`. Each reader reads files below the machine's
//! root; its parsers are pure.

mod cpu;
mod descriptors;
mod host;
mod load;
mod memory;
mod mountinfo;
mod mounts;
mod network;
mod processes;
mod uptime;

use model::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::machine::{Machine, line};
use crate::reading::Reader;

pub(crate) use processes::owner;

/// What people call the system.
pub(crate) const NAME: &str = "Linux";

/// Every reader; those of [`COUNTING`] are among them.
pub const ALL: &[&dyn Reader] = &[
    &host::HostNames,
    &uptime::Uptime,
    &cpu::Cpu,
    &load::Load,
    &memory::Memory,
    &mounts::Mounts,
    &network::Network,
    &processes::Processes,
    &descriptors::Descriptors,
];

/// Those that fill [`Counters`](crate::Counters).
pub const COUNTING: &[&dyn Reader] = &[&cpu::Cpu, &memory::Memory, &network::Network, &processes::Processes];

/// Wall clock and milliseconds of CLOCK_BOOTTIME.
pub(crate) fn times() -> (Timestamp, u64) {
    let boottime = clock_gettime(ClockId::Boottime);
    let millis = u64::try_from(boottime.tv_sec).unwrap_or(0) * 1000
        + u64::try_from(boottime.tv_nsec).unwrap_or(0) / 1_000_000;
    (Timestamp::from(std::time::SystemTime::now()), millis)
}

/// Which boot the machine is in; empty where it cannot be read.
pub(crate) fn boot_id(machine: &Machine) -> String {
    line(&machine.text("proc/sys/kernel/random/boot_id").unwrap_or_default())
}
