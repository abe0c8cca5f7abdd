//! The mails of whole runs, as people get them, in golden files.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use alerter::dry_run::Printer;
use common::{Fleet, OPS, at, client, sample, settings, web1};
use config::Settings;
use model::Outcome;
use storage::MemoryStore;

/// What a run at that minute sends.
fn told(fleet: &mut Fleet<MemoryStore>, settings: &Settings, minute: i64) -> String {
    let mut printer = Printer(Vec::new());
    fleet.run(settings, minute, Some(&mut printer));
    String::from_utf8(printer.0).unwrap()
}

#[test]
fn problem_worse_and_recovered() {
    let note = " note=\"https://wiki.example.org/disk-full: ask the database team first\"/>";
    let (mut fleet, settings) = (Fleet::new(), settings(&client("web1", OPS).replace("/>", note)));
    fleet.disk("web1", 0, 50.0);
    assert_eq!(told(&mut fleet, &settings, 1), "", "nothing to tell, nothing sent");
    fleet.disk("web1", 5, 85.0);
    insta::assert_snapshot!("problem", told(&mut fleet, &settings, 6));
    assert_eq!(told(&mut fleet, &settings, 7), "", "told once");
    fleet.disk("web1", 10, 93.25);
    let worse = told(&mut fleet, &settings, 11);
    let documented = include_str!("../../docs/alerting.md");
    assert!(documented.contains(worse.trim()), "docs/alerting.md does not show this mail:\n{worse}");
    insta::assert_snapshot!("worse", worse);
    fleet.disk("web1", 15, 84.0);
    assert_eq!(told(&mut fleet, &settings, 16), "", "severity falls silently");
    fleet.disk("web1", 20, 71.0);
    insta::assert_snapshot!("recovered", told(&mut fleet, &settings, 21));
}

#[test]
fn what_is_over_is_told_late() {
    let (mut fleet, settings) = (Fleet::new(), web1(OPS));
    for (minute, value) in [(0, 50.0), (10, 91.0), (20, 97.0), (155, 85.0), (165, 60.0)] {
        fleet.disk("web1", minute, value);
    }
    insta::assert_snapshot!("late", told(&mut fleet, &settings, 300));
    assert_eq!(told(&mut fleet, &settings, 301), "");
}

#[test]
fn unreachable_takes_two_failures_and_ends_with_a_collection() {
    let (mut fleet, settings) = (Fleet::new(), web1(OPS));
    let timeout = || Outcome::Timeout { phase: model::Phase::Connect };
    fleet.failed("web1", 0, timeout());
    fleet.failed("web1", 1, Outcome::NotReached);
    assert_eq!(told(&mut fleet, &settings, 1), "");
    fleet.failed("web1", 5, timeout());
    insta::assert_snapshot!("unreachable", told(&mut fleet, &settings, 6));
    fleet.disk("web1", 10, 50.0);
    insta::assert_snapshot!("reachable", told(&mut fleet, &settings, 11));
}

#[test]
fn a_changed_host_key_is_told_at_once() {
    let (mut fleet, settings) = (Fleet::new(), web1(OPS));
    let (offered, expected) = ("ssh-ed25519 SHA256:abc", "~/.ssh/known_hosts:7");
    fleet.failed(
        "web1",
        0,
        Outcome::HostKeyChanged {
            offered: offered.to_owned(),
            expected: expected.to_owned(),
            by: model::Objection::Line,
        },
    );
    insta::assert_snapshot!("host_key_changed", told(&mut fleet, &settings, 1));
}

#[test]
fn several_at_once() {
    let clients: String = ["web1", "db2", "app3", "app4"].iter().map(|name| client(name, OPS)).collect();
    let settings = settings(&clients);
    let mut fleet = Fleet::new();
    fleet.disk("app4", 0, 95.0);
    told(&mut fleet, &settings, 1);
    fleet.collected("web1", at(10), vec![sample("disk", "/", 96.0), sample("disk", "/var", 82.0)]);
    fleet.disk("db2", 11, 91.0);
    fleet.disk("app3", 12, 99.0);
    fleet.disk("app3", 13, 20.0);
    fleet.disk("app4", 14, 20.0);
    insta::assert_snapshot!("several", told(&mut fleet, &settings, 15));
}

#[test]
fn what_a_client_sends_cannot_change_the_mail_around_it() {
    let (mut fleet, settings) = (Fleet::new(), web1(OPS));
    let mount = "/x\r\nBcc: victim@example.org\r\n\r\n\u{202e}\x1b[31m\0<b>";
    fleet.collected("web1", at(0), vec![sample("disk", mount, 99.0)]);
    let mail = told(&mut fleet, &settings, 1);
    assert!(mail.contains(r"/x\r\nBcc: victim@example.org\r\n\r\n\u{202e}\u{1b}[31m\u{0}<b>"), "{mail}");
    assert!(!mail.contains(['\u{202e}', '\x1b', '\0', '\r']), "{mail}");
    assert!(!mail.lines().any(|line| line.starts_with("Bcc")), "{mail}");
}

#[test]
fn a_removed_rule_and_a_removed_client_end_what_fires() {
    let before = settings(&[client("web1", OPS), client("db2", OPS)].concat());
    let mut fleet = Fleet::new();
    fleet.disk("web1", 0, 95.0);
    fleet.disk("db2", 0, 95.0);
    told(&mut fleet, &before, 1);
    let after = settings(&client("web1", OPS).replace("disk", "cpu"));
    let mail = told(&mut fleet, &after, 2);
    assert!(mail.contains("[2 RECOVERED] db2, web1"), "{mail}");
    assert!(mail.contains("its rule is no longer in config.xml"), "{mail}");
    assert!(mail.contains("its client is no longer in config.xml"), "{mail}");
    assert_eq!(told(&mut fleet, &after, 3), "");
}

#[test]
fn an_edited_limit_goes_on_with_the_episode_if_it_still_breaches() {
    let mut fleet = Fleet::new();
    fleet.disk("web1", 0, 95.0);
    told(&mut fleet, &web1(OPS), 1);
    let edited = |limit| settings(&client("web1", OPS).replace("warning=\"80%\" critical=\"90%\"", limit));
    fleet.disk("web1", 5, 95.0);
    assert_eq!(told(&mut fleet, &edited("critical=\"94%\""), 6), "");
    fleet.disk("web1", 10, 95.0);
    let mail = told(&mut fleet, &edited("critical=\"99%\""), 11);
    assert!(mail.contains("[RECOVERED] web1: disk /var 95 %"), "{mail}");
}

#[test]
fn without_a_way_out_the_news_waits() {
    let (mut fleet, settings) = (Fleet::new(), web1(OPS));
    assert_eq!(fleet.run(&settings, 0, None), model::Exit::Ok, "there is nothing to tell");
    fleet.disk("web1", 0, 95.0);
    assert_eq!(fleet.run(&settings, 1, None), model::Exit::Partial);
    assert_eq!(fleet.run(&settings, 2, None), model::Exit::Partial);
    assert!(told(&mut fleet, &settings, 3).contains("[CRITICAL] web1: disk /var 95 %"));
}

#[test]
fn what_one_report_set_off_lists_its_processes_once() {
    let mut fleet = Fleet::new();
    let mounts = |value| ["/", "/home", "/var"].map(|mount| sample("disk", mount, value)).to_vec();
    fleet.collected("web1", at(0), mounts(95.0));
    let mail = told(&mut fleet, &web1(OPS), 1);
    assert_eq!(mail.matches("Busiest processes").count(), 1, "{mail}");
    assert_eq!(mail.matches("  Processes as listed above\n").count(), 2, "{mail}");
}
