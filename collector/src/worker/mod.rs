//! The worker: a process of its own for one client, the only place where bytes of that client are parsed, and which
//! holds nothing of any other client.

mod kexinit;
mod local;
mod login;
mod prompts;
mod records;
mod script;
mod ssh;
mod transport;
mod walk;

use std::io::{self, Write as _};
use std::panic;
use std::process::ExitCode;

use model::text::escape;
use model::{Outcome, Phase};
use rustix::process::getppid;

use crate::found::Found;
use crate::job::{self, Job, Up};
use crate::limits;

/// What the supervisor starts. Its job comes on stdin; what it says goes to stdout.
pub fn main() -> ExitCode {
    if limits::of_worker().is_err() {
        return ExitCode::from(70);
    }
    // A supervisor that is gone sends no job; one that went after sending it is another parent than the job says.
    let job = match job::read::<Job>(&mut io::stdin().lock()) {
        Ok(Some(job)) if getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == job.supervisor) => {
            job
        }
        Ok(_) => return ExitCode::SUCCESS,
        Err(_) => return ExitCode::from(65),
    };
    panic::set_hook(Box::new(|_| {}));
    let mut link = Link { to: io::stdout(), uploaded: false };
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
