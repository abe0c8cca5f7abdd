//! What a worker is told: everything about its own server, nothing about any other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{Client, Connection, HostKeyPolicy, Mode, Ssh};
use envelope::Identity;
use model::wire::{MAX_FETCH, Purpose, Request};
use model::{Outcome, Phase};
use storage::ClientRow;

use crate::budget::Budget;
use crate::credential::Wallet;
use crate::host_key::Expected;
use crate::job::{Credentials, Dial, Job, Place, PrivateKey, Task, Way};
use crate::known_hosts::KnownHosts;
use crate::once::Once;
use crate::probe::Probes;
use crate::route::{self, Leg, Route, Server};

/// Makes routes, for several clients at once, and reads each file that they share once.
pub(crate) struct Preparer {
    wallet: Wallet,
    hosts: Hosts,
    probes: Probes,
    supervisor: i32,
}

/// What a visit is to do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Errand {
    /// What the probe is asked for.
    pub(crate) purpose: Purpose,
    /// Whether a new record is to be taken, however young the newest is.
    pub(crate) fresh: bool,
    /// Whether records of key pairs that are not here are given up.
    pub(crate) discard: bool,
}

/// What a file says, or why that cannot be read.
type Reading = Result<KnownHosts, String>;

/// The known_hosts files.
pub(crate) struct Hosts {
    own: PathBuf,
    usual: Vec<PathBuf>,
    /// One that does not answer holds up those alone who need it.
    read: Once<PathBuf, Arc<Reading>>,
}

impl Hosts {
    /// `state_dir` holds the product's own file, `home` the user's.
    pub(crate) fn new(state_dir: &Path, home: Option<&Path>) -> Self {
        let user = home.map(|home| home.join(".ssh/known_hosts"));
        Self {
            own: state_dir.join("known_hosts"),
            usual: user.into_iter().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]).collect(),
            read: Once::new(),
        }
    }

    /// What is written down about a server; `source` is where config.xml has it.
    ///
    /// # Errors
    /// Where a file cannot be read: it may hold the key, or that a key is revoked.
    pub(crate) fn expected(&self, source: &str, ssh: &Ssh) -> Result<Expected, Outcome> {
        let others = if ssh.known_hosts.is_empty() { &self.usual } else { &ssh.known_hosts };
        let files: Vec<_> = [&self.own].into_iter().chain(others).map(|file| self.file(file)).collect();
        let readings: Result<Vec<_>, _> = files.iter().map(|file| (**file).as_ref()).collect();
        let readings = readings.map_err(|detail| Outcome::KnownHosts { detail: detail.clone() })?;
        Expected::gather((&ssh.address, ssh.port), (&ssh.host_keys, source), readings.iter().copied())
    }

    /// Forgets what was read: the files may say more now.
    pub(crate) fn read_again(&self) {
        self.read.forget();
    }

    fn file(&self, file: &Path) -> Arc<Reading> {
        self.read.get(file.to_owned(), || Arc::new(read(file)))
    }
}

fn read(file: &Path) -> Reading {
    KnownHosts::read(file, &mut |warning| log::warn!("{warning}"))
        .map_err(|error| format!("{}: {error}", file.display()))
}

impl Preparer {
    pub(crate) fn new(wallet: Wallet, hosts: Hosts, probes: Probes) -> Self {
        Self { wallet, hosts, probes, supervisor: rustix::process::getpid().as_raw_nonzero().get() }
    }

    /// The size of the largest program that may have to be sent, in bytes.
    pub(crate) fn largest_probe(&self) -> usize {
        self.probes.largest()
    }

