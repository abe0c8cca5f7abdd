//! This machine as a client: the same commands, by its own shell.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use model::{Outcome, Phase};

use super::transport::{Hear, Transport};

/// Runs commands here.
#[derive(Default)]
pub(super) struct Local {
    left: Option<Child>,
}

impl Transport for Local {
    fn exec(&mut self, command: &str, input: &[u8], hear: &mut Hear<'_>) -> Result<(), Outcome> {
        let broken =
            |error: std::io::Error| Outcome::Disconnected { phase: Phase::Exec, detail: error.to_string() };
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // As sshd does: where the home is not there, the root serves.
        let home = std::env::home_dir().filter(|home| home.is_dir());
        shell.current_dir(home.unwrap_or_else(|| "/".into()));
        let mut child = shell.spawn().map_err(broken)?;
        if let Some(mut to) = child.stdin.take() {
            // It need not read it.
            let _ = to.write_all(input);
        }
        let mut output = child.stdout.take().expect("its stdout is a pipe");
        let mut piece = [0; 16 * 1024];
        loop {
            let count = output.read(&mut piece).map_err(broken)?;
            if count == 0 {
                child.wait().map_err(broken)?;
                return Ok(());
            }
            if hear(&piece[..count])? {
                self.left = Some(child);
                return Ok(());
            }
        }
    }

    fn finish(self: Box<Self>) {
        if let Some(mut child) = self.left {
            // The supervisor bounds this wait.
            let _ = child.wait();
        }
    }
}
