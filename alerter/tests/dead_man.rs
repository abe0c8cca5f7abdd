//! What a run says of a collector that does not run, and the heartbeat after a good one.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;
#[allow(dead_code, reason = "its certificates alone serve here")]
#[path = "smtp/server.rs"]
mod server;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use alerter::dry_run::Printer;
use common::{Fleet, OPS, at, client, settings};
use config::Settings;
use storage::{AlertStore as _, History as _, MemoryStore, Program, Run, RunLog as _};

const EVERY: &str = "<schedule collector-every=\"5m\"/>";

fn told(fleet: &mut Fleet<MemoryStore>, settings: &Settings, minute: i64) -> Vec<String> {
    let mut printer = Printer(Vec::new());
    fleet.run(settings, minute, Some(&mut printer));
    let text = String::from_utf8(printer.0).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("Subject: ")).map(str::to_owned).collect()
}

#[test]
fn a_collector_that_stopped_is_one_mail_and_not_one_per_client() {
    let clients: String = ["web1", "db2", "app3"].iter().map(|name| client(name, OPS)).collect();
    for elements in [EVERY, ""] {
        let (settings, mut fleet) = (settings(&format!("{elements}{clients}")), Fleet::new());
        for minute in (0..40).step_by(5) {
            for name in ["web1", "db2", "app3"] {
                fleet.disk(name, minute, 20.0);
            }
            assert_eq!(told(&mut fleet, &settings, minute + 1), Vec::<String>::new());
        }
        // The last run began at 35; three more are missing at 50.
        assert_eq!(told(&mut fleet, &settings, 50), Vec::<String>::new());
        assert_eq!(told(&mut fleet, &settings, 51).len(), 1);
        assert_eq!(told(&mut fleet, &settings, 56), Vec::<String>::new(), "told once");
        assert_eq!(told(&mut fleet, &settings, 51 + 12 * 60).len(), 1, "and again after half a day");
        fleet.disk("web1", 800, 20.0);
        let mails = told(&mut fleet, &settings, 801);
        assert!(matches!(mails.as_slice(), [mail] if mail.contains("[RECOVERED]")), "{mails:?}");
        assert_eq!(fleet.store.firing().unwrap(), []);
    }
}

#[test]
fn a_collector_that_is_killed_in_every_run_is_told() {
    let (settings, mut fleet) = (settings(&format!("{EVERY}{}", client("web1", OPS))), Fleet::new());
    fleet.disk("web1", 0, 20.0);
    let mut mails = Vec::new();
    for minute in (5..30).step_by(5) {
        let (begin, program) = (at(minute), Program::Collector);
        let run = Run { program, host: String::new(), begin, end: None, done: 0, failed: 0, whole: true };
        fleet.store.begin_run(&run).unwrap();
        mails.extend(told(&mut fleet, &settings, minute + 1).into_iter().map(|_| minute));
    }
    assert_eq!(mails, [15], "one mail");
    let detail = fleet.store.open_episodes().unwrap().remove(0).detail;
    assert!(detail.contains("its last 5 runs did not end"), "{detail}");
}

#[test]
fn nobody_waits_for_a_collector_that_has_no_habit() {
    let (settings, mut fleet) = (settings(&client("web1", OPS)), Fleet::new());
    assert_eq!(told(&mut fleet, &settings, 0), Vec::<String>::new(), "it never ran");
    fleet.disk("web1", 1, 20.0);
    assert_eq!(told(&mut fleet, &settings, 9999), Vec::<String>::new());
}

/// A run of the program with `<heartbeat alerter-url=.../>` and a way out that works or not.
fn run_with(url: &str, mails: &str, authority: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let (config, home) = (directory.path().join("config.xml"), directory.path().display());
    let text = format!(
        "<config><storage url=\"sqlite://{home}/state/fleet.db\"/><heartbeat alerter-url=\"{url}\"/>
         <mail transport=\"directory\" path=\"{mails}\" from=\"fleet@example.org\"/>
         {}</config>",
        client("web1", OPS)
    );
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let store = storage::SqliteStore::open(&directory.path().join("state/fleet.db")).unwrap();
    Fleet::with(store).disk("web1", 0, 95.0);
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-alerter"));
    command.arg("--config").arg(&config).env_remove("RUST_LOG").env("SSL_CERT_FILE", authority);
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_good_run_asks_for_the_heartbeat_and_another_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/ping/s3cret", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut first = [0; 24];
        stream.read_exact(&mut first).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8_lossy(&first).into_owned()
    });
    let mails = tempfile::tempdir().unwrap();
    let (code, said) = run_with(&url, "/proc/no/mails", "");
    assert_eq!(code, Some(1), "{said}");
    assert!(!serving.is_finished() && !said.contains("heartbeat"), "{said}");
    assert_eq!(run_with(&url, mails.path().to_str().unwrap(), ""), (Some(0), String::new()));
    assert_eq!(serving.join().unwrap(), "GET /ping/s3cret HTTP/1.");
}

/// `openssl s_server`, which ends with the test.
struct Secure(Child, u16);

impl Secure {
    fn start(certificate: &server::Certificate) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
        command.arg("-cert").arg(certificate.file("server.pem"));
        command.arg("-key").arg(certificate.file("server.key"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut started = Self(child, port);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.0.try_wait().unwrap().is_none(), "openssl s_server ended");
            thread::sleep(Duration::from_millis(10));
        }
        started
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn https_is_verified_and_the_url_is_never_shown() {
    let (certificate, mails) = (server::Certificate::make(), tempfile::tempdir().unwrap());
    let secure = Secure::start(&certificate);
    let (url, path) = (format!("https://localhost:{}/s3cret", secure.1), mails.path().to_str().unwrap());
    let authority = certificate.authority();
    assert_eq!(run_with(&url, path, authority.to_str().unwrap()), (Some(0), String::new()));
    let other = server::Certificate::make();
    let (code, said) = run_with(&url, path, other.authority().to_str().unwrap());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warn: all: heartbeat: it did not arrive: its certificate"), "{said}");
    assert!(!said.contains("s3cret") && !said.contains("localhost"), "{said}");
}
