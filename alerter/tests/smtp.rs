//! Deliveries to a real mail server (aiosmtpd), scripted to fail at every verb.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;
#[path = "smtp/server.rs"]
mod server;

use std::time::Duration;

use alerter::transport::smtp::{Patience, Server};
use common::{Fleet, at, web1};
use config::{Secret, SecretSource, Smtp, Tls};
use model::Exit;
use serde_json::{Value, json};
use server::{Certificate, MailServer};
use storage::{AlertStore as _, Delivery, History as _, MemoryStore};

const OPS: &str = "ops@example.org";
const BOTH: &str = "ops@example.org, dev@example.org";
/// Long enough for a loaded machine.
const PATIENCE: Patience = Patience { command: Duration::from_secs(30), content: Duration::from_secs(30) };

fn plain(port: u16) -> Smtp {
    Smtp { host: "127.0.0.1".to_owned(), port, tls: Tls::None, login: None, ca_file: None }
}

fn way(smtp: Smtp) -> Server {
    Server::new(smtp, "fleet@example.org".to_owned(), "mgmt1", PATIENCE)
}

/// A fleet with one problem that nobody was told of.
fn trouble() -> Fleet<MemoryStore> {
    let mut fleet = Fleet::new();
    fleet.disk("web1", 0, 95.0);
    fleet
}

/// What a run against a server with these answers leaves.
fn once(receivers: &str, answers: &Value) -> (Fleet<MemoryStore>, MailServer, Exit) {
    let server = MailServer::start(json!({ "answers": answers }), None);
    let mut fleet = trouble();
    let exit = fleet.run(&web1(receivers), 1, Some(&mut way(plain(server.port))));
    (fleet, server, exit)
}

fn details(fleet: &mut Fleet<MemoryStore>) -> Vec<String> {
    fleet.store.backoffs().unwrap().into_iter().map(|backoff| backoff.detail).collect()
}

#[test]
fn one_connection_serves_one_message_per_receiver() {
    let (mut fleet, server, exit) = once(BOTH, &json!({}));
    assert_eq!(exit, Exit::Ok);
    assert_eq!(server.mails().len(), 2);
    assert_eq!(fleet.store.untold().unwrap(), []);
    assert_eq!(fleet.store.outbox().unwrap(), []);
    fleet.run(&web1(BOTH), 2, Some(&mut way(plain(server.port))));
    assert_eq!(server.mails().len(), 2, "told once");
}

