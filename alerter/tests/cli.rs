//! The program itself, over a real storage file.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::Fleet;
use serde_json::Value;
use storage::SqliteStore;
use tempfile::TempDir;

/// A machine with a config.xml and a storage in which one problem waits to be told.
struct Machine {
    directory: TempDir,
    fleet: Fleet<SqliteStore>,
}

impl Machine {
    /// `mail` is the `<mail>` element; `MAILS` in it stands for a directory.
    fn with(mail: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let (storage, mail) = (path("state/fleet.db"), mail.replace("MAILS", &path("mails")));
        let client = common::client("web1", "ops@example.org");
        let config = format!("<config><storage url=\"sqlite://{storage}\"/>{mail}{client}</config>");
        fs::write(directory.path().join("config.xml"), config).unwrap();
        fs::set_permissions(directory.path().join("config.xml"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut fleet = Fleet::with(SqliteStore::open(Path::new(&storage)).unwrap());
        fleet.disk("web1", 0, 95.0);
        Self { directory, fleet }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn alerter(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-alerter"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.path("config.xml"))
            .env("TZ", "UTC")
            .env_remove("RUST_LOG");
        command.output().unwrap()
    }

    fn mails(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("mails")) else { return Vec::new() };
        entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
    }
}

const DIRECTORY: &str =
    r#"<mail transport="directory" path="MAILS" from="fleet@example.org" admin="root@example.org"/>"#;

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_run_is_silent_and_tells_once() {
    let mut machine = Machine::with(DIRECTORY);
    for arguments in [&["run"][..], &[]] {
        let output = machine.alerter(arguments);
        assert_eq!(
            (output.status.code(), stdout(&output), stderr(&output)),
            (Some(0), String::new(), String::new())
        );
        assert_eq!(machine.mails().len(), 1);
    }
    assert!(machine.mails()[0].contains("Subject: [CRITICAL] web1: disk /var 95 % (limit 90 %)\r\n"));
    machine.fleet.disk("web1", 10, 20.0);
    machine.alerter(&[]);
    assert_eq!(machine.mails().len(), 2);
}

#[test]
fn a_dry_run_prints_the_mails_and_changes_nothing() {
    let machine = Machine::with(DIRECTORY);
    let before = stdout(&machine.alerter(&["status", "--json"]));
    for arguments in [&["--dry-run"][..], &["run", "--dry-run"], &["--dry-run", "run"]] {
        let output = machine.alerter(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("To: ops@example.org\nSubject: [CRITICAL] web1: disk /var 95 %"));
        assert!(stdout(&output).contains("Rule      <alert type=\"disk\""), "{}", stdout(&output));
    }
    assert_eq!(stdout(&machine.alerter(&["status", "--json"])), before);
    assert_eq!(machine.mails(), [""; 0]);
}

#[test]
fn status_shows_clients_and_what_fires() {
    let machine = Machine::with(DIRECTORY);
    machine.alerter(&[]);
    let status: Value = serde_json::from_slice(&machine.alerter(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["version"], 1);
    let client = &status["clients"][0];
    assert_eq!(
        (&client["name"], &client["outcome"], &client["configured"]),
        (&"web1".into(), &"collected".into(), &true.into())
    );
    assert_eq!(client["last_contact"], "2026-07-28T02:00:00.000Z");
    let disk = serde_json::json!({ "metric": "disk", "labels": { "mount": "/var" }, "value": 95.0, "unit": "percent" });
    assert_eq!(client["metrics"][0], disk);
    assert_eq!(
        (&status["alerts"][0]["severity"], &status["alerts"][0]["peak"]),
        (&"critical".into(), &95.0.into())
    );
    assert_eq!(
        status["counts"],
        serde_json::json!({ "reports": 1, "unevaluated": 0, "quarantined": 0, "untold": 0 })
    );
    let done = |program: &str| status["runs"][program]["done"].clone();
    assert_eq!((done("collector"), done("alerter")), (1.into(), 1.into()));
    let documented = include_str!("../../docs/alerting.md");
    for field in status.as_object().unwrap().keys().chain(client.as_object().unwrap().keys()) {
        assert!(documented.contains(&format!("\"{field}\":")), "docs/alerting.md does not show {field}");
    }
    let table = stdout(&machine.alerter(&["status"]));
    assert!(table.contains("95 % /var") && table.contains("CRITICAL"), "{table}");
}

#[test]
fn a_test_mail_goes_to_the_admins_or_where_one_says() {
    let machine = Machine::with(DIRECTORY);
    let output = machine.alerter(&["test-mail"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).starts_with("root@example.org: accepted by "), "{}", stdout(&output));
    machine.alerter(&["test-mail", "me@example.org"]);
    assert!(machine.mails().iter().any(|mail| mail.contains("To: me@example.org\r\n")));
    let output = machine.alerter(&["test-mail", "nobody"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("nobody is no mail address"), "{}", stdout(&output));
}

#[test]
fn a_test_mail_names_the_stage_that_failed() {
    let machine = Machine::with(r#"<mail host="127.0.0.1" port="1" tls="none" from="fleet@example.org"/>"#);
    let output = machine.alerter(&["test-mail"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("NOT SENT by 127.0.0.1:1: connect: "), "{}", stdout(&output));
    assert!(stdout(&output).contains("check host, port and tls of <mail>"), "{}", stdout(&output));
}

#[test]
fn exit_statuses() {
    let machine = Machine::with(DIRECTORY);
    assert_eq!(machine.alerter(&["--nonsense"]).status.code(), Some(2));
    assert_eq!(machine.alerter(&["--dry-run", "status"]).status.code(), Some(2));
    assert_eq!(machine.alerter(&["check-config"]).status.code(), Some(0));
    let elsewhere = machine.path("missing.xml").display().to_string();
    let mut before = Command::new(env!("CARGO_BIN_EXE_fleet-alerter"));
    let output = before.args(["-v", "--config", &elsewhere, "run"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "options stand before a command too: {}", stderr(&output));
    let lock = storage::RunLock::take(&machine.path("state"), storage::Program::Alerter).unwrap();
    assert_eq!(machine.alerter(&[]).status.code(), Some(75));
    drop(lock);
    let config = fs::read_to_string(machine.path("config.xml")).unwrap();
    fs::write(machine.path("config.xml"), config.replace("fleet.db", "damaged.db")).unwrap();
    fs::write(machine.path("state/damaged.db"), "this is no database".repeat(100)).unwrap();
    assert_eq!(machine.alerter(&[]).status.code(), Some(74));
    fs::write(machine.path("config.xml"), "<config><clien/></config>").unwrap();
    let output = machine.alerter(&[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("config.xml:1:10: error:"), "{}", stderr(&output));
}

#[test]
fn sendmail_gets_the_receiver_and_the_text() {
    let machine = Machine::with(r#"<mail transport="sendmail" path="MAILS" from="fleet@example.org"/>"#);
    let program = machine.path("mails");
    let kept = machine.path("kept");
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" >{0}\ncat >>{0}\n", kept.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let output = machine.alerter(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let kept = fs::read_to_string(kept).unwrap();
    assert!(kept.starts_with("-i -f fleet@example.org -- ops@example.org\n"), "{kept}");
    assert!(kept.contains("\nSubject: [CRITICAL] web1") && !kept.contains('\r'), "{kept}");
}

#[test]
fn a_report_goes_to_admins_and_receivers_once() {
    let machine = Machine::with(DIRECTORY);
    for _ in 0..2 {
        let output = machine.alerter(&["report", "daily"]);
        assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(0), vec![], vec![]));
        let mails = machine.mails();
        assert_eq!(mails.len(), 2, "the admin and the receiver, once");
        assert!(mails.iter().all(|mail| mail.contains("\r\nSubject: [DAILY] ")), "{}", mails[0]);
    }
    let output = machine.alerter(&["report", "weekly", "--to", "boss@example.org"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(machine.mails().iter().filter(|mail| mail.contains("To: boss@example.org")).count(), 1);
    assert_eq!(machine.alerter(&["report", "yearly"]).status.code(), Some(2));
    let output = machine.alerter(&["report", "daily", "--dry-run"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_report_that_cannot_go_out_says_so() {
    let machine = Machine::with(&DIRECTORY.replace("MAILS", "/dev/null/mails"));
    assert_eq!(machine.alerter(&["report", "daily"]).status.code(), Some(1));
    let nobody = Machine::with("");
    let config = fs::read_to_string(nobody.path("config.xml")).unwrap();
    fs::write(nobody.path("config.xml"), config.replace(" mail=\"ops@example.org\"", "")).unwrap();
    let output = nobody.alerter(&["report", "daily"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("report daily --to ADDRESS"), "{said}");
}
