//! Linux from kernel 3.2 on: files of `/proc`, `/sys`, `/etc` and `/run`. Each reader reads files below the machine's
//! root; its parsers are pure.

mod bonds;
mod btrfs;
mod container;
mod cpu;
mod descriptors;
mod devices;
mod host;
mod load;
mod memory;
mod mountinfo;
mod mounts;
mod network;
mod pressure;
mod processes;
mod quota;
mod raid;
mod reboot;
mod sensors;
mod sockets;
mod updates;
mod uptime;
mod users;

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
    &quota::CpuQuota,
    &load::Load,
    &memory::Memory,
    &pressure::Pressure,
    &mounts::Mounts,
    &devices::Devices,
    &raid::Raid,
    &btrfs::Btrfs,
    &network::Network,
    &bonds::Bonds,
    &sockets::Sockets,
    &processes::Processes,
    &descriptors::Descriptors,
    &users::Users,
    &sensors::Sensors,
    &reboot::Reboot,
    &updates::Updates,
    &crate::custom::Custom,
];

/// Those that fill [`Counters`](crate::Counters).
pub const COUNTING: &[&dyn Reader] = &[
    &cpu::Cpu,
    &quota::CpuQuota,
    &memory::Memory,
    &pressure::Pressure,
    &devices::Devices,
    &network::Network,
    &sockets::Sockets,
    &processes::Processes,
];

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

/// VmHWM of proc_pid_status(5), in bytes.
pub(crate) fn peak_memory(machine: &Machine) -> Option<f64> {
    let status = machine.text("proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)? as f64)
}
