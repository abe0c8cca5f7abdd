//! How an attempt to collect from a client ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The most characters of an outcome's text, which may list several keys or directories.
const MAX_TEXT: usize = 1000;

/// The stage of a collection that was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Starting the worker and reading the credential.
    Start,
    /// Resolving the address.
    Dns,
    /// Opening the TCP connection.
    Connect,
    /// Key exchange and host key.
    Handshake,
    /// Proving who we are.
    Auth,
    /// Running the probe and fetching its records.
    Exec,
    /// Sending the probe to a client that does not have it.
    Upload,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Auth => "auth",
            Self::Exec => "exec",
            Self::Upload => "upload",
        })
    }
}

/// What speaks against the host key that a server offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objection {
    /// Another one stands in a known_hosts file.
    #[default]
    Line,
    /// config.xml names another one (`host-key`).
    Pin,
    /// A line revokes it (`@revoked`).
    Revocation,
}

/// How one attempt on one client ended. The texts in it are escaped and bounded where they are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// All records of the spool (or as many as one run takes) were fetched.
    Collected,
    /// The name has no address.
    Dns {
        /// What the resolver said.
        detail: String,
    },
    /// Nothing listens at the address, or a firewall says no.
    Refused {
        /// What the system said.
        detail: String,
    },
    /// A phase used up its time.
    Timeout {
        /// The phase.
        phase: Phase,
    },
    /// The connection ended before its time.
    Disconnected {
        /// The phase.
        phase: Phase,
        /// What the library said.
        detail: String,
    },
    /// No known_hosts line and no pin tells the server's key.
    HostKeyUnknown {
        /// The offered key as OpenSSH shows it: `ssh-ed25519 SHA256:...`.
        offered: String,
    },
    /// The server's key is not the known one, or is revoked: a security event.
    HostKeyChanged {
        /// The offered key.
        offered: String,
        /// Where the expected key is written down, or that the offered one is revoked.
        expected: String,
        /// Which of these it is.
        #[serde(default)]
        by: Objection,
    },
    /// The server accepts no credential that config.xml gives.
    AuthRefused {
        /// What was tried, and what the server would take.
        detail: String,
    },
    /// A password file, key file, passphrase or agent could not be used; nothing was sent to the client.
    Credential {
        /// What is wrong with it.
        detail: String,
    },
    /// Client and server share no algorithm.
    NoCommonAlgorithm {
        /// What each side offers.
        detail: String,
    },
    /// The login shell printed more before the probe's first frame than can be skipped.
    ShellNoise {
        /// How it began.
        detail: String,
    },
    /// The login runs no command.
    NoShell {
        /// What it said instead.
        detail: String,
    },
    /// No directory of `remote-dir` can hold and run the probe.
    NoExec {
        /// What the client said.
        detail: String,
    },
    /// The login is to be answered by a probe that is installed there, and none answers that this collector understands.
    NotInstalled {
        /// What answered instead.
        detail: String,
    },
    /// There is no probe for the client's platform.
    WrongPlatform {
        /// What `uname -sm` said.
        uname: String,
    },
    /// The client's disk has no room for the probe or its spool.
    NoSpace {
        /// What the client said.
        detail: String,
    },
    /// The probe said that it failed, or ended without its end marker.
    ProbeFailed {
        /// What it said.
        detail: String,
    },
    /// The client sent more than is accepted.
    TooLarge {
        /// What was too large.
        detail: String,
    },
    /// The client sent what is not of the protocol.
    Malformed {
        /// What was wrong.
        detail: String,
    },
    /// Records came that this collector has no key for; they stay at the client.
    Undecryptable {
        /// The key id.
        detail: String,
    },
    /// Everything was fetched; some records would not open or decode and were set aside.
    Quarantined {
        /// How many.
        count: u32,
        /// The first fault.
        detail: String,
    },
    /// The run ended before the client's turn.
    NotReached,
    /// A new host key was to be accepted (`accept-new`) and could not be written down, so that it was not.
    HostKeyNotKept {
        /// The file, and what the system said.
        detail: String,
    },
    /// What is known of host keys cannot be read whole; no login was tried.
    KnownHosts {
        /// The file or the line.
        detail: String,
    },
    /// A bastion opens no connection for this login.
    ForwardingRefused {
        /// To where it was asked for, and what it said.
        detail: String,
    },
    /// The `proxy-command` gave no connection.
    ProxyCommand {
        /// How it ended, and what it said on its standard error.
        detail: String,
    },
    /// It ended on the way, at a server that is not the client.
    Hop {
        /// The server's name, as config.xml or the way there has it.
        hop: String,
        /// How it ended there.
        ended: Box<Outcome>,
    },
    /// The worker died of something else.
    WorkerFailed {
        /// Its exit status or signal.
        detail: String,
    },
}

