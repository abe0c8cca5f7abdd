//! `fleet-alerter report`: what happened in a day or a week, as a mail.

mod disks;
mod letter;
pub mod span;
mod summary;

use std::collections::BTreeSet;

use log::{debug, error};
use model::{Episode, Exit};
use storage::{History, Latest, Message, Store, StoreError};

use self::span::{Period, Span};
use self::summary::Summary;
use crate::mail::{self, Manner, Sender};
use crate::mailings::Mailings;
use crate::outbox::Outbox;
use crate::rulebook::Rulebook;
use crate::run::{self, Job};
use crate::transport::Transport;

/// The most episodes that a report looks at.
const EPISODES: usize = 100_000;

/// Who gets a report, and on which clients.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reader<'a> {
    address: &'a str,
    /// The clients by name.
    clients: BTreeSet<&'a str>,
    /// Whether it is about the fleet as a whole too.
    is_of_fleet: bool,
}

/// Sends a report to `to`, else to the admins of `<mail>` and to everybody whom a rule tells. One that was sent is not
/// sent again; one that could not be handed over goes out with the next run.
pub fn report(
    store: &mut dyn Store,
    job: Job,
    period: Period,
    to: Option<&str>,
    transport: &mut dyn Transport,
) -> Result<Exit, StoreError> {
    // Two hosts may be told to send it at the same time.
    let log = run::begin(store, job, false)?;
    let latest = store.latest()?;
    let installation = store.installation()?;
    let sender =
        Sender { from: job.from, installation: &installation, now: job.now, letterhead: job.letterhead };
    let waiting: BTreeSet<String> = store.outbox()?.into_iter().map(|message| message.id).collect();
    let mut outbox = Outbox::open(store, transport, job.now)?;
    for reader in readers(job, to) {
        let address = reader.address;
        match message(store, job, period, sender, &latest, &reader)? {
            Ok(message) if waiting.contains(&message.id) => {
                debug!("{address}: report: it waits for the next run");
                outbox.count_failures(1);
            }
            Ok(message) if store.has_message(&message.id)? => {
                debug!("{address}: report: it was sent before");
            }
            Ok(message) => outbox.post(store, &message)?,
            Err(fault) => {
                error!("{address}: compose: {fault}: mend the address in config.xml");
                outbox.count_failures(1);
            }
        }
    }
    let tally = outbox.tally();
    run::end(store, job, log, tally)
}

/// Whether anybody gets a report.
pub fn has_readers(job: Job, to: Option<&str>) -> bool {
    !readers(job, to).is_empty()
}

fn readers<'a>(job: Job<'a>, to: Option<&'a str>) -> Vec<Reader<'a>> {
    let settings = job.settings;
    let all = || settings.clients.iter().map(|client| client.name.as_str()).collect::<BTreeSet<_>>();
    if let Some(address) = to {
        return vec![Reader { address, clients: all(), is_of_fleet: true }];
    }
    let admins = settings.mail.as_ref().map(|mail| mail.admin.as_slice()).unwrap_or_default();
    let mut readers: Vec<Reader> =
        admins.iter().map(|address| Reader { address, clients: all(), is_of_fleet: true }).collect();
    for address in Rulebook::of(settings).receivers() {
        if admins.iter().any(|admin| admin == address) {
            continue;
        }
        let of_rules = settings.clients.iter().filter(|client| {
            client.rules.iter().any(|rule| rule.receivers.iter().any(|receiver| receiver == address))
        });
        let clients = of_rules.map(|client| client.name.as_str()).collect();
        readers.push(Reader { address, clients, is_of_fleet: false });
    }
    readers
}

fn message(
    store: &mut dyn History,
    job: Job,
    period: Period,
    sender: Sender,
    latest: &[Latest],
    reader: &Reader,
) -> Result<Result<Message, String>, StoreError> {
    let mailings = Mailings::of(job.settings);
    let manner = Manner::of(job.settings, &mailings, reader.address, job.letterhead.zone);
    let span = Span::before(job.now, period, manner.zone);
    let mut episodes = store.episodes_between(span.from, job.now, EPISODES)?;
    episodes.retain(|episode: &Episode| {
        reader.clients.contains(episode.client_name.as_str())
            || (reader.is_of_fleet && episode.client_name.is_empty())
    });
    let summary = Summary::of(span, &reader.clients, &episodes, job.now);
    let disks = disks::fullest(store, latest, &reader.clients, span)?;
    let subject = letter::subject(period, &summary);
    let name = format!("{} {} {}", period.name(), span.from.millis(), span.to.millis());
    Ok(mail::report(sender, manner, &name, &subject, |letter| {
        letter::write(letter, period, &summary, &disks, (job.now, !manner.text_only()));
    }))
}
