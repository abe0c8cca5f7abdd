//! The metrics that this version knows, with their units and kinds.

use std::fmt;

use crate::rule::{
    COLLECTOR_STALE, DISK_FORECAST, HOST_KEY_CHANGED, ISOLATED, MOUNT, REBOOT, SERVICE, STALE, UNREACHABLE,
};

/// What a value is counted in. Base units only: bytes and seconds, never kilobytes or minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// 0 to 100.
    Percent,
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Events per second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Degrees Celsius, which may be below 0.
    Celsius,
    /// A number of things, or a ratio such as a load.
    Count,
    /// 0 (no) or 1 (yes).
    Flag,
}

impl Unit {
    /// `value` as a person reads it: `93 %`, `4.2 GiB`, `3 d 4 h`.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Percent => format!("{} %", trimmed(value, 1)),
            Self::Bytes => bytes(value),
            Self::BytesPerSecond => format!("{}/s", bytes(value)),
            Self::PerSecond => format!("{}/s", trimmed(value, 2)),
            Self::Seconds => seconds(value),
            Self::Celsius => format!("{} °C", trimmed(value, 1)),
            Self::Count => trimmed(value, 2),
            Self::Flag => if value == 0.0 { "no" } else { "yes" }.to_owned(),
        }
    }
}

fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn bytes(value: f64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (value, 0);
    while value.abs() >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", trimmed(value, usize::from(unit > 0)), UNITS[unit])
}

fn seconds(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    let value = value.abs();
    let whole = value.round() as u64;
    let text = match whole {
        0..60 if value > 0.0 && value < 0.95 => format!("{} ms", trimmed(value * 1000.0, 1)),
        0..60 => format!("{} s", trimmed(value, 1)),
        60..3600 => pair(whole, 60, "min", 1, "s"),
        3600..86_400 => pair(whole, 3600, "h", 60, "min"),
        _ => pair(whole, 86_400, "d", 3600, "h"),
    };
    format!("{sign}{text}")
}

fn pair(value: u64, large: u64, large_name: &str, small: u64, small_name: &str) -> String {
    match value % large / small {
        0 => format!("{} {large_name}", value / large),
        rest => format!("{} {large_name} {rest} {small_name}", value / large),
    }
}

/// One metric that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its plain name: what a report and a rule's `type` say.
    pub name: &'static str,
    /// What its values are counted in.
    pub unit: Unit,
    /// The label that tells its series apart (`mount`, `interface`), or `""` where a client has one series of it.
    pub object: &'static str,
    /// What it says, in one line for docs and mails.
    pub help: &'static str,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const fn metric(name: &'static str, unit: Unit, object: &'static str, help: &'static str) -> Metric {
    Metric { name, unit, object, help }
}

