//! What config.xml means, resolved: inner types that cannot be wrong.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::NaiveDateTime;
use chrono_tz::Tz;
pub use model::StorageUrl;
use model::{ClientName, Rule, Severity};
use zeroize::Zeroizing;

/// A text that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps `text`; it is wiped when dropped.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for whoever has to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a secret comes from. Resolved only by the program that needs it (see `secret.rs`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// It stands in config.xml.
    Inline(Secret),
    /// The first line of a file.
    File(PathBuf),
    /// The first line that a command prints; run by `/bin/sh -c`.
    Command(String),
}

/// Everything config.xml says.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The file.
    pub file: PathBuf,
    /// The files that it includes, in the order in which they were read.
    pub included: Vec<PathBuf>,
    /// Where things are stored.
    pub storage: Storage,
    /// `collector-every`, where it is said.
    pub collector_every: Option<Duration>,
    /// `alerter-every`, where it is said.
    pub alerter_every: Option<Duration>,
    /// `<heartbeat>`.
    pub heartbeat: Heartbeat,
    /// Every `<receiver>`.
    pub receivers: Vec<Receiver>,
    /// Every `<window>`.
    pub windows: Vec<Window>,
    /// How mail goes out; `None`: the local sendmail if there is one.
    pub mail: Option<Mail>,
    /// `concurrency` of the defaults.
    pub concurrency: usize,
    /// The clients that are enabled, in the order of the file.
    pub clients: Vec<Client>,
    /// The rules about the fleet as a whole, which nobody writes: `isolated` and `collector-stale`. The value of the latter
    /// is the seconds for which the collector has been overdue.
    pub fleet_rules: Vec<Rule>,
}

/// `<storage>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// Where things are stored.
    pub url: StorageUrl,
    /// With what it is logged in to, where that is said.
    pub password: Option<SecretSource>,
    /// How long after the last sign of life of a run others take it for dead, where several hosts share the storage.
    pub lease: Duration,
    /// This host's own directory: locks, the master key, the product's own known_hosts. A file that is the storage lies there
    /// too.
    pub state_dir: PathBuf,
    /// `keep-raw`, where it is said: how long reports are kept as they came. A file is not pruned by this version.
    pub keep_raw: Option<Duration>,
    /// `keep-history`, where it is said: how long their history is kept. Nothing is pruned of it by this version.
    pub keep_history: Option<Duration>,
}

/// `<mail>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The way out.
    pub transport: Transport,
    /// The sender's address.
    pub from: String,
    /// Who hears of the product's own trouble, and of clients that name no receiver.
    pub admin: Vec<String>,
    /// What holds for receivers that do not say otherwise.
    pub mailing: Mailing,
}

/// `repeat="never"`: no reminders. In milliseconds it is [`i64::MAX`], as in [`Rule::repeat_ms`].
pub const NEVER: Duration = Duration::from_millis(i64::MAX as u64);

/// How much mail somebody wants; `None` where it is not said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mailing {
    /// After how long a reminder of what still fires comes; [`NEVER`]: not at all.
    pub repeat: Option<Duration>,
    /// How many mails an hour may bring.
    pub max_per_hour: Option<usize>,
    /// Whether mails are plain text only.
    pub text_only: Option<bool>,
}

/// `<receiver>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// The address.
    pub mail: String,
    /// The time zone of the times in its mails.
    pub time_zone: Option<Tz>,
    /// What is less severe is not told.
    pub min_severity: Option<Severity>,
    /// How much mail it wants.
    pub mailing: Mailing,
    /// Where it is written: `config.xml:12`.
    pub source: String,
}

/// `<window>`: a time that is in all of what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its name.
    pub name: String,
    /// The time of each day; `None`: all of it.
    pub daily: Option<Daily>,
    /// The days of the week on which it begins, 1 (Monday) to 7; none: every day.
    pub days: BTreeSet<u8>,
    /// When it begins for the first time, by the clock of `time_zone`.
    pub from: Option<NaiveDateTime>,
    /// When it is over for good, by the same clock.
    pub until: Option<NaiveDateTime>,
    /// Whose clock it goes by; `None`: this host's.
    pub time_zone: Option<Tz>,
    /// Where it is written: `config.xml:12`.
    pub source: String,
}

/// A time of each day, in minutes since midnight. Where `until` is less than `from`, it ends on the day after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Daily {
    /// Its first minute, 0 to 1439.
    pub from: u16,
    /// The minute that it ends before, 0 to 1440.
    pub until: u16,
}

/// `<heartbeat>`: what to GET after a good run. The URLs are secrets: whoever knows one can pretend that all is well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// After a good run of the collector.
    pub collector_url: Option<Secret>,
    /// After a good run of the alerter.
    pub alerter_url: Option<Secret>,
}

