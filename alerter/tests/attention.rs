//! What concerns people's attention over many runs: reminders, escalation, budgets, long outages of the mail server.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use alerter::dry_run::Printer;
use alerter::transport::smtp::{Patience, Server};
use alerter::transport::{Answer, Transport};
use common::{Fleet, OPS, at, client, settings};
use config::{Settings, Smtp, Tls};
use model::{Acknowledgement, Exit};
use storage::{AlertStore as _, History as _, MemoryStore, Message};

const HOUR: i64 = 60;
const MAIL: &str = "<mail transport=\"directory\" path=\"/nonexistent\" from=\"fleet@example.org\" admin=\"ops@example.org\"";

/// Who gets a mail with which subject in the run at that minute: `ops: [CRITICAL] web1: ...`.
fn told(fleet: &mut Fleet<MemoryStore>, settings: &Settings, minute: i64) -> Vec<String> {
    let mut printer = Printer(Vec::new());
    assert_eq!(fleet.run(settings, minute, Some(&mut printer)), Exit::Ok);
    let text = String::from_utf8(printer.0).unwrap();
    let of = |name: &str| text.lines().filter_map(|line| line.strip_prefix(name)).collect::<Vec<_>>();
    let receivers = of("To: ").into_iter().map(|to| to.split('@').next().unwrap().to_owned());
    receivers.zip(of("Subject: ")).map(|(to, subject)| format!("{to}: {subject}")).collect()
}

/// A mail server that nobody runs.
fn nowhere() -> Server {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let smtp = Smtp { host: "127.0.0.1".to_owned(), port, tls: Tls::None, login: None, ca_file: None };
    let patience = Patience { command: Duration::from_secs(30), content: Duration::from_secs(30) };
    Server::new(smtp, "fleet@example.org".to_owned(), "mgmt1", patience)
}

/// A client whose rule has those attributes beside its limits.
fn rule_with(attributes: &str) -> Settings {
    settings(&client("web1", OPS).replace("/>", &format!(" {attributes}/>")))
}

#[test]
fn a_problem_that_stays_is_told_again_twice_a_day() {
    let (mut fleet, settings) = (Fleet::new(), rule_with(""));
    let mut mails = Vec::new();
    for hour in 0..30 {
        fleet.disk("web1", hour * HOUR, 95.0);
        mails.extend(told(&mut fleet, &settings, hour * HOUR + 1).into_iter().map(|mail| (hour, mail)));
    }
    assert_eq!(mails.iter().map(|(hour, _)| *hour).collect::<Vec<_>>(), [0, 12, 24], "{mails:?}");
    assert!(mails.iter().all(|(_, mail)| mail.contains("web1: disk /var 95 %")), "{mails:?}");
    fleet.disk("web1", 30 * HOUR, 20.0);
    assert_eq!(told(&mut fleet, &settings, 30 * HOUR + 1).len(), 1, "its end");
    assert_eq!(told(&mut fleet, &settings, 31 * HOUR), Vec::<String>::new());
}

#[test]
fn a_reminder_that_could_not_be_sent_is_told_once() {
    let (mut fleet, settings) = (Fleet::new(), rule_with("repeat=\"2h\""));
    fleet.disk("web1", 0, 95.0);
    told(&mut fleet, &settings, 1);
    for hour in 2..10 {
        assert_eq!(fleet.run(&settings, hour * HOUR + 2, Some(&mut nowhere())), Exit::Partial);
    }
    assert_eq!(told(&mut fleet, &settings, 12 * HOUR).len(), 1);
    assert_eq!(told(&mut fleet, &settings, 12 * HOUR + 1), Vec::<String>::new());
    assert_eq!(told(&mut fleet, &settings, 14 * HOUR).len(), 1, "two hours after it arrived");
}

/// The power fails while a message is on its way.
struct PowerFails(Option<Message>);

impl Transport for PowerFails {
    fn deliver(&mut self, message: &Message) -> Answer {
        self.0 = Some(message.clone());
        panic!("the power fails");
    }

    fn name(&self) -> String {
        "nothing".to_owned()
    }
}

/// Keeps what is delivered.
struct Kept(Vec<Message>);

impl Transport for Kept {
    fn deliver(&mut self, message: &Message) -> Answer {
        self.0.push(message.clone());
        Answer::Accepted { said: String::new() }
    }

    fn name(&self) -> String {
        "here".to_owned()
    }
}

#[test]
fn a_run_that_is_killed_reminds_nobody_twice() {
    let (mut fleet, settings) = (Fleet::new(), rule_with("repeat=\"2h\""));
    fleet.disk("web1", 0, 95.0);
    told(&mut fleet, &settings, 1);
    let mut failing = PowerFails(None);
    let killed = catch_unwind(AssertUnwindSafe(|| fleet.run(&settings, 3 * HOUR, Some(&mut failing))));
    assert!(killed.is_err(), "it was on its way");
    let mut kept = Kept(Vec::new());
    for minute in 1..60 {
        fleet.run(&settings, 3 * HOUR + minute, Some(&mut kept));
    }
    assert_eq!(kept.0.len(), 1, "once");
    let (first, again) = (failing.0.unwrap(), &kept.0[0]);
    assert_eq!((&first.id, &first.bytes), (&again.id, &again.bytes), "byte for byte");
}

