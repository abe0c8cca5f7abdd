//! Mails that are as they were when somebody looked at them.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use alerter::dry_run::{self, Printer};
use alerter::transport::directory::Directory;
use alerter::transport::{Answer, Transport};
use config::Settings;
use model::{Labels, Process, Sample};
use storage::{MemoryStore, Message};

use super::{Fleet, OPS, at, client, sample, settings};

/// Keeps what is sent.
#[derive(Default)]
pub(crate) struct Kept(pub(crate) Vec<Message>);

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
pub(crate) fn sent(fleet: &mut Fleet<MemoryStore>, settings: &Settings, minute: i64) -> Vec<Message> {
    let mut kept = Kept::default();
    fleet.run(settings, minute, Some(&mut kept));
    kept.0
}

/// A fleet whose machines have something to do.
pub(crate) fn fleet() -> Fleet<MemoryStore> {
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
pub(crate) fn golden(name: &str, fleet: &mut Fleet<MemoryStore>, settings: &Settings, minute: i64) {
    looked_at(name, &sent(fleet, settings, minute));
}

/// The one mail is as it was when somebody looked at it.
pub(crate) fn looked_at(name: &str, mails: &[Message]) {
    let [mail] = mails else { panic!("{name}: {} mails", mails.len()) };
    outline(mail);
    if let Some(directory) = std::env::var_os("FLEET_MAILS") {
        let named = Message { id: name.to_owned(), ..mail.clone() };
        let answer = Directory(PathBuf::from(directory)).deliver(&named);
        assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    }
    let mut printer = Printer(Vec::new());
    printer.deliver(mail);
    let html = dry_run::html(mail).expect("there is an HTML part");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots/mails");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| {
        insta::assert_snapshot!(name, String::from_utf8(printer.0).expect("it is text"));
        // Every installation has other ids.
        insta::assert_snapshot!(format!("{name}.html"), html.replace(&mail.id, "ID"));
    });
}

/// What a mail is made of, by an independent parser, which finds no fault with it.
pub(crate) fn outline(mail: &Message) -> String {
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
pub(crate) fn machine(disk: f64, cpu: f64) -> Vec<Sample> {
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
pub(crate) fn day(fleet: &mut Fleet<MemoryStore>, client: &str) {
    for minute in (-1440..0).step_by(10).filter(|minute| !(-700..-600).contains(minute)) {
        let hours = minute as f64 / 60.0;
        let disk = 58.0 + hours.sin() + 20.0 * (1.0 + hours / 24.0).powi(6);
        fleet.collected(client, at(minute), machine(disk, 22.0 + 6.0 * (hours * 1.7).sin()));
    }
}

pub(crate) fn web1() -> Settings {
    let note = " note=\"https://wiki.example.org/disk-full: ask the database team first\"/>";
    settings(&client("web1", OPS).replace("/>", note))
}
