//! A machine with more of everything than a report has room for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use local_probe::machine::{Machine, Space};
use local_probe::platform::COUNTING;
use local_probe::reading::Reading;
use local_probe::{Stuck, report};
use model::{Body, Record, Report, Timestamp};

const MOUNTS: usize = 5000;
const INTERFACES: usize = 3000;
const DEVICES: usize = 300;
const CORES: usize = 256;

/// The number at the end of `/mnt/.../volume-0042`.
fn number(path: &Path) -> Option<usize> {
    path.to_str()?.rsplit_once('-')?.1.parse().ok()
}

/// Volume 4990 is the fullest but for those from 4995 on, which cannot be asked.
fn space(path: &Path) -> std::io::Result<Space> {
    let used = match number(path) {
        Some(number) if number >= 4995 => return Err(std::io::ErrorKind::PermissionDenied.into()),
        Some(number) => number as u64,
        None => 1,
    };
    let (inodes, inodes_free) = (1000, 900);
    Ok(Space { total: 5000, free: 5000 - used, available: 5000 - used, inodes, inodes_free })
}

/// `scale` is 0 for what was before, 1 for now.
fn write(root: &Path, scale: usize, name: &str) {
    let put = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let mut stat = format!("cpu  {} 0 0 {} 0 0 0 0 0 0\n", scale * 2560, 25_600 + scale * 23_040);
    for core in 0..CORES {
        writeln!(stat, "cpu{core} {} 0 0 {} 0 0 0 0 0 0", scale * 10, 100 + scale * 90).unwrap();
    }
    put("proc/stat", &stat);
    put("proc/sys/kernel/random/boot_id", "b\n");
    put("proc/uptime", "1000.00 1.00\n");
    put("proc/loadavg", "1.00 2.00 3.00 1/100 9\n");
    put("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 400 kB\nSwapTotal: 0 kB\n");
    put("proc/sys/fs/file-nr", "100 0 1000\n");
    let mut mounts = "1 1 8:1 / / rw - ext4 /dev/sda1 rw\n".to_owned();
    for volume in 0..MOUNTS {
        writeln!(mounts, "1 1 9:{volume} / {name}-{volume:04} rw - xfs /dev/x rw").unwrap();
    }
    put("proc/self/mountinfo", &mounts);
    let mut devices = String::new();
    for device in 0..DEVICES {
        // Device 299 is the busiest.
        let busy = scale * device * 100;
        writeln!(devices, "8 0 vd{device}x {} 0 8 5 0 0 0 0 0 {busy} 0", 1 + scale * 10).unwrap();
    }
    put("proc/diskstats", &devices);
    let mut interfaces = "Inter-|\n face |\n".to_owned();
    for interface in 0..INTERFACES {
        // tap7 alone has errors; tap2999 has the most traffic.
        let (bytes, bad) = (scale * interface * 1000, scale * usize::from(interface == 7));
        writeln!(interfaces, "tap{interface}: {bytes} {bytes} {bad} 0 0 0 0 0 {bytes} {bytes} 0 0 0 0 0 0")
            .unwrap();
    }
    put("proc/net/dev", &interfaces);
}

fn machine(root: &Path, times: fn() -> (Timestamp, u64)) -> Machine {
    Machine {
        root: root.to_owned(),
        arch: "x86_64".to_owned(),
        own_pid: 0,
        page_size: 4096,
        ticks_per_second: 100,
        ask_space: Arc::new(space),
        times,
        pause: Duration::ZERO,
    }
}

/// The report over a minute, of mounts whose paths begin with `name`.
fn report(name: &str, stuck: &[Stuck]) -> Report {
    let tree = tempfile::tempdir().unwrap();
    let before = |root: &Path| {
        write(root, 0, name);
        let machine = machine(root, || (Timestamp::from_seconds(1_000), 0));
        let clock = machine.clock();
        let mut reading = Reading::new(&machine, &clock, &[]);
        reading.run(COUNTING);
        reading.counters
    };
    let counters = before(tree.path());
    write(tree.path(), 1, name);
    let machine = machine(tree.path(), || (Timestamp::from_seconds(1_060), 60_000));
    let outcome = report::take(&machine, Some(&counters), stuck, &[]);
    let (record, ..) = outcome.into_record();
    // Whatever the probe writes, the collector takes.
    let decoded = Record::decode(&record.encode().unwrap()).unwrap();
    assert_eq!(decoded, record);
    let Body::Report(report) = record.body else { panic!("a report is one") };
    report
}

fn has(report: &Report, metric: &str, object: &str) -> bool {
    report.samples.iter().any(|sample| sample.metric == metric && sample.labels.object() == object)
}

fn value(report: &Report, metric: &str) -> Option<f64> {
    let plain = |sample: &&model::Sample| sample.metric == metric && sample.labels.is_empty();
    report.samples.iter().find(plain).map(|sample| sample.value)
}

fn count(report: &Report, metric: &str) -> usize {
    report.samples.iter().filter(|sample| sample.metric == metric).count()
}

#[test]
fn what_needs_attention_is_told_and_the_rest_is_counted() {
    let stuck = Stuck { mount: "/mnt/volume-0003".to_owned(), asked: Timestamp::from_seconds(1_000) };
    let report = report("/mnt/volume", &[stuck]);
    for (metric, expected) in [("cpu", 10.0), ("cores", 256.0), ("memory", 60.0), ("load15", 3.0)] {
        assert_eq!(value(&report, metric), Some(expected), "{metric}");
    }
    for metric in ["uptime", "fds", "cpu-busiest-core", "probe-cpu"] {
        assert!(value(&report, metric).is_some(), "{metric}");
    }
    assert!(has(&report, "disk", "/"), "the root is always told of");
    assert!(has(&report, "mount-stuck", "/mnt/volume-0003"));
    assert!(has(&report, "disk", "/mnt/volume-4994") && has(&report, "inodes", "/mnt/volume-4994"));
    assert!(!has(&report, "disk", "/mnt/volume-0100"));
    assert!(has(&report, "network-errors", "tap7"), "errors come before traffic");
    assert!(has(&report, "network-in", "tap2999") && !has(&report, "network-in", "tap8"));
    assert!(has(&report, "device-busy", "vd299x"));
    let told = [count(&report, "read-only"), count(&report, "device-busy"), count(&report, "network-in")];
    assert!(told.iter().all(|told| *told > 200), "{told:?}");
    // 5001 mounts, of which 5 did not answer and are named without a value.
    let left = MOUNTS + 1 + DEVICES + INTERFACES - told.iter().sum::<usize>() - 5;
    let counted = value(&report, "left-out").unwrap();
    assert!((left as f64..=left as f64 + 5.0).contains(&counted), "{counted} of {left}");
    let outcome = report.readers.iter().find(|outcome| outcome.reader == "report").unwrap();
    let fault = outcome.fault.as_deref().unwrap();
    assert!(fault.contains(" of 5001 mounts") && fault.contains(" of 3000 interfaces"), "{fault}");
    assert!(report.host.mounts.len() < 600 && report.host.mounts.contains_key("/"));
}

/// Few of these fit into a record's bytes, many into its number of samples.
#[test]
fn long_names_leave_room_for_fewer() {
    let long = PathBuf::from("/mnt").join("é".repeat(250));
    let report = report(&format!("{}/volume", long.display()), &[]);
    assert!(has(&report, "disk", "/"));
    assert!(has(&report, "disk", &format!("{}/volume-4994", long.display())));
    assert!((40..120).contains(&count(&report, "disk")), "{}", count(&report, "disk"));
    assert!(value(&report, "left-out").unwrap() > 4000.0);
}
