//! Real parts for tests of the three programs together: sshd, ssh-agent, an SMTP server, PostgreSQL, load, and the
//! programs as they were built.
//!
//! What a fixture starts, it ends: when it is dropped, also by a panic, and also when the test's own process is killed
//! (each child waits on a pipe that only the test holds open).
#![allow(
    clippy::missing_panics_doc,
    reason = "a fixture that cannot do its work fails the test that asked for it"
)]
#![allow(
    clippy::return_self_not_must_use,
    reason = "what expects something returns it for whoever wants more"
)]

use std::io::Write as _;

pub mod account;
pub mod agent;
pub mod child;
pub mod host;
pub mod load;
pub mod machines;
pub mod mount;
pub mod network;
pub mod nevers;
pub mod pooler;
pub mod probes;
pub mod programs;
pub mod silent;
pub mod site;
pub mod smtp;
pub mod sshd;
pub mod terminal;

pub use storage::conformance::{relay, server};

/// Tells a person something of a test that passes: past the harness, which shows nothing of those.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether this test runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The name of the user who runs this test.
pub fn user() -> String {
    child::output("id", &["-un"]).trim().to_owned()
}
