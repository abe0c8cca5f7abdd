//! The nevers of docs/architecture.md, checked over `cargo metadata`, `cargo tree` and the sources.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use serde_json::Value;
use tests::nevers::{
    ARROWS, Faults, IMPURE, NOT_IN_THE_PROBE, SQL, around_the_wrapper, features_of_envelope,
    forbidden_arrows, graph, linked_though_never, naming, too_long, undocumented_exits, without_lints,
};
use tests::programs;

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(cargo).args(arguments).current_dir(programs::root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints text")
}

fn metadata() -> Value {
    serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--locked"]))
        .expect("cargo prints JSON")
}

/// The files under `directory` of the workspace that end so, with their text; build output and fixtures left out.
fn files(directory: &str, ending: &str) -> Vec<(String, String)> {
    let root = programs::root();
    let mut found = Vec::new();
    let mut next = vec![root.join(directory)];
    while let Some(path) = next.pop() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            if ["target", ".git", "fixtures", "snapshots"].contains(&name.as_str()) {
                continue;
            }
            next.extend(
                std::fs::read_dir(&path).expect("our own directory").flatten().map(|entry| entry.path()),
            );
        } else if name.ends_with(ending) {
            let text = std::fs::read_to_string(&path).expect("our own text");
            found.push((path.strip_prefix(&root).unwrap_or(&path).display().to_string(), text));
        }
    }
    found.sort();
    found
}

/// Sources of the programs: no tests beside `src/`.
fn sources() -> Vec<(String, String)> {
    let mut all = files(".", ".rs");
    all.retain(|(path, _)| {
        path.contains("/src/") && !path.starts_with("tests/") && !path.ends_with("tests.rs")
    });
    all
}

fn none(faults: &Faults) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn each_crate_uses_what_it_may() {
    none(&forbidden_arrows(&graph(&metadata())));
}

#[test]
fn the_alerter_links_no_ssh_and_the_collector_no_mail() {
    none(&linked_though_never(&graph(&metadata())));
}

#[test]
fn drivers_are_used_by_their_wrappers_only() {
    none(&around_the_wrapper(&graph(&metadata())));
}

#[test]
fn the_probe_can_open_nothing() {
    let tree = cargo(&[
        "tree",
        "--locked",
        "-p",
        "local-probe",
        "-e",
        "normal,build",
        "--prefix",
        "none",
        "-f",
        "{p}|{f}",
    ]);
    none(&features_of_envelope(&tree));
    assert!(!tree.lines().any(|line| line.starts_with("ring ")), "the probe links ring");
}

#[test]
fn sql_lives_in_storage() {
    let outside: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| !path.starts_with("storage/") && !path.starts_with("sql/"))
        .collect();
    assert!(outside.len() > 20, "the sources were not found");
    none(&naming(&outside, &SQL));
}

/// What decides by its arguments only: files, and folders.
const PURE: [&str; 13] = [
    "alerter/src/evaluate",
    "alerter/src/fold/",
    "alerter/src/inhibition.rs",
    "alerter/src/notify",
    "alerter/src/attention",
    "alerter/src/check.rs",
    "alerter/src/explain.rs",
    "alerter/src/explain/series.rs",
    "alerter/src/wording.rs",
    "alerter/src/mail/",
    "alerter/src/plot/",
    "alerter/src/report/summary.rs",
    "config/src/opening.rs",
];

#[test]
fn decisions_are_pure() {
    let pure: Vec<_> =
        sources().into_iter().filter(|(path, _)| PURE.iter().any(|pure| path.starts_with(pure))).collect();
    for place in PURE {
        assert!(pure.iter().any(|(path, _)| path.starts_with(place)), "{place} was not found");
    }
    none(&naming(&pure, &IMPURE));
}

#[test]
fn the_model_does_no_io() {
    let model: Vec<_> = sources().into_iter().filter(|(path, _)| path.starts_with("model/")).collect();
    none(&naming(&model, &["std::fs", "std::net", "std::process::Command", "std::env", "SystemTime::now"]));
}

#[test]
fn the_probe_opens_no_socket_and_starts_no_process() {
    let probe: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| ["local-probe/", "envelope/", "model/"].iter().any(|part| path.starts_with(part)))
        .collect();
    assert!(probe.len() > 10, "the sources were not found");
    none(&naming(&probe, &NOT_IN_THE_PROBE));
}

#[test]
fn files_are_short() {
    none(&too_long(&files(".", ".rs")));
}

#[test]
fn every_exit_code_is_in_the_readme() {
    let root = programs::root();
    let source = std::fs::read_to_string(root.join("model/src/exit.rs")).unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    none(&undocumented_exits(&source, &readme));
}

#[test]
fn lints_are_the_roots() {
    let manifests: Vec<_> =
        files(".", "Cargo.toml").into_iter().filter(|(path, _)| path != "Cargo.toml").collect();
    assert_eq!(
        manifests.len(),
        ARROWS.len(),
        "a crate more or less: an ADR says why, and the table above knows it"
    );
    none(&without_lints(&manifests));
}
