//! What happens to a client beside being collected: a new name, new keys, its removal.

use std::time::SystemTime;

use config::{Client, Settings, StorageUrl};
use envelope::MasterKey;
use model::{ClientName, ClientUid, Exit, Outcome, Timestamp};
use storage::{Program, ReportStore as _, RunLock, SqliteStore};

use crate::budget::Budget;
use crate::keys;
use crate::prepare::Preparer;
use crate::queue::Standing;
use crate::route;
use crate::run::{Failure, master_key};
use crate::supervisor::{Visit, supervise};
use crate::trust::All;

/// Why it was not done.
pub(crate) struct Refusal(pub(crate) String, pub(crate) Exit);

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string(), failure.exit())
    }
}

impl From<storage::StoreError> for Refusal {
    fn from(error: storage::StoreError) -> Self {
        Failure::from(error).into()
    }
}

/// The storage, with nobody else at work in it.
pub(crate) struct Clients<'a> {
    settings: &'a Settings,
    store: SqliteStore,
    _lock: RunLock,
}

impl<'a> Clients<'a> {
    /// Takes the run lock and opens the storage.
    pub(crate) fn open(settings: &'a Settings) -> Result<Self, Refusal> {
        let StorageUrl::Sqlite(database) = &settings.storage;
        let lock = RunLock::take(&settings.storage.state_dir(), Program::Collector)?;
        Ok(Self { settings, store: SqliteStore::open(database)?, _lock: lock })
    }

    /// Gives a client another name; what to say.
    pub(crate) fn rename(&mut self, old: &ClientName, new: &ClientName) -> Result<String, Refusal> {
        let (found, taken) = (self.store.find(old)?, self.store.find(new)?);
        let Some(row) = found else {
            return match taken {
                Some(_) => Ok(format!("{new} is stored already, and {old} is not: there is nothing to do")),
                None => Err(Refusal(format!("the storage has no client {old}"), Exit::Usage)),
            };
        };
        if taken.is_some() && old != new {
            let text = format!(
                "the storage has a client {new} already; if it is nothing but what was collected under the new name too \
                 early, remove it: fleet-collector remove {new} --purge"
            );
            return Err(Refusal(text, Exit::Usage));
        }
        self.store.rename(row.uid, new)?;
        let line = self.settings.clients.iter().find(|client| client.name == *old);
        let where_ = line.map_or_else(|| "config.xml".to_owned(), |client| client.source.clone());
        Ok(format!(
            "{old} is {new} in the storage, with its history, keys, spool and alerts. Before the next run, in {where_}: \
             name=\"{new}\""
        ))
    }

    /// Makes a new key pair for each of `clients` that has one; what to say.
    pub(crate) fn rotate(&mut self, clients: &[&Client]) -> Result<String, Refusal> {
        let master: MasterKey = master_key(&self.settings.storage.state_dir())?;
        let now: Timestamp = SystemTime::now().into();
        let (mut made, mut without) = (0, 0);
        for client in clients {
            match self.store.find(&client.name)? {
                Some(row) if !row.keys.is_empty() => {
                    keys::add(&row, &master, now, &mut self.store)?;
                    made += 1;
                }
                _ => without += 1,
            }
        }
        let rest = match without {
            0 => String::new(),
            count => format!("; {count} were never collected and get their first with the first collection"),
        };
        Ok(format!("{made} clients have a new key pair from the next collection on{rest}"))
    }

    /// Removes the spool of `client` at the client, and with `purge` all that is stored of it; what to say.
    pub(crate) fn remove(
        &mut self,
        name: &ClientName,
        purge: bool,
        preparer: Option<&Preparer>,
    ) -> Result<String, Refusal> {
        let Some(row) = self.store.find(name)? else {
            return Ok(format!("the storage has no client {name}: there is nothing to remove"));
        };
        let line = self.settings.clients.iter().find(|client| client.name == *name);
        let there = match (preparer, line) {
            (None, _) => "its spool at the client is left as it is",
            (Some(_), None) => {
                let text = format!(
                    "{name} is no enabled client of config.xml, so that its spool cannot be fetched and removed: put it \
                     back, or give --unreachable to leave its spool where it is"
                );
                return Err(Refusal(text, Exit::Usage));
            }
            (Some(preparer), Some(client)) => {
                forget(preparer, client, row.uid).map_err(|outcome| {
                    let told = crate::report::told(name, &outcome);
                    let text =
                        format!("{told}; nothing was removed. --unreachable leaves its spool where it is");
                    Refusal(text, Exit::Partial)
                })?;
                "its spool at the client is removed"
            }
        };
        let here = if purge {
            self.store.purge(row.uid)?;
            "its history is removed"
        } else {
            "its history stays (--purge removes it)"
        };
        let rest = line.map_or_else(String::new, |client| {
            format!(". Before the next run, take it out of {}", client.source)
        });
        Ok(format!("{name}: {there}; {here}{rest}"))
    }
}

/// Has the probe at `client` remove the spool of `uid`.
fn forget(preparer: &Preparer, client: &Client, uid: ClientUid) -> Result<(), Outcome> {
    let visit = Visit {
        name: client.name.clone(),
        budget: Budget::new(client.timeout, 0),
        processes: route::processes(client),
        standing: Standing { failed_last: false, not_reached_last: false },
    };
    let mut all = All(Vec::new());
    let Ok(()) = supervise(&[visit], &[0], 1, None, &|_| preparer.forget(client, uid), &mut all);
    match all.0.pop().map(|finished| finished.outcome) {
        Some(Outcome::Collected) => Ok(()),
        outcome => Err(outcome.unwrap_or(Outcome::NotReached)),
    }
}
