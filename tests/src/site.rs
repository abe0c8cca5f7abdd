//! A management host in a temporary directory: config.xml, state, home and mails, and the programs that run there.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::programs;
use crate::sshd::Sshd;

/// Seconds after which a run of a program counts as hung.
const HUNG: &str = "300";

/// One management host.
#[derive(Debug)]
pub struct Site(tempfile::TempDir);

/// How one run of a program ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its exit status; `None` where a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Run {
    /// Fails the test unless the exit status is `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Of a program that has ended.
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// What `fleet-collector --json` says.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Clients that were collected.
    pub collected: u64,
    /// Clients that were not.
    pub failed: u64,
    /// By name: what became of each.
    pub clients: BTreeMap<String, Collected>,
    /// The run itself.
    pub run: Run,
}

/// What became of one client.
#[derive(Debug, Clone)]
pub struct Collected {
    /// The outcome's name.
    pub outcome: String,
    /// Whether the probe was sent.
    pub uploaded: bool,
    /// For people.
    pub message: String,
    /// When it was over, in seconds from the begin of the run.
    pub ended: f64,
}

impl Collection {
    /// The only client's result.
    #[track_caller]
    pub fn only(&self) -> &Collected {
        assert_eq!(self.clients.len(), 1, "{self:#?}");
        self.clients.values().next().expect("there is one")
    }

    /// Fails the test unless each client was collected.
    #[track_caller]
    pub fn expect_all(self) -> Self {
        assert_eq!(self.failed, 0, "{:#?}\n{}", self.clients, self.run.stderr);
        assert_eq!(self.run.code, Some(0), "{}", self.run.stderr);
        assert!(self.clients.values().all(|client| client.outcome == "collected"), "{:#?}", self.clients);
        self
    }
}

impl Site {
    /// An empty one.
    pub fn new() -> Self {
        let site = Self(tempfile::tempdir().expect("a temporary directory"));
        std::fs::create_dir(site.path("home")).expect("a directory of ours");
        site
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same as text, for attributes.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes config.xml, mode 0600: `<config>`, the storage, and what `elements` says.
    pub fn configure(&self, elements: &str) {
        let storage = self.text("state/fleet.db");
        self.write_config(
            &format!("<config>\n<storage url=\"sqlite://{storage}\"/>\n{elements}\n</config>\n"),
            0o600,
        );
    }

    /// The same with a storage that is shared: `<storage>` with these attributes, and the state directory `state`.
    pub fn configure_shared(&self, storage: &str, elements: &str) {
        let state = self.text("state");
        self.write_config(
            &format!("<config>\n<storage {storage} state-dir=\"{state}\"/>\n{elements}\n</config>\n"),
            0o600,
        );
    }

    /// Writes config.xml as it is given, with that mode.
    pub fn write_config(&self, text: &str, mode: u32) {
        let path = self.path("config.xml");
        std::fs::write(&path, text).expect("a file of ours");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a file of ours");
    }

    /// A `<client>` that is reached through `sshd` with its login key. Host keys are looked up in `known_hosts` of the
    /// site; the client's directory lies in the site too, so that many clients may share one login.
    pub fn client(&self, sshd: &Sshd, name: &str, attributes: &str, elements: &str) -> String {
        let identity = sshd.login_key();
        let login = if attributes.contains("identity-") {
            String::new()
        } else {
            format!("identity-file=\"{}\"", identity.display())
        };
        format!(
            "<client name=\"{name}\" ip=\"{}\" port=\"{}\" username=\"{}\" {login} known-hosts=\"{}\" \
             remote-dir=\"{}\" mail=\"ops@example.org\" {attributes}>{elements}</client>\n",
            sshd.address(),
            sshd.port(),
            crate::user(),
            self.text("known_hosts"),
            self.remote_dir(name).display(),
        )
    }

    /// Where [`Self::client`] puts that client's probe and spool.
    pub fn remote_dir(&self, name: &str) -> PathBuf {
        self.path(&format!("clients-{name}"))
    }

    /// Writes the server's host keys into the site's known_hosts.
    pub fn know(&self, sshd: &Sshd) {
        let lines =
            ["ed25519", "ecdsa", "rsa"].map(|kind| format!("{} {}\n", sshd.known_as(), sshd.host_key(kind)));
        self.write_known_hosts(&lines.concat());
    }

    /// Replaces the site's known_hosts.
    pub fn write_known_hosts(&self, lines: &str) {
        std::fs::write(self.path("known_hosts"), lines).expect("a file of ours");
    }

    /// A command of `program` in this site: its config.xml, its home, and nothing else of the test's environment.
    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", HUNG]).arg(program).args(arguments);
        self.prepare(&mut command);
        command
    }

