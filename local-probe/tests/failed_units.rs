//! The line of docs/metrics.md by which a client's own cron writes down failed units. systemd cannot run in a test: a program
//! that prints what `systemctl` printed on a real machine stands for it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const FAILED: &str = "\
nginx.service            loaded failed failed A high performance web server
systemd-fsck@dev-disk-by\\x2duuid-1.service loaded failed failed File System Check on /dev/disk/by-uuid/1
";

/// What the documentation has cron run.
fn documented() -> String {
    let docs = include_str!("../../docs/metrics.md");
    let line = docs.lines().find(|line| line.contains("systemctl list-units")).unwrap();
    line.strip_prefix("*/5 * * * * root ").unwrap().to_owned()
}

/// Runs it on a machine where `systemctl` is this shell script; the number of units, where there is one, and their names.
fn written(root: &Path, systemctl: &str) -> (Option<f64>, Vec<String>) {
    let program = root.join("systemctl");
    std::fs::write(&program, format!("#!/bin/sh\n{systemctl}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let directory = root.join("etc/fleet-health/metrics.d");
    std::fs::create_dir_all(&directory).unwrap();
    let line = documented().replace("/etc/fleet-health/metrics.d", &directory.display().to_string());
    let path = format!("{}:/usr/bin:/bin", root.display());
    Command::new("/bin/sh").arg("-c").arg(line).env("PATH", path).status().unwrap();
    let mut probe = Command::new(env!("CARGO_BIN_EXE_local-probe"));
    let report = probe.arg("--json").arg("--root").arg(root).output().unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let samples = report["samples"].as_array().unwrap();
    let of = |metric: &'static str| samples.iter().filter(move |sample| sample["metric"] == metric);
    let count = of("custom:systemd_units_failed").next().and_then(|sample| sample["value"].as_f64());
    let failed = of("custom:systemd_unit_failed").filter(|sample| sample["value"] == 1.0);
    (count, failed.map(|sample| sample["labels"]["unit"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn failed_units_are_written_down_by_the_documented_line() {
    let root = tempfile::tempdir().unwrap();
    let none = Vec::<String>::new();
    assert_eq!(written(root.path(), "exit 1"), (None, none.clone()), "no systemd, no number");
    let (count, names) = written(root.path(), &format!("cat <<'END'\n{FAILED}END"));
    assert_eq!(count, Some(2.0));
    assert_eq!(names, ["nginx.service", "systemd-fsck@dev-disk-by\\x2duuid-1.service"]);
    assert_eq!(written(root.path(), "true"), (Some(0.0), none.clone()));
    assert_eq!(
        written(root.path(), "exit 1"),
        (Some(0.0), none),
        "what was written last stands, and custom-age tells"
    );
}