/// Every metric of this version, in the order in which people are shown them.
pub const METRICS: &[Metric] = &[
    metric("cpu", Unit::Percent, "", "time that all cores together were busy since the last report"),
    metric("cpu-user", Unit::Percent, "", "time spent in programs (user and nice)"),
    metric("cpu-system", Unit::Percent, "", "time spent in the kernel (system, irq and softirq)"),
    metric("iowait", Unit::Percent, "", "time idle while waiting for disks"),
    metric("steal", Unit::Percent, "", "time that the hypervisor gave to others"),
    metric("cpu-busiest-core", Unit::Percent, "", "time that the busiest core was busy"),
    metric(
        "cpu-quota",
        Unit::Percent,
        "",
        "processor time that a container used of what it may use, since the last report",
    ),
    metric("cores", Unit::Count, "", "cores that are online"),
    metric("load", Unit::Count, "", "load average over 1 minute"),
    metric("load5", Unit::Count, "", "load average over 5 minutes"),
    metric("load15", Unit::Count, "", "load average over 15 minutes"),
    metric("load-per-core", Unit::Count, "", "load average over 5 minutes, divided by the cores"),
    metric("memory", Unit::Percent, "", "memory that is not available: 100 - MemAvailable / MemTotal"),
    metric("memory-available", Unit::Bytes, "", "memory that programs can still get without swapping"),
    metric("memory-total", Unit::Bytes, "", "memory that the kernel manages"),
    metric("swap", Unit::Percent, "", "swap space in use"),
    metric("swap-total", Unit::Bytes, "", "size of all swap space"),
    metric("swap-in", Unit::BytesPerSecond, "", "read back from swap since the last report"),
    metric("swap-out", Unit::BytesPerSecond, "", "written to swap since the last report"),
    metric("pressure", Unit::Percent, "resource", "time in which tasks waited for it since the last report"),
    metric(
        "pressure-full",
        Unit::Percent,
        "resource",
        "time in which every task waited for it since the last report",
    ),
    metric(
        "oom",
        Unit::Count,
        "",
        "processes that the kernel killed for want of memory since the last report",
    ),
    metric("disk", Unit::Percent, "mount", "space in use, as df counts it for ordinary users"),
    metric("disk-free", Unit::Bytes, "mount", "space that ordinary users can still fill"),
    metric("disk-total", Unit::Bytes, "mount", "size of the file system"),
    metric("inodes", Unit::Percent, "mount", "inodes in use"),
    metric("read-only", Unit::Flag, "mount", "whether the file system is mounted read-only"),
    metric("mount-stuck", Unit::Flag, "mount", "whether the file system did not answer in time"),
    metric(
        "device-busy",
        Unit::Percent,
        "device",
        "time in which it had requests to do since the last report",
    ),
    metric(
        "device-await",
        Unit::Seconds,
        "device",
        "mean time that a request took, waiting included, since the last report",
    ),
    metric("device-read", Unit::BytesPerSecond, "device", "bytes read since the last report"),
    metric("device-write", Unit::BytesPerSecond, "device", "bytes written since the last report"),
    metric("raid", Unit::Count, "array", "disks that the array misses"),
    metric("raid-disks", Unit::Count, "array", "disks that the array should have"),
    metric(
        "raid-resync",
        Unit::Percent,
        "array",
        "progress of a resync, recovery, reshape or check under way",
    ),
    metric(
        "pool-degraded",
        Unit::Flag,
        "pool",
        "whether the ZFS pool is anything but ONLINE, or the btrfs file system misses a device",
    ),
    metric(
        "pool-errors",
        Unit::Count,
        "pool",
        "errors of the btrfs devices since somebody reset their counts",
    ),
    metric("network-in", Unit::BytesPerSecond, "interface", "bytes received since the last report"),
    metric("network-out", Unit::BytesPerSecond, "interface", "bytes sent since the last report"),
    metric(
        "network-errors",
        Unit::Percent,
        "interface",
        "packets with errors or dropped since the last report",
    ),
    metric("network-packets", Unit::PerSecond, "interface", "packets both ways since the last report"),
    metric("network-drops", Unit::PerSecond, "interface", "packets dropped both ways since the last report"),
    metric("network-up", Unit::Flag, "interface", "whether the interface has a carrier"),
    metric("network-speed", Unit::BytesPerSecond, "interface", "speed that the interface has negotiated"),
    metric("bond-members", Unit::Count, "bond", "interfaces that the bond joins"),
    metric("bond-up", Unit::Count, "bond", "of them those whose link is up"),
    metric("bond-degraded", Unit::Flag, "bond", "whether a link of the bond is down, or there is none"),
    metric("tcp-sockets", Unit::Count, "", "TCP sockets in use, over IPv4 and IPv6"),
    metric("tcp-established", Unit::Count, "", "TCP connections that are established"),
    metric("tcp-time-wait", Unit::Count, "", "TCP connections in TIME-WAIT"),
    metric("tcp-retransmits", Unit::Percent, "", "segments that were sent again since the last report"),
    metric(
        "tcp-listen-drops",
        Unit::PerSecond,
        "",
        "connections refused for a full queue since the last report",
    ),
    metric("conntrack", Unit::Percent, "", "connection tracking entries in use of nf_conntrack_max"),
    metric("processes", Unit::Count, "", "processes"),
    metric("processes-running", Unit::Count, "", "processes on a core or ready for one"),
    metric("processes-blocked", Unit::Count, "", "processes in uninterruptible sleep"),
    metric("processes-zombie", Unit::Count, "", "processes that ended and were not waited for"),
    metric("process", Unit::Count, "process", "processes of that name, where `processes` asks for it"),
    metric("fds", Unit::Percent, "", "file descriptors in use of fs.file-max"),
    metric("users", Unit::Count, "", "sessions of users who are logged in"),
    metric("temperature", Unit::Celsius, "sensor", "temperature that the sensor reads"),
    metric("reboot-required", Unit::Flag, "", "whether the distribution asks for a reboot"),
    metric("updates", Unit::Count, "", "packages that have updates"),
    metric("security-updates", Unit::Count, "", "of them those for security"),
    metric("custom-age", Unit::Seconds, "file", "time since the file of your own metrics was written"),
    metric("uptime", Unit::Seconds, "", "time since the machine booted"),
    metric("clock-offset", Unit::Seconds, "", "the client's clock less the collector's"),
    metric(
        "left-out",
        Unit::Count,
        "",
        "mounts, interfaces and other objects that the report had no room for",
    ),
    metric("probe-cpu", Unit::Seconds, "", "processor time that the probe's own run cost"),
    metric("probe-memory", Unit::Bytes, "", "the most memory that the probe's own run took"),
];

