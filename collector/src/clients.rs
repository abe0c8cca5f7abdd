//! What happens to a client beside being collected: a new name, new keys, its removal.

use std::slice::from_ref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::{Client, Settings};
use envelope::MasterKey;
use model::wire::Purpose;
use model::{ClientName, ClientUid, Exit, Outcome};
use storage::{Program, Run, RunLock, Skew, Store, StoreError};

use crate::batches::{Batches, Terms};
use crate::budget::Budget;
use crate::command::host;
use crate::finished::{Finished, Step};
use crate::found::Found;
use crate::portions::{Granted, Sharing};
use crate::prepare::{Errand, Preparer};
use crate::queue::Standing;
use crate::report::{Line, counted, told};
use crate::run::{Failure, master_key, master_key_of};
use crate::supervisor::{Ledger, Visit, supervise};
use crate::{keys, random, route, store};

/// How often a client is visited at most for one command: a full spool takes three visits.
const VISITS: usize = 10;

/// Why it was not done.
pub(crate) struct Refusal(pub(crate) String, pub(crate) Exit);

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string(), failure.exit())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

/// The storage, with nobody else at work in it.
pub(crate) struct Clients<'a> {
    settings: &'a Settings,
    store: Box<dyn Store>,
    skew: Skew,
    _lock: RunLock,
}

impl<'a> Clients<'a> {
    /// Takes the run lock and opens the storage.
    pub(crate) fn open(settings: &'a Settings) -> Result<Self, Refusal> {
        let lock = RunLock::take(&settings.storage.state_dir, Program::Collector)?;
        let (store, skew) = store::open(settings, storage::open)?;
        Ok(Self { settings, store, skew, _lock: lock })
    }

