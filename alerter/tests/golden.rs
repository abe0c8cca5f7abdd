//! One mail of every kind, as text and as HTML. With FLEET_MAILS=DIRECTORY they are left there as .eml files; docs/mails/make.sh
//! makes pictures of those.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use common::golden::{day, fleet, golden, looked_at, machine, sent, web1};
use common::{Fleet, OPS, at, client, sample, settings};
use model::Outcome;
use storage::MemoryStore;

#[test]
fn first_worse_and_recovered() {
    let (mut fleet, settings) = (fleet(), web1());
    day(&mut fleet, "web1");
    assert!(sent(&mut fleet, &settings, 0).is_empty());
    fleet.collected("web1", at(5), machine(85.0, 64.0));
    golden("first", &mut fleet, &settings, 6);
    assert!(sent(&mut fleet, &settings, 7).is_empty(), "told once");
    fleet.collected("web1", at(10), machine(93.25, 71.0));
    golden("worse", &mut fleet, &settings, 11);
    fleet.collected("web1", at(20), machine(71.0, 24.0));
    golden("recovered", &mut fleet, &settings, 21);
}

#[test]
fn late() {
    let (mut fleet, settings) = (fleet(), web1());
    for (minute, disk) in [(0, 50.0), (10, 91.0), (20, 97.0), (155, 85.0), (165, 60.0)] {
        fleet.collected("web1", at(minute), machine(disk, 30.0));
    }
    golden("late", &mut fleet, &settings, 300);
    assert!(sent(&mut fleet, &settings, 301).is_empty(), "told once");
}

#[test]
fn unreachable_and_reachable() {
    let (mut fleet, settings) = (fleet(), web1());
    let timeout = || Outcome::Timeout { phase: model::Phase::Connect };
    fleet.failed("web1", 0, timeout());
    fleet.failed("web1", 1, Outcome::NotReached);
    assert!(sent(&mut fleet, &settings, 1).is_empty());
    fleet.failed("web1", 5, timeout());
    golden("unreachable", &mut fleet, &settings, 6);
    fleet.collected("web1", at(10), machine(50.0, 20.0));
    golden("reachable", &mut fleet, &settings, 11);
}

#[test]
fn host_key_changed() {
    let (mut fleet, settings) = (fleet(), web1());
    let (offered, expected) = ("ssh-ed25519 SHA256:abc", "~/.ssh/known_hosts:7");
    let (offered, expected, by) = (offered.to_owned(), expected.to_owned(), model::Objection::Line);
    fleet.failed("web1", 0, Outcome::HostKeyChanged { offered, expected, by });
    golden("host-key-changed", &mut fleet, &settings, 1);
}

#[test]
fn reminder_and_escalated() {
    let rule = " repeat=\"6h\" escalate-after=\"8h\" escalate-to=\"boss@example.org\"/></client>";
    let (mut fleet, settings) = (fleet(), settings(&client("web1", OPS).replace("/></client>", rule)));
    day(&mut fleet, "web1");
    let until = |fleet: &mut Fleet<MemoryStore>, from: i64, until: i64| {
        for minute in (from..until).step_by(10) {
            fleet.collected("web1", at(minute), machine(91.0 + minute as f64 / 200.0, 22.0));
        }
    };
    until(&mut fleet, 0, 5);
    assert_eq!(sent(&mut fleet, &settings, 5).len(), 1, "the problem");
    until(&mut fleet, 10, 365);
    golden("reminder", &mut fleet, &settings, 365);
    until(&mut fleet, 370, 485);
    golden("escalated", &mut fleet, &settings, 485);
}

#[test]
fn flapping_and_steady() {
    let (mut fleet, settings) = (fleet(), web1());
    day(&mut fleet, "web1");
    let mut mails = Vec::new();
    for step in 0..60 {
        let disk = if step < 30 && step % 2 == 0 { 70.0 } else { 92.0 };
        fleet.collected("web1", at(5 * step), machine(disk, 22.0));
        mails.extend(sent(&mut fleet, &settings, 5 * step + 1));
    }
    let about =
        |tag: &str| mails.iter().filter(|mail| mail.subject.starts_with(tag)).cloned().collect::<Vec<_>>();
    looked_at("flapping", &about("[FLAPPING"));
    looked_at("steady", &about("[STEADY"));
    assert!(mails.len() < 10, "{} mails", mails.len());
}

