//! Probes for machines of other architectures: built by one command, run here by qemu-user.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tests::probes::{self, Foreign};
use tests::programs;
use tests::site::Site;
use tests::sshd::{Sshd, make_key};

/// Puts probes to where the site's collector looks for them.
fn stock(site: &Site, probes: &[&Foreign]) {
    let directory = site.path("state/probes");
    std::fs::create_dir_all(&directory).unwrap();
    for probe in probes {
        std::fs::copy(&probe.file, directory.join(format!("probe-{}", probe.machine))).unwrap();
    }
}

/// What the collector's own probe prints.
fn native(site: &Site, arguments: &[&str]) -> String {
    let probe = site.path("native");
    if !probe.exists() {
        let mut write = Command::new(programs::collector());
        assert!(write.args(["probe", "--write"]).arg(&probe).output().unwrap().status.success());
    }
    tests::child::output(&probe.display().to_string(), arguments)
}

/// The values by metric and labels, but for what differs from run to run: the probe's own cost, the space of this
/// machine's file systems, the age of files.
fn values(report: &Value) -> BTreeMap<String, String> {
    let samples = report["samples"].as_array().unwrap().iter();
    let name = |sample: &Value| sample["metric"].as_str().unwrap().to_owned();
    let steady = samples.filter(|sample| {
        let name = name(sample);
        !["probe-", "disk", "inodes", "custom-age"].iter().any(|part| name.starts_with(part))
    });
    steady.map(|s| (format!("{} {}", name(s), s["labels"]), s["value"].to_string())).collect()
}

#[test]
fn each_reads_the_same_of_a_machine_as_the_native_one() {
    let site = Site::new();
    for fixture in ["debian7-3.2", "rhel7-lxc", "storage-6.8"] {
        let root = programs::root().join("local-probe/tests/fixtures").join(fixture);
        let arguments = ["--json", "--root", root.to_str().unwrap(), "--processes", "sshd,mysqld"];
        let expected: Value = serde_json::from_str(&native(&site, &arguments)).unwrap();
        assert!(values(&expected).len() > 30, "{expected}");
        for probe in probes::foreign() {
            let report: Value = serde_json::from_str(&probe.run(&arguments)).unwrap();
            assert_eq!(values(&report), values(&expected), "{} of {fixture}", probe.machine);
            assert_eq!(report["host"]["arch"], probe.machine);
        }
    }
}

#[test]
fn each_reads_this_machine() {
    for probe in probes::foreign() {
        let report: Value = serde_json::from_str(&probe.run(&["--json"])).unwrap();
        let value = |metric: &str| {
            let found = report["samples"].as_array().unwrap().iter().find(|s| s["metric"] == metric);
            found.unwrap_or_else(|| panic!("{}: no {metric}: {report}", probe.machine))["value"]
                .as_f64()
                .unwrap()
        };
        assert!(value("memory-total") > 1e6 && value("uptime") > 0.0 && value("processes") > 1.0, "{report}");
        assert!(value("disk-total") > 1e6 && (0.0..=100.0).contains(&value("disk")), "{report}");
        let faults: Vec<_> =
            report["readers"].as_array().unwrap().iter().filter(|r| r.get("fault").is_some()).collect();
        let native: Value = serde_json::from_str(&native(&Site::new(), &["--json"])).unwrap();
        let native =
            native["readers"].as_array().unwrap().iter().filter(|r| r.get("fault").is_some()).count();
        assert_eq!(faults.len(), native, "{}: {faults:?}", probe.machine);
        assert!(probe.run(&["--print"]).contains("memory"));
    }
}

