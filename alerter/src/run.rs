//! One run: fold what is new, then tell people.

use std::collections::{BTreeMap, BTreeSet};

use config::Settings;
use log::{debug, error, warn};
use model::{AlertKey, AlertState, EpisodeId, Exit, Fact, FactId, Timestamp};
use storage::{AlertStore, History, Program, Run, Step, StoreError};

use crate::compose::{Letterhead, companion_of};
use crate::fold::{self, Known};
use crate::mail::{self, Sender};
use crate::notify::{Background, notify};
use crate::outbox::{Outbox, Tally};
use crate::rulebook::Rulebook;
use crate::transport::Transport;

/// Entries per batch: one transaction with its write to the disk, and what is in memory at once.
const BATCH: usize = 2000;

/// Who has news of an episode, told or not.
type Audience = BTreeMap<EpisodeId, BTreeSet<String>>;

/// What [`run`] works for and with.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// config.xml.
    pub settings: &'a Settings,
    /// The sender's address.
    pub from: &'a str,
    /// What messages say of this place.
    pub letterhead: Letterhead<'a>,
    /// When the run began.
    pub now: Timestamp,
    /// Asked once more at the end.
    pub clock: &'a dyn Fn() -> Timestamp,
}

/// One whole run. `transport` is `None` where there is no way to send mail: then the news waits.
pub fn run<S: AlertStore + History>(
    store: &mut S,
    job: Job,
    transport: Option<&mut dyn Transport>,
) -> Result<Exit, StoreError> {
    let rules = Rulebook::of(job.settings);
    note(store, job, None, Tally::default())?;
    fold_backlog(store, &rules)?;
    close_removed(store, &rules)?;
    let tally = match transport {
        Some(transport) => tell(store, job, &rules, transport)?,
        None => keep(store)?,
    };
    note(store, job, Some((job.clock)()), tally)?;
    Ok(if tally.failed == 0 { Exit::Ok } else { Exit::Partial })
}

fn note(
    store: &mut impl AlertStore,
    job: Job,
    end: Option<Timestamp>,
    tally: Tally,
) -> Result<(), StoreError> {
    let Tally { sent: done, failed } = tally;
    AlertStore::note_run(
        store,
        &Run { program: Program::Alerter, begin: job.now, end, done, failed, whole: true },
    )
}

/// Folds everything that was not evaluated yet, batch by batch.
fn fold_backlog(store: &mut impl AlertStore, rules: &Rulebook) -> Result<(), StoreError> {
    let mut untold = audience(store)?;
    loop {
        let batch = store.backlog(BATCH)?;
        if batch.is_empty() {
            return Ok(());
        }
        let states = store.alerts(&fold::clients(&batch))?;
        let step = fold::fold(&batch, known(store, states, &untold)?, rules);
        debug!("all: evaluate: {} entries, {} facts", step.marks.len(), step.facts.len());
        store.commit(&step)?;
        for fact in step.facts {
            untold.entry(fact.episode).or_default().insert(fact.receiver);
        }
    }
}

/// Closes what fires for a rule or client that is gone from config.xml.
fn close_removed(store: &mut impl AlertStore, rules: &Rulebook) -> Result<(), StoreError> {
    let untold = audience(store)?;
    let states = store.firing()?;
    let step = fold::close_removed(known(store, states, &untold)?, rules);
    if step == Step::default() { Ok(()) } else { store.commit(&step) }
}

/// Who is to hear of which episode and did not yet.
fn audience(store: &mut impl AlertStore) -> Result<Audience, StoreError> {
    let mut audience = Audience::new();
    for (_, fact) in store.untold()? {
        audience.entry(fact.episode).or_default().insert(fact.receiver);
    }
    Ok(audience)
}

/// What the fold has to know of these alerts.
fn known(
    store: &mut impl AlertStore,
    states: Vec<(AlertKey, AlertState)>,
    untold: &Audience,
) -> Result<Known, StoreError> {
    let open: BTreeSet<EpisodeId> = states
        .iter()
        .filter_map(|(_, state)| match state {
            AlertState::Firing { episode, .. } => Some(episode.clone()),
            _ => None,
        })
        .collect();
    let ids: Vec<EpisodeId> = open.iter().cloned().collect();
    let episodes = store.episodes(&ids)?.into_iter().map(|episode| (episode.id.clone(), episode)).collect();
    let waiting = |id: EpisodeId| untold.get(&id).cloned().map(|receivers| (id, receivers));
    let audience = open.into_iter().filter_map(waiting).collect();
    let mut known = Known { states: states.into_iter().collect(), episodes, audience };
    known.add_audience(&store.told(&ids)?);
    Ok(known)
}

/// Sends what earlier runs left, then what is new.
fn tell<S: AlertStore + History>(
    store: &mut S,
    job: Job,
    rules: &Rulebook,
    transport: &mut dyn Transport,
) -> Result<Tally, StoreError> {
    let mut outbox = Outbox::open(store, transport, job.now)?;
    outbox.send_earlier(store)?;
    let untold = due(store, &mut outbox)?;
    let ids: Vec<EpisodeId> =
        untold.iter().map(|(_, fact)| fact.episode.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let episodes = store.episodes(&ids)?.into_iter().map(|episode| (episode.id.clone(), episode)).collect();
    let (told, refused) = (store.told(&ids)?, store.refused(&ids)?);
    let notices = notify(&untold, Background { episodes: &episodes, told: &told, refused: &refused, rules });
    if !notices.dropped.is_empty() {
        store.drop_facts(&notices.dropped)?;
    }
    let installation = store.installation()?;
    let sender =
        Sender { from: job.from, installation: &installation, now: job.now, letterhead: job.letterhead };
    for draft in &notices.drafts {
        let message = mail::message(draft, sender, &mut |episode| {
            let (name, at) = (companion_of(&episode.metric)?, episode.last_at);
            // Only a number more in the text: a mail without it is better than none.
            let series = store.series(episode.key.client, name, &episode.key.labels, at, at).ok()?;
            series.last().map(|&(_, value)| (name, value))
        });
        match message {
            Ok(message) => outbox.send(store, &message)?,
            Err(fault) => {
                error!("{}: compose: {fault}: mend the address in config.xml", draft.receiver);
                outbox.count_failures(1);
            }
        }
    }
    Ok(outbox.tally())
}

/// The untold facts of the receivers that may be tried now.
fn due(store: &mut impl AlertStore, outbox: &mut Outbox) -> Result<Vec<(FactId, Fact)>, StoreError> {
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
fn keep(store: &mut impl AlertStore) -> Result<Tally, StoreError> {
    let waiting = store.untold()?.len() + store.outbox()?.len();
    if waiting > 0 {
        warn!(
            "all: deliver: {waiting} news wait, for there is no way to send mail: add to config.xml \
             <mail transport=\"smtp\" host=\"mail.example.org\" from=\"fleet@example.org\"/>"
        );
    }
    Ok(Tally { sent: 0, failed: waiting as u64 })
}