#[test]
fn pythons_mail_library_reads_what_arrived() {
    let (_fleet, server, _) = once(OPS, &json!({}));
    let mail = server.parsed(0);
    assert_eq!(mail["Subject"], "[CRITICAL] web1: disk /var 95 % (limit 90 %)");
    assert_eq!(mail["From"], "Fleet Health <fleet@example.org>");
    assert_eq!(mail["To"], OPS);
    assert_eq!(mail["Date"], "Tue, 28 Jul 2026 02:01:00 +0000");
    assert_eq!(mail["Auto-Submitted"], "auto-generated");
    assert_eq!(mail["X-Auto-Response-Suppress"], "All");
    assert_eq!(mail["List-Id"], "<alerts.fleet-health>");
    assert!(mail["Content-Type"].as_str().unwrap().starts_with("multipart/alternative; boundary="), "{mail}");
    assert_eq!(mail["X-Fleet-Health-Client"], "web1");
    assert_eq!(mail["X-Fleet-Health-Alert"], "disk");
    assert_eq!(mail["X-Fleet-Health-Severity"], "critical");
    assert_eq!(mail["X-Fleet-Health-State"], "firing");
    assert_eq!(mail["References"], mail["In-Reply-To"]);
    assert!(mail["References"].as_str().unwrap().starts_with("<episode-"));
    assert!(mail["body"].as_str().unwrap().contains("  Since     2026-07-28 04:00 +02:00 (1 min)"));
    assert_eq!(mail["defects"], 0);
    let names: Vec<&str> =
        mail["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!((names.len(), once.len()), (16, 16), "exactly our headers, each once: {names:?}");
}

#[test]
fn problem_and_recovery_are_one_thread() {
    let (mut fleet, server, _) = once(OPS, &json!({}));
    fleet.disk("web1", 10, 20.0);
    fleet.run(&web1(OPS), 11, Some(&mut way(plain(server.port))));
    let (problem, recovery) = (server.parsed(0), server.parsed(1));
    assert_eq!(recovery["Subject"], "[RECOVERED] web1: disk /var 20 % (limit 90 %)");
    assert_eq!(problem["References"], recovery["References"]);
    assert_ne!(problem["Message-ID"], recovery["Message-ID"]);
}

#[test]
fn a_dot_at_the_begin_of_a_line_arrives() {
    let server = MailServer::start(json!({}), None);
    let bytes = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nend\r\n".to_vec();
    let (id, receiver, subject) = ("1@x".to_owned(), OPS.to_owned(), String::new());
    let message =
        storage::Message { id, receiver, subject, created: at(0), bytes: bytes.clone(), facts: Vec::new() };
    let answer = alerter::transport::Transport::deliver(&mut way(plain(server.port)), &message);
    assert!(matches!(answer, alerter::transport::Answer::Accepted { .. }), "{answer:?}");
    assert_eq!(server.mails(), [bytes]);
}

#[test]
fn what_fails_before_the_text_dissolves_and_is_told_with_the_next_run() {
    for answers in [
        json!({ "connect": ["drop", ""] }),
        json!({ "mail": ["451 later", ""] }),
        json!({ "mail": ["550 not you", ""] }),
        json!({ "mail": ["drop", ""] }),
        json!({ "rcpt": ["451 greylisted", ""] }),
        json!({ "rcpt": ["530 log in first", ""] }),
        json!({ "rcpt": ["554 5.7.1 <ops@example.org>: Relay access denied", ""] }),
        json!({ "rcpt": ["550 relay not permitted", ""] }),
        json!({ "rcpt": ["drop", ""] }),
        json!({ "data": ["451 later", ""] }),
        json!({ "data": ["drop", ""] }),
    ] {
        let (mut fleet, server, exit) = once(OPS, &answers);
        assert_eq!((exit, server.mails().len()), (Exit::Partial, 0), "{answers}");
        assert_eq!(fleet.store.untold().unwrap().len(), 1, "{answers}");
        assert_eq!(fleet.store.outbox().unwrap(), [], "{answers}");
        let early = fleet.run(&web1(OPS), 1, Some(&mut way(plain(server.port))));
        assert_eq!((early, server.mails().len()), (Exit::Partial, 0), "it waits a minute: {answers}");
        let later = fleet.run(&web1(OPS), 3, Some(&mut way(plain(server.port))));
        assert_eq!((later, server.mails().len()), (Exit::Ok, 1), "{answers}");
        assert_eq!(fleet.store.backoffs().unwrap(), [], "{answers}");
    }
}

#[test]
fn a_refusal_for_good_is_kept_and_shown_and_its_end_is_not_told() {
    for answers in [
        json!({ "rcpt": ["550 no such user"] }),
        json!({ "data": ["554 no"] }),
        json!({ "content": ["552 not with that content"] }),
    ] {
        let (mut fleet, server, exit) = once(OPS, &answers);
        assert_eq!((exit, server.mails().len()), (Exit::Partial, 0), "{answers}");
        let unsent = fleet.store.unsent().unwrap();
        assert!(matches!(&unsent[..], [(_, Delivery::Permanent { .. })]), "{unsent:?}");
        fleet.disk("web1", 10, 20.0);
        let exit = fleet.run(&web1(OPS), 11, Some(&mut way(plain(server.port))));
        assert_eq!(
            (exit, server.log().matches("rcpt").count()),
            (Exit::Ok, 1),
            "{answers}: nothing more is tried"
        );
        assert_eq!(fleet.store.untold().unwrap(), []);
    }
}

#[test]
fn one_bad_recipient_stops_nobody_else() {
    for (answer, is_lost) in [("451 later", false), ("550 no such user", true)] {
        let (mut fleet, server, exit) = once(BOTH, &json!({ "rcpt:dev@example.org": [answer] }));
        assert_eq!(exit, Exit::Partial);
        assert_eq!(server.parsed(0)["To"], OPS);
        assert_eq!(server.mails().len(), 1);
        assert_eq!(fleet.store.untold().unwrap().is_empty(), is_lost, "{answer}");
    }
}

#[test]
fn a_drop_after_the_text_sends_the_same_bytes_again() {
    for answers in [json!({ "content": ["drop", ""] }), json!({ "content": ["451 later", ""] })] {
        let (mut fleet, server, exit) = once(OPS, &answers);
        assert_eq!(exit, Exit::Partial, "{answers}");
        let frozen = fleet.store.outbox().unwrap();
        assert_eq!(frozen.len(), 1, "{answers}");
        fleet.disk("web1", 10, 20.0);
        assert_eq!(fleet.run(&web1(OPS), 11, Some(&mut way(plain(server.port)))), Exit::Ok);
        let mails = server.mails();
        let recovery = mails.last().unwrap();
        assert!(String::from_utf8_lossy(recovery).contains("Subject: [RECOVERED]"));
        for mail in &mails[..mails.len() - 1] {
            assert_eq!(String::from_utf8_lossy(mail), String::from_utf8_lossy(&frozen[0].bytes), "{answers}");
        }
        assert_eq!(fleet.store.outbox().unwrap(), []);
    }
}

#[test]
fn five_runs_without_a_server_and_one_with_it_make_one_mail() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut fleet = trouble();
    for run in 1..=5 {
        fleet.disk("web1", run * 100, if run == 3 { 20.0 } else { 95.0 });
        let exit = fleet.run(&web1(OPS), run * 100 + 1, Some(&mut way(plain(closed))));
        assert_eq!(exit, Exit::Partial);
    }
    assert!(details(&mut fleet)[0].starts_with("connect: "), "{:?}", details(&mut fleet));
    let server = MailServer::start(json!({}), None);
    assert_eq!(fleet.run(&web1(OPS), 1000, Some(&mut way(plain(server.port)))), Exit::Ok);
    assert_eq!(server.mails().len(), 1);
    assert_eq!(server.parsed(0)["Subject"], "[1 CRITICAL, 1 LATE] web1");
}

