//! A `proxy-command` that runs: a child whose stdin and stdout are a connection, as in ssh_config(5). What it says on its
//! standard error is for people: the end of it is kept for the outcome, and none of it ever makes it wait.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{ChildStderr, Command, ExitCode, ExitStatus, Stdio};

use model::text::escape_to;
use rustix::io::ioctl_fionbio;
use rustix::process::{getpid, getppid};

use crate::limits;
use crate::process::{Group, Read};

/// How many of the last bytes of its standard error are kept.
const KEPT: usize = 2048;

/// The most characters of them that are shown.
const SHOWN: usize = 200;

/// The most bytes of standard error that are read at all; behind them it is closed.
const MAX_SAID: u64 = 64 * 1024 * 1024;

/// A command that runs.
pub(crate) struct ProxyCommand {
    group: Group,
    errors: Option<ChildStderr>,
    tail: Vec<u8>,
    bytes: u64,
}

impl ProxyCommand {
    /// Has `/bin/sh` run `command`, in our environment; our end of its connection.
    pub(crate) fn spawn(command: &str) -> io::Result<(Self, UnixStream)> {
        let mut shell = Command::new("/proc/self/exe");
        shell.arg("proxy-command").arg(getpid().to_string()).arg(command);
        Self::start(shell)
    }

    fn start(mut shell: Command) -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        shell.stdin(OwnedFd::from(theirs.try_clone()?)).stdout(OwnedFd::from(theirs));
        let mut group = Group::spawn(shell.stderr(Stdio::piped()))?;
        let errors = group.errors();
        if let Some(errors) = &errors {
            ioctl_fionbio(errors, true)?;
        }
        Ok((Self { group, errors, tail: Vec::new(), bytes: 0 }, ours))
    }

    /// Where to wait for what it says; `None` where it says no more.
    pub(crate) fn errors(&self) -> Option<BorrowedFd<'_>> {
        self.errors.as_ref().map(|errors| errors.as_fd())
    }

    /// Reads a piece of what it says.
    pub(crate) fn fill(&mut self) -> Read {
        let Some(errors) = &mut self.errors else { return Read::End };
        let mut piece = [0; 16 * 1024];
        let result = errors.read(&mut piece);
        if let Ok(count) = result {
            self.bytes += count as u64;
            self.tail.extend(&piece[..count]);
            self.tail.drain(..self.tail.len().saturating_sub(KEPT));
        }
        match Read::of(result) {
            Ok(read @ (Read::Nothing | Read::Some)) if self.bytes <= MAX_SAID => read,
            _ => {
                self.errors = None;
                Read::End
            }
        }
    }

    /// Kills what is left of it, and tells how it ended and what it said.
    pub(crate) fn tale(mut self) -> String {
        self.group.kill();
        while matches!(self.fill(), Read::Some) {}
        told(self.group.reap(), &self.tail)
    }
}

/// What the supervisor starts: it binds its life to the supervisor's, which only the process itself can do, and becomes the
/// shell that runs the command.
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(2);
    let (Some(supervisor), Some(command)) = (words.next(), words.next()) else {
        return ExitCode::from(64);
    };
    let bound = limits::of_command();
    // One that went before that is another parent than it said.
    if bound.is_err() || getppid().is_none_or(|parent| *parent.to_string() != *supervisor) {
        return ExitCode::from(70);
    }
    let error = Command::new("/bin/sh").arg("-c").arg(command).exec();
    let _ = writeln!(io::stderr(), "/bin/sh: {error}");
    ExitCode::from(127)
}

fn told(status: io::Result<ExitStatus>, said: &[u8]) -> String {
    let ended = match status {
        // By us, since it still ran.
        Ok(status) if status.signal() == Some(9) => "it was still running".to_owned(),
        Ok(status) => format!("it ended with {status}"),
        Err(error) => error.to_string(),
    };
    let said = String::from_utf8_lossy(said);
    match said.trim() {
        "" => format!("{ended} and said nothing"),
        said => {
            let skipped = said.chars().count().saturating_sub(SHOWN);
            let last: String = said.chars().skip(skipped).collect();
            format!("{ended} and said \"{}\"", escape_to(&last, 2 * SHOWN))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_was_said_is_told_and_paints_nothing() {
        let said = format!("{}\x1b[2Jno route to host\n", "x".repeat(5000));
        let told = told(Ok(ExitStatus::from_raw(1 << 8)), said.as_bytes());
        assert!(told.starts_with("it ended with exit status: 1 and said \"x"), "{told}");
        assert!(told.contains("no route to host") && told.len() < 300 && !told.contains('\x1b'), "{told}");
    }

    #[test]
    fn its_stdin_and_stdout_are_the_connection() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "cat; echo done >&2; exit 3"]);
        let (mut command, mut ours) = ProxyCommand::start(shell).unwrap();
        ours.write_all(b"hello").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = String::new();
        ours.read_to_string(&mut said).unwrap();
        assert_eq!(said, "hello");
        while !matches!(command.fill(), Read::End) {
            std::thread::yield_now();
        }
        assert_eq!(command.tale(), "it ended with exit status: 3 and said \"done\"");
    }
}