    /// Gives a client another name; what to say.
    pub(crate) fn rename(&mut self, old: &ClientName, new: &ClientName) -> Result<String, Refusal> {
        let (found, taken) = (self.store.find(old)?, self.store.find(new)?);
        let Some(row) = found else {
            return match taken {
                Some(_) => Ok(format!("{new} is stored already, and {old} is not: there is nothing to do")),
                None => Err(Refusal(
                    format!("the storage has no client {old}: fleet-alerter status lists those that it has"),
                    Exit::Usage,
                )),
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
        let master: MasterKey = master_key(&self.settings.storage.state_dir)?;
        let now = self.skew.now();
        let (mut made, mut without) = (0, 0);
        for client in clients {
            match self.store.find(&client.name)? {
                Some(row) if !row.keys.is_empty() => {
                    keys::add(&row, &master, now, &mut *self.store)?;
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

    /// Has what is left at client `name` fetched and its spool removed there; with `purge` all goes that is stored of it,
    /// and what is left there unfetched. What to say.
    pub(crate) fn remove(
        &mut self,
        name: &ClientName,
        purge: bool,
        preparer: Option<&Arc<Preparer>>,
    ) -> Result<String, Refusal> {
        let Some(row) = self.store.find(name)? else {
            return Ok(format!("the storage has no client {name}: there is nothing to remove"));
        };
        let line = self.settings.clients.iter().find(|client| client.name == *name);
        let there = match (preparer, line) {
            (None, _) => "its spool at the client is left as it is".to_owned(),
            (Some(_), None) => {
                let text = format!(
                    "{name} is no enabled client of config.xml, so that its spool cannot be fetched and removed: put it \
                     back, or give --unreachable to leave its spool where it is"
                );
                return Err(Refusal(text, Exit::Usage));
            }
            (Some(preparer), Some(client)) if purge => {
                self.leave(client, Purpose::Abandon, preparer)?;
                "its spool at the client is removed".to_owned()
            }
            (Some(preparer), Some(client)) => {
                let fetched = self.leave(client, Purpose::Leave, preparer)?;
                format!(
                    "its spool at the client is removed, {} fetched before",
                    counted(fetched as u64, "new record")
                )
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
        let uid = row.uid;
        Ok(format!("{name}: {there}; {here}{rest}. A line of its own crontab with {uid} can go, too"))
    }

    /// Gives up what is spooled at `client` for key pairs that are not here any more; what to say.
    pub(crate) fn discard(&mut self, client: &Client, preparer: &Arc<Preparer>) -> Result<String, Refusal> {
        let name = &client.name;
        let errand = Errand { discard: true, ..Errand::default() };
        let mut given_up = 0;
        for _ in 0..VISITS {
            let visited = self.visit(client, errand, preparer)?;
            given_up += match visited.line.outcome {
                Outcome::Quarantined { count, .. } if visited.line.stored > 0 => count,
                _ => 0,
            };
            if visited.whole {
                return Ok(match given_up {
                    0 => format!("{name}: nothing is there that does not open"),
                    _ => format!(
                        "{name}: set aside {given_up} of its records, which do not open; the next run has the client \
                         remove them"
                    ),
                });
            }
        }
        Err(Refusal(format!("{name}: after {VISITS} visits there is still more; try again"), Exit::Partial))
    }

    /// Visits `client` until its spool is gone; how many new records came.
    fn leave(
        &mut self,
        client: &Client,
        purpose: Purpose,
        preparer: &Arc<Preparer>,
    ) -> Result<usize, Refusal> {
        let errand = Errand { purpose, ..Errand::default() };
        let mut fetched = 0;
        // What a visit brings, the next acknowledges; and the client's own cron may add to it in between.
        for _ in 0..VISITS {
            let visited = self.visit(client, errand, preparer)?;
            fetched += visited.line.stored;
            if visited.gone {
                return Ok(fetched);
            }
        }
        let text = format!(
            "{}: after {VISITS} visits something is left there that is not stored, and its spool is not removed. If its own \
             cron takes samples all the time, stop it; --unreachable leaves the spool where it is",
            client.name
        );
        Err(Refusal(text, Exit::Partial))
    }

    /// One visit, stored as a run stores it.
    fn visit(
        &mut self,
        client: &Client,
        errand: Errand,
        preparer: &Arc<Preparer>,
    ) -> Result<Visited, Refusal> {
        let begun = Instant::now();
        let rows = self.store.clients(from_ref(&client.name), &mut || ClientUid(random::bytes()))?;
        let master = master_key_of(self.settings, &rows, &mut *self.store)?;
        let mut log = self.store.begin_run(&Run {
            program: Program::Collector,
            host: host(),
            begin: self.skew.now(),
            end: None,
            done: 0,
            failed: 0,
            whole: false,
        })?;
        let visit = Visit {
            name: client.name.clone(),
            budget: Budget::new(client.timeout, preparer.largest_probe()),
            processes: route::processes(client),
            standing: Standing { failed_last: false, not_reached_last: false },
        };
        let terms = Terms { run: log.begin, begun, skew: self.skew, rest: Duration::ZERO, master: &master };
        let batches = Batches::new(rows, &mut *self.store, terms);
        let held = batches.held();
        let mut ledger = Watching { batches, gone: false, whole: false };
        let (asked, preparer) = (client.clone(), Arc::clone(preparer));
        let prepare = move |index| {
            let known = held.get(index);
            preparer.collect(&asked, &known.0, &known.1, errand)
        };
        let sharing = Sharing { others: true, patience: Duration::ZERO };
        supervise(&[visit], &[0], 1, (None, sharing), prepare, &mut ledger)?;
        let Watching { mut batches, gone, whole } = ledger;
        batches.flush()?;
        let mut report = batches.report;
        log.end = Some(self.skew.now());
        (log.done, log.failed) = (report.collected() as u64, report.failed() as u64);
        self.store.end_run(&log)?;
        let Some(line) = report.lines.pop() else {
            return Err(Refusal(report.elsewhere().unwrap_or_default(), Exit::Busy));
        };
        if line.outcome.is_collected() {
            return Ok(Visited { line, gone, whole });
        }
        let told = told(&client.name, &line.outcome);
        let text = format!(
            "{}: nothing was removed, for {told}. fleet-collector check-host {0} tells more",
            client.name
        );
        Err(Refusal(text, Exit::Partial))
    }
}

/// What came of one visit.
struct Visited {
    line: Line,
    /// Whether the spool is removed.
    gone: bool,
    /// Whether all that is spooled came.
    whole: bool,
}

/// The storage, and what a visit says beside its records.
struct Watching<'a> {
    batches: Batches<'a>,
    gone: bool,
    whole: bool,
}

impl Ledger for Watching<'_> {
    type Error = StoreError;

    fn take(&mut self, finished: Finished) -> Result<(), StoreError> {
        for (_, step) in &finished.steps {
            match step {
                Step::Found(Found::Gone) => self.gone = true,
                Step::Found(Found::Whole { .. }) => self.whole = true,
                Step::Found(_) | Step::Phase(_) | Step::Hop { .. } => {}
            }
        }
        self.batches.take(finished)
    }

    fn tick(&mut self) -> Result<(), StoreError> {
        self.batches.tick()
    }

    fn claim(&mut self, wanted: &[usize], limit: usize, to_visit: bool) -> Result<Granted, StoreError> {
        self.batches.claim(wanted, limit, to_visit)
    }

    fn leave(&mut self, visits: &[usize]) {
        self.batches.leave(visits);
    }
}