/// How mail goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// A mail server.
    Smtp(Smtp),
    /// The program of that path (`/usr/sbin/sendmail`).
    Sendmail(PathBuf),
    /// Files `*.eml` in that directory.
    Directory(PathBuf),
}

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smtp {
    /// Its name or address.
    pub host: String,
    /// Its port; by default 587 for STARTTLS, 465 for TLS, 25 without.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Tls,
    /// Who logs in, and with what.
    pub login: Option<(String, SecretSource)>,
    /// Certificates (PEM) to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// How a connection to a mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// STARTTLS, required (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// None: to loopback addresses only.
    None,
}

/// `<client>`, with everything that it inherits.
#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    /// Its name.
    pub name: ClientName,
    /// Where it is written: `config.xml:12`.
    pub source: String,
    /// How to reach it.
    pub connection: Connection,
    /// Directories on the client for probe and spool, tried in order; relative ones start at the login's home.
    pub remote_dirs: Vec<String>,
    /// The deadline of one collection.
    pub timeout: Duration,
    /// Its groups, for `--only @group`.
    pub groups: BTreeSet<String>,
    /// How the probe gets there.
    pub mode: Mode,
    /// The client through which it is reached: while that one is unreachable, this one is expected to be.
    pub parent: Option<ClientName>,
    /// Names of processes (`comm`, or the last part of the first argument) whose number is asked for: its own, and those
    /// that its alerts on `process` match by name.
    pub processes: Vec<String>,
    /// Its rules, resolved, receivers included. The implicit rules `unreachable`,
    /// `host-key-changed` and `stale` are among them.
    pub rules: Vec<Rule>,
}

/// How to reach a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Nothing is said of it: only [`crate::load_to_alert`] gives that.
    Unsaid,
    /// This machine, without SSH.
    Local,
    /// SSH.
    Ssh(Box<Ssh>),
}

/// How to log in by SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// Name, IPv4 or IPv6 (without brackets).
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// Login name; the running user's where none is given.
    pub username: String,
    /// `password*`, where given: tried after the keys.
    pub password: Option<SecretSource>,
    /// `identity-file`s, tried in order.
    pub identity_files: Vec<PathBuf>,
    /// `passphrase-*` of the identity files.
    pub passphrase: Option<SecretSource>,
    /// `identity-agent`: the agent's socket. Where neither password nor key is given, `SSH_AUTH_SOCK`, then the
    /// user's default keys (`~/.ssh/id_ed25519`, `id_ecdsa`, `id_rsa`) serve.
    pub identity_agent: Option<PathBuf>,
    /// `host-key`: what the server must show. Pins as OpenSSH writes them: `ssh-ed25519 AAAA...` or `SHA256:...`.
    pub host_keys: Vec<HostKeyPin>,
    /// `known-hosts`: read instead of the user's and the system's, beside the product's own.
    pub known_hosts: Vec<PathBuf>,
    /// `host-key-policy`
    pub host_key_policy: HostKeyPolicy,
    /// `proxy-jump` or `proxy-command`: the way there, where it is not a direct one.
    pub proxy: Option<Proxy>,
}

impl Ssh {
    /// `user@host:port` for people, an IPv6 address in brackets.
    pub fn place(&self) -> String {
        let host =
            if self.address.contains(':') { format!("[{}]", self.address) } else { self.address.clone() };
        format!("{}@{host}:{}", model::text::escape_to(&self.username, 40), self.port)
    }
}

/// What becomes of a host key that nobody knows yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostKeyPolicy {
    /// The connection ends before any login.
    #[default]
    Strict,
    /// It is logged, written to the product's own known_hosts, and holds from then on. Never beside a password.
    AcceptNew,
}

/// How the probe gets to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It is uploaded where it is missing; the login is a shell.
    #[default]
    Ship,
    /// It was installed there by other means, and the key is limited to it by `restrict,command="..."`.
    Installed,
}

/// The way to a server that is not reached directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxy {
    /// Through these, the one that is dialled first; each by TCP forwarding of the one before (ssh -J).
    Jump(Vec<Hop>),
    /// Through the stdin and stdout of this command, run by `/bin/sh -c`; `%h`, `%p` and `%r` (host, port, login) are
    /// filled in already, each quoted for the shell.
    Command(String),
}

/// A bastion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// As it is shown: the client's name, or `user@host:port`.
    pub name: String,
    /// Where it is written: `config.xml:12`.
    pub source: String,
    /// How to log in there. Only the first hop may have a `proxy` of its own, and that a [`Proxy::Command`].
    pub ssh: Ssh,
}

/// A pinned host key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyPin {
    /// The key itself: algorithm name and decoded blob.
    Key(String, Vec<u8>),
    /// SHA-256 of its blob.
    Fingerprint([u8; 32]),
}
