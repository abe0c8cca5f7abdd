//! The scripted SMTP server of `alerter/tests/smtp/server.py` (aiosmtpd), for the programs together.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::{child, programs};

/// How the server protects its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    None,
    /// STARTTLS, required.
    StartTls,
}

/// A running server.
#[derive(Debug)]
pub struct Smtp {
    process: Child,
    directory: tempfile::TempDir,
    port: u16,
}

/// A mail that the server kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The address of RCPT TO.
    pub to: String,
    /// Its bytes as text.
    pub text: String,
}

impl Mail {
    /// The text part, its quoted-printable (RFC 2045) decoded.
    pub fn body(&self) -> String {
        let part = self.text.split_once("Content-Type: text/plain").map_or("", |(_, part)| part);
        let body = part.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        // Only a boundary begins so.
        let body = body.split_once("\r\n--=_").map_or(body, |(body, _)| body).replace("=\r\n", "");
        let mut pieces = body.split('=');
        let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
        for piece in pieces {
            match piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                Some(byte) => {
                    bytes.push(byte);
                    bytes.extend(&piece.as_bytes()[2..]);
                }
                None => bytes.extend(format!("={piece}").as_bytes()),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Smtp {
    /// Starts one that takes everything.
    pub fn start() -> Self {
        Self::with(Tls::None, None, &json!({}))
    }

    /// Starts one; with `login` (user and password) it takes mail only after AUTH. `answers` are those of `server.py`.
    pub fn with(tls: Tls, login: Option<(&str, &str)>, answers: &Value) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        let mut script = json!({"directory": directory.path(), "tls": "none", "answers": answers});
        if tls == Tls::StartTls {
            make_certificate(directory.path());
            script["tls"] = "starttls".into();
            script["certificate"] = json!(path("cert.pem"));
            script["key"] = json!(path("key.pem"));
        }
        if let Some((user, password)) = login {
            script["login"] = json!([user, password]);
        }
        std::fs::write(path("script.json"), script.to_string()).expect("a file of ours");
        let stderr = std::fs::File::create(path("stderr")).expect("a file of ours");
        let mut process = Command::new(python())
            .args(["-W", "ignore"])
            .arg(programs::root().join("alerter/tests/smtp/server.py"))
            .arg(path("script.json"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("python runs");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("the server's first line");
        let port = line.trim().parse().unwrap_or_else(|_| {
            panic!("no SMTP server: {}", std::fs::read_to_string(path("stderr")).unwrap_or_default())
        });
        Self { process, directory, port }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate that it shows, for `ca-file`; its name is localhost.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    /// What it kept so far, in order.
    pub fn mails(&self) -> Vec<Mail> {
        let log = self.log();
        let receivers = log.lines().filter_map(|line| line.strip_prefix("kept "));
        let read = |(index, to): (usize, &str)| {
            let path = self.directory.path().join(format!("{:03}.eml", index + 1));
            let text = String::from_utf8_lossy(&std::fs::read(path).expect("it is kept")).into_owned();
            Mail { to: to.to_owned(), text }
        };
        receivers.enumerate().map(read).collect()
    }

    /// What it was told, one command or event a line.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// A python that knows aiosmtpd: the system's, where Debian's python3-aiosmtpd goes, or the first in PATH.
fn python() -> &'static str {
    ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(|python| {
            Command::new(python)
                .args(["-c", "import aiosmtpd"])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
        .expect("aiosmtpd is needed: apt-get install python3-aiosmtpd")
}

fn make_certificate(directory: &Path) {
    let path = |name: &str| directory.join(name).display().to_string();
    child::output(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            &path("key.pem"),
            "-out",
            &path("cert.pem"),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_printable_is_decoded() {
        let text = "Subject: x=3D\r\nContent-Type: text/plain\r\n\r\nlimit >=3D 8 =\r\n%, 5 =E2=82=AC\r\n"
            .to_owned();
        assert_eq!(Mail { to: String::new(), text }.body(), "limit >= 8 %, 5 €\r\n");
    }
}
