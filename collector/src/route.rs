//! The way of a visit: the servers on it, in the order in which they are logged in to, each with a worker of its own.

use std::path::PathBuf;

use config::{Client, Connection, Proxy, Ssh};
use model::Outcome;

use crate::job::Job;

/// A server on the way to a client, or the client itself.
pub(crate) struct Server<'a> {
    /// The hop's name; `None` for the client.
    pub(crate) hop: Option<&'a str>,
    /// Where it is written: `config.xml:12`.
    pub(crate) source: &'a str,
    /// How to log in there.
    pub(crate) ssh: &'a Ssh,
}

/// The servers on the way to `client`, itself last; none where it is this machine.
pub(crate) fn servers(client: &Client) -> Vec<Server<'_>> {
    let Connection::Ssh(ssh) = &client.connection else { return Vec::new() };
    let hops = match &ssh.proxy {
        Some(Proxy::Jump(hops)) => &hops[..],
        Some(Proxy::Command(_)) | None => &[],
    };
    let hops = hops.iter().map(|hop| Server { hop: Some(&hop.name), source: &hop.source, ssh: &hop.ssh });
    hops.chain([Server { hop: None, source: &client.source, ssh }]).collect()
}

/// The command that the first of `servers` is reached through.
pub(crate) fn command<'a>(servers: &[Server<'a>]) -> Option<&'a str> {
    match servers.first()?.ssh.proxy.as_ref()? {
        Proxy::Command(command) => Some(command),
        Proxy::Jump(_) => None,
    }
}

/// How many processes a visit of `client` has at once.
pub(crate) fn processes(client: &Client) -> usize {
    let servers = servers(client);
    servers.len().max(1) + usize::from(command(&servers).is_some())
}

/// Everything that the workers of one visit are told.
#[derive(Debug)]
pub(crate) struct Route {
    /// The command that the first server is reached through.
    pub(crate) command: Option<String>,
    /// A leg to each server; the last one is the client's.
    pub(crate) legs: Vec<Leg>,
}

/// The way from one server to the next.
#[derive(Debug)]
pub(crate) struct Leg {
    /// The name of the hop that it leads to; `None` where it leads to the client.
    pub(crate) hop: Option<String>,
    /// What its worker is told.
    pub(crate) job: Job,
    /// Where a new host key is written down, where `accept-new` lets it hold from then on.
    pub(crate) accept: Option<PathBuf>,
}

impl Route {
    /// The same, but no server's new host key is accepted on it.
    pub(crate) fn accepting_none(mut self) -> Self {
        self.legs.iter_mut().for_each(|leg| leg.accept = None);
        self
    }
}

impl Leg {
    /// `outcome`, which came about on this leg.
    pub(crate) fn ended(&self, outcome: Outcome) -> Outcome {
        ended(self.hop.as_deref(), outcome)
    }
}

/// `outcome`, which came about at `hop`, or at the client.
pub(crate) fn ended(hop: Option<&str>, outcome: Outcome) -> Outcome {
    match hop {
        Some(hop) => Outcome::Hop { hop: hop.to_owned(), ended: Box::new(outcome) },
        None => outcome,
    }
}