#[test]
fn five_days_without_a_mail_server_end_in_one_mail() {
    let clients: String = ["web1", "db2", "app3"].iter().map(|name| client(name, OPS)).collect();
    let (settings, mut fleet) = (settings(&clients), Fleet::new());
    fleet.disk("web1", 0, 95.0);
    assert_eq!(told(&mut fleet, &settings, 1).len(), 1);
    for hour in 1..120 {
        // web1 is over on the second day, db2 begins on the third, app3 was bad for an hour on each.
        fleet.disk("web1", hour * HOUR, if hour < 30 { 95.0 } else { 20.0 });
        fleet.disk("db2", hour * HOUR, if hour < 60 { 20.0 } else { 95.0 });
        fleet.disk("app3", hour * HOUR, if hour % 24 == 5 { 95.0 } else { 20.0 });
        fleet.run(&settings, hour * HOUR + 1, Some(&mut nowhere()));
    }
    let mails = told(&mut fleet, &settings, 121 * HOUR);
    assert_eq!(mails.len(), 1, "{mails:?}");
    for part in ["1 CRITICAL", "1 RECOVERED", "5 LATE"] {
        assert!(mails[0].contains(part), "{part} in {mails:?}");
    }
    assert_eq!(fleet.store.untold().unwrap(), []);
    assert_eq!(told(&mut fleet, &settings, 122 * HOUR), Vec::<String>::new());
}

#[test]
fn others_hear_of_what_nobody_took_on_and_of_its_end() {
    let (mut fleet, settings) =
        (Fleet::new(), rule_with("escalate-after=\"2h\" escalate-to=\"boss@example.org\""));
    fleet.disk("web1", 0, 95.0);
    assert_eq!(told(&mut fleet, &settings, 1).len(), 1);
    assert_eq!(told(&mut fleet, &settings, 2 * HOUR), Vec::<String>::new());
    let mails = told(&mut fleet, &settings, 2 * HOUR + 1);
    assert!(matches!(mails.as_slice(), [mail] if mail.starts_with("boss: ")), "{mails:?}");
    assert_eq!(told(&mut fleet, &settings, 3 * HOUR), Vec::<String>::new());
    fleet.disk("web1", 4 * HOUR, 20.0);
    let mails = told(&mut fleet, &settings, 4 * HOUR + 1);
    assert_eq!(mails.len(), 2, "{mails:?}");
    assert!(mails.iter().all(|mail| mail.contains("[RECOVERED]")), "{mails:?}");
}

#[test]
fn an_acknowledgement_stops_reminders_until_it_expires() {
    let (mut fleet, settings) = (Fleet::new(), rule_with("repeat=\"1h\""));
    fleet.disk("web1", 0, 95.0);
    told(&mut fleet, &settings, 1);
    let episode = fleet.store.open_episodes().unwrap().remove(0).id;
    let (from, until) = (at(30), Some(at(4 * HOUR + 30)));
    fleet.store.acknowledge(&Acknowledgement { episode, from, until, why: String::new() }).unwrap();
    for hour in 1..5 {
        assert_eq!(told(&mut fleet, &settings, hour * HOUR), Vec::<String>::new(), "{hour}");
    }
    assert_eq!(told(&mut fleet, &settings, 4 * HOUR + 30).len(), 1);
    assert_eq!(told(&mut fleet, &settings, 5 * HOUR), Vec::<String>::new());
}

#[test]
fn beyond_the_budget_news_comes_as_one_digest_and_criticals_at_once() {
    let names: Vec<String> = (0..30).map(|number| format!("web{number}")).collect();
    let clients: String = names.iter().map(|name| client(name, OPS)).collect();
    let settings = settings(&format!("{MAIL} max-per-hour=\"3\"/>\n{clients}"));
    let mut fleet = Fleet::new();
    let (mut times, mut all) = (Vec::new(), String::new());
    for (minute, name) in (0..).zip(&names) {
        fleet.disk(name, minute, if minute == 20 { 95.0 } else { 85.0 });
        for mail in told(&mut fleet, &settings, minute) {
            times.push(minute);
            all.push_str(&mail);
        }
    }
    assert_eq!(times, [0, 1, 2, 20], "the critical takes what waits along: {all}");
    (30..60).for_each(|minute| fleet.disk("web0", minute, 85.0));
    assert_eq!(fleet.run(&settings, 60, None), Exit::Partial, "nothing is lost");
    let last = told(&mut fleet, &settings, 62);
    assert!(matches!(last.as_slice(), [mail] if mail.contains("[9 WARNING]")), "{last:?}");
    assert_eq!(fleet.store.untold().unwrap(), []);
}
