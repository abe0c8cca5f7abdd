//! One visit from beginning to end: connect, know the server, log in, run the probe (and send it first where it is
//! missing), open what it streams, pass it up.

use model::text::escape;
use model::wire::{ANSWERS_ALONE, Frame, Kind, MAX_NOISE, Purpose, Request, SERVE_INSTALLED};
use model::{Outcome, Phase};

use super::records::Records;
use super::ssh::{Server, Verified};
use super::transport::Transport;
use super::{Link, local, login, script, ssh, tunnel};
use crate::found::Found;
use crate::job::{Job, Place, PrivateKey, Task, Up};
use crate::probe::{Probe, Probes};
use crate::random;
use crate::stream::{Cut, Event, Stream};

/// Does the job; how it went, and the way to say good-bye on.
pub(super) fn walk(job: &Job, link: &mut Link) -> (Outcome, Option<Box<dyn Transport>>) {
    match &job.task {
        Task::HostKey => (see_host_key(job, link).err().unwrap_or(Outcome::Collected), None),
        Task::Forward { address, port } => {
            let Some(server) = Server::of(&job.way) else {
                return (Outcome::WorkerFailed { detail: "this machine is no bastion".to_owned() }, None);
            };
            match log_in(&server, link) {
                Ok(session) => (tunnel::forward(&session, address, *port, link), None),
                Err(outcome) => (outcome, None),
            }
        }
        Task::Collect { place, request, identities, discard } => {
            let mut transport = match connect(job, link) {
                Ok(transport) => transport,
                Err(outcome) => return (outcome, None),
            };
            let visit = Visit { request, identities, discard: *discard };
            let outcome = visit.collect(place, &mut *transport, link);
            (outcome.unwrap_or_else(|outcome| outcome), Some(transport))
        }
    }
}

fn see_host_key(job: &Job, link: &mut Link) -> Result<(), Outcome> {
    let Some(server) = Server::of(&job.way) else { return Ok(()) };
    let key = once_more(link, |link| ssh::host_key(&server, link))?;
    link.send(&Up::HostKey, &key);
    Ok(())
}

fn connect(job: &Job, link: &mut Link) -> Result<Box<dyn Transport>, Outcome> {
    match Server::of(&job.way) {
        None => Ok(Box::new(local::Local::default())),
        Some(server) => Ok(Box::new(ssh::Ssh::new(log_in(&server, link)?))),
    }
}

fn log_in(server: &Server<'_>, link: &mut Link) -> Result<Verified, Outcome> {
    let session = once_more(link, |link| ssh::connect(server, link))?;
    login::login(&session, server.username, server.credentials, link)?;
    Ok(session)
}

/// Tries again, a little later, what may pass by itself (a server that is starting up or full). Logging in is never
/// tried twice.
fn once_more<T>(link: &mut Link, mut act: impl FnMut(&mut Link) -> Result<T, Outcome>) -> Result<T, Outcome> {
    match act(link) {
        Err(outcome) if outcome.may_pass() => {
            let wait = 300 + u64::from(u8::from_be_bytes(random::bytes())) * 4;
            link.note(format!("{}; once more in {wait} ms", outcome.message()));
            std::thread::sleep(std::time::Duration::from_millis(wait));
            act(link)
        }
        result => result,
    }
}

struct Visit<'a> {
    request: &'a Request,
    identities: &'a [PrivateKey],
    discard: bool,
}

/// How a run of the probe ended that found the probe.
enum Served {
    /// As this says.
    Ended(Outcome),
    /// It is not there; what `uname -sm` said.
    Missing(String),
    /// It is there and does not run; what was printed.
    Broken(String),
}

