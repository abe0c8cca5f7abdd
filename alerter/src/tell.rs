//! The second half of a run: what there is to tell becomes messages, and these go out.

use std::collections::{BTreeMap, BTreeSet};

use log::{debug, error, warn};
use model::{EpisodeId, Fact, FactId, Firing};
use storage::{AlertStore, Step, Store, StoreError};

use crate::attention::{Budget, HOUR_MS, Standing};
use crate::mail::{self, Manner, Sender, Surroundings};
use crate::mailings::Mailings;
use crate::notify::{Background, Draft, notify};
use crate::outbox::{Outbox, Tally};
use crate::rulebook::Rulebook;
use crate::run::Job;
use crate::transport::Transport;

/// What the storage knows around so many episodes is remembered from one message to the next.
const AROUND: usize = 500;

/// Sends what earlier runs left, then what is new.
pub(crate) fn tell(
    store: &mut dyn Store,
    job: Job,
    rules: &Rulebook,
    transport: &mut dyn Transport,
) -> Result<Tally, StoreError> {
    let mailings = Mailings::of(job.settings);
    let mut outbox = Outbox::open(store, transport, job.now)?;
    outbox.send_earlier(store)?;
    let firing = firing(store)?;
    commit_due(store, job, rules, (&mailings, &firing))?;
    let untold = untold(store, &mut outbox)?;
    let ids: BTreeSet<EpisodeId> = untold.iter().map(|(_, fact)| fact.episode.clone()).collect();
    let ids: Vec<EpisodeId> = ids.into_iter().collect();
    let episodes = store.episodes(&ids)?.into_iter().map(|episode| (episode.id.clone(), episode)).collect();
    let told = store.tellings(&ids)?;
    let sent = store.messages_since(job.now.plus(-HOUR_MS))?;
    let background = Background { episodes: &episodes, firing: &firing, told: &told, rules, now: job.now };
    let notices = notify(&untold, background, &Budget::new(&sent, &mailings, job.now));
    if !notices.dropped.is_empty() {
        store.drop_facts(&notices.dropped)?;
    }
    for draft in &notices.postponed {
        let (receiver, most) = (draft.receiver, mailings.max_per_hour(draft.receiver));
        debug!("{receiver}: deliver: {} news wait: it had {most} mails within the hour", draft.facts.len());
    }
    send(store, job, &mailings, &notices.drafts, &mut outbox)?;
    Ok(outbox.tally())
}

/// Composes and sends new messages.
fn send(
    store: &mut dyn Store,
    job: Job,
    mailings: &Mailings,
    drafts: &[Draft],
    outbox: &mut Outbox,
) -> Result<(), StoreError> {
    let installation = store.installation()?;
    let open = store.open_episodes()?;
    let sender =
        Sender { from: job.from, installation: &installation, now: job.now, letterhead: job.letterhead };
    let mut around: BTreeMap<EpisodeId, Surroundings> = BTreeMap::new();
    for draft in drafts {
        if around.len() > AROUND {
            around.clear();
        }
        let manner = Manner::of(job.settings, mailings, draft.receiver, job.letterhead.zone);
        let message = mail::message(draft, sender, manner, &mut |line| {
            // Many receivers hear of the same.
            let read = || Surroundings::read(store, line.episode, &open, job.now);
            around.entry(line.episode.id.clone()).or_insert_with(read).clone()
        });
        match message {
            Ok(message) => outbox.send(store, &message)?,
            Err(fault) => {
                error!("{}: compose: {fault}: mend the address in config.xml", draft.receiver);
                outbox.count_failures(1);
            }
        }
    }
    Ok(())
}

/// Commits the reminders and escalations that are due, before any message tells them: a run that is killed then leaves
/// them to the next one.
fn commit_due(
    store: &mut dyn Store,
    job: Job,
    rules: &Rulebook,
    (mailings, firing): (&Mailings, &BTreeMap<EpisodeId, Firing>),
) -> Result<(), StoreError> {
    let open = store.open_episodes()?;
    let ids: Vec<EpisodeId> = open.iter().map(|episode| episode.id.clone()).collect();
    let standing = Standing {
        open: &open,
        firing,
        told: &store.tellings(&ids)?,
        untold: &store.untold()?,
        acknowledgements: &store.acknowledgements(&ids)?,
        silences: &store.silences(job.now)?,
        rules,
        mailings,
        now: job.now,
    };
    let facts = standing.due();
    if facts.is_empty() {
        return Ok(());
    }
    debug!("all: remind: {} reminders and escalations", facts.len());
    store.commit(&Step { facts, ..Step::default() })
}

/// How the alerts stand of the episodes that are open.
fn firing(store: &mut dyn AlertStore) -> Result<BTreeMap<EpisodeId, Firing>, StoreError> {
    let firing = store.firing()?;
    let firing = firing.into_iter().filter_map(|(_, state)| state.firing().cloned());
    Ok(firing.map(|firing| (firing.episode.clone(), firing)).collect())
}

/// The untold facts of the receivers that may be tried now.
fn untold(store: &mut dyn AlertStore, outbox: &mut Outbox) -> Result<Vec<(FactId, Fact)>, StoreError> {
    let mut waiting = BTreeMap::new();
    let mut untold = store.untold()?;
    untold.retain(|(_, fact)| match outbox.waits(&fact.receiver) {
        None => true,
        Some(backoff) => {
            waiting.insert(backoff.receiver.clone(), backoff.detail.clone());
            false
        }
    });
    for (receiver, detail) in &waiting {
        debug!("{receiver}: deliver: news waits after a failure: {detail}");
    }
    // Mail that is overdue is no success, even where this run does not try.
    outbox.count_failures(waiting.len() as u64);
    Ok(untold)
}

/// There is no way to send: the news stays untold, and the admin hears what to add.
pub(crate) fn keep(store: &mut dyn AlertStore, job: Job) -> Result<Tally, StoreError> {
    let due = store.untold()?.into_iter().filter(|(_, fact)| fact.after <= job.now);
    let waiting = due.count() + store.outbox()?.len();
    if waiting > 0 {
        warn!(
            "all: deliver: {waiting} news wait, for there is no way to send mail: add to config.xml \
             <mail transport=\"smtp\" host=\"mail.example.org\" from=\"fleet@example.org\"/>"
        );
    }
    Ok(Tally { sent: 0, failed: waiting as u64 })
}