#[test]
fn a_message_frozen_by_a_killed_run_goes_out_as_it_is() {
    let server = MailServer::start(json!({}), None);
    let mut fleet = trouble();
    fleet.run(&web1(OPS), 1, None);
    let facts = vec![fleet.store.untold().unwrap()[0].0];
    let bytes = b"Subject: frozen\r\n\r\ntext\r\n".to_vec();
    let (id, receiver, subject) = ("1@x".to_owned(), OPS.to_owned(), "frozen".to_owned());
    let message = storage::Message { id, receiver, subject, created: at(1), bytes: bytes.clone(), facts };
    fleet.store.freeze(&message).unwrap();
    assert_eq!(fleet.run(&web1(OPS), 2, Some(&mut way(plain(server.port)))), Exit::Ok);
    assert_eq!(server.mails(), [bytes]);
}

#[test]
fn tls_and_login() {
    let certificate = Certificate::make();
    for (tls, name) in [(Tls::StartTls, "starttls"), (Tls::Tls, "tls")] {
        let server =
            MailServer::start(json!({ "tls": name, "login": ["fleet", "s3cret"] }), Some(&certificate));
        let password =
            |text: &str| Some(("fleet".to_owned(), SecretSource::Inline(Secret::new(text.to_owned()))));
        let smtp = |text| Smtp {
            host: "localhost".to_owned(),
            tls,
            login: password(text),
            ca_file: Some(certificate.authority()),
            ..plain(server.port)
        };
        let mut fleet = trouble();
        assert_eq!(fleet.run(&web1(OPS), 1, Some(&mut way(smtp("wrong")))), Exit::Partial);
        let details = details(&mut fleet);
        assert!(
            details[0].starts_with("login: permanent error (535)") && !details[0].contains("wrong"),
            "{details:?}"
        );
        assert_eq!(fleet.run(&web1(OPS), 3, Some(&mut way(smtp("s3cret")))), Exit::Ok, "{}", server.log());
        assert_eq!(server.mails().len(), 1);
        assert!(server.log().contains("tls=True login=True"), "{}", server.log());
    }
}

