//! `check` over the configured storage. Whatever fails is an answer too: it cannot be said.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Environment, Settings, nearest};
use model::text::escape_to;
use model::{EpisodeId, Severity, Timestamp};
use storage::{Program, RUNS_LOOKED_AT, Run, Store, StoreError, usual};

use super::{Answer, Known, client, fleet, patience, problems};
use crate::store;

/// Reads config.xml and the storage; `name` is the client's, `None` stands for the fleet.
pub fn answer(config: Option<&Path>, name: Option<&str>, now: Timestamp) -> Answer {
    match config::load_to_alert(config, &Environment::of_process()) {
        Err(faults) => {
            let more = match faults.count() {
                1 => String::new(),
                count => format!(" (and {} more; fleet-alerter check-config names them)", count - 1),
            };
            let first = faults.iter().next().map(config::Fault::brief).unwrap_or_default();
            Answer::unknown(&format!("config.xml is wrong: {first}{more}"))
        }
        Ok(settings) => open(&settings, name, now)
            .unwrap_or_else(|error| Answer::unknown(&format!("{error}: {}", error.remedy()))),
    }
}

fn open(settings: &Settings, name: Option<&str>, now: Timestamp) -> Result<Answer, StoreError> {
    let (mut store, skew) = store::open(settings, storage::open_existing)?;
    of_store(&mut *store, settings, name, skew.there(now))
}

/// What a store says of the client called `name`; `None` stands for the fleet.
pub fn of_store(
    store: &mut dyn Store,
    settings: &Settings,
    name: Option<&str>,
    now: Timestamp,
) -> Result<Answer, StoreError> {
    let named = |name: &str| settings.clients.iter().find(|client| client.name.as_str() == name);
    if let Some(name) = name.filter(|name| named(name).is_none()) {
        let near = nearest(name, settings.clients.iter().map(|client| client.name.as_str()));
        let near = near.map_or_else(String::new, |near| format!(": did you mean {near}?"));
        return Ok(Answer::unknown(&format!("config.xml has no client {}{near}", escape_to(name, 60))));
    }
    let open = store.open_episodes()?;
    let firing = store.firing()?;
    let firing = firing.iter().filter_map(|(_, state)| state.firing());
    let present: BTreeMap<EpisodeId, Severity> =
        firing.map(|firing| (firing.episode.clone(), firing.severity)).collect();
    let runs = store.latest_runs(Program::Collector, RUNS_LOOKED_AT)?;
    let whole: Vec<Run> = runs.iter().filter(|run| run.whole).cloned().collect();
    let patience = patience(settings.collector_every.or_else(|| usual(&whole)));
    if let Some(subject) = name.and_then(named) {
        let latest = store.latest()?.into_iter().find(|latest| latest.name == subject.name);
        let uid = latest.as_ref().map(|latest| latest.uid);
        let report = latest.as_ref().and_then(|latest| latest.report.as_ref());
        let report = report.map(|(at, _, samples)| (*at, samples.as_slice()));
        let problems = problems(open.iter().filter(|open| Some(open.key.client) == uid), &present);
        return Ok(client(Known { client: subject, report, problems: &problems }, patience, now));
    }
    // One that is killed in every run says nothing of the fleet.
    let ended = |runs: Vec<Run>| runs.into_iter().filter(|run| run.whole).filter_map(|run| run.end).max();
    let collected = ended(runs);
    let evaluated = ended(store.latest_runs(Program::Alerter, RUNS_LOOKED_AT)?);
    let problems = problems(open.iter(), &present);
    Ok(fleet(settings.clients.len(), &problems, (collected, evaluated), patience, now))
}
