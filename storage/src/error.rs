//! Why the storage did not do it.

use std::fmt;

use crate::Program;

/// Why the storage did not do it. Each says what to do.
#[derive(Debug)]
pub enum StoreError {
    /// Another run of the same program holds the lock.
    AlreadyRunning(Program),
    /// A run of the same program goes on at another host.
    Elsewhere(Program, String),
    /// The run was taken for dead, since nothing was heard of it for longer than its lease or another began on a host of the
    /// same name: others have its work.
    Superseded,
    /// The database server cannot be reached, or does not let this program in; what it says.
    Unreachable(String),
    /// The role that this program logs in with may not do that; what the server says.
    Denied(String),
    /// Another process wrote for longer than the busy timeout.
    Busy,
    /// The file is of a newer version of this program.
    NewerSchema {
        /// The file's version.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The file is of an older version of this program, and who asks changes nothing.
    OlderSchema {
        /// The file's version.
        found: u32,
        /// What it is to become.
        known: u32,
    },
    /// The file's contents are damaged.
    Corrupt(String),
    /// No space is left.
    Full,
    /// There is no file yet, and who asks makes none.
    Absent(std::path::PathBuf),
    /// The place is no local disk, or is a place where others may write.
    Unsuitable(String),
    /// Anything else.
    Other(String),
}

impl StoreError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::AlreadyRunning(_) => {
                "nothing: the next run will do it; if runs always overlap, let cron start fewer"
            }
            Self::Busy | Self::Elsewhere(..) => "nothing: the next run will do it",
            Self::Superseded => {
                "nothing: others do its work; if it happens again, see how the server is reached from here and that hosts have \
                 names of their own, or say a longer lease in <storage>"
            }
            Self::Unreachable(_) => {
                "see that the server runs and is reached from here, and what <storage> in config.xml says; nothing was lost \
                 at the clients"
            }
            Self::Denied(_) => {
                "let the owner of its tables run fleet-collector maintain-storage: it makes them, and grants what each program needs"
            }
            Self::NewerSchema { .. } => {
                "run the newer version of Fleet Health, or restore the backup beside the file"
            }
            Self::OlderSchema { .. } => "run fleet-collector first: it brings the file up to date",
            Self::Corrupt(_) => "restore a backup; the file was left as it is",
            Self::Full => {
                "free space on the storage's file system; what was not stored is still at the clients"
            }
            Self::Unsuitable(_) => {
                "name a directory of your own on a local disk in <storage url=\"sqlite:///...\"/>"
            }
            Self::Absent(_) => "run fleet-collector first, or see what <storage> in config.xml says",
            Self::Other(_) => "see the message; nothing was lost at the clients",
        }
    }

    /// The exit status that says it.
    pub fn exit(&self) -> model::Exit {
        match self {
            Self::AlreadyRunning(_) | Self::Elsewhere(..) | Self::Superseded | Self::Busy => {
                model::Exit::Busy
            }
            _ => model::Exit::Storage,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRunning(program) => write!(f, "another {} is running", program.name()),
            Self::Elsewhere(program, host) => {
                write!(f, "{} is running on {}", program.name(), model::text::escape(host))
            }
            Self::Superseded => write!(
                f,
                "this run was taken for dead: nothing was heard of it for longer than its lease, or another began on a host of \
                 the same name"
            ),
            Self::Unreachable(detail) => write!(f, "the storage cannot be used: {detail}"),
            Self::Denied(detail) => write!(f, "the storage refuses it: {detail}"),
            Self::Busy => write!(f, "the storage is busy"),
            Self::NewerSchema { found, known } => {
                write!(f, "the storage has schema version {found}, this program knows {known} at most")
            }
            Self::OlderSchema { found, known } => {
                write!(f, "the storage has schema version {found}, not {known} yet")
            }
            Self::Corrupt(detail) => write!(f, "the storage is damaged: {detail}"),
            Self::Absent(path) => write!(f, "there is no storage yet at {}", path.display()),
            Self::Full => write!(f, "no space is left for the storage"),
            Self::Unsuitable(detail) => write!(f, "the storage cannot live there: {detail}"),
            Self::Other(detail) => write!(f, "the storage failed: {detail}"),
        }
    }
}

impl std::error::Error for StoreError {}
