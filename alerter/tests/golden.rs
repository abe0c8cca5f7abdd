//! One mail of every kind, as text and as HTML. With FLEET_MAILS=DIRECTORY they are left there as .eml files; docs/mails/make.sh
//! makes pictures of those.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use alerter::dry_run::{self, Printer};
use alerter::report::{self, span::Period};
use alerter::run::Job;
use alerter::transport::directory::Directory;
use alerter::transport::{Answer, Fault, Scope, Stage, Transport};
use common::{Fleet, OPS, at, client, sample, settings};
use config::Settings;
use model::{Exit, Labels, Outcome, Process, Sample};
use storage::{MemoryStore, Message};

/// Keeps what is sent.
#[derive(Default)]
struct Kept(Vec<Message>);

impl Transport for Kept {
    fn deliver(&mut self, message: &Message) -> Answer {
        self.0.push(message.clone());
        Answer::Accepted { said: String::new() }
    }

    fn name(&self) -> String {
        "memory".to_owned()
    }
}

/// What a run at that minute sends.
fn sent(fleet: &mut Fleet<MemoryStore>, settings: &Settings, minute: i64) -> Vec<Message> {
    let mut kept = Kept::default();
    fleet.run(settings, minute, Some(&mut kept));
    kept.0
}

/// A fleet whose machines have something to do.
fn fleet() -> Fleet<MemoryStore> {
    let mut fleet = Fleet::new();
    let process = |pid, name: &str, cpu, mib: u64| Process {
        pid,
        name: name.to_owned(),
        uid: 26,
        cpu: Some(cpu),
        memory: mib << 20,
    };
    let (postgres, java, logs) = (
        process(812, "postgres", 180.5, 2048),
        process(2114, "java", 22.0, 3277),
        process(31, "rsyslogd", 4.5, 9),
    );
    fleet.evidence.top_cpu = vec![postgres.clone(), java.clone(), logs];
    fleet.evidence.top_memory = vec![java, postgres];
    fleet
}

/// The one mail of a run at that minute is as it was when somebody looked at it.
fn golden(name: &str, fleet: &mut Fleet<MemoryStore>, settings: &Settings, minute: i64) {
    looked_at(name, &sent(fleet, settings, minute));
}

/// The one mail is as it was when somebody looked at it.
fn looked_at(name: &str, mails: &[Message]) {
    let [mail] = mails else { panic!("{name}: {} mails", mails.len()) };
    outline(mail);
    if let Some(directory) = std::env::var_os("FLEET_MAILS") {
        let named = Message { id: name.to_owned(), ..mail.clone() };
        let answer = Directory(PathBuf::from(directory)).deliver(&named);
        assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    }
    let mut printer = Printer(Vec::new());
    printer.deliver(mail);
    insta::assert_snapshot!(name, String::from_utf8(printer.0).expect("it is text"));
    let html = dry_run::html(mail).expect("there is an HTML part");
    // Every installation has other ids.
    insta::assert_snapshot!(format!("{name}.html"), html.replace(&mail.id, "ID"));
}

/// What a mail is made of, by an independent parser, which finds no fault with it.
fn outline(mail: &Message) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mime.py");
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there: apt-get install python3");
    python.stdin.take().expect("it is piped").write_all(&mail.bytes).expect("python3 reads");
    let output = python.wait_with_output().expect("python3 ends");
    assert!(output.status.success(), "{script} finds fault with the mail (see above)");
    String::from_utf8(output.stdout).expect("it prints text").trim().to_owned()
}

/// The values of a machine.
fn machine(disk: f64, cpu: f64) -> Vec<Sample> {
    let total = 78.0 * f64::from(1 << 30);
    let plain = |metric: &str, value| Sample { metric: metric.to_owned(), labels: Labels::none(), value };
    vec![
        sample("disk", "/", 41.5),
        sample("disk-free", "/", 23.0 * f64::from(1 << 30)),
        sample("disk", "/var", disk),
        sample("disk-free", "/var", total * (100.0 - disk) / 100.0),
        plain("cpu", cpu),
    ]
}

/// A day of a machine until minute 0: a disk that fills up in the end.
fn day(fleet: &mut Fleet<MemoryStore>, client: &str) {
    for minute in (-1440..0).step_by(10).filter(|minute| !(-700..-600).contains(minute)) {
        let hours = minute as f64 / 60.0;
        let disk = 58.0 + hours.sin() + 20.0 * (1.0 + hours / 24.0).powi(6);
        fleet.collected(client, at(minute), machine(disk, 22.0 + 6.0 * (hours * 1.7).sin()));
    }
}

