//! The probe that the collector carries runs where nothing else is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::child;
use tests::programs;

/// The embedded probe, as a file.
fn probe(directory: &Path) -> PathBuf {
    let path = directory.join("probe");
    let written = Command::new(programs::collector()).args(["probe", "--write"]).arg(&path).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert_ne!(path.metadata().unwrap().permissions().mode() & 0o100, 0, "it can be run");
    path
}

/// The type of each program header of an ELF file (64 bits, little endian: what this collector embeds).
fn segments(elf: &[u8]) -> Vec<u32> {
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01", "an ELF file of 64 bits, little endian");
    let word = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().unwrap()) as usize;
    let half = |at: usize| usize::from(u16::from_le_bytes(elf[at..at + 2].try_into().unwrap()));
    let (table, size, count) = (word(32), half(54), half(56));
    (0..count).map(|index| u32::from_le_bytes(elf[table + index * size..][..4].try_into().unwrap())).collect()
}

/// PT_INTERP: the program asks for a dynamic loader.
const INTERP: u32 = 3;

#[test]
fn the_embedded_probe_asks_for_no_loader() {
    let directory = tempfile::tempdir().unwrap();
    let elf = std::fs::read(probe(directory.path())).unwrap();
    assert!(!segments(&elf).contains(&INTERP), "the probe is linked dynamically");
    tests::tell(&format!("the probe has {} bytes", elf.len()));
    let dynamic = std::fs::read("/bin/sh").unwrap();
    assert!(segments(&dynamic).contains(&INTERP), "this test would see a dynamic program");
}

#[test]
fn it_runs_with_an_empty_environment() {
    let directory = tempfile::tempdir().unwrap();
    let probe = probe(directory.path());
    let run = Command::new(&probe).arg("--json").env_clear().current_dir("/").output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).expect("--json prints JSON");
    assert!(report.to_string().contains("memory"), "{report}");

    let table = child::output(&probe.display().to_string(), &["--print"]);
    assert!(table.contains("memory"), "{table}");
}

#[test]
fn it_reads_an_empty_machine_without_failing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let run = Command::new(probe(directory.path())).args(["--json", "--root"]).arg(&root).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice::<serde_json::Value>(&run.stdout).expect("--json prints JSON");
}