/// What rules are about beside metrics: what is made of collections, and of several samples together.
pub const DERIVED: &[Metric] = &[
    metric(UNREACHABLE, Unit::Flag, "", "whether it could not be collected"),
    metric(
        HOST_KEY_CHANGED,
        Unit::Flag,
        "",
        "whether the server showed another host key than the known ones",
    ),
    metric(STALE, Unit::Seconds, "", "time since the newest report"),
    metric(REBOOT, Unit::Flag, "", "whether the machine booted since the last report"),
    metric(SERVICE, Unit::Flag, "unit", "whether the unit of systemd failed"),
    metric(MOUNT, Unit::Count, "mount", "0: there and writable, 1: read-only, 2: absent"),
    metric(DISK_FORECAST, Unit::Seconds, "mount", "time until no space is left, if it goes on like that"),
    metric(ISOLATED, Unit::Flag, "", "whether the collector cannot reach the network"),
    metric(COLLECTOR_STALE, Unit::Seconds, "", "time for which the collector has been overdue"),
];

/// The metric of that name, where this version knows it.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// How the name of a metric of an admin's own begins; the name that its file gives it follows. No metric of
/// [`METRICS`] has a colon, so that none of these can be taken for one of those.
pub const CUSTOM: &str = "custom:";

/// Whether `name` is that of a metric of an admin's own: [`CUSTOM`] and a name as Prometheus has them.
pub fn is_custom(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let own = name.strip_prefix(CUSTOM).unwrap_or_default();
    own.starts_with(|c: char| allowed(c) && !c.is_ascii_digit())
        && own.chars().all(allowed)
        && name.len() <= crate::record::MAX_METRIC
}

/// What is known of the metric called `name`: its entry of [`METRICS`]; of an admin's own, [`CUSTOM`] as its name, and
/// its unit by the ending that Prometheus recommends.
pub fn describe(name: &str) -> Option<Metric> {
    let custom = || {
        is_custom(name).then(|| metric(CUSTOM, ending(name), "labels", "a metric of your own, in metrics.d"))
    };
    find(name).copied().or_else(custom)
}

/// <https://prometheus.io/docs/practices/naming/#base-units>; a time of day is a number.
fn ending(name: &str) -> Unit {
    let is_time = name.ends_with("_timestamp_seconds");
    let units = [
        ("_bytes", Unit::Bytes),
        ("_seconds", if is_time { Unit::Count } else { Unit::Seconds }),
        ("_celsius", Unit::Celsius),
    ];
    units.iter().find(|(ending, _)| name.ends_with(ending)).map_or(Unit::Count, |(_, unit)| *unit)
}

/// What a rule of the type `name` is about: a metric, or one of [`DERIVED`].
pub fn of_rule(name: &str) -> Option<Metric> {
    describe(name).or_else(|| DERIVED.iter().find(|derived| derived.name == name).copied())
}

/// The unit of what is called `name`, a metric or one of [`DERIVED`]; what is unknown is a [`Unit::Count`].
pub fn unit(name: &str) -> Unit {
    of_rule(name).map_or(Unit::Count, |metric| metric.unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_well() {
        for (unit, value, text) in [
            (Unit::Percent, 93.04, "93 %"),
            (Unit::Percent, 93.25, "93.2 %"),
            (Unit::Bytes, 512.0, "512 B"),
            (Unit::Bytes, 4.5 * 1024.0 * 1024.0 * 1024.0, "4.5 GiB"),
            (Unit::BytesPerSecond, 1024.0, "1 KiB/s"),
            (Unit::Seconds, 0.0, "0 s"),
            (Unit::Seconds, 0.0004, "0.4 ms"),
            (Unit::Seconds, -0.25, "-250 ms"),
            (Unit::Seconds, 0.96, "1 s"),
            (Unit::Seconds, 61.0, "1 min 1 s"),
            (Unit::Seconds, 7200.0, "2 h"),
            (Unit::Seconds, -90_000.0, "-1 d 1 h"),
            (Unit::Celsius, -3.25, "-3.2 °C"),
            (Unit::Count, 1.5, "1.5"),
            (Unit::Count, 10.0, "10"),
            (Unit::Flag, 1.0, "yes"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }

    #[test]
    fn metrics_of_an_admins_own_are_told_apart() {
        for (name, unit) in [
            ("custom:backup_age_seconds", Some(Unit::Seconds)),
            ("custom:last_backup_timestamp_seconds", Some(Unit::Count)),
            ("custom:queue_bytes", Some(Unit::Bytes)),
            ("custom:room_celsius", Some(Unit::Celsius)),
            ("custom:cpu", Some(Unit::Count)),
            ("cpu", Some(Unit::Percent)),
            ("custom", None),
            ("custom:", None),
            ("custom:7a", None),
            ("custom:a-b", None),
            ("custom:a b", None),
        ] {
            assert_eq!(describe(name).map(|metric| metric.unit), unit, "{name}");
        }
        assert!(METRICS.iter().all(|metric| !metric.name.contains(':')));
        assert!(!is_custom(&format!("custom:{}", "n".repeat(122))));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = METRICS.iter().chain(DERIVED).map(|metric| metric.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