impl Visit<'_> {
    fn collect(
        &self,
        place: &Place,
        transport: &mut dyn Transport,
        link: &mut Link,
    ) -> Result<Outcome, Outcome> {
        match place {
            Place::Shipped { directories, probes } => self.shipped(directories, probes, transport, link),
            Place::Installed => match self.serve(SERVE_INSTALLED, transport, link)? {
                Served::Ended(outcome) => Ok(outcome),
                Served::Missing(said) | Served::Broken(said) => Err(Outcome::NotInstalled { detail: said }),
            },
        }
    }

    fn shipped(
        &self,
        directories: &[String],
        probes: &Probes,
        transport: &mut dyn Transport,
        link: &mut Link,
    ) -> Result<Outcome, Outcome> {
        let command = script::serve(directories, probes);
        let probe = match self.serve(&command, transport, link)? {
            Served::Ended(outcome) => return Ok(outcome),
            Served::Missing(uname) => {
                let Some(probe) = probes.for_client(&uname) else {
                    return Err(Outcome::WrongPlatform { uname });
                };
                link.note(format!("the probe for {uname} is not there"));
                probe
            }
            Served::Broken(said) if said.contains(ANSWERS_ALONE) => {
                let detail = "the key is limited to an installed probe, and this client is not set to \
                              mode=\"installed\""
                    .to_owned();
                return Err(Outcome::NotInstalled { detail });
            }
            Served::Broken(said) => {
                link.note(format!("the probe does not run: {said}"));
                let uname = uname(transport, &said)?;
                probes.for_client(&uname).ok_or(Outcome::WrongPlatform { uname })?
            }
        };
        let directories = self.spool_first(directories, transport)?;
        upload(probe, &directories, transport, link)?;
        match self.serve(&command, transport, link)? {
            Served::Ended(outcome) => Ok(outcome),
            Served::Missing(_) => {
                Err(Outcome::NoExec { detail: "it was sent, and is gone again".to_owned() })
            }
            Served::Broken(detail) => {
                Err(Outcome::NoExec { detail: format!("it was sent, and does not run: {detail}") })
            }
        }
    }

    /// `directories`, first the one with the client's spool: a directory before it that has become usable must not leave
    /// behind what is spooled there, and what the client's own cron goes on to spool.
    fn spool_first(
        &self,
        directories: &[String],
        transport: &mut dyn Transport,
    ) -> Result<Vec<String>, Outcome> {
        let mut ordered = directories.to_vec();
        if directories.len() > 1 {
            let said = answer(&script::holders(directories, self.request.client), b"", transport)?;
            ordered.sort_by_key(|directory| !said.lines().any(|line| line == script::path(directory)));
        }
        Ok(ordered)
    }

    fn serve(
        &self,
        command: &str,
        transport: &mut dyn Transport,
        link: &mut Link,
    ) -> Result<Served, Outcome> {
        link.enter(Phase::Exec);
        let mut stream = Stream::new();
        let mut records = Records::new(self.request, self.identities, self.discard);
        let mut missing = None;
        let request = Frame::of(Kind::Request, self.request).to_bytes();
        transport.exec(command, &request, &mut |piece| {
            for event in stream.feed(piece)? {
                match event {
                    Event::Missing(uname) => missing = Some(uname),
                    Event::Hello(hello) => {
                        link.found(Found::Probe {
                            version: hello.version,
                            directory: hello.directory,
                            spooled: hello.spooled,
                        });
                        link.send(&Up::Hello { clock: hello.clock, spool: hello.spool }, &[]);
                    }
                    Event::Envelope(envelope) => {
                        let (up, tail) = records.open(&envelope)?;
                        link.send(&up, &tail);
                    }
                    Event::End { more, left } => self.end(more, left, &records, link)?,
                }
            }
            Ok(stream.is_over())
        })?;
        if let Some(uname) = missing {
            return Ok(Served::Missing(uname));
        }
        if stream.is_over() {
            return Ok(Served::Ended(records.outcome()));
        }
        match stream.cut() {
            Cut::Silent(said) if said.is_empty() => Ok(Served::Broken("nothing was printed".to_owned())),
            Cut::Silent(said) => Ok(Served::Broken(said)),
            Cut::Within(outcome) => Err(outcome),
        }
    }
}

