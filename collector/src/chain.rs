//! The processes of one visit: a worker per leg of its route, each with that server's credential alone, and the
//! `proxy-command`. They begin one after the other, each when the one before it is logged in; a connection of the next
//! goes through the one before by a socket pair that is made here. They end together.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use model::Outcome;
use model::text::escape;

use crate::host_key;
use crate::job::{Dial, Up, Way};
use crate::new_key;
use crate::process::{Read, Worker};
use crate::proxy_command::ProxyCommand;
use crate::route::{Leg, Route};

/// The most connections that one visit has: tries, and questions for other host keys.
const MAX_DIALS: usize = 64;

/// The processes of a visit.
#[derive(Default)]
pub(crate) struct Chain {
    command: Option<String>,
    legs: Vec<Leg>,
    /// As many as have begun.
    workers: Vec<Worker>,
    running: Option<ProxyCommand>,
    /// The newest worker's end of a connection that the bastion before it is still opening.
    opening: Option<UnixStream>,
    dials: usize,
}

fn failed(what: &str) -> impl Fn(io::Error) -> Outcome {
    move |error| Outcome::WorkerFailed { detail: format!("{what}: {error}") }
}

fn lies(what: &str) -> Outcome {
    Outcome::WorkerFailed { detail: format!("it {what} out of turn") }
}

impl Chain {
    /// Starts the first worker.
    pub(crate) fn start(route: Route) -> Result<Self, Outcome> {
        let mut chain = Self { command: route.command, legs: route.legs, ..Self::default() };
        chain.begin()?;
        Ok(chain)
    }

    fn begin(&mut self) -> Result<(), Outcome> {
        let leg = &self.legs[self.workers.len()];
        let worker =
            Worker::spawn(&leg.job).map_err(|error| leg.ended(failed("it does not start")(error)))?;
        self.workers.push(worker);
        Ok(())
    }

    /// How many workers there are.
    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether all is over.
    pub(crate) fn is_over(&self) -> bool {
        self.workers.is_empty() && self.running.is_none()
    }

    /// Whether `leg` is the client's.
    pub(crate) fn is_last(&self, leg: usize) -> bool {
        leg + 1 >= self.legs.len()
    }

    /// Whether `leg` is the newest that has begun.
    pub(crate) fn is_newest(&self, leg: usize) -> bool {
        leg + 1 >= self.workers.len()
    }

    /// The name of the hop that `leg` leads to.
    pub(crate) fn hop(&self, leg: usize) -> Option<&str> {
        self.legs.get(leg)?.hop.as_deref()
    }

    /// `outcome`, which came about on `leg`; on the newest where that has not begun.
    pub(crate) fn ended(&self, leg: usize, outcome: Outcome) -> Outcome {
        match self.legs.get(leg) {
            Some(leg) => leg.ended(outcome),
            None => outcome,
        }
    }

