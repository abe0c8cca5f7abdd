//! Whole reports of four machines of different kernels and distributions, from trees of their files.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use local_probe::machine::{Machine, Space};
use local_probe::platform::COUNTING;
use local_probe::reading::Reading;
use local_probe::{Counters, report, show};
use model::{Process, Report, Timestamp};

const GIB: u64 = 1 << 30;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A file system of 100 GiB: 60 used, 35 free for all, 5 kept for root.
fn space(path: &Path) -> io::Result<Space> {
    let space = Space {
        total: 100 * GIB,
        free: 40 * GIB,
        available: 35 * GIB,
        inodes: 1_000_000,
        inodes_free: 750_000,
    };
    match path {
        _ if path.ends_with("backup") => Err(io::ErrorKind::PermissionDenied.into()),
        // vfat and btrfs count no inodes.
        _ if path.ends_with("usb disk") || path.ends_with("efi") || path.ends_with("data") => {
            Ok(Space { inodes: 0, inodes_free: 0, ..space })
        }
        _ => Ok(space),
    }
}

fn machine(root: PathBuf, times: fn() -> (Timestamp, u64)) -> Machine {
    Machine {
        root,
        arch: "x86_64".to_owned(),
        own_pid: 0,
        page_size: 4096,
        ticks_per_second: 100,
        ask_space: Arc::new(space),
        times,
        pause: Duration::ZERO,
    }
}

fn now() -> (Timestamp, u64) {
    (Timestamp::from_seconds(1_760_000_000), 1_000_000)
}

fn earlier() -> (Timestamp, u64) {
    (Timestamp::from_seconds(1_759_999_940), 940_000)
}

/// The counters of a minute before.
fn before(name: &str) -> Counters {
    let machine = machine(fixture(name), earlier);
    let clock = machine.clock();
    let mut reading = Reading::new(&machine, &clock, &[]);
    reading.run(COUNTING);
    reading.counters
}

/// The report without what differs from run to run.
fn shown(report: &Report) -> String {
    let mut text = format!("{:?}\n", report.host);
    for sample in report.samples.iter().filter(|sample| !sample.metric.starts_with("probe-")) {
        writeln!(text, "{} {} {}", sample.metric, sample.labels, sample.value).expect("memory takes text");
    }
    for (list, processes) in [("cpu", &report.evidence.top_cpu), ("memory", &report.evidence.top_memory)] {
        for process in processes {
            let Process { pid, name, uid, cpu, memory } = process;
            writeln!(text, "top {list}: {pid} {name:?} uid {uid} {cpu:?} {memory}")
                .expect("memory takes text");
        }
    }
    for reader in &report.readers {
        writeln!(text, "{}: {}", reader.reader, reader.fault.as_deref().unwrap_or("ok"))
            .expect("memory takes text");
    }
    text
}

fn report_of(name: &str, before: Option<&Counters>) -> Report {
    report::take(&machine(fixture(name), now), before, &[], &[]).report
}

#[test]
fn an_old_kernel_without_mem_available() {
    insta::assert_snapshot!(shown(&report_of("debian7-3.2", Some(&before("debian7-3.2-before")))));
}

#[test]
fn a_container() {
    insta::assert_snapshot!(shown(&report_of("container", None)));
}

#[test]
fn one_without_swap() {
    insta::assert_snapshot!(shown(&report_of("rhel9-noswap", None)));
}

/// Kernel 3.10 in LXC: cgroup v1 limits, file systems of the host, no PSI.
#[test]
fn a_container_of_cgroup_v1() {
    insta::assert_snapshot!(shown(&report_of("rhel7-lxc", None)));
}

/// Kernel 6.8: NVMe, a disk that hangs, device mapper, md and ZFS degraded, a bond with a dead link, PSI, kills.
#[test]
fn a_storage_server_in_trouble() {
    insta::assert_snapshot!(shown(&report_of("storage-6.8", Some(&before("storage-6.8-before")))));
}

