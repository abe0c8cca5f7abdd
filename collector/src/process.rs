//! A process of a visit: a worker, with its job on stdin and its words on stdout; and what every child of ours has in
//! common, a process group that is killed with it.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

use model::Outcome;
use model::wire::MAX_FETCH;
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::handover;
use crate::job::{self, Dial, Job, Task, Up, Way};

/// The most bytes that one worker may send up: what it fetches, decoded and encoded again, and its notes.
const MAX_UP: u64 = 4 * MAX_FETCH;

/// A child that leads a process group of its own, and is killed with all of it.
pub(crate) struct Group {
    child: Child,
    killed: bool,
}

impl Group {
    /// Starts `command` as such a one.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        Ok(Self { child: command.process_group(0).spawn()?, killed: false })
    }

    /// The child's standard error, where it is a pipe; once.
    pub(crate) fn errors(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Kills what is left of the group, then takes the exit status.
    pub(crate) fn reap(mut self) -> io::Result<ExitStatus> {
        self.kill();
        self.child.wait()
    }

    /// Kills what is left of the group.
    pub(crate) fn kill(&mut self) {
        // Only until it was waited for does the number belong to it for certain.
        if self.killed {
            return;
        }
        self.killed = true;
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // No such group: it ended by itself and left nothing.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A run that is given up takes its children with it.
impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// What reading from a child came to.
pub(crate) enum Read {
    /// There was nothing yet.
    Nothing,
    /// Something.
    Some,
    /// Its output is closed.
    End,
}

impl Read {
    /// From how much was read.
    pub(crate) fn of(result: io::Result<usize>) -> io::Result<Self> {
        match result {
            Ok(0) => Ok(Self::End),
            Ok(_) => Ok(Self::Some),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(Self::Nothing)
            }
            Err(error) => Err(error),
        }
    }
}

/// A worker.
pub(crate) struct Worker {
    group: Group,
    /// Where connections are handed to it, where it may ever want one.
    input: Option<UnixStream>,
    output: ChildStdout,
    buffer: Vec<u8>,
    bytes: u64,
}

impl Worker {
    /// This program again, with its job and with nothing of our environment but what it needs.
    pub(crate) fn spawn(job: &Job) -> io::Result<Self> {
        let (mut input, theirs) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("worker").env_clear();
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::null());
        for name in ["HOME", "PATH", "TZ"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Way::Ssh { credentials, .. } = &job.way
            && let Some(agent) = &credentials.agent
        {
            command.env("SSH_AUTH_SOCK", agent);
        }
        let mut group = Group::spawn(&mut command)?;
        // Our copy of its end would keep a socket open that nobody reads.
        drop(command);
        let output = group.child.stdout.take().ok_or_else(|| io::Error::other("its stdout is no pipe"))?;
        ioctl_fionbio(&output, true)?;
        if let Err(error) = job::write(&mut input, job, &[]) {
            let status = group.reap()?;
            return Err(io::Error::other(format!("{error}; {status}")));
        }
        let wants = matches!(job.task, Task::Forward { .. })
            || matches!(job.way, Way::Ssh { dial: Dial::Handed, .. });
        Ok(Self { group, input: wants.then_some(input), output, buffer: Vec::new(), bytes: 0 })
    }

    /// Hands it a connection.
    pub(crate) fn give(&self, connection: UnixStream) -> io::Result<()> {
        let input = self.input.as_ref().ok_or_else(|| io::Error::other("it takes no connection"))?;
        handover::give(input, connection.into())
    }

    /// Where to wait for news of it.
    pub(crate) fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Reads a piece of what it says.
    pub(crate) fn fill(&mut self) -> io::Result<Read> {
        let mut piece = [0; 16 * 1024];
        let result = self.output.read(&mut piece);
        if let Ok(count) = result {
            self.buffer.extend(&piece[..count]);
            self.bytes += count as u64;
        }
        Read::of(result)
    }

    /// The next word that came whole.
    pub(crate) fn word(&mut self) -> Result<Option<(Up, Vec<u8>)>, String> {
        job::take(&mut self.buffer)
    }

    /// Whether it says more than any honest one.
    pub(crate) fn floods(&self) -> bool {
        self.bytes > MAX_UP
    }

    /// Kills what is left of it, and tells how it ended where it said nothing about that.
    pub(crate) fn reap(self) -> Outcome {
        let detail = match self.group.reap() {
            Ok(status) => match status.signal() {
                Some(signal) => format!("it was killed by signal {signal}"),
                None => format!("it ended with status {}", status.code().unwrap_or_default()),
            },
            Err(error) => error.to_string(),
        };
        Outcome::WorkerFailed { detail }
    }
}
