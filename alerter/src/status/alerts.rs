//! What fires, what may fire soon, and what is silenced.

use std::collections::BTreeMap;

use config::Settings;
use model::{
    Acknowledgement, AlertKey, AlertPhase, AlertState, ClientUid, Episode, EpisodeId, Firing, Silence,
    Timestamp,
};
use serde::Serialize;
use storage::{AlertStore, Latest, Store, StoreError};

use super::{labels, rfc3339, unit};
use crate::wording;

/// One open episode.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertStatus {
    /// The episode's id; `ack` takes its beginning.
    pub id: String,
    /// The client's name.
    pub client: String,
    /// The rule's metric.
    pub metric: String,
    /// Which series.
    pub labels: BTreeMap<String, String>,
    /// The rule's id.
    pub rule: String,
    /// `warning` or `critical`: the worst so far.
    pub severity: String,
    /// How bad the latest value is.
    pub now: String,
    /// The first breach.
    pub begin: String,
    /// When it fired.
    pub fired: String,
    /// The latest value.
    pub value: f64,
    /// The limit that was breached last.
    pub limit: f64,
    /// The worst value.
    pub peak: f64,
    /// When that was.
    pub peak_at: String,
    /// The unit of the values.
    pub unit: &'static str,
    /// What a failed collection said; else empty.
    pub detail: String,
    /// Whether there is news of it for people.
    pub told: bool,
    /// Why news of it is held back; empty where none is.
    pub held: String,
    /// Whether it changes too often to be told of each time.
    pub flapping: bool,
    /// Since when it has been fine, where it fires only because that is not long enough.
    pub fine_since: Option<String>,
    /// Who works on it, or why nobody is reminded; `null` where nobody said so.
    pub acknowledged: Option<String>,
}

/// One alert that breaches, but not for long enough to fire.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PendingStatus {
    /// The client's name.
    pub client: String,
    /// The rule's metric.
    pub metric: String,
    /// Which series.
    pub labels: BTreeMap<String, String>,
    /// The rule's id.
    pub rule: String,
    /// The first breach.
    pub since: String,
    /// What it lacks to fire; for people.
    pub missing: String,
}

/// One silence that is not over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SilenceStatus {
    /// Its number.
    pub id: i64,
    /// A client's name, or `@group`.
    pub target: String,
    /// The type that it is about; `null`: all.
    pub metric: Option<String>,
    /// When it begins.
    pub from: String,
    /// When it ends.
    pub until: String,
    /// Why; for people.
    pub why: String,
}

/// The open episodes, oldest first.
pub(super) fn open(store: &mut dyn Store, now: Timestamp) -> Result<Vec<AlertStatus>, StoreError> {
    let episodes = store.open_episodes()?;
    let ids: Vec<EpisodeId> = episodes.iter().map(|episode| episode.id.clone()).collect();
    let acknowledged: BTreeMap<EpisodeId, Acknowledgement> =
        store.acknowledgements(&ids)?.into_iter().map(|one| (one.episode.clone(), one)).collect();
    let states = store.firing()?;
    let firing: BTreeMap<&EpisodeId, &Firing> = states
        .iter()
        .filter_map(|(_, state)| state.firing())
        .map(|firing| (&firing.episode, firing))
        .collect();
    let told = |episode: &Episode| {
        let taken_on = acknowledged.get(&episode.id).filter(|one| is_on(one, now));
        alert(episode, firing.get(&episode.id).copied(), taken_on)
    };
    Ok(episodes.iter().map(told).collect())
}

/// Whether somebody works on it at `now`.
pub(crate) fn is_on(acknowledgement: &Acknowledgement, now: Timestamp) -> bool {
    acknowledgement.from <= now && acknowledgement.until.is_none_or(|until| now < until)
}

fn alert(episode: &Episode, firing: Option<&Firing>, taken_on: Option<&Acknowledgement>) -> AlertStatus {
    let is_held = firing.is_some_and(|firing| firing.told.is_none_or(|told| firing.severity > told));
    AlertStatus {
        id: episode.id.to_string(),
        client: episode.client_name.clone(),
        metric: episode.metric.clone(),
        labels: labels(&episode.key.labels),
        rule: episode.key.rule.to_string(),
        severity: episode.severity.to_string(),
        now: firing.map_or(episode.severity, |firing| firing.severity).to_string(),
        begin: rfc3339(episode.begin),
        fired: rfc3339(episode.fired),
        value: episode.last_value,
        limit: episode.limit,
        peak: episode.peak,
        peak_at: rfc3339(episode.peak_at),
        unit: unit(&episode.metric),
        detail: episode.detail.replace('\n', ": "),
        told: firing.is_some_and(|firing| firing.told.is_some()),
        held: if is_held { episode.held.clone() } else { String::new() },
        flapping: firing.is_some_and(|firing| firing.flapping),
        fine_since: firing.and_then(|firing| firing.fine_since).map(rfc3339),
        acknowledged: taken_on.map(|one| one.why.clone()),
    }
}

/// What breaches, but not for long enough, oldest first.
pub(super) fn pending(
    store: &mut dyn AlertStore,
    latest: &[Latest],
    settings: &Settings,
) -> Result<Vec<PendingStatus>, StoreError> {
    let uids: Vec<ClientUid> = latest.iter().map(|latest| latest.uid).collect();
    let mut waiting: Vec<(Timestamp, PendingStatus)> = Vec::new();
    for (key, state) in store.alerts(&uids)? {
        let AlertPhase::Pending { since } = state.phase else { continue };
        let latest = latest.iter().find(|latest| latest.uid == key.client);
        waiting.extend(
            latest
                .and_then(|latest| wait(latest, &key, &state, since, settings))
                .map(|status| (since, status)),
        );
    }
    waiting.sort_by(|a, b| (a.0, &a.1.client, &a.1.rule).cmp(&(b.0, &b.1.client, &b.1.rule)));
    Ok(waiting.into_iter().map(|(_, status)| status).collect())
}

fn wait(
    latest: &Latest,
    key: &AlertKey,
    state: &AlertState,
    since: Timestamp,
    settings: &Settings,
) -> Option<PendingStatus> {
    let client = settings.clients.iter().find(|client| client.name == latest.name)?;
    let rule = client.rules.iter().find(|rule| rule.id == key.rule)?;
    let seen =
        [latest.report.as_ref().map(|report| report.0), latest.attempt.as_ref().map(|attempt| attempt.0)];
    // What goes by collections has no report to go by.
    let newest = if model::metric::describe(&rule.metric).is_some() { seen[0] } else { seen[0].max(seen[1]) };
    Some(PendingStatus {
        client: latest.name.to_string(),
        metric: rule.metric.clone(),
        labels: labels(&key.labels),
        rule: key.rule.to_string(),
        since: rfc3339(since),
        missing: wording::missing(rule, state, since, newest.unwrap_or(since)),
    })
}

pub(super) fn silence(silence: Silence) -> SilenceStatus {
    let Silence { id, target, metric, from, until, why } = silence;
    SilenceStatus { id, target, metric, from: rfc3339(from), until: rfc3339(until), why }
}
