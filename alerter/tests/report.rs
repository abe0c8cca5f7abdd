//! `fleet-alerter report`: golden mails, and that each goes out once.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use alerter::report::{self, span::Period};
use alerter::run::Job;
use alerter::transport::{Answer, Fault, Scope, Stage, Transport};
use common::golden::{Kept, day, fleet, looked_at, machine, sent, web1};
use common::{Fleet, OPS, at, client, settings};
use config::Settings;
use model::{Exit, Outcome};
use storage::{MemoryStore, Message};

/// Three clients over nine days, with trouble now and then.
fn nine_days(settings: &Settings) -> Fleet<MemoryStore> {
    let mut fleet = fleet();
    let timeout = || Outcome::Timeout { phase: model::Phase::Connect };
    for step in -9 * 48..0i64 {
        let (minute, hours) = (step * 30, f64::from(i32::try_from(step).unwrap()) / 2.0);
        for (number, client) in ["web1", "db2", "app3"].into_iter().enumerate() {
            let phase = number as f64;
            let full = 62.0
                + 9.0 * phase
                + hours / (30.0 - 10.0 * phase)
                + 14.0 * (hours / 19.0 + phase).sin().powi(9);
            let is_away = number == 2 && (step + 200).rem_euclid(131) < 6;
            if is_away {
                fleet.failed(client, minute, timeout());
            } else {
                let is_busy = (step * (3 + number as i64)).rem_euclid(97) < 4;
                fleet.collected(client, at(minute), machine(full, if is_busy { 97.0 } else { 30.0 }));
            }
        }
    }
    sent(&mut fleet, settings, 0);
    fleet
}

fn report(
    fleet: &mut Fleet<MemoryStore>,
    settings: &Settings,
    period: Period,
    to: Option<&str>,
) -> (Exit, Vec<Message>) {
    let mut kept = Kept::default();
    let exit =
        fleet.at_work(settings, 300, |store, job| report::report(store, job, period, to, &mut kept).unwrap());
    (exit, kept.0)
}

#[test]
fn reports() {
    let busy = "<alert type=\"cpu\" limit=\"90%\" severity=\"warning\"/></client>";
    let clients = ["web1", "db2", "app3"].map(|name| client(name, OPS).replace("</client>", busy));
    let settings = settings(&clients.concat());
    let mut fleet = nine_days(&settings);
    let (exit, daily) = report(&mut fleet, &settings, Period::Daily, None);
    assert_eq!(exit, Exit::Ok);
    looked_at("report-daily", &daily);
    looked_at("report-weekly", &report(&mut fleet, &settings, Period::Weekly, None).1);
    assert!(
        report(&mut fleet, &settings, Period::Weekly, None).1.is_empty(),
        "the same report goes out once"
    );
    let (_, other) = report(&mut fleet, &settings, Period::Weekly, Some("boss@example.org"));
    assert_eq!(other[0].receiver, "boss@example.org");
}

#[test]
fn a_report_that_was_not_taken_goes_out_with_the_next_run() {
    struct Closed;
    impl Transport for Closed {
        fn deliver(&mut self, _: &Message) -> Answer {
            let (stage, scope) = (Stage::Connect, Scope::All);
            Answer::NotTaken(Fault { stage, scope, detail: "refused".to_owned(), remedy: "" })
        }

        fn name(&self) -> String {
            "closed".to_owned()
        }
    }
    let (mut fleet, settings) = (fleet(), web1());
    day(&mut fleet, "web1");
    let send = |store: &mut MemoryStore, job: Job| {
        report::report(store, job, Period::Daily, None, &mut Closed).unwrap()
    };
    assert_eq!(fleet.at_work(&settings, 1, send), Exit::Partial);
    assert_eq!(fleet.at_work(&settings, 2, send), Exit::Partial, "it waits, and is not written anew");
    let later = sent(&mut fleet, &settings, 5);
    let daily = "[DAILY] 2026-07-27: no problem";
    assert_eq!(later.iter().map(|mail| mail.subject.as_str()).collect::<Vec<_>>(), [daily]);
    assert!(sent(&mut fleet, &settings, 6).is_empty());
    assert_eq!(fleet.at_work(&settings, 7, send), Exit::Ok, "it was sent");
}