/// What `--print` makes of them.
#[test]
fn people_are_shown_what_there_is() {
    let names = ["mysqld", "nginx", "smbd"].map(str::to_owned);
    let table = |name: &str, before: Option<&Counters>| {
        show::table(&report::take(&machine(fixture(name), now), before, &[], &names))
    };
    insta::assert_snapshot!(table("storage-6.8", Some(&before("storage-6.8-before"))));
    insta::assert_snapshot!(table("debian7-3.2", Some(&before("debian7-3.2-before"))));
}

/// docs/metrics.md has one row per metric, in the catalogue's order, with its label and its meaning.
#[test]
fn docs_have_a_row_for_each_metric() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let rows = docs.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    let expected: Vec<_> = model::metric::METRICS.iter().collect();
    assert_eq!(rows.len(), expected.len());
    for (row, metric) in rows.iter().zip(expected) {
        let unit = match metric.unit {
            model::Unit::Percent => "%",
            model::Unit::Bytes => "bytes",
            model::Unit::BytesPerSecond => "bytes/s",
            model::Unit::PerSecond => "1/s",
            model::Unit::Seconds => "s",
            model::Unit::Celsius => "°C",
            model::Unit::Count => "",
            model::Unit::Flag => "0, 1",
        };
        assert_eq!(row[1..5], [format!("`{}`", metric.name).as_str(), unit, metric.object, metric.help]);
        assert!(!row[5].is_empty(), "{} has no source", metric.name);
    }
}

/// The tree is completed with `/proc/stat` of 256 cores, of which core 200 alone is busy.
#[test]
fn one_of_many_cores() {
    let tree = tempfile::tempdir().unwrap();
    let mut copy = vec![(fixture("cores-256"), tree.path().to_owned())];
    while let Some((from, to)) = copy.pop() {
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy.push((entry.path(), to));
            } else {
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let stat = |busy: u64, idle: u64| {
        let mut text = format!("cpu  {busy} 0 0 {} 0 0 0 0 0 0\n", 256 * 255 * idle - busy);
        for core in 0..256 {
            let user = if core == 200 { busy } else { 0 };
            writeln!(text, "cpu{core} {user} 0 0 {} 0 0 0 0 0 0", 255 * idle - user).unwrap();
        }
        text
    };
    let path = tree.path().join("proc/stat");
    std::fs::write(&path, stat(0, 100)).unwrap();
    let first = machine(tree.path().to_owned(), earlier);
    let clock = first.clock();
    let mut reading = Reading::new(&first, &clock, &[]);
    reading.run(COUNTING);
    std::fs::write(&path, stat(255 * 64, 164)).unwrap();
    let report =
        report::take(&machine(tree.path().to_owned(), now), Some(&reading.counters), &[], &[]).report;
    insta::assert_snapshot!(shown(&report));
}

/// The very machine that runs this test: every reader finds what it looks for, and rates come of a first run.
#[test]
fn this_machine() {
    let report = report::take(&Machine::this(Path::new("/")), None, &[], &[]).report;
    let has = |metric: &str| report.samples.iter().any(|sample| sample.metric == metric);
    for metric in ["cpu", "cores", "load", "memory", "disk", "processes", "fds", "uptime", "probe-cpu"] {
        assert!(has(metric), "{metric} is missing: {:?}", report.readers);
    }
    assert!(report.samples.iter().all(|sample| model::metric::find(&sample.metric).is_some()));
}

/// Garbage in every file is a fault of each reader, and no report fails.
#[test]
fn garbage_makes_faults_and_a_report() {
    let tree = tempfile::tempdir().unwrap();
    let garbage: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for file in [
        "proc/stat",
        "proc/meminfo",
        "proc/loadavg",
        "proc/uptime",
        "proc/self/mountinfo",
        "proc/net/dev",
        "proc/7/stat",
    ] {
        let path = tree.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &garbage).unwrap();
    }
    let report = report::take(&machine(tree.path().to_owned(), now), None, &[], &[]).report;
    let metrics: Vec<_> = report.samples.iter().map(|sample| sample.metric.as_str()).collect();
    assert_eq!(metrics, ["left-out", "probe-cpu"]);
    for reader in ["host", "uptime", "cpu", "load", "memory", "processes", "descriptors"] {
        let outcome = report.readers.iter().find(|outcome| outcome.reader == reader).unwrap();
        assert!(outcome.fault.is_some(), "{reader}");
    }
}
