//! What a worker finds on its way, for people: `-v` tells it as it comes, `check-host` in a table.

use std::fmt;
use std::net::SocketAddr;

use model::text::escape;
use serde::{Deserialize, Serialize};

use crate::report::counted;

/// One thing that a worker found. Its texts come from where a client's bytes are read: [`fmt::Display`] escapes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Found {
    /// The addresses of the client's name.
    Addresses(Vec<SocketAddr>),
    /// The one that took the connection.
    Connected(SocketAddr),
    /// A connection came through the bastion, or through the command.
    Proxied,
    /// The server's host key, and where it is known from.
    HostKey {
        /// As OpenSSH shows it: `ssh-ed25519 SHA256:...`.
        shown: String,
        /// `file:line`
        source: String,
    },
    /// What the server let us in with.
    Login {
        /// `key FILE`, `agent's key COMMENT`, `password`.
        by: String,
    },
    /// The probe was sent to this directory.
    Sent {
        /// As config.xml writes it.
        directory: String,
    },
    /// The probe answered.
    Probe {
        /// Its version.
        version: String,
        /// Where it lies, absolute; empty where it does not say.
        directory: String,
        /// Records in its spool.
        spooled: u64,
    },
    /// Everything that is spooled came, and no record of it is sealed to an older key pair than this.
    Whole {
        /// The key pair.
        oldest_key: u32,
    },
    /// The spool there is removed.
    Gone,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
                write!(f, "resolves to {}", addresses.join(", "))
            }
            Self::Connected(address) => write!(f, "connected to {address}"),
            Self::Proxied => f.write_str("connected through the proxy"),
            Self::HostKey { shown, source } => {
                write!(f, "host key {}, known from {}", escape(shown), escape(source))
            }
            Self::Login { by } => write!(f, "logged in by {}", escape(by)),
            Self::Sent { directory } => write!(f, "the probe was sent to {}", escape(directory)),
            Self::Probe { version, directory, spooled } => {
                let place =
                    if directory.is_empty() { String::new() } else { format!(" in {}", escape(directory)) };
                write!(f, "probe {}{place}, {} in its spool", escape(version), counted(*spooled, "record"))
            }
            Self::Whole { oldest_key } => {
                write!(f, "all of them fetched, sealed to key pair {oldest_key} or newer")
            }
            Self::Gone => f.write_str("the spool there is removed"),
        }
    }
}
