//! The worker: a process of its own for one server (a client, or a bastion on the way to one), the only place where bytes
//! of that server are parsed, and which holds nothing of any other.

mod kexinit;
mod local;
mod login;
mod prompts;
mod records;
mod script;
mod ssh;
mod transport;
mod tunnel;
mod walk;

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic;
use std::process::ExitCode;

use model::text::escape;
use model::{Outcome, Phase};
use rustix::process::getppid;

use crate::found::Found;
use crate::job::{self, Job, Up};
use crate::{handover, limits};

/// What the supervisor starts. Its job comes on stdin; what it says goes to stdout.
pub fn main() -> ExitCode {
    if limits::of_worker().is_err() {
        return ExitCode::from(70);
    }
    // By a descriptor of its own: the buffer of stdin would swallow what comes behind the job.
    let Ok(mut input) = io::stdin().as_fd().try_clone_to_owned().map(File::from) else {
        return ExitCode::from(66);
    };
    // A supervisor that is gone sends no job; one that went after sending it is another parent than the job says.
    let job = match job::read::<Job>(&mut input) {
        Ok(Some(job)) if getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == job.supervisor) => {
            job
        }
        Ok(_) => return ExitCode::SUCCESS,
        Err(_) => return ExitCode::from(65),
    };
    panic::set_hook(Box::new(|_| {}));
    let from = UnixStream::from(OwnedFd::from(input));
    let mut link = Link { to: io::stdout(), from, uploaded: false };
    let walked = panic::catch_unwind(panic::AssertUnwindSafe(|| walk::walk(&job, &mut link)));
    let (outcome, way) =
        walked.unwrap_or_else(|payload| (Outcome::WorkerFailed { detail: text_of(&*payload) }, None));
    link.send(&Up::Done { outcome, uploaded: link.uploaded }, &[]);
    if let Some(way) = way {
        way.finish();
    }
    ExitCode::SUCCESS
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text =
        payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    format!("it panicked: {}", escape(text.unwrap_or("for an unknown reason")))
}

/// The way up to the supervisor.
struct Link {
    to: io::Stdout,
    /// Where it hands connections over.
    from: UnixStream,
    /// Whether the probe was sent.
    uploaded: bool,
}

impl Link {
    /// Sends one word up. Nobody there to hear it: there is nothing left to do.
    fn send(&mut self, up: &Up, tail: &[u8]) {
        if job::write(&mut self.to, up, tail).and_then(|()| self.to.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Waits for a connection; `None` where the supervisor has no more.
    fn connection(&self) -> io::Result<Option<OwnedFd>> {
        handover::take(&self.from)
    }

    /// Where the next connection comes.
    fn input(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }

    fn enter(&mut self, phase: Phase) {
        self.send(&Up::Phase(phase), &[]);
    }

    fn found(&mut self, found: Found) {
        self.send(&Up::Found(found), &[]);
    }

    fn note(&mut self, text: impl Into<String>) {
        self.send(&Up::Note(text.into()), &[]);
    }
}
