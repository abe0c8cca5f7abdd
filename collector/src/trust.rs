//! Getting to know host keys: each server shows its own, a person says yes, and the product's own known_hosts keeps
//! them. A key that differs from a known one is never written.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::{Client, Connection, Ssh};
use model::Outcome;
use ssh_key::PublicKey;

use crate::budget::Budget;
use crate::finished::{Finished, Step};
use crate::found::Found;
use crate::host_key::{self, Verdict};
use crate::known_hosts;
use crate::portions::Sharing;
use crate::prepare::Preparer;
use crate::queue::Standing;
use crate::report::told;
use crate::supervisor::{Ledger, Visit, supervise};
use crate::{random, route};

/// What the servers showed.
pub(crate) struct Seen<'a> {
    /// For people: a table, one line a server.
    pub(crate) lines: Vec<String>,
    /// Names as known_hosts writes them, and keys that are not known yet; none twice.
    pub(crate) new: Vec<(String, PublicKey)>,
    /// Whether a server could not be asked, or showed another key than the known one.
    pub(crate) failed: bool,
    /// The clients behind a server whose key is new: they can be asked when it is trusted.
    pub(crate) behind: Vec<&'a Client>,
}

/// Asks the servers of `clients` for their host keys. No credential goes there; those of the hops on the way go to hops
/// whose keys are known, and the key of one that is not is what is shown.
pub(crate) fn see<'a>(clients: &[&'a Client], slots: usize, preparer: &Arc<Preparer>) -> Seen<'a> {
    let clients: Vec<&Client> =
        clients.iter().copied().filter(|client| matches!(client.connection, Connection::Ssh(_))).collect();
    let visits: Vec<_> = clients
        .iter()
        .map(|client| Visit {
            name: client.name.clone(),
            budget: Budget::new(client.timeout, 0),
            processes: route::processes(client),
            standing: Standing { failed_last: false, not_reached_last: false },
        })
        .collect();
    let prepare = {
        let preparer = Arc::clone(preparer);
        let clients: Vec<Client> = clients.iter().copied().cloned().collect();
        move |index: usize| preparer.host_key(&clients[index])
    };
    let mut finished = All(Vec::new());
    let Ok(()) = supervise(
        &visits,
        &random::shuffled(visits.len()),
        slots,
        (None, Sharing::ALONE),
        prepare,
        &mut finished,
    );
    finished.0.sort_by_key(|finished| finished.index);

    let mut seen = Seen { lines: Vec::new(), new: Vec::new(), failed: false, behind: Vec::new() };
    let mut rows = Vec::with_capacity(visits.len());
    for finished in finished.0 {
        let client = clients[finished.index];
        let unknown = matches!(finished.outcome.innermost(), Outcome::HostKeyUnknown { .. });
        let servers = route::servers(client);
        let shown = finished.host_key.as_ref().filter(|_| unknown || finished.outcome.is_collected());
        let found = shown.and_then(|(leg, key)| servers.get(*leg).map(|server| (server, key)));
        let (said, server) = match found {
            Some((server, key)) => {
                if unknown {
                    seen.behind.push(client);
                }
                let said = if let Some(source) = known_from(&finished.steps) {
                    known(key, source)
                } else {
                    match preparer.hosts().expected(server.source, server.ssh) {
                        Ok(expected) => seen.judge(client, server.ssh, &expected.judge(key), key),
                        Err(outcome) => seen.fail(client, &route::ended(server.hop, outcome)),
                    }
                };
                (said, Some(server))
            }
            None => (seen.fail(client, &finished.outcome), servers.last()),
        };
        let name = server.and_then(|server| server.hop).filter(|_| found.is_some());
        let name = name.unwrap_or(client.name.as_str()).to_owned();
        let address = server.map(|server| known_hosts::name_of(&server.ssh.address, server.ssh.port));
        let row = [name, address.unwrap_or_default(), said.0, said.1];
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    seen.lines = table(&rows);
    seen
}

/// The type of a key, or nothing; then its fingerprint and what there is to say of it, or what is wrong.
type Said = (String, String);

fn shown(key: &[u8]) -> Said {
    let shown = host_key::shown(key);
    shown
        .split_once(' ')
        .map_or((String::new(), shown.clone()), |(kind, rest)| (kind.to_owned(), rest.to_owned()))
}

/// The key of a second machine at an address whose first one has just shown another.
fn another_machine(key: &[u8]) -> Said {
    let (kind, fingerprint) = shown(key);
    let remedy = "not trusted: another machine above has this address, with another key; give each its host-key in config.xml";
    (kind, format!("{fingerprint} ({remedy})"))
}

fn known(key: &[u8], source: &str) -> Said {
    let (kind, fingerprint) = shown(key);
    (kind, format!("{fingerprint} (known already: {})", model::text::escape(source)))
}

/// Name, address and type one below the other; the rest as it is, and right behind the address where there is no type.
fn table(rows: &[[String; 4]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let (name_width, address_width, kind_width) = (width(0), width(1), width(2));
    let line = |[name, address, kind, rest]: &[String; 4]| {
        let kind = if kind.is_empty() { String::new() } else { format!("{kind:kind_width$}  ") };
        format!("{name:name_width$}  {address:address_width$}  {kind}{rest}")
    };
    rows.iter().map(line).collect()
}

/// Where the worker found the key, or the authority that certifies it.
fn known_from(steps: &[(Duration, Step)]) -> Option<&str> {
    steps.iter().find_map(|(_, step)| match step {
        Step::Found(Found::HostKey { source, .. }) => Some(source.as_str()),
        _ => None,
    })
}

impl Seen<'_> {
    fn judge(&mut self, client: &Client, ssh: &Ssh, verdict: &Verdict<'_>, key: &[u8]) -> Said {
        match verdict {
            Verdict::Match(source) => known(key, source),
            Verdict::Unknown => match host_key::parse(key) {
                Ok(parsed) => {
                    let name = known_hosts::name_of(&ssh.address, ssh.port);
                    match self.new.iter().find(|(known, _)| *known == name) {
                        Some((_, first)) if first.key_data() != parsed.key_data() => {
                            // Private networks overlap behind bastions; known_hosts tells machines apart by address alone.
                            self.failed = true;
                            return another_machine(key);
                        }
                        Some(_) => {}
                        None => self.new.push((name, parsed)),
                    }
                    shown(key)
                }
                Err(detail) => self.fail(client, &Outcome::Malformed { detail }),
            },
            Verdict::Changed(_) | Verdict::Unpinned(_) | Verdict::Revoked(_) => {
                let refusal = verdict.refusal(key);
                self.fail(client, &refusal.unwrap_or(Outcome::NotReached))
            }
        }
    }

    fn fail(&mut self, client: &Client, outcome: &Outcome) -> Said {
        self.failed = true;
        (String::new(), told(&client.name, outcome))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned() {
        let row = |texts: [&str; 4]| texts.map(str::to_owned);
        let rows = [
            row(["web1", "192.0.2.1", "ssh-ed25519", "SHA256:a"]),
            row(["database", "[192.0.2.2]:2222", "ecdsa-sha2-nistp256", "SHA256:b (known already: f:1)"]),
            row(["db", "192.0.2.3", "", "the connection was refused"]),
        ];
        assert_eq!(
            table(&rows),
            [
                "web1      192.0.2.1         ssh-ed25519          SHA256:a",
                "database  [192.0.2.2]:2222  ecdsa-sha2-nistp256  SHA256:b (known already: f:1)",
                "db        192.0.2.3         the connection was refused",
            ]
        );
    }
}