/// Reads, seals, spools and streams as on a machine of its own: behind a limited key, whose forced command is qemu.
#[test]
fn what_each_seals_is_opened_and_stored() {
    for probe in probes::foreign() {
        let (site, sshd) = (Site::new(), Sshd::start());
        site.know(&sshd);
        make_key(&site.path("limited"), "ed25519", "");
        let public = std::fs::read_to_string(site.path("limited.pub")).unwrap();
        let qemu = tests::child::output("sh", &["-c", &format!("command -v {}", probe.qemu)]);
        let (file, directory) = (probe.file.display(), site.remote_dir("web1"));
        let command = format!("{} {file} forced {}", qemu.trim(), directory.display());
        std::fs::write(site.path("line"), format!("restrict,command=\"{command}\" {public}")).unwrap();
        sshd.authorize(&site.path("line"));
        let attributes = format!("mode=\"installed\" identity-file=\"{}\"", site.text("limited"));
        site.configure(&site.client(&sshd, "web1", &attributes, ""));
        for _ in 0..2 {
            site.collect_with(&["--fresh"]).expect_all();
        }
        let status = site.status().to_string();
        assert!(status.contains("\"memory\"") && status.contains("\"cpu\""), "{}: {status}", probe.machine);
    }
}

/// A login on a kernel that says i686 to it. What `setarch` does for one login, a machine of 32 bits does for all.
const I686: &str = "ForceCommand exec setarch i686 /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"";

#[test]
fn a_client_gets_the_probe_for_what_its_uname_says() {
    let Some(i686) = probes::of("i686") else { return };
    let (site, sshd) = (Site::new(), Sshd::with(I686));
    site.know(&sshd);
    site.configure(&site.client(&sshd, "old", "", ""));
    let without = site.collect();
    assert_eq!(without.only().outcome, "wrong-platform", "{without:#?}");
    let message = &without.only().message;
    assert!(message.contains("there is no probe for Linux i686"), "{message}");
    // Where the remedy sends people, there is something to read.
    assert!(message.contains("README.md, \"Other architectures\""), "{message}");
    let readme = std::fs::read_to_string(programs::root().join("README.md")).unwrap();
    let section = readme.split("### Other architectures\n").nth(1).expect("the section of that name");
    assert!(section.contains("sh local-probe/build-all.sh"), "the section says how to build it");

    stock(&site, &probes::foreign().iter().collect::<Vec<_>>());
    assert!(site.collect().expect_all().only().uploaded);
    assert!(!site.collect().expect_all().only().uploaded);
    let sent: Vec<_> = std::fs::read_dir(site.remote_dir("old"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("probe-"))
        .collect();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(same_bytes(&sent[0].path(), &i686.file), "another probe than that for i686 was sent");
}

fn same_bytes(a: &Path, b: &Path) -> bool {
    std::fs::read(a).unwrap() == std::fs::read(b).unwrap()
}

/// Whoever installs a probe by other means gets each from the collector; none is refused, as a faulty one would be.
#[test]
fn the_collector_hands_each_out() {
    let site = Site::new();
    site.configure("");
    stock(&site, &probes::foreign().iter().collect::<Vec<_>>());
    for probe in probes::foreign() {
        let to = site.path("copy");
        let run = site.collector(&["probe", "--write", to.to_str().unwrap(), "--machine", probe.machine]);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stderr.is_empty(), "{run:?}");
        assert!(same_bytes(&to, &probe.file));
    }
    let run = site.collector(&["probe", "--write", "x", "--machine", "s390x"]).expect(2);
    assert!(
        run.stderr.contains("there is no probe for s390x: README.md, \"Other architectures\""),
        "{run:?}"
    );
}

#[test]
fn what_cannot_be_built_is_said() {
    let site = Site::new();
    // Neither rustup nor Debian has anything to offer.
    for (name, text) in
        [("rustc", "echo /nowhere"), ("rustup", "exit 1"), ("riscv64-linux-gnu-gcc", "exit 1")]
    {
        std::fs::write(site.path(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(site.path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", site.text("."), std::env::var("PATH").unwrap());
    let build = |machine: &str| {
        let mut command = Command::new("sh");
        command.arg(programs::root().join("local-probe/build-all.sh")).arg(site.path("probes")).arg(machine);
        let output = command.env("PATH", &path).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = build("riscv64");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("riscv64: not built: rustup cannot get riscv64gc-unknown-linux-musl"), "{said}");
    assert!(said.contains("install gcc-riscv64-linux-gnu libc6-dev-riscv64-cross"), "{said}");
    let (code, said) = build("vax");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("vax: not known: aarch64, armv7l, riscv64 or i686"), "{said}");
}
