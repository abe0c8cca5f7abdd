//! What a worker is told: everything about its own client, nothing about any other.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use config::{Client, Connection, Mode, Ssh};
use envelope::Identity;
use model::wire::{MAX_FETCH, Request};
use model::{ClientUid, Outcome};
use storage::ClientRow;

use crate::credential::Wallet;
use crate::host_key::Expected;
use crate::job::{Credentials, Job, Place, PrivateKey, Task, Way};
use crate::known_hosts::KnownHosts;
use crate::probe::Probes;

/// Makes jobs, for several clients at once, and reads each file that they share once.
pub(crate) struct Preparer {
    wallet: Wallet,
    hosts: Hosts,
    probes: Probes,
    supervisor: i32,
}

/// The known_hosts files.
pub(crate) struct Hosts {
    own: PathBuf,
    usual: Vec<PathBuf>,
    read: Mutex<HashMap<PathBuf, Arc<KnownHosts>>>,
}

impl Hosts {
    /// `state_dir` holds the product's own file, `home` the user's.
    pub(crate) fn new(state_dir: &Path, home: Option<&Path>) -> Self {
        let user = home.map(|home| home.join(".ssh/known_hosts"));
        Self {
            own: state_dir.join("known_hosts"),
            usual: user.into_iter().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]).collect(),
            read: Mutex::default(),
        }
    }

    /// What is written down about a client's server.
    pub(crate) fn expected(&self, client: &Client, ssh: &Ssh) -> Expected {
        let others = if ssh.known_hosts.is_empty() { &self.usual } else { &ssh.known_hosts };
        let files: Vec<_> = [&self.own].into_iter().chain(others).map(|file| self.file(file)).collect();
        let files = files.iter().map(|file| &**file);
        Expected::gather((&ssh.address, ssh.port), (&ssh.host_keys, &client.source), files)
    }

    fn file(&self, file: &Path) -> Arc<KnownHosts> {
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(file.to_owned()).or_insert_with(|| Arc::new(read(file))).clone()
    }
}

fn read(file: &Path) -> KnownHosts {
    KnownHosts::read(file, &mut |warning| log::warn!("{warning}")).unwrap_or_else(|error| {
        log::warn!("{}: {error}: its host keys are not known", file.display());
        KnownHosts::default()
    })
}

/// Refuses what would need a proxy: the same address, dialled from here, may be another machine.
fn direct(ssh: &Ssh) -> Result<(), Outcome> {
    match ssh.proxy {
        None => Ok(()),
        Some(_) => Err(Outcome::Refused {
            detail:
                "this version does not connect through proxy-jump or proxy-command yet; nothing was dialled"
                    .to_owned(),
        }),
    }
}

impl Preparer {
    pub(crate) fn new(wallet: Wallet, hosts: Hosts, probes: Probes) -> Self {
        Self { wallet, hosts, probes, supervisor: rustix::process::getpid().as_raw_nonzero().get() }
    }

    /// The size of the largest program that may have to be sent, in bytes.
    pub(crate) fn largest_probe(&self) -> usize {
        self.probes.largest()
    }

    /// The job of collecting from `client`; `identities` are its key pairs, newest last.
    pub(crate) fn collect(
        &self,
        client: &Client,
        row: &ClientRow,
        identities: &[Identity],
        fresh: bool,
    ) -> Result<Job, Outcome> {
        let newest = identities.last().expect("each client of a run has a key pair");
        let way = self.way(client)?;
        let request = Request {
            client: row.uid,
            recipient: newest.recipient(),
            stored: row.stored.clone(),
            fresh,
            processes: client.processes.clone(),
            max_bytes: MAX_FETCH,
        };
        let private =
            |identity: &Identity| PrivateKey { key_id: identity.key_id(), bytes: *identity.to_bytes() };
        let task = Task::Collect {
            place: place(client, &self.probes),
            request: Box::new(request),
            identities: identities.iter().map(private).collect(),
        };
        Ok(Job { supervisor: self.supervisor, name: client.name.clone(), way, task })
    }

    /// The job of removing the spool of `uid` at `client`.
    pub(crate) fn forget(&self, client: &Client, uid: ClientUid) -> Result<Job, Outcome> {
        let task = Task::Forget { remote_dirs: client.remote_dirs.clone(), client: uid };
        Ok(Job { supervisor: self.supervisor, name: client.name.clone(), way: self.way(client)?, task })
    }

    fn way(&self, client: &Client) -> Result<Way, Outcome> {
        Ok(match &client.connection {
            Connection::Local => Way::Local,
            Connection::Ssh(ssh) => {
                direct(ssh)?;
                let credentials = self.wallet.credentials(ssh)?;
                self.ssh(client, ssh, credentials)
            }
        })
    }

    /// The job of seeing `client`'s host key. It needs no credential, so it gets none.
    pub(crate) fn host_key(&self, client: &Client, ssh: &Ssh) -> Result<Job, Outcome> {
        direct(ssh)?;
        let way = self.ssh(client, ssh, Credentials::default());
        Ok(Job { supervisor: self.supervisor, name: client.name.clone(), way, task: Task::HostKey })
    }

    fn ssh(&self, client: &Client, ssh: &Ssh, credentials: Credentials) -> Way {
        Way::Ssh {
            address: ssh.address.clone(),
            port: ssh.port,
            username: ssh.username.clone(),
            expected: Box::new(self.hosts.expected(client, ssh)),
            credentials,
        }
    }
}

/// An installed probe is a matter of the key that logs in; there is none to limit on this machine.
fn place(client: &Client, probes: &Probes) -> Place {
    match (client.mode, &client.connection) {
        (Mode::Installed, Connection::Ssh(_)) => Place::Installed,
        (Mode::Installed, Connection::Local) | (Mode::Ship, _) => {
            Place::Shipped { directories: client.remote_dirs.clone(), probes: probes.clone() }
        }
    }
}