impl Outcome {
    /// The outcome's name, in the field's kebab-case as `--json` gives it; at a hop, that of what happened there.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Collected => "collected",
            Self::Dns { .. } => "dns",
            Self::Refused { .. } => "refused",
            Self::Timeout { .. } => "timeout",
            Self::Disconnected { .. } => "disconnected",
            Self::HostKeyUnknown { .. } => "host-key-unknown",
            Self::HostKeyChanged { .. } => "host-key-changed",
            Self::AuthRefused { .. } => "auth-refused",
            Self::Credential { .. } => "credential",
            Self::NoCommonAlgorithm { .. } => "no-common-algorithm",
            Self::ShellNoise { .. } => "shell-noise",
            Self::NoShell { .. } => "no-shell",
            Self::NoExec { .. } => "no-exec",
            Self::NotInstalled { .. } => "not-installed",
            Self::WrongPlatform { .. } => "wrong-platform",
            Self::NoSpace { .. } => "no-space",
            Self::ProbeFailed { .. } => "probe-failed",
            Self::TooLarge { .. } => "too-large",
            Self::Malformed { .. } => "malformed",
            Self::Undecryptable { .. } => "undecryptable",
            Self::Quarantined { .. } => "quarantined",
            Self::NotReached => "not-reached",
            Self::HostKeyNotKept { .. } => "host-key-not-kept",
            Self::KnownHosts { .. } => "known-hosts",
            Self::ForwardingRefused { .. } => "forwarding-refused",
            Self::ProxyCommand { .. } => "proxy-command",
            Self::Hop { ended, .. } => ended.name(),
            Self::WorkerFailed { .. } => "worker-failed",
        }
    }

    /// What happened, wherever on the way it did.
    pub fn innermost(&self) -> &Self {
        match self {
            Self::Hop { ended, .. } => ended.innermost(),
            outcome => outcome,
        }
    }

    /// Whether the client was talked to and its records were fetched.
    pub fn is_collected(&self) -> bool {
        matches!(self, Self::Collected | Self::Quarantined { .. })
    }

    /// Whether this counts for the alert `unreachable`: every failure but [`Self::NotReached`], which says
    /// nothing of the client, and [`Self::HostKeyChanged`], which has an alert of its own.
    pub fn is_unreachable(&self) -> bool {
        !self.is_collected() && !matches!(self, Self::NotReached) && !self.is_host_key_changed()
    }

    /// Whether the client, or a server on the way to it, showed another host key than the known one: a security event.
    pub fn is_host_key_changed(&self) -> bool {
        matches!(self.innermost(), Self::HostKeyChanged { .. })
    }

    /// Whether another try within the same run may help: failures that pass by themselves, never authentication.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Disconnected { phase: Phase::Connect | Phase::Handshake, .. })
    }

    /// The same with its text escaped and cut: for one that comes from where a client's bytes are read.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let texts: [Option<&mut String>; 2] = match &mut self {
            Self::Hop { hop, ended } => {
                **ended = std::mem::replace(&mut **ended, Self::NotReached).bounded();
                [Some(hop), None]
            }
            Self::Collected | Self::Timeout { .. } | Self::NotReached => [None, None],
            Self::HostKeyChanged { offered, expected, .. } => [Some(offered), Some(expected)],
            Self::HostKeyUnknown { offered: text }
            | Self::WrongPlatform { uname: text }
            | Self::Dns { detail: text }
            | Self::Refused { detail: text }
            | Self::Disconnected { detail: text, .. }
            | Self::AuthRefused { detail: text }
            | Self::Credential { detail: text }
            | Self::NoCommonAlgorithm { detail: text }
            | Self::ShellNoise { detail: text }
            | Self::NoShell { detail: text }
            | Self::NoExec { detail: text }
            | Self::NotInstalled { detail: text }
            | Self::NoSpace { detail: text }
            | Self::ProbeFailed { detail: text }
            | Self::TooLarge { detail: text }
            | Self::Malformed { detail: text }
            | Self::Undecryptable { detail: text }
            | Self::Quarantined { detail: text, .. }
            | Self::HostKeyNotKept { detail: text }
            | Self::KnownHosts { detail: text }
            | Self::ForwardingRefused { detail: text }
            | Self::ProxyCommand { detail: text }
            | Self::WorkerFailed { detail: text } => [Some(text), None],
        };
        for text in texts.into_iter().flatten() {
            *text = crate::text::escape_to(text, MAX_TEXT);
        }
        self
    }

    /// What went wrong, for people. Empty for [`Self::Collected`].
    pub fn message(&self) -> String {
        match self {
            Self::Collected => String::new(),
            Self::Dns { detail } => format!("the address does not resolve: {detail}"),
            Self::Refused { detail } => format!("the connection was refused: {detail}"),
            Self::Timeout { phase } => format!("no answer in time ({phase})"),
            Self::Disconnected { phase, detail } => format!("the connection broke ({phase}): {detail}"),
            Self::HostKeyUnknown { offered } => format!("the host key is not known: {offered}"),
            Self::HostKeyChanged { offered, expected, .. } => {
                format!("THE HOST KEY HAS CHANGED: offered {offered}, expected {expected}")
            }
            Self::AuthRefused { detail } => format!("the login was refused: {detail}"),
            Self::Credential { detail } => format!("the credential cannot be used: {detail}"),
            Self::NoCommonAlgorithm { detail } => format!("no common algorithm: {detail}"),
            Self::ShellNoise { detail } => format!("the login shell prints too much: {detail}"),
            Self::NoShell { detail } => format!("the login runs no command: {detail}"),
            Self::NoExec { detail } => format!("the probe cannot run there: {detail}"),
            Self::NotInstalled { detail } => format!("the installed probe does not serve: {detail}"),
            Self::WrongPlatform { uname } => format!("there is no probe for {uname}"),
            Self::NoSpace { detail } => format!("no space on the client: {detail}"),
            Self::ProbeFailed { detail } => format!("the probe failed: {detail}"),
            Self::TooLarge { detail } => format!("the client sent too much: {detail}"),
            Self::Malformed { detail } => format!("the client sent what is not of the protocol: {detail}"),
            Self::Undecryptable { detail } => {
                format!("records are sealed to a key that is not here: {detail}")
            }
            Self::Quarantined { count, detail } => format!("{count} records were set aside: {detail}"),
            Self::NotReached => "the run ended before this client's turn".to_owned(),
            Self::HostKeyNotKept { detail } => format!("the new host key cannot be written down: {detail}"),
            Self::KnownHosts { detail } => format!("what is known of host keys cannot be read: {detail}"),
            Self::ForwardingRefused { detail } => format!("it opens no connection: {detail}"),
            Self::ProxyCommand { detail } => format!("the proxy-command gave no connection: {detail}"),
            Self::Hop { hop, ended } => format!("on the way, at {hop}: {}", ended.message()),
            Self::WorkerFailed { detail } => format!("the worker process failed: {detail}"),
        }
    }

    /// What to do about it, for people. Empty where nothing is to be done.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Collected => "",
            Self::Dns { .. } => "check the client's ip in config.xml and the name server",
            Self::Refused { .. } => "check that sshd runs there and listens on that port",
            Self::Timeout { phase: Phase::Start } => {
                "see what the client's password-command or passphrase-command waits for"
            }
            Self::Timeout { phase: Phase::Dns } => "check the name server",
            Self::Timeout { phase: Phase::Connect } => {
                "check that the machine is up and the port is not filtered"
            }
            Self::Timeout { phase: Phase::Upload } => {
                "check the network's speed, or raise the client's timeout"
            }
            Self::Timeout { .. } => "log in by hand and see what is slow, or raise the client's timeout",
            Self::Disconnected { .. } => {
                "look at sshd's log on the client (MaxStartups, penalties, a firewall)"
            }
            Self::HostKeyUnknown { .. } => {
                "compare the fingerprint with the machine's own, then run: fleet-collector trust NAME"
            }
            Self::HostKeyChanged { by: Objection::Line, .. } => {
                "if the machine was not reinstalled, someone may be in between; else remove the old line \
                 from known_hosts and run: fleet-collector trust NAME"
            }
            Self::HostKeyChanged { by: Objection::Pin, .. } => {
                "if the machine was not reinstalled, someone may be in between; else compare the fingerprint with the \
                 machine's own and write it into host-key in config.xml"
            }
            Self::HostKeyChanged { by: Objection::Revocation, .. } => {
                "whoever holds that key can pose as the machine: leave the revocation, give the machine a new host key \
                 (ssh-keygen -A makes one where the old file is gone), and run: fleet-collector trust NAME"
            }
            Self::AuthRefused { .. } => {
                "check username, password or key in config.xml, and authorized_keys there"
            }
            Self::Credential { .. } => {
                "mend the file, command or agent that config.xml names for this client"
            }
            Self::NoCommonAlgorithm { .. } => {
                "update the server's OpenSSH, or allow a modern algorithm there"
            }
            Self::ShellNoise { .. } => {
                "let the user's shell start files print nothing for non-interactive logins"
            }
            Self::NoShell { .. } => {
                "give that user a shell that runs commands (not false, nologin or a restricted one), or use mode=\"installed\""
            }
            Self::NoExec { .. } => "set remote-dir to a directory of that user's that is not mounted noexec",
            Self::NotInstalled { .. } => {
                "install this version's probe there, and its line of authorized_keys: fleet-collector recipe NAME"
            }
            Self::WrongPlatform { uname } if uname.starts_with("Linux ") => {
                "build the probe for it (README.md, \"Other architectures\"), or disable the client"
            }
            Self::WrongPlatform { .. } => "only Linux can be collected by this version: disable the client",
            Self::NoSpace { .. } => "free space there, or set remote-dir to another file system",
            Self::ProbeFailed { .. } => "run the probe there by hand with --print and see what it says",
            Self::TooLarge { .. } | Self::Malformed { .. } => {
                "the client or its probe is broken or hostile: remove its fleet-health directory, else take it out"
            }
            Self::Undecryptable { .. } => {
                "restore the database or master key that these records were sealed for, else: fleet-collector discard NAME"
            }
            Self::Quarantined { .. } => "look at the quarantine: fleet-alerter status",
            Self::NotReached => "give the run more time (collector-every) or more concurrency",
            Self::HostKeyNotKept { .. } => {
                "let the user who runs the collector write there (owner, read-only or full disk): until then the key is \
                 refused"
            }
            Self::KnownHosts { .. } => {
                "mend that file or line, let the user who runs the collector read it, or name other files by known-hosts"
            }
            Self::ForwardingRefused { .. } => {
                "allow that login to forward TCP to there: AllowTcpForwarding and PermitOpen in sshd_config, and no \
                 `restrict` or `no-port-forwarding` beside its key in authorized_keys"
            }
            Self::ProxyCommand { .. } => {
                "run the proxy-command by hand, as the user who runs the collector, and see what it says"
            }
            Self::Hop { ended, .. } => ended.remedy(),
            Self::WorkerFailed { .. } => {
                "see the collector's -v output; memory and process limits are the usual cause"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_key_has_the_remedy_of_what_speaks_against_it() {
        let remedy = |by| {
            let text = || "a key".to_owned();
            Outcome::HostKeyChanged { offered: text(), expected: text(), by }.remedy()
        };
        assert!(remedy(Objection::Line).contains("remove the old line from known_hosts"));
        let pin = remedy(Objection::Pin);
        assert!(pin.contains("host-key in config.xml") && !pin.contains("known_hosts"), "{pin}");
        let revoked = remedy(Objection::Revocation);
        assert!(revoked.contains("leave the revocation") && revoked.contains("new host key"), "{revoked}");
        assert!(!revoked.contains("remove"), "{revoked}");
    }

    #[test]
    fn what_was_stored_before_is_read() {
        let stored = [("outcome", "host-key-changed"), ("offered", "a"), ("expected", "b")];
        let map: std::collections::BTreeMap<_, _> = stored.into();
        let read: Outcome = crate::wire::from_cbor(&crate::wire::to_cbor(&map)).unwrap();
        let (offered, expected) = ("a".to_owned(), "b".to_owned());
        assert_eq!(read, Outcome::HostKeyChanged { offered, expected, by: Objection::Line });
    }
}
