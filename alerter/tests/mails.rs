//! The mails of whole runs, as people get them, in golden files.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use alerter::dry_run::Printer;
use common::{Fleet, OPS, at, client, sample, settings, web1};
use config::Settings;
use storage::MemoryStore;

/// What a run at that minute sends.
fn told(fleet: &mut Fleet<MemoryStore>, settings: &Settings, minute: i64) -> String {
    let mut printer = Printer(Vec::new());
    fleet.run(settings, minute, Some(&mut printer));
    String::from_utf8(printer.0).unwrap()
}

#[test]
fn what_a_client_sends_cannot_change_the_mail_around_it() {
    let (mut fleet, settings) = (Fleet::new(), web1(OPS));
    let mount = "/x\r\nBcc: victim@example.org\r\n\r\n\u{202e}\x1b[31m<b>";
    fleet.collected("web1", at(0), vec![sample("disk", mount, 99.0)]);
    let mail = told(&mut fleet, &settings, 1);
    assert!(mail.contains(r"/x\r\nBcc: victim@example.org\r\n\r\n\u{202e}\u{1b}[31m<b>"), "{mail}");
    assert!(!mail.contains(['\u{202e}', '\x1b', '\r']), "{mail}");
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
    assert!(mail.contains("[2 CLOSED] db2, web1"), "{mail}");
    assert!(mail.contains("config.xml has no rule for it any more"), "{mail}");
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
    assert!(mail.contains("[CLOSED] web1: disk /var 95 %"), "{mail}");
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
