//! Getting to know host keys: each server shows its own, a person says yes, and the product's own known_hosts keeps
//! them. A key that differs from a known one is never written.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use config::{Client, Connection, Ssh};
use model::Outcome;
use ssh_key::PublicKey;

use crate::credential::Wallet;
use crate::finished::{Finished, Step};
use crate::found::Found;
use crate::host_key::{self, Verdict};
use crate::known_hosts;
use crate::prepare::{Hosts, Preparer};
use crate::probe::Probes;
use crate::queue::Standing;
use crate::random;
use crate::report::told;
use crate::slot::Budget;
use crate::supervisor::{Ledger, Visit, supervise};

/// What the servers showed.
pub(crate) struct Seen {
    /// For people, one a client.
    pub(crate) lines: Vec<String>,
    /// Names as known_hosts writes them, and keys that are not known yet; none twice.
    pub(crate) new: Vec<(String, PublicKey)>,
    /// Whether a server could not be asked, or showed another key than the known one.
    pub(crate) failed: bool,
}

/// Asks the servers of `clients` for their host keys. No credential goes anywhere.
pub(crate) fn see(clients: &[&Client], slots: usize, hosts: Hosts) -> Seen {
    let servers: Vec<(&Client, &Ssh)> = clients
        .iter()
        .filter_map(|client| match &client.connection {
            Connection::Ssh(ssh) => Some((*client, &**ssh)),
            Connection::Local => None,
        })
        .collect();
    let visits: Vec<_> = servers
        .iter()
        .map(|(client, _)| Visit {
            name: client.name.clone(),
            budget: Budget::new(client.timeout, 0),
            standing: Standing { failed_last: false, not_reached_last: false },
        })
        .collect();
    let expected: Vec<_> = servers.iter().map(|(client, ssh)| hosts.expected(client, ssh)).collect();
    let preparer = Preparer::new(Wallet::new(None, None), hosts, Probes::default());
    let prepare = |index: usize| {
        let (client, ssh) = servers[index];
        preparer.host_key(client, ssh)
    };
    let mut finished = All(Vec::new());
    let Ok(()) = supervise(&visits, &random::shuffled(visits.len()), slots, None, &prepare, &mut finished);
    finished.0.sort_by_key(|finished| finished.index);

    let mut seen = Seen { lines: Vec::new(), new: Vec::new(), failed: false };
    for finished in finished.0 {
        let (client, ssh) = servers[finished.index];
        let line = match finished.host_key {
            Some(key) => match known_from(&finished.steps) {
                Some(source) => format!("{} (known already: {source})", host_key::shown(&key)),
                None => seen.judge(client, ssh, &expected[finished.index].judge(&key), &key),
            },
            None => seen.fail(client, &finished.outcome),
        };
        seen.lines.push(format!("{} {line}", client.name));
    }
    seen
}

/// Where the worker found the key, or the authority that certifies it.
fn known_from(steps: &[(Duration, Step)]) -> Option<&str> {
    steps.iter().find_map(|(_, step)| match step {
        Step::Found(Found::HostKey { source, .. }) => Some(source.as_str()),
        _ => None,
    })
}

impl Seen {
    fn judge(&mut self, client: &Client, ssh: &Ssh, verdict: &Verdict<'_>, key: &[u8]) -> String {
        match verdict {
            Verdict::Match(source) => format!("{} (known already: {source})", host_key::shown(key)),
            Verdict::Unknown => match host_key::parse(key) {
                Ok(parsed) => {
                    let name = known_hosts::name_of(&ssh.address, ssh.port);
                    if !self.new.iter().any(|(known, _)| *known == name) {
                        self.new.push((name, parsed));
                    }
                    host_key::shown(key)
                }
                Err(detail) => self.fail(client, &Outcome::Malformed { detail }),
            },
            Verdict::Changed(_) | Verdict::Revoked(_) => {
                let refusal = verdict.refusal(key);
                self.fail(client, &refusal.unwrap_or(Outcome::NotReached))
            }
        }
    }

    fn fail(&mut self, client: &Client, outcome: &Outcome) -> String {
        self.failed = true;
        told(&client.name, outcome)
    }
}

/// Adds `keys` to the product's own known_hosts at `file`.
pub(crate) fn write(file: &Path, keys: &[(String, PublicKey)]) -> io::Result<()> {
    known_hosts::append(file, keys)
}

/// Keeps everything.
pub(crate) struct All(pub(crate) Vec<Finished>);

impl Ledger for All {
    type Error = Infallible;

    fn take(&mut self, finished: Finished) -> Result<(), Infallible> {
        self.0.push(finished);
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