    /// Gives `command` this site's surroundings, and its config.xml as the last arguments.
    pub fn prepare(&self, command: &mut Command) {
        command.arg("--config").arg(self.path("config.xml"));
        self.surround(command);
    }

    /// Gives `command` this site's surroundings.
    pub fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("TZ", "UTC")
            .current_dir(self.0.path())
            .stdin(Stdio::null());
    }

    /// Runs `fleet-collector`.
    pub fn collector(&self, arguments: &[&str]) -> Run {
        Run::of(&self.command(&programs::collector(), arguments).output().expect("timeout runs"))
    }

    /// Runs `fleet-alerter`.
    pub fn alerter(&self, arguments: &[&str]) -> Run {
        Run::of(&self.command(&programs::alerter(), arguments).output().expect("timeout runs"))
    }

    /// Runs `fleet-collector --json` and reads what it says.
    #[track_caller]
    pub fn collect(&self) -> Collection {
        self.collect_with(&[])
    }

    /// The same with more arguments.
    #[track_caller]
    pub fn collect_with(&self, arguments: &[&str]) -> Collection {
        let mut all = vec!["run", "--json"];
        all.extend(arguments);
        read_collection(self.collector(&all))
    }

    /// What `fleet-alerter status --json` says.
    #[track_caller]
    pub fn status(&self) -> Value {
        let run = self.alerter(&["status", "--json"]).expect(0);
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stdout))
    }

    /// How many reports are stored.
    #[track_caller]
    pub fn reports(&self) -> u64 {
        self.status()["counts"]["reports"].as_u64().expect("status counts reports")
    }

    /// The text of the mails in a directory of `<mail transport="directory">`, in order of their file names.
    pub fn mails(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(directory)) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        paths.sort();
        paths.iter().map(|path| std::fs::read_to_string(path).expect("mail is text")).collect()
    }
}

/// The spools in a client's directory, one for each uid; none where there is no such directory.
pub fn spools(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// The newest sequence in a spool, which is how many records its probe made: a record's file is named by it, in 20 digits.
pub fn newest(spool: &Path) -> u64 {
    let entries = std::fs::read_dir(spool).expect("the client's own directory");
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.len() == 20).filter_map(|name| name.parse().ok()).max().unwrap_or(0)
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

#[track_caller]
fn read_collection(run: Run) -> Collection {
    let said: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| {
        panic!("no JSON ({error}); exit {:?}\nstdout: {}\nstderr: {}", run.code, run.stdout, run.stderr)
    });
    let number = |field: &str| said[field].as_u64().unwrap_or_else(|| panic!("no {field} in {said}"));
    let clients = said["clients"].as_array().unwrap_or_else(|| panic!("no clients in {said}"));
    let (collected, failed) = (number("collected"), number("failed"));
    assert!(said["seconds"].is_number(), "no seconds in {said}");
    let clients = clients
        .iter()
        .map(|client| {
            let text = |field: &str| {
                client[field].as_str().unwrap_or_else(|| panic!("no {field} in {client}")).into()
            };
            assert!(client["seconds"].is_number(), "no seconds in {client}");
            let ended = client["ended"].as_f64().unwrap_or_else(|| panic!("no ended in {client}"));
            let uploaded = client["uploaded"].as_bool().unwrap_or_else(|| panic!("no uploaded in {client}"));
            let name: String = text("name");
            (name, Collected { outcome: text("outcome"), uploaded, message: text("message"), ended })
        })
        .collect();
    Collection { collected, failed, clients, run }
}
