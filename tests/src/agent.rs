//! A real ssh-agent.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::child::{self, Guarded};

/// An agent with keys of its own.
#[derive(Debug)]
pub struct Agent {
    socket: PathBuf,
    _process: Guarded,
}

impl Agent {
    /// Starts one with its socket in `directory`.
    pub fn start(directory: &Path) -> Self {
        let socket = directory.join("agent.sock");
        let arguments = ["-D".into(), "-a".into(), socket.clone().into_os_string()];
        let process = Guarded::start(Path::new("/usr/bin/ssh-agent"), &arguments);
        child::until("ssh-agent listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
        Self { socket, _process: process }
    }

    /// Its socket, for `identity-agent`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Adds a private key that has no passphrase.
    pub fn add(&self, key: &Path) {
        let added = Command::new("ssh-add")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("ssh-add runs");
        assert!(added.success(), "ssh-add refused {}", key.display());
    }
}
