//! `check`: the lines and exit statuses that a monitoring system sees.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use alerter::check::command::of_store;
use common::{Fleet, at, client, settings};
use config::Settings;
use model::Outcome;
use storage::MemoryStore;

/// What a check of each name says, `-` standing for the fleet.
fn told(fleet: &mut Fleet<MemoryStore>, settings: &Settings, minute: i64, names: &[&str]) -> String {
    let mut text = String::new();
    for name in names {
        let asked = (*name != "-").then_some(*name);
        let answer = of_store(&mut fleet.store, settings, asked, at(minute)).unwrap();
        assert!(answer.line.starts_with(&format!("{} - ", answer.verdict)) && !answer.line.contains('\n'));
        writeln!(text, "{} {name}: {}", answer.verdict as u8, answer.line).unwrap();
    }
    text
}

fn three() -> Settings {
    let clients = ["web1", "db1", "new"].map(|name| client(name, "ops@example.org")).concat();
    settings(&format!("<schedule collector-every=\"5m\"/>{clients}"))
}

#[test]
fn lines_and_exit_statuses() {
    let settings = three();
    let mut fleet = Fleet::new();
    let mut text = told(&mut fleet, &settings, 0, &["-", "web1", "wbe1"]);
    fleet.disk("web1", 0, 50.0);
    fleet.disk("db1", 0, 85.5);
    fleet.run(&settings, 1, None);
    text += &told(&mut fleet, &settings, 1, &["-", "web1", "db1", "new"]);
    fleet.disk("web1", 5, 95.0);
    for minute in [5, 10] {
        fleet.failed("db1", minute, Outcome::Refused { detail: "a | b".to_owned() });
    }
    fleet.run(&settings, 11, None);
    text += &told(&mut fleet, &settings, 11, &["-", "web1", "db1"]);
    fleet.disk("web1", 12, 10.0);
    fleet.run(&settings, 13, None);
    text += &told(&mut fleet, &settings, 30, &["-", "web1", "db1"]);
    insta::assert_snapshot!(text);
}

#[test]
fn the_interval_is_learnt_where_nobody_says_it() {
    let settings = settings(&client("web1", "ops@example.org"));
    let mut fleet = Fleet::new();
    for run in 0..8 {
        fleet.disk("web1", run * 120, 50.0);
    }
    fleet.run(&settings, 841, None);
    assert!(
        told(&mut fleet, &settings, 1200, &["web1"]).starts_with("0 web1: OK"),
        "within three intervals of 2 h"
    );
    assert!(told(&mut fleet, &settings, 1201, &["web1", "-"]).contains("3 web1: UNKNOWN"));
}

#[test]
fn what_is_wrong_is_unknown_too() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("config.xml");
    let check = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-alerter"));
        let output = command.arg("check").args(arguments).arg("--config").arg(&config).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, line) = check(&[]);
    assert!(
        status == Some(3) && line.starts_with("UNKNOWN - config.xml is wrong: it cannot be read"),
        "{line}"
    );
    let storage = directory.path().join("fleet.db");
    fs::write(&config, format!("<config><storage url=\"sqlite://{}\"/></config>", storage.display()))
        .unwrap();
    let (status, line) = check(&[]);
    assert!(status == Some(3) && line.starts_with("UNKNOWN - ") && line.lines().count() == 1, "{line}");
    fs::write(&storage, "no database").unwrap();
    let (status, line) = check(&[]);
    assert!(status == Some(3) && line.starts_with("UNKNOWN - "), "{line}");
    assert_eq!(check(&["a", "b"]).0, Some(3), "usage");
    assert_eq!(check(&["--bogus"]).0, Some(3), "usage");
    assert_eq!(check(&["--help"]).0, Some(0));
    let usage =
        Command::new(env!("CARGO_BIN_EXE_fleet-alerter")).args(["status", "--bogus"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2), "of another command");
}