    /// Where to wait for news.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let errors = self.running.iter().filter_map(ProxyCommand::errors);
        self.workers.iter().map(Worker::output).chain(errors)
    }

    /// Reads a piece of what the worker of `leg` says.
    pub(crate) fn fill(&mut self, leg: usize) -> io::Result<Read> {
        self.workers.get_mut(leg).map_or(Ok(Read::Nothing), Worker::fill)
    }

    /// The next word of the worker of `leg`; `None` where it is gone, or has said no other one whole.
    pub(crate) fn word(&mut self, leg: usize) -> Result<Option<(Up, Vec<u8>)>, String> {
        self.workers.get_mut(leg).map_or(Ok(None), Worker::word)
    }

    /// Whether the worker of `leg` says more than any honest one.
    pub(crate) fn floods(&self, leg: usize) -> bool {
        self.workers.get(leg).is_some_and(Worker::floods)
    }

    /// Hears what the command says; whether it has ended.
    pub(crate) fn listen(&mut self) -> bool {
        self.running.as_mut().is_some_and(|command| matches!(command.fill(), Read::End))
    }

    /// The bastion of `leg` is logged in to: the next worker begins.
    pub(crate) fn go_on(&mut self, leg: usize) -> Result<(), Outcome> {
        if !self.is_newest(leg) || self.is_last(leg) {
            return Err(self.ended(leg, lies("is ready")));
        }
        self.begin()
    }

    /// The worker of `leg` wants a connection.
    pub(crate) fn dial(&mut self, leg: usize) -> Result<(), Outcome> {
        let handed = matches!(&self.legs[leg].job.way, Way::Ssh { dial: Dial::Handed, .. });
        self.dials += 1;
        if !handed || !self.is_newest(leg) || self.dials > MAX_DIALS {
            return Err(self.ended(leg, lies("dials")));
        }
        let Some(before) = leg.checked_sub(1) else { return self.run_command() };
        let pair = UnixStream::pair().map_err(failed("there is no socket pair"));
        let (near, far) = pair.map_err(|outcome| self.ended(leg, outcome))?;
        let given = self.workers[before].give(near).map_err(failed("its bastion's worker does not listen"));
        given.map_err(|outcome| self.ended(before, outcome))?;
        self.opening = Some(far);
        Ok(())
    }

    /// The command's output is a connection as soon as it runs.
    fn run_command(&mut self) -> Result<(), Outcome> {
        self.running = None;
        let command = self.command.as_deref().unwrap_or_default();
        let (running, ours) = ProxyCommand::spawn(command).map_err(|error| {
            self.ended(0, Outcome::ProxyCommand { detail: format!("it does not start: {error}") })
        })?;
        self.running = Some(running);
        self.hand(0, ours)
    }

    /// The bastion of `leg` has opened the connection that the next worker waits for.
    pub(crate) fn opened(&mut self, leg: usize) -> Result<(), Outcome> {
        match self.opening.take() {
            Some(connection) if self.is_newest(leg + 1) => self.hand(leg + 1, connection),
            _ => Err(self.ended(leg, lies("opens"))),
        }
    }

    fn hand(&self, leg: usize, connection: UnixStream) -> Result<(), Outcome> {
        let given = self.workers[leg].give(connection).map_err(failed("it takes no connection"));
        given.map_err(|outcome| self.ended(leg, outcome))
    }

    /// Where `accept-new` lets the unknown `key` of `leg`'s server hold, writes it down and begins with that server anew.
    /// Once for each server.
    pub(crate) fn accept(&mut self, leg: usize, key: &[u8]) -> Option<Result<(), Outcome>> {
        let entry = self.legs.get_mut(leg)?;
        let file = entry.accept.take()?;
        let Way::Ssh { address, port, expected, .. } = &mut entry.job.way else { return None };
        if leg + 1 != self.workers.len() || !expected.is_nothing() {
            return None;
        }
        let accepted = match expected.doubts.first() {
            Some(place) => Err(Outcome::KnownHosts {
                detail: format!("{place} may be about it; it offers {}", host_key::shown(key)),
            }),
            None => new_key::accept(&file, (address, *port), key),
        };
        Some(match accepted {
            Ok(source) => {
                expected.keys.push((key.to_vec(), source));
                self.workers.truncate(leg);
                self.opening = None;
                self.begin()
            }
            Err(outcome) => Err(self.ended(leg, outcome)),
        })
    }

    /// Kills the workers.
    pub(crate) fn kill(&mut self) {
        self.workers.clear();
        self.opening = None;
    }

    /// Kills the worker of `leg`, and tells how it ended where it said nothing about that.
    pub(crate) fn reap(&mut self, leg: usize) -> Outcome {
        let outcome = self.workers.remove(leg).reap();
        self.ended(leg, outcome)
    }

    /// Kills the command; how it ended and what it said.
    pub(crate) fn tale(&mut self) -> Option<String> {
        self.running.take().map(ProxyCommand::tale)
    }

    /// Whether `outcome` of `leg` may be the command's doing: it is what the connection goes through.
    pub(crate) fn is_of_command(&self, leg: usize, outcome: &Outcome) -> bool {
        use model::Phase::{Connect, Handshake};
        leg == 0
            && self.running.is_some()
            && matches!(
                outcome.innermost(),
                Outcome::Disconnected { phase: Connect | Handshake, .. }
                    | Outcome::Timeout { phase: Connect | Handshake }
            )
    }
}

/// What a bastion says of the server behind it, for people.
pub(crate) fn unreachable(hop: Option<&str>, detail: &str) -> Outcome {
    let hop = hop.unwrap_or("the bastion");
    Outcome::Refused { detail: format!("{hop} cannot connect to it: {}", escape(detail)) }
}

#[cfg(test)]
impl Chain {
    /// A chain of such hops and the client, of which nothing runs.
    pub(crate) fn of_legs(hops: &[Option<&str>]) -> Self {
        use crate::job::{Job, Task};
        let job = || Job { supervisor: 0, name: "a".parse().unwrap(), way: Way::Local, task: Task::HostKey };
        let leg = |hop: Option<&str>| Leg { hop: hop.map(str::to_owned), job: job(), accept: None };
        Self { legs: hops.iter().copied().map(leg).collect(), ..Self::default() }
    }
}