fn web1() -> Settings {
    let note = " note=\"https://wiki.example.org/disk-full: ask the database team first\"/>";
    settings(&client("web1", OPS).replace("/>", note))
}

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
fn what_a_mail_is_made_of() {
    let mut fleet = fleet();
    let outlines = |mail: &str, fleet: &mut Fleet<MemoryStore>, minute| {
        let settings = settings(&[mail, &client("web1", OPS)].concat());
        sent(fleet, &settings, minute).iter().map(outline).collect::<Vec<_>>()
    };
    day(&mut fleet, "web1");
    fleet.collected("web1", at(5), machine(85.0, 64.0));
    let rich = ["multipart/alternative(text/plain, multipart/related(text/html, image/png))"];
    assert_eq!(outlines("", &mut fleet, 6), rich);
    fleet.collected("web1", at(10), machine(20.0, 64.0));
    assert_eq!(outlines("", &mut fleet, 11), ["multipart/alternative(text/plain, text/html)"]);
    fleet.collected("web1", at(15), machine(85.0, 64.0));
    let text_only = "<mail host=\"localhost\" tls=\"none\" text-only=\"true\"/>";
    assert_eq!(outlines(text_only, &mut fleet, 16), ["text/plain"]);
    fleet.collected("web1", at(20), machine(95.0, 64.0));
    let but_not_for_ops =
        format!("{text_only}<receiver mail=\"{OPS}\" text-only=\"false\" time-zone=\"UTC\"/>");
    assert_eq!(outlines(&but_not_for_ops, &mut fleet, 21), rich);
}

/// What no client may do to a mail.
#[test]
fn hostile_clients_change_no_mail_around_them() {
    let hostile = |number: usize| {
        let nasty =
            "\r\nBcc: victim@example.org\r\n\r\n\u{202e}\x1b[31m\0<script>\"'&</td>\r\n--=_alternative_";
        format!("/{number}{}{nasty}", "\u{1F4A9}".repeat(40))
    };
    let mut fleet = Fleet::new();
    fleet.evidence.top_cpu =
        vec![Process { pid: 1, name: hostile(0), uid: 0, cpu: Some(f64::NAN), memory: u64::MAX }; 5];
    let settings = settings(&client("web1", OPS));
    let mut samples: Vec<Sample> = (0..3000).map(|number| sample("disk", &hostile(number), 99.0)).collect();
    samples.push(Sample {
        metric: "custom:systemd_unit_failed".to_owned(),
        labels: Labels::one("unit", &hostile(0)),
        value: 1.0,
    });
    for minute in (-1440..=0).step_by(30) {
        fleet.collected("web1", at(minute), samples.iter().take(3).cloned().collect());
    }
    fleet.collected("web1", at(1), samples);
    let detail = format!("{}\n{}", hostile(1), hostile(2));
    fleet.failed("web1", 2, Outcome::Refused { detail: detail.clone() });
    fleet.failed("web1", 3, Outcome::Refused { detail });
    let mails = sent(&mut fleet, &settings, 4);
    assert_eq!(
        outline(&mails[0]),
        "multipart/alternative(text/plain, text/html)",
        "of 3000 no picture is left"
    );
    let text = dry_run::text(&mails[0]);
    assert!(text.contains("and 2"), "the rest is counted");
    assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
    assert!(!dry_run::html(&mails[0]).unwrap().contains("<script"));
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

#[test]
fn times_are_in_the_receivers_zone() {
    let (mut fleet, india) = (fleet(), format!("<receiver mail=\"{OPS}\" time-zone=\"Asia/Kolkata\"/>"));
    fleet.collected("web1", at(0), machine(85.0, 64.0));
    let mails = sent(&mut fleet, &settings(&[india.as_str(), &client("web1", OPS)].concat()), 1);
    assert!(dry_run::text(&mails[0]).contains("Since     2026-07-28 07:30 +05:30"));
}

#[test]
fn the_documented_mail_is_what_is_sent() {
    let snapshot = include_str!("snapshots/golden__worse.snap");
    let mail = snapshot.splitn(3, "---\n").nth(2).expect("a snapshot has a head");
    assert!(
        include_str!("../../docs/alerting.md").contains(mail.trim()),
        "docs/alerting.md does not show this mail:\n{mail}"
    );
}
