//! GETs of a real web server of the test's own.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use heartbeat::{PATIENCE, beat};

const ELSEWHERE: &str =
    "HTTP/1.1 302 Found\r\nLocation: /ping/s3cret\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A server that answers each connection with the next of these texts, and then is gone; gives what it was asked for.
fn server(answers: &[&'static str]) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/ping/s3cret", listener.local_addr().unwrap());
    let answers = answers.to_vec();
    let serving = thread::spawn(move || {
        let serve = |answer: &&str| {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            request
        };
        answers.iter().map(serve).collect()
    });
    (url, serving)
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_good_answer_is_enough() {
    let (url, serving) = server(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK"]);
    assert_eq!(beat(&url, PATIENCE), Ok(()));
    let asked = serving.join().unwrap().remove(0);
    assert!(asked.starts_with("GET /ping/s3cret HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("user-agent: fleet-health/"), "{asked}");
}

#[test]
fn an_endless_body_is_not_read() {
    let (url, serving) = server(&["HTTP/1.1 204 No Content\r\n\r\n"]);
    assert_eq!(beat(&url, PATIENCE), Ok(()));
    serving.join().unwrap();
    let (url, serving) = server(&["HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n\r\nand so on"]);
    assert_eq!(beat(&url, PATIENCE), Ok(()));
    serving.join().unwrap();
}

#[test]
fn what_fails_is_named_without_the_url() {
    let fine = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let (found, _serving) = server(&[ELSEWHERE, fine]);
    assert_eq!(beat(&found, PATIENCE), Ok(()), "a redirect is followed");
    for (answers, expected) in [
        (
            &["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"][..],
            "it answered 404",
        ),
        (&["HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"], "it answered 503"),
        (&["SSH-2.0-OpenSSH_9.9\r\n\r\n"], "the answer is none of a web server"),
        (&["HTTP/1.1 200 O"], "the connection failed"),
        (&[ELSEWHERE; 5], "again and again"),
        (&[], "the connection failed"),
    ] {
        let (url, _serving) = server(answers);
        let fault = beat(&url, PATIENCE).unwrap_err();
        assert!(fault.to_string().contains(expected), "{answers:?}: {fault}");
        assert!(!format!("{fault}{fault:?}").contains("s3cret"), "{fault:?}");
    }
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/s3cret", listener.local_addr().unwrap());
    let fault = beat(&url, Duration::from_millis(50)).unwrap_err().to_string();
    assert!(fault.contains("did not answer in time"), "{fault}");
}

#[test]
fn who_is_no_name_is_not_found() {
    let fault = beat("http://no-such-host.invalid/s3cret", PATIENCE).unwrap_err().to_string();
    assert!(fault.contains("its host is not found"), "{fault}");
}

/// A certificate that no authority of this system has signed.
#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"])
        .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", &file("key.pem"), "-out", &file("cert.pem")])
        .stderr(Stdio::null())
        .status()
        .expect("openssl: apt-get install openssl");
    assert!(made.success());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("openssl")
        .args(["s_server", "-www", "-quiet", "-accept", &format!("127.0.0.1:{port}")])
        .args(["-key", &file("key.pem"), "-cert", &file("cert.pem")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(server.try_wait().unwrap().is_none(), "openssl s_server ended");
        thread::sleep(Duration::from_millis(10));
    }
    let url = format!("https://localhost:{port}/s3cret");
    let fault = beat(&url, PATIENCE);
    server.kill().unwrap();
    server.wait().unwrap();
    let fault = fault.unwrap_err();
    assert!(fault.to_string().contains("certificate"), "{fault}");
    assert!(!format!("{fault}{fault:?}").contains("s3cret"));
}
