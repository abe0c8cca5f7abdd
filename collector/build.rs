//! Builds the probe, statically linked, and hands its bytes to the collector: an admin runs one `cargo build` and
//! gets a collector that carries the program for its clients.
//!
//! Traps: a target directory shared with the outer build deadlocks; flags without `--target` reach proc macros; what
//! the outer cargo sets for itself (wrappers, flags, a job server) must not reach the inner one.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

/// The variables of cargo that say where packages come from. All others are about the outer build.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTRY_",
    "CARGO_REGISTRIES_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

fn main() {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = here.parent().expect("the workspace holds this package");
    for part in [
        "local-probe/src",
        "local-probe/Cargo.toml",
        "local-probe/rustflags",
        "model",
        "envelope",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
    }
    println!("cargo::rerun-if-changed=build.rs");

    let probe = build(root, &Path::new(&variable("OUT_DIR")).join("probe"));
    let bytes = fs::read(&probe).unwrap_or_else(|error| panic!("{}: {error}", probe.display()));
    let digest = Sha256::digest(&bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("memory takes every byte");
        hex
    });
    println!("cargo::rustc-env=PROBE_FILE={}", probe.display());
    println!("cargo::rustc-env=PROBE_SHA256={digest}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// Runs the inner cargo; the path of the program that it made.
fn build(root: &Path, target_dir: &Path) -> PathBuf {
    let target = probe_target();
    let mut cargo = Command::new(variable("CARGO"));
    cargo.args([
        "build",
        "--locked",
        "--quiet",
        "--profile",
        "probe",
        "-p",
        "local-probe",
        "--bin",
        "local-probe",
    ]);
    cargo.arg("--target").arg(&target).arg("--target-dir").arg(target_dir);
    cargo.arg("--manifest-path").arg(root.join("Cargo.toml")).current_dir(root);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let of_cargo = name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
        let of_build = ["RUSTFLAGS", "RUSTDOCFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "MAKEFLAGS"];
        if of_cargo || of_build.contains(&name.as_str()) {
            cargo.env_remove(&name);
        }
    }
    // The probe seals one small record a run, so that it takes the plain form of each algorithm and leaves those for
    // single kinds of processors out (865 kB became 820 kB).
    let flags = fs::read_to_string(root.join("local-probe/rustflags")).expect("it lies in the workspace");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.lines().collect::<Vec<_>>().join("\x1f"));
    let status = cargo.status().unwrap_or_else(|error| panic!("cargo does not start: {error}"));
    assert!(status.success(), "the probe does not build for {target}: {status}");
    target_dir.join(target).join("probe").join("local-probe")
}

/// The musl target of the collector's architecture where its standard library is installed (a probe of a third of
/// the size), else the collector's own.
fn probe_target() -> String {
    let target = variable("TARGET");
    let musl = target.replace("-gnu", "-musl");
    let printed =
        Command::new(variable("RUSTC")).args(["--print", "target-libdir", "--target", &musl]).output();
    let installed = printed.is_ok_and(|printed| {
        printed.status.success() && Path::new(String::from_utf8_lossy(&printed.stdout).trim()).is_dir()
    });
    if installed { musl } else { target }
}