    /// The files of host keys.
    pub(crate) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The route of collecting from `client`; `identities` are its key pairs, newest last.
    pub(crate) fn collect(
        &self,
        client: &Client,
        row: &ClientRow,
        identities: &[Identity],
        errand: Errand,
    ) -> Result<Route, Outcome> {
        let newest = identities.last().expect("each client of a run has a key pair");
        let request = Request {
            client: row.uid,
            recipient: newest.recipient(),
            stored: row.stored.clone(),
            fresh: errand.fresh,
            processes: client.processes.clone(),
            max_bytes: MAX_FETCH,
            seconds: Budget::new(client.timeout, 0).of(Phase::Exec).as_secs() as u32,
            purpose: errand.purpose,
        };
        let private =
            |identity: &Identity| PrivateKey { key_id: identity.key_id(), bytes: *identity.to_bytes() };
        let task = Task::Collect {
            place: place(client, &self.probes),
            request: Box::new(request),
            identities: identities.iter().map(private).collect(),
            discard: errand.discard,
        };
        self.route(client, task)
    }

    /// The route of seeing `client`'s host key. That needs no credential of the client's, so its worker gets none; and
    /// nothing is accepted on the way, since a person is there to be asked.
    pub(crate) fn host_key(&self, client: &Client) -> Result<Route, Outcome> {
        self.route(client, Task::HostKey).map(Route::accepting_none)
    }

    fn route(&self, client: &Client, task: Task) -> Result<Route, Outcome> {
        let job = |way, task| Job { supervisor: self.supervisor, name: client.name.clone(), way, task };
        // Never taken for this machine.
        if client.connection == Connection::Unsaid {
            return Err(Outcome::Dns { detail: "config.xml does not say where it is".to_owned() });
        }
        let servers = route::servers(client);
        let Some((last, hops)) = servers.split_last() else {
            let leg = Leg { hop: None, job: job(Way::Local, task), accept: None };
            return Ok(Route { command: None, legs: vec![leg] });
        };
        let command = route::command(&servers).map(str::to_owned);
        let mut legs = Vec::with_capacity(servers.len());
        let mut dial = if command.is_some() { Dial::Handed } else { Dial::Direct };
        for (hop, next) in hops.iter().zip(&servers[1..]) {
            let forward = Task::Forward { address: next.ssh.address.clone(), port: next.ssh.port };
            legs.push(self.leg(hop, dial, |way| job(way, forward))?);
            dial = Dial::Handed;
        }
        legs.push(self.leg(last, dial, |way| job(way, task))?);
        Ok(Route { command, legs })
    }

    fn leg(&self, server: &Server<'_>, dial: Dial, job: impl FnOnce(Way) -> Job) -> Result<Leg, Outcome> {
        let ssh = server.ssh;
        let expected = self.hosts.expected(server.source, ssh);
        let expected = expected.map_err(|outcome| route::ended(server.hop, outcome))?;
        let way = Way::Ssh {
            address: ssh.address.clone(),
            port: ssh.port,
            dial,
            username: ssh.username.clone(),
            expected: Box::new(expected),
            credentials: Credentials::default(),
        };
        // Whoever answered first would be given a password: config.xml refuses that, and so does this.
        let accepts = ssh.host_key_policy == HostKeyPolicy::AcceptNew && ssh.password.is_none();
        let accept = accepts.then(|| self.hosts.own.clone());
        let mut leg = Leg { hop: server.hop.map(str::to_owned), job: job(way), accept };
        if !matches!(leg.job.task, Task::HostKey) {
            let read = self.wallet.credentials(ssh).map_err(|outcome| leg.ended(outcome))?;
            if let Way::Ssh { credentials, .. } = &mut leg.job.way {
                *credentials = read;
            }
        }
        Ok(leg)
    }
}

/// An installed probe is a matter of the key that logs in; there is none to limit on this machine.
fn place(client: &Client, probes: &Probes) -> Place {
    match (client.mode, &client.connection) {
        (Mode::Installed, Connection::Ssh(_)) => Place::Installed,
        (Mode::Installed, Connection::Local | Connection::Unsaid) | (Mode::Ship, _) => {
            Place::Shipped { directories: client.remote_dirs.clone(), probes: probes.clone() }
        }
    }
}
