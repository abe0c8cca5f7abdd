//! What a run says of an alerter that does not run, and the heartbeat after a good one.

#![expect(clippy::unwrap_used, reason = "what fails in a helper of a test fails the test")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use model::Timestamp;
use storage::{Program, Run, RunLog as _, SqliteStore};
use tempfile::TempDir;

/// A collector of this machine alone; `elements` come before its client.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn collect(&self, elements: &str, args: &[&str]) -> (Option<i32>, String) {
        let (config, home) = (self.0.path().join("config.xml"), self.0.path().display());
        let text = format!(
            "<config><storage url=\"sqlite://{home}/state/fleet.db\"/>{elements}
             <client name=\"here\" ip=\"127.0.0.1\" connection=\"local\" remote-dir=\"{home}/probes\"
                     mail=\"ops@example.org\"/></config>",
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-collector"));
        command.args(args).arg("--config").arg(&config).env("HOME", self.0.path()).env_remove("RUST_LOG");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Writes into the run log that the alerter ran so many seconds ago.
    fn alerter_ran(&self, seconds_ago: i64) {
        let begin = Timestamp::from(SystemTime::now()).plus(-1000 * seconds_ago);
        let (program, host, end) = (Program::Alerter, String::new(), Some(begin));
        let run = Run { program, host, begin, end, done: 0, failed: 0, whole: true };
        let mut store = SqliteStore::open(&self.0.path().join("state/fleet.db")).unwrap();
        let noted = store.begin_run(&run).unwrap();
        store.end_run(&Run { end, ..noted }).unwrap();
    }
}

const EVERY_MINUTE: &str = "<schedule alerter-every=\"1m\"/>";

#[test]
fn an_alerter_that_stopped_is_told_in_one_line() {
    let up = fs::read_to_string("/proc/uptime").unwrap();
    let up: f64 = up.split('.').next().unwrap().parse().unwrap();
    assert!(up > 240.0, "a host that has just booted has missed nothing: wait for {} s", 240.0 - up);
    let place = Place::new();
    assert_eq!(place.collect(EVERY_MINUTE, &[]), (Some(0), String::new()), "it may come yet");
    place.alerter_ran(200);
    let (code, said) = place.collect(EVERY_MINUTE, &["--quiet"]);
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
    for part in ["fleet-alerter is overdue", "every 1 min", "began 3 min", "line in cron"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(
        place.collect(EVERY_MINUTE, &["--only", "here"]),
        (Some(0), String::new()),
        "a part says nothing"
    );
    assert_eq!(place.collect("", &[]), (Some(0), String::new()), "nobody says how often it runs");
    place.alerter_ran(0);
    assert_eq!(place.collect(EVERY_MINUTE, &[]), (Some(0), String::new()));
}

/// A web server for one request: what it was asked, and with which status it answers.
fn server(status: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/ping/s3cret", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            asked.push(byte[0]);
        }
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&asked).into_owned()
    });
    (url, serving)
}

#[test]
fn a_good_run_asks_for_the_heartbeat() {
    let place = Place::new();
    let (url, serving) = server("200 OK");
    let heartbeat = format!("<heartbeat collector-url=\"{url}\"/>");
    assert_eq!(place.collect(&heartbeat, &["--only", "here"]), (Some(0), String::new()), "a part does not");
    assert_eq!(place.collect(&heartbeat, &[]), (Some(0), String::new()));
    let asked = serving.join().unwrap();
    assert!(asked.starts_with("GET /ping/s3cret HTTP/1.1\r\n"), "{asked}");
}

#[test]
fn a_heartbeat_that_fails_is_a_warning_without_the_url() {
    let place = Place::new();
    let (url, serving) = server("410 Gone");
    let (code, said) = place.collect(&format!("<heartbeat collector-url=\"{url}\"/>"), &[]);
    serving.join().unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warn: the heartbeat did not arrive: it answered 410"), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    let (code, said) = place.collect("<heartbeat collector-url=\"http://127.0.0.1:1/s3cret\"/>", &[]);
    assert_eq!(code, Some(0));
    assert!(said.contains("the connection failed: connection refused") && !said.contains("s3cret"), "{said}");
}
