//! Three days without the alerter, over a hundred clients.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use alerter::transport::{Answer, Transport};
use common::{Fleet, at, sample, settings};
use storage::{History as _, Message};

/// Minutes between two collections.
const EVERY: i64 = 30;
const DAYS: i64 = 3;

/// Keeps what it is handed.
#[derive(Default)]
struct Kept(Vec<Message>);

impl Transport for Kept {
    fn deliver(&mut self, message: &Message) -> Answer {
        self.0.push(message.clone());
        Answer::Accepted { said: "kept".to_owned() }
    }

    fn name(&self) -> String {
        "kept".to_owned()
    }
}

#[test]
fn three_days_of_a_hundred_clients_are_one_mail_per_receiver() {
    let mut config = String::new();
    for number in 0..100 {
        let receivers = if number % 2 == 0 { "ops@example.org" } else { "ops@example.org, dev@example.org" };
        let _ = writeln!(
            config,
            "<client name=\"host{number:02}\" ip=\"127.0.1.{number}\" connection=\"local\" mail=\"{receivers}\">\
             <alert type=\"disk\" warning=\"80%\" critical=\"90%\"/></client>"
        );
    }
    let settings = settings(&config);
    let mut fleet = Fleet::new();
    let runs = DAYS * 1440 / EVERY;
    for run in 0..runs {
        for number in 0..100_i64 {
            // Each has one problem of five hours; every tenth has another that goes on.
            let begins = 1 + (number * 7) % (runs - 40);
            let is_full = (begins..begins + 10).contains(&run) || number % 10 == 0 && run >= runs - 6;
            let value = if is_full { 95.0 } else { 40.0 };
            fleet.collected(
                &format!("host{number:02}"),
                at(run * EVERY),
                vec![sample("disk", "/var", value)],
            );
        }
    }
    let mut kept = Kept::default();
    fleet.run(&settings, DAYS * 1440, Some(&mut kept));
    let episodes = fleet.store.episodes_between(at(-1), at(DAYS * 1440), usize::MAX).unwrap();
    assert_eq!((episodes.len(), episodes.iter().filter(|episode| episode.end.is_none()).count()), (110, 10));
    let receivers: BTreeSet<&str> = kept.0.iter().map(|mail| mail.receiver.as_str()).collect();
    assert_eq!((kept.0.len(), receivers.len()), (2, 2), "one mail each");
    let of_ops = kept.0.iter().find(|mail| mail.receiver == "ops@example.org").unwrap();
    assert_eq!(of_ops.facts.len(), 210, "every problem, and every end");
    assert!(of_ops.subject.starts_with("[10 CRITICAL, 100 LATE] host00, host10 and "), "{}", of_ops.subject);
    let text = common::text(of_ops);
    let place = |line: &str| text.lines().position(|found| found.trim_end() == line);
    for number in 0..100 {
        let late = format!("[LATE] host{number:02}: disk /var peak 95 % (limit 90 %)");
        let listed = format!("{late}, ");
        assert_eq!(
            text.lines().filter(|line| line.starts_with(&listed)).count(),
            1,
            "{late}: listed with its time"
        );
    }
    let last_open = place("[CRITICAL] host90: disk /var 95 % (limit 90 %)").unwrap();
    let first_late = text.lines().position(|line| line.starts_with("[LATE]")).unwrap();
    assert!(last_open < first_late, "what still fires comes first");
    // Nothing comes twice.
    let mut again = Kept::default();
    fleet.run(&settings, DAYS * 1440 + 5, Some(&mut again));
    assert_eq!(again.0, []);
}
