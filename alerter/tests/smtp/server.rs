//! Starts and stops the scripted mail server.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Debian's interpreter: its packages are not seen by others.
const PYTHON: &str = "/usr/bin/python3";
const MISSING: &str = "run: apt-get install python3-aiosmtpd openssl";

/// A mail server that runs until it is dropped.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    process: Child,
    directory: TempDir,
}

impl MailServer {
    /// Starts one that does what `script` says; see server.py.
    pub(crate) fn start(mut script: Value, certificate: Option<&Certificate>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        script["directory"] = directory.path().to_str().into();
        if let Some(certificate) = certificate {
            script["certificate"] = certificate.file("server.pem").to_str().into();
            script["key"] = certificate.file("server.key").to_str().into();
        }
        let file = directory.path().join("script.json");
        fs::write(&file, script.to_string()).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp/server.py");
        let mut command = Command::new(PYTHON);
        command
            .args(["-W", "ignore"])
            .arg(program)
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{PYTHON}: {error}; {MISSING}"));
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().parse().unwrap_or_else(|_| panic!("the mail server did not start; {MISSING}"));
        Self { port, process, directory }
    }

    /// The messages that arrived, byte for byte, in order.
    pub(crate) fn mails(&self) -> Vec<Vec<u8>> {
        let entries = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "eml")).collect();
        files.sort();
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    /// A message as Python's mail library reads it: its headers, `body` (the text part), `defects` and the `names` of all headers.
    pub(crate) fn parsed(&self, index: usize) -> Value {
        const READ: &str = "import sys, json, email, email.policy
mail = email.message_from_bytes(open(sys.argv[1], 'rb').read(), policy=email.policy.default)
fields = {name: str(value) for name, value in mail.items()}
fields |= {'body': mail.get_body(('plain',)).get_content(), 'names': mail.keys()}
fields['defects'] = sum(len(part.defects) + sum(len(value.defects) for value in part.values()) for part in mail.walk())
print(json.dumps(fields))";
        let file = self.directory.path().join(format!("{:03}.eml", index + 1));
        let output = Command::new(PYTHON).arg("-c").arg(READ).arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// One line per command that the server saw.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An authority, and a certificate of localhost that it signed.
pub(crate) struct Certificate(TempDir);

impl Certificate {
    pub(crate) fn make() -> Self {
        let certificate = Self(tempfile::tempdir().unwrap());
        let key = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-noenc",
            "-days",
            "2",
        ];
        let authority = ["-subj", "/CN=Test authority", "-keyout", "ca.key", "-out", "ca.pem"];
        let server =
            ["-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.pem", "-CA", "ca.pem"];
        let rest = [
            "-CAkey",
            "ca.key",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=CA:FALSE",
        ];
        certificate.openssl(&[&key[..], &authority].concat());
        certificate.openssl(&[&key[..], &server, &rest].concat());
        certificate
    }

    /// The authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.file("ca.pem")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(self.0.path()).output();
        let output = output.unwrap_or_else(|error| panic!("openssl: {error}; {MISSING}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