#[test]
fn isolation() {
    let names = ["web1", "db2", "app3", "app4"];
    let settings = settings(&names.map(|name| client(name, OPS)).concat());
    let mut fleet = fleet();
    for name in names {
        fleet.collected(name, at(0), machine(40.0, 9.0));
    }
    let timeout = || Outcome::Timeout { phase: model::Phase::Connect };
    for minute in [5, 10] {
        for name in names {
            fleet.failed(name, minute, timeout());
        }
    }
    golden("isolation", &mut fleet, &settings, 11);
    for name in names {
        fleet.collected(name, at(15), machine(40.0, 9.0));
    }
    golden("isolation-over", &mut fleet, &settings, 16);
}

#[test]
fn dead_man() {
    let settings = settings(&["<schedule collector-every=\"5m\"/>", &client("web1", OPS)].concat());
    let mut fleet = fleet();
    for minute in (0..40).step_by(5) {
        fleet.collected("web1", at(minute), machine(40.0, 9.0));
    }
    golden("dead-man", &mut fleet, &settings, 52);
}

#[test]
fn what_is_reached_through_another_is_not_told() {
    let child = |name: &str| client(name, OPS).replace("<client ", "<client parent=\"gate\" ");
    let others = client("here", OPS);
    let settings = settings(&[client("gate", OPS), child("web1"), child("db2"), others].concat());
    let mut fleet = fleet();
    let timeout = || Outcome::Timeout { phase: model::Phase::Connect };
    for minute in [0, 5] {
        for name in ["gate", "web1", "db2"] {
            fleet.failed(name, minute, timeout());
        }
        fleet.collected("here", at(minute), machine(40.0, 9.0));
    }
    golden("unreachable-with-children", &mut fleet, &settings, 6);
}

#[test]
fn what_was_held_back() {
    let (window, muted) = (
        "<window name=\"backup\" daily=\"04:00-04:30\" time-zone=\"Europe/Berlin\"/>",
        " mute=\"backup\"/></client>",
    );
    let settings = settings(&[window, &client("web1", OPS).replace("/></client>", muted)].concat());
    let mut fleet = fleet();
    fleet.collected("web1", at(5), machine(94.0, 22.0));
    assert!(sent(&mut fleet, &settings, 6).is_empty());
    fleet.collected("web1", at(35), machine(95.0, 22.0));
    golden("held-back", &mut fleet, &settings, 36);
}

#[test]
fn several() {
    let clients: String = ["web1", "db2", "app3", "app4"].iter().map(|name| client(name, OPS)).collect();
    let settings = settings(&clients);
    let mut fleet = fleet();
    day(&mut fleet, "web1");
    fleet.collected("app4", at(0), machine(95.0, 10.0));
    sent(&mut fleet, &settings, 1);
    let root = sample("disk", "/", 96.0);
    let of_web1 = machine(82.0, 40.0)
        .into_iter()
        .map(|s| if s.labels == root.labels && s.metric == "disk" { root.clone() } else { s });
    fleet.collected("web1", at(10), of_web1.collect());
    fleet.collected("db2", at(11), machine(91.0, 12.0));
    fleet.collected("app3", at(12), machine(99.0, 33.0));
    fleet.collected("app3", at(13), machine(20.0, 31.0));
    fleet.collected("app4", at(14), machine(20.0, 9.0));
    golden("several", &mut fleet, &settings, 15);
}

#[test]
fn the_documented_mail_is_what_is_sent() {
    let snapshot = include_str!("snapshots/mails/worse.snap");
    let mail = snapshot.splitn(3, "---\n").nth(2).expect("a snapshot has a head");
    assert!(
        include_str!("../../docs/alerting.md").contains(mail.trim()),
        "docs/alerting.md does not show this mail:\n{mail}"
    );
}