impl Visit<'_> {
    /// What the end of a stream says.
    fn end(&self, more: bool, left: Option<bool>, records: &Records, link: &mut Link) -> Result<(), Outcome> {
        match (self.request.purpose, left) {
            (Purpose::Leave | Purpose::Abandon, None) => {
                let detail = "it is too old to remove its spool, which is still there".to_owned();
                return Err(Outcome::NotInstalled { detail });
            }
            (Purpose::Leave | Purpose::Abandon, Some(true)) => link.found(Found::Gone),
            (Purpose::Leave | Purpose::Abandon, Some(false)) | (Purpose::Collect, _) => {}
        }
        if more {
            link.note("more is spooled than one run fetches; the next goes on");
        } else if let Some(oldest_key) = records.oldest_key() {
            link.found(Found::Whole { oldest_key });
        }
        Ok(())
    }
}

/// What the client is, where its probe is there and does not run. A login that does not even run `uname` runs nothing.
fn uname(transport: &mut dyn Transport, said: &str) -> Result<String, Outcome> {
    let mut stream = Stream::new();
    let mut found = None;
    transport.exec(&script::uname(), b"", &mut |piece| {
        for event in stream.feed(piece)? {
            if let Event::Missing(uname) = event {
                found = Some(uname);
            }
        }
        Ok(stream.is_over())
    })?;
    found.ok_or_else(|| Outcome::NoShell { detail: said.to_owned() })
}

/// Sends the probe to the first directory that takes it and can run it.
fn upload(
    probe: &Probe,
    directories: &[String],
    transport: &mut dyn Transport,
    link: &mut Link,
) -> Result<(), Outcome> {
    let bytes = probe.bytes().map_err(|detail| Outcome::WorkerFailed { detail })?;
    link.uploaded = true;
    let mut refusals = Vec::new();
    for directory in directories {
        link.enter(Phase::Upload);
        let name = format!("{:016x}", u64::from_be_bytes(random::bytes()));
        let command = script::install(directory, bytes.len(), &probe.sha256, &name);
        let said = answer(&command, &bytes, transport)?;
        if said.lines().any(|line| line.trim_end() == script::INSTALLED) {
            link.found(Found::Sent { directory: directory.clone() });
            return Ok(());
        }
        link.note(format!("{directory} refused the probe: {}", escape(&said)));
        refusals.push((directory, said));
    }
    Err(refused(&refusals))
}

/// What a command of [`script`] says for itself, without what the login's start files printed before it.
fn answer(command: &str, input: &[u8], transport: &mut dyn Transport) -> Result<String, Outcome> {
    let mut said = Vec::new();
    transport.exec(command, input, &mut |piece| {
        let room = (MAX_NOISE + 16 * 1024).saturating_sub(said.len());
        said.extend(&piece[..piece.len().min(room)]);
        Ok(false)
    })?;
    let said = String::from_utf8_lossy(&said);
    let own = said.find(script::BEGUN).map_or(&*said, |at| &said[at + script::BEGUN.len()..]);
    Ok(own.trim_start().to_owned())
}

fn refused(refusals: &[(&String, String)]) -> Outcome {
    let texts: Vec<_> =
        refusals.iter().map(|(directory, said)| format!("{directory}: {}", said.trim())).collect();
    let detail = escape(&texts.join("; "));
    let full = ["No space left", "no space", "Disk quota exceeded"];
    if refusals.iter().any(|(_, said)| full.iter().any(|words| said.contains(words))) {
        Outcome::NoSpace { detail }
    } else {
        Outcome::NoExec { detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_one_that_forbids_execution() {
        let directory = "d".to_owned();
        let full = refused(&[(&directory, "cat: write error: No space left on device\n".to_owned())]);
        assert_eq!(
            full,
            Outcome::NoSpace { detail: "d: cat: write error: No space left on device".to_owned() }
        );
        let noexec = refused(&[(&directory, "sh: 1: d/.upload-1: Permission denied\n".to_owned())]);
        assert!(matches!(noexec, Outcome::NoExec { .. }));
    }
}