#[test]
fn a_certificate_that_nobody_trusts_is_refused() {
    let (certificate, other) = (Certificate::make(), Certificate::make());
    for (tls, name) in [(Tls::StartTls, "starttls"), (Tls::Tls, "tls")] {
        let server =
            MailServer::start(json!({ "tls": name, "login": ["fleet", "s3cret"] }), Some(&certificate));
        for (host, ca_file) in [
            ("localhost", None),
            ("localhost", Some(other.authority())),
            ("127.0.0.2", Some(certificate.authority())),
        ] {
            let login = Some(("fleet".to_owned(), SecretSource::Inline(Secret::new("s3cret".to_owned()))));
            // 127.0.0.2 is not in the certificate; the server listens on all of loopback.
            let smtp = Smtp { host: host.to_owned(), port: server.port, tls, login, ca_file };
            let mut fleet = trouble();
            assert_eq!(fleet.run(&web1(OPS), 1, Some(&mut way(smtp))), Exit::Partial);
            let details = details(&mut fleet);
            assert!(details[0].starts_with("TLS: ") && details[0].contains("ca-file"), "{details:?}");
        }
        assert!(!server.log().contains("auth"), "{}", server.log());
    }
}

#[test]
fn without_starttls_nothing_is_sent() {
    let server = MailServer::start(json!({}), None);
    let login = Some(("fleet".to_owned(), SecretSource::Inline(Secret::new("s3cret".to_owned()))));
    let smtp = Smtp { tls: Tls::StartTls, login, ..plain(server.port) };
    let mut fleet = trouble();
    assert_eq!(fleet.run(&web1(OPS), 1, Some(&mut way(smtp))), Exit::Partial);
    let details = details(&mut fleet);
    assert!(details[0].starts_with("TLS: ") && details[0].contains("STARTTLS"), "{details:?}");
    assert_eq!(server.log(), "", "neither a login nor a sender was named");
}

#[test]
fn a_server_that_stays_silent_costs_one_wait() {
    // A connection that is accepted by the kernel, and a server that never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let patience = Patience { command: Duration::from_millis(200), content: Duration::from_millis(200) };
    let smtp = plain(silent.local_addr().unwrap().port());
    let mut transport = Server::new(smtp, "fleet@example.org".to_owned(), "mgmt1", patience);
    let mut fleet = trouble();
    assert_eq!(fleet.run(&web1(BOTH), 1, Some(&mut transport)), Exit::Partial);
    let details = details(&mut fleet);
    assert_eq!(details.len(), 2, "both receivers wait");
    assert!(details[0].contains("did not answer in time"), "{details:?}");
    silent.set_nonblocking(true).unwrap();
    assert!(silent.accept().is_ok(), "one connection");
    assert!(silent.accept().is_err(), "and no second one");
}

#[test]
fn nothing_goes_in_the_clear_to_another_machine() {
    let smtp = Smtp { host: "192.0.2.1".to_owned(), ..plain(25) };
    let mut fleet = trouble();
    assert_eq!(fleet.run(&web1(OPS), 1, Some(&mut way(smtp))), Exit::Partial);
    assert!(details(&mut fleet)[0].contains("under TLS only"));
}
