//! `status` for a person and for a program.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use std::path::Path;

use alerter::dry_run::Printer;
use alerter::status::Status;
use alerter::table::table;
use common::{Fleet, at, sample, settings};
use config::Settings;
use model::{Labels, ReaderOutcome};
use storage::{SqliteStore, Store};

fn rules() -> Settings {
    settings(
        r#"<window name="backups" daily="00:00-06:00" time-zone="UTC"/>
           <client name="web1" ip="127.0.0.1" connection="local" mail="ops@example.org" group="web">
             <alert type="disk" warning="80%" critical="90%"/>
             <alert type="inodes" limit="90%" for="15m"/>
             <alert type="cpu" limit="90%" samples="3 of 5"/>
             <alert type="memory" limit="90%" mute="backups"/>
             <alert type="swap" limit="50%" keep-firing-for="1h"/>
           </client>"#,
    )
}

fn plain(metric: &str, value: f64) -> model::Sample {
    model::Sample { metric: metric.to_owned(), labels: Labels::none(), value }
}

/// Something of everything: told, taken on, held back, fine again, pending in two ways, silenced.
fn busy<S: Store>(fleet: &mut Fleet<S>, settings: &Settings) {
    let mut printer = Printer(Vec::new());
    let (reader, fault) = ("temperature".to_owned(), Some("/sys/class/hwmon: Permission denied".to_owned()));
    fleet.readers = vec![ReaderOutcome { reader, micros: 1, fault }];
    for (minute, swap) in [(0, 60.0), (5, 40.0)] {
        let mut samples: Vec<_> = ["/var", "/srv"].map(|mount| sample("disk", mount, 95.0)).into();
        samples.extend([sample("inodes", "/var", 99.0), plain("memory", 97.0), plain("cpu", 100.0)]);
        samples.push(plain("swap", swap));
        fleet.collected("web1", at(minute), samples);
        fleet.run(settings, minute + 1, Some(&mut printer));
    }
    fleet.taken_on_and_silenced();
}

#[test]
fn for_a_person() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("fleet.db")).unwrap();
    let (mut fleet, settings) = (Fleet::with(store), rules());
    busy(&mut fleet, &settings);
    let status = Status::read(&mut fleet.store, &settings, at(7)).unwrap();
    insta::assert_snapshot!(table(&status, at(7)));
}

#[test]
fn for_a_program() {
    let (mut fleet, settings) = (Fleet::new(), rules());
    busy(&mut fleet, &settings);
    let status = serde_json::to_value(Status::read(&mut fleet.store, &settings, at(7)).unwrap()).unwrap();
    let json = |value: &serde_json::Value| serde_json::to_string_pretty(value).unwrap();
    let parts = ["alerts", "pending", "silences"].map(|part| format!("{part}: {}", json(&status[part])));
    insta::assert_snapshot!(parts.join("\n"));
    let documented = std::fs::read_to_string(Path::new("../docs/alerting.md")).unwrap();
    for part in ["alerts", "pending", "silences"] {
        for field in status[part][0].as_object().unwrap().keys() {
            assert!(documented.contains(&format!("\"{field}\":")), "docs/alerting.md does not show {field}");
        }
    }
}
