//! `explain`: why every rule of a client did or did not fire.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use alerter::dry_run::Printer;
use alerter::explain::command::{Failure, Question, of_store};
use common::{Fleet, at, sample, settings};
use config::Settings;
use model::{Labels, Outcome, ReaderOutcome, Timestamp};
use storage::{SqliteStore, Store};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

fn rules() -> Settings {
    settings(
        r#"<mail transport="directory" path="mails" repeat="4h"/>
           <receiver mail="quiet@example.org" repeat="never"/>
           <window name="backups" daily="00:00-06:00" time-zone="UTC"/>
           <client name="web1" ip="127.0.0.1" connection="local" mail="ops@example.org quiet@example.org" group="web">
             <alert type="disk" warning="80%" critical="90%" free-below="10G, 5G" escalate-after="1h" escalate-to="boss@example.org"/>
             <alert type="disk-forecast" severity="warning"/>
             <alert type="inodes" limit="90%" for="15m"/>
             <alert type="cpu" limit="90%" samples="3 of 5"/>
             <alert type="iowait" limit="20%" for="1h" aggregate="avg"/>
             <alert type="memory" limit="90%" mute="backups"/>
             <alert type="swap" limit="50%" keep-firing-for="1h"/>
             <alert type="load" limit="8" mail="quiet@example.org"/>
             <alert type="mount" match="/srv, /gone"/>
             <alert type="temperature" limit="80" match="cpu*"/>
             <alert type="reboot"/>
           </client>"#,
    )
}

fn utc(at: Timestamp) -> String {
    chrono::DateTime::from_timestamp_millis(at.millis()).unwrap().format("%H:%M").to_string()
}

fn plain(metric: &str, value: f64) -> model::Sample {
    model::Sample { metric: metric.to_owned(), labels: Labels::none(), value }
}

fn busy<S: Store>(fleet: &mut Fleet<S>, settings: &Settings) {
    let mut printer = Printer(Vec::new());
    let (reader, fault) = ("temperature".to_owned(), Some("/sys/class/hwmon: Permission denied".to_owned()));
    fleet.readers = vec![ReaderOutcome { reader, micros: 1, fault }];
    for (minute, swap) in [(0, 60.0), (5, 40.0)] {
        let mut samples = Vec::new();
        for (mount, used, free) in [("/", 85.0, 200.0), ("/srv", 95.0, 1.0), ("/var", 95.0, 2.0)] {
            samples.extend([sample("disk", mount, used), sample("disk-free", mount, free * GIB)]);
            samples.push(sample("read-only", mount, 0.0));
        }
        samples.extend([sample("inodes", "/var", 99.0), plain("memory", 97.0), plain("cpu", 100.0)]);
        samples.extend([
            plain("swap", swap),
            plain("iowait", 50.0),
            plain("load", 1.0),
            plain("uptime", 86_400.0),
        ]);
        fleet.collected("web1", at(minute), samples);
        fleet.run(settings, minute + 1, Some(&mut printer));
    }
    fleet.failed("web1", 6, Outcome::Refused { detail: String::new() });
    fleet.taken_on_and_silenced();
}

/// What is explained at that minute.
fn told<S: Store>(
    fleet: &mut Fleet<S>,
    settings: &Settings,
    minute: i64,
    (client, kind): (&str, Option<&str>),
) -> Result<String, Failure> {
    of_store(&mut fleet.store, settings, Question { client, kind, now: at(minute) }, &utc)
}

#[test]
fn every_rule_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("fleet.db")).unwrap();
    let (mut fleet, settings) = (Fleet::with(store), rules());
    busy(&mut fleet, &settings);
    insta::assert_snapshot!(told(&mut fleet, &settings, 7, ("web1", None)).unwrap());
    fleet.failed("web1", 10, Outcome::Refused { detail: String::new() });
    fleet.run(&settings, 11, None);
    let mut told = |client: &str, kind: Option<&str>| told(&mut fleet, &settings, 11, (client, kind));
    insta::assert_snapshot!("unreachable_is_bigger", told("web1", Some("swap")).unwrap());
    let swap = told("web1", Some("swap")).unwrap();
    assert_eq!(swap.matches("critical >= ").count(), 1, "{swap}");
    for (client, kind, words) in [
        ("wbe1", None, "config.xml has no client wbe1: did you mean web1?"),
        ("web1", Some("memroy"), "web1 has no rule of the type memroy: did you mean memory?"),
        ("web1", Some("quux"), "web1 has no rule of the type quux: there are disk, disk-forecast, inodes"),
    ] {
        let Err(Failure::Unknown(told)) = told(client, kind) else { panic!("{client} {kind:?}") };
        assert!(told.starts_with(words), "{told}");
    }
}

#[test]
fn a_client_without_data_says_so() {
    let (mut fleet, settings) = (Fleet::new(), rules());
    insta::assert_snapshot!(told(&mut fleet, &settings, 7, ("web1", Some("disk"))).unwrap());
}
