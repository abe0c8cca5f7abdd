//! A machine that has no way to send mail, whatever the machine has that this test runs on.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use alerter::cli::{Cli, Ended};
use clap::Parser as _;
use common::{Fleet, at};
use log::{LevelFilter, Log, Metadata, Record};
use model::Exit;
use serde_json::Value;
use storage::SqliteStore;

/// Keeps what is said from warnings on.
struct Said(Mutex<Vec<String>>);

impl Log for Said {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

static SAID: Said = Said(Mutex::new(Vec::new()));

#[test]
fn the_news_waits_and_the_line_to_add_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (config, storage, sendmail) = (path("config.xml"), path("state/fleet.db"), path("no-sendmail"));
    let client = common::client("web1", "ops@example.org");
    fs::write(&config, format!("<config><storage url=\"sqlite://{storage}\"/>{client}</config>")).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    Fleet::with(SqliteStore::open(Path::new(&storage)).unwrap()).disk("web1", 0, 95.0);
    log::set_logger(&SAID).unwrap();
    log::set_max_level(LevelFilter::Warn);
    let alerter = |command: &[&str]| {
        let arguments = [&["fleet-alerter", "--config", &config], command].concat();
        let mut out = Vec::new();
        let exit = Cli::parse_from(arguments).execute(&|| at(1), Path::new(&sendmail), &mut out).unwrap();
        (exit, out)
    };
    for _ in 0..2 {
        assert_eq!(alerter(&["run"]), (Ended::Program(Exit::Partial), Vec::new()));
        let said = std::mem::take(&mut *SAID.0.lock().unwrap());
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("add to config.xml <mail transport=\"smtp\""), "{said:?}");
    }
    let status: Value = serde_json::from_slice(&alerter(&["status", "--json"]).1).unwrap();
    assert_eq!(status["counts"]["untold"], 1);
}
