//! One exec of the collector: acknowledge, sample, stream.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use model::wire::{
    End, Fault, Frame, Hello, Kind, MAGIC, MAX_FETCH, MAX_PROCESSES, Purpose, Request, from_cbor,
};
use sha2::{Digest as _, Sha256};

use crate::leave::leave;
use crate::machine::Machine;
use crate::sample;
use crate::spool::{Agreement, Directory, Limits, Spool, other};

/// The longest that a collector may say it waits: an hour.
const MAX_SECONDS: u32 = 3600;

/// How a stream ended.
#[derive(Debug)]
pub enum Served {
    /// Whole, with an [`End`].
    Whole,
    /// With this fault, which the collector was told.
    Faulty(Fault),
    /// The collector went away.
    Cut(io::Error),
}

/// Where spools lie.
#[derive(Debug, Clone, Copy)]
pub struct RemoteDir<'a> {
    /// The directory.
    pub path: &'a Path,
    /// How full it may become.
    pub limits: Limits,
    /// Whether the collector sends its probe there; an installed one is not its to remove.
    pub shipped: bool,
}

/// Serves one request. `locked` gets a handle by which another thread may give the spool's lock up, and
/// the time after which it should.
pub fn serve(
    machine: &Machine,
    home: &RemoteDir<'_>,
    input: &mut impl Read,
    output: &mut impl Write,
    locked: impl FnOnce(OwnedFd, Duration),
) -> Served {
    if let Err(error) = output.write_all(MAGIC) {
        return Served::Cut(error);
    }
    let mut stream = Stream { output, digest: Sha256::new(), sent: 0 };
    match answer(machine, home, input, &mut stream, locked) {
        Ok(()) => Served::Whole,
        Err(Broken::Output(error)) => Served::Cut(error),
        Err(Broken::Fault(fault)) => match stream.send(&Frame::of(Kind::Fault, &fault)) {
            Ok(()) => Served::Faulty(fault),
            Err(error) => Served::Cut(error),
        },
    }
}

enum Broken {
    Output(io::Error),
    Fault(Fault),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn answer(
    machine: &Machine,
    remote_dir: &RemoteDir<'_>,
    input: &mut impl Read,
    stream: &mut Stream<impl Write>,
    locked: impl FnOnce(OwnedFd, Duration),
) -> Result<(), Broken> {
    let request = read_request(input).map_err(other)?;
    let home = Directory::open(remote_dir.path)?;
    let mut spool = Spool::open(&home, request.client, remote_dir.limits)?;
    // A little more than the collector waits: it is the one to say that the time is up.
    locked(spool.lock_handle()?, Duration::from_secs(u64::from(request.seconds.min(MAX_SECONDS)) + 10));
    // Whatever hinders a new record, what is there already is streamed first.
    let prepared = match request.purpose {
        Purpose::Collect => {
            let prepared = prepare(&mut spool, machine, &request);
            sample::link(&spool, &home);
            prepared.map(|()| None)
        }
        Purpose::Leave => settle(&mut spool, machine, &request).map(Some),
        Purpose::Abandon => Ok(Some(true)),
    };
    let clock = machine.clock();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let directory = absolute(home.shown());
    let hello = Hello { version, directory, clock, spool: spool.id(), spooled: spool.whole() };
    stream.send(&Frame::of(Kind::Hello, &hello))?;
    if prepared == Ok(Some(true)) {
        leave(&home, spool, remote_dir.shipped)?;
        return Ok(stream.end(false, Some(true))?);
    }
    let more = stream.records(&spool, request.max_bytes.min(MAX_FETCH))?;
    Ok(stream.end(more, prepared?)?)
}

/// The directory without links, as a person finds it; empty where the system does not tell.
fn absolute(directory: &str) -> String {
    let path = std::fs::canonicalize(directory).unwrap_or_default();
    model::text::escape(&path.to_string_lossy())
}

/// What is stored goes, and what was refused becomes a record; whether nothing is left then that is not stored.
fn settle(spool: &mut Spool, machine: &Machine, request: &Request) -> Result<bool, Fault> {
    let agreement = agree(spool, request)?;
    spool.remove_stored(agreement)?;
    let settled = spool.settle_gap(&request.recipient, &machine.clock())?;
    Ok(settled && !spool.owes(agreement))
}

fn agree(spool: &mut Spool, request: &Request) -> Result<Agreement, Fault> {
    request.stored.as_ref().map_or(Ok(Agreement::Through(0)), |stored| spool.agree(stored))
}

/// Room first, then the new record, then what the new record makes superfluous.
fn prepare(spool: &mut Spool, machine: &Machine, request: &Request) -> Result<(), Fault> {
    let agreement = agree(spool, request)?;
    spool.remove_stored(agreement)?;
    spool.keep_recipient(&request.recipient)?;
    sample::keep_names(spool, &request.processes)?;
    sample::take(spool, machine, &request.recipient, request.fresh)?;
    spool.settle_gap(&request.recipient, &machine.clock())?;
    spool.remove_stored(agreement)
}

/// The one frame that the collector sends; bounded.
fn read_request(input: &mut impl Read) -> Result<Request, String> {
    let (mut buffer, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(frame) = Frame::take(&mut buffer)? {
            if frame.kind != Kind::Request {
                return Err(format!("a frame {:?} instead of a request", frame.kind));
            }
            return from_cbor(&frame.payload)
                .map_err(|error| format!("the request cannot be read: {error}"))
                .and_then(bounded);
        }
        match input.read(&mut chunk) {
            Ok(0) => return Err("the request was cut off".to_owned()),
            Ok(length) => buffer.extend(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("the request did not come: {error}")),
        }
    }
}

/// Whoever holds a key that is limited to this program can still say anything in its request.
fn bounded(request: Request) -> Result<Request, String> {
    let (names, bytes) = MAX_PROCESSES;
    if request.processes.len() > names || request.processes.iter().any(|name| name.len() > bytes) {
        return Err(format!(
            "the request names more than {names} processes, or one of more than {bytes} bytes"
        ));
    }
    Ok(request)
}

struct Stream<'a, W> {
    output: &'a mut W,
    digest: Sha256,
    sent: u64,
}

impl<W: Write> Stream<'_, W> {
    fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = frame.to_bytes();
        self.digest.update(&bytes);
        self.output.write_all(&bytes)
    }

    /// Sends the records in order, one in memory at a time, at least one, and says whether some are left.
    fn records(&mut self, spool: &Spool, max_bytes: u64) -> Result<bool, Broken> {
        let mut bytes = 0_u64;
        for entry in spool.entries().iter().filter(|entry| entry.whole) {
            if self.sent > 0 && bytes.saturating_add(entry.bytes) > max_bytes {
                return Ok(true);
            }
            let Some(payload) = spool.envelope(entry)? else { continue };
            bytes += entry.bytes;
            self.send(&Frame { kind: Kind::Envelope, payload })?;
            self.sent += 1;
        }
        Ok(false)
    }

    fn end(&mut self, more: bool, left: Option<bool>) -> io::Result<()> {
        let end = End { sent: self.sent, digest: self.digest.clone().finalize().into(), more, left };
        self.output.write_all(&Frame::of(Kind::End, &end).to_bytes())?;
        self.output.flush()
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
