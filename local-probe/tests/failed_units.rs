//! The line of docs/metrics.md by which a client's own cron counts failed units. systemd cannot run in a test: a program
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

/// Runs it on a machine where `systemctl` is this shell script; the metric, where there is one.
fn counted(root: &Path, systemctl: &str) -> Option<f64> {
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
    let mut samples = report["samples"].as_array().unwrap().iter();
    samples.find(|sample| sample["metric"] == "custom:systemd_units_failed")?["value"].as_f64()
}

#[test]
fn failed_units_are_counted_by_the_documented_line() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(counted(root.path(), "exit 1"), None, "no systemd, no number");
    assert_eq!(counted(root.path(), &format!("cat <<'END'\n{FAILED}END")), Some(2.0));
    assert_eq!(counted(root.path(), "true"), Some(0.0));
    assert_eq!(
        counted(root.path(), "exit 1"),
        Some(0.0),
        "what was counted last stands, and custom-age tells"
    );
}
