//! The alerter's side: backlog, alerts, episodes, facts.

use std::collections::BTreeSet;

use model::wire::to_cbor;
use model::{
    Acknowledgement, AlertKey, AlertState, ClientMemory, ClientUid, Episode, EpisodeId, Fact, FactId, RuleId,
    Silence, Timestamp,
};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::fault::{Fault, corrupt, refused};
use super::series::Series;
use super::{SqliteStore, episodes, outbox, parsed, run_log, silences, subject_id};
use crate::backlog::{self, merge};
use crate::{
    AlertStore, Backoff, Delivery, Entry, Mark, Message, Program, Step, StoreError, Telling, Unevaluated,
    words,
};

impl AlertStore for SqliteStore {
    fn installation(&mut self) -> Result<String, StoreError> {
        self.read(|transaction, _| {
            let key = "SELECT value FROM meta WHERE key = 'installation'";
            Ok(transaction.query_row(key, [], |row| row.get(0))?)
        })
    }

    fn backlog(&mut self, limit: usize) -> Result<Vec<Unevaluated>, StoreError> {
        // One state of the file for all of it: an attempt must not be seen without what it brought.
        self.read(|transaction, series| {
            let (mut entries, mut bytes) = (Vec::new(), 0);
            for piece in oldest(transaction, limit)? {
                for (time, mark) in piece {
                    let (size, entry) = unevaluated(transaction, series, Timestamp(time), mark)?;
                    bytes += size;
                    entries.push(entry);
                }
                if bytes > backlog::MAX_BYTES {
                    break;
                }
            }
            Ok(entries)
        })
    }

    fn alerts(&mut self, clients: &[ClientUid]) -> Result<Vec<(AlertKey, AlertState)>, StoreError> {
        self.read(|transaction, _| {
            let mut alerts = Vec::new();
            for client in clients.iter().collect::<BTreeSet<_>>() {
                alerts.extend(states(transaction, "uid = ?1", [client.0])?);
            }
            Ok(alerts)
        })
    }

    fn memories(&mut self, clients: &[ClientUid]) -> Result<Vec<(ClientUid, ClientMemory)>, StoreError> {
        self.read(|transaction, _| {
            let clients: BTreeSet<_> = clients.iter().copied().collect();
            let found = clients.into_iter().map(|uid| memory(transaction, uid));
            Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        })
    }

    fn silences(&mut self, at: Timestamp) -> Result<Vec<Silence>, StoreError> {
        self.read(|transaction, _| silences::not_over(transaction, at))
    }

    fn add_silence(&mut self, silence: &Silence) -> Result<i64, StoreError> {
        self.write(|transaction, _| silences::add(transaction, silence))
    }

    fn end_silence(&mut self, id: i64, at: Timestamp) -> Result<bool, StoreError> {
        self.write(|transaction, _| silences::end(transaction, id, at))
    }

    fn acknowledgements(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Acknowledgement>, StoreError> {
        self.read(|transaction, _| {
            let episodes: BTreeSet<_> = episodes.iter().collect();
            let found = episodes.into_iter().map(|id| silences::acknowledgement(transaction, id));
            Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        })
    }

    fn acknowledge(&mut self, acknowledgement: &Acknowledgement) -> Result<(), StoreError> {
        self.write(|transaction, _| silences::acknowledge(transaction, acknowledgement))
    }

    fn firing(&mut self) -> Result<Vec<(AlertKey, AlertState)>, StoreError> {
        self.read(|transaction, _| {
            let mut alerts = states(transaction, "firing = 1", [])?;
            alerts.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(alerts)
        })
    }

    fn episodes(&mut self, ids: &[EpisodeId]) -> Result<Vec<Episode>, StoreError> {
        self.read(|transaction, _| {
            let ids: BTreeSet<_> = ids.iter().collect();
            let found =
                ids.into_iter().map(|id| episodes::select(transaction, "WHERE episode_id = ?1", [&id.0]));
            Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        })
    }

    fn commit(&mut self, step: &Step) -> Result<(), StoreError> {
        self.write(|transaction, _| {
            step.marks.iter().try_for_each(|mark| note_evaluated(transaction, *mark))?;
            step.states.iter().try_for_each(|(key, state)| put_state(transaction, key, state))?;
            step.memories.iter().try_for_each(|(uid, memory)| put_memory(transaction, *uid, memory))?;
            step.episodes.iter().try_for_each(|episode| episodes::put(transaction, episode))?;
            step.facts.iter().try_for_each(|fact| outbox::put_fact(transaction, fact))
        })
    }

    fn untold(&mut self) -> Result<Vec<(FactId, Fact)>, StoreError> {
        self.read(|transaction, _| outbox::facts(transaction, "WHERE told = 0 AND message_id IS NULL", []))
    }

    fn told(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Fact>, StoreError> {
        let told = "WHERE episode_id = ?1 AND (told = 1 OR message_id IS NOT NULL)";
        self.read(|transaction, _| by_id(episodes, |id| outbox::facts(transaction, told, [&id.0])))
    }

    fn tellings(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Telling>, StoreError> {
        self.read(|transaction, _| by_id(episodes, |id| outbox::tellings(transaction, id)))
    }

    fn messages_since(&mut self, since: Timestamp) -> Result<Vec<(String, Timestamp)>, StoreError> {
        self.read(|transaction, _| outbox::since(transaction, since))
    }

    fn drop_facts(&mut self, facts: &[FactId]) -> Result<(), StoreError> {
        self.write(|transaction, _| facts.iter().try_for_each(|fact| outbox::drop_fact(transaction, *fact)))
    }

    fn freeze(&mut self, message: &Message) -> Result<(), StoreError> {
        self.write(|transaction, _| outbox::freeze(transaction, message))
    }

    fn has_message(&mut self, id: &str) -> Result<bool, StoreError> {
        self.read(|transaction, _| outbox::is_kept(transaction, id))
    }

    fn outbox(&mut self) -> Result<Vec<Message>, StoreError> {
        let open = "WHERE status IN ('waiting', 'in-doubt')";
        let messages = self.read(|transaction, _| outbox::messages(transaction, open))?;
        Ok(messages.into_iter().map(|(message, _)| message).collect())
    }

    fn note_delivery(
        &mut self,
        message_id: &str,
        at: Timestamp,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        self.write(|transaction, _| outbox::note(transaction, message_id, at, delivery))
    }

    fn backoffs(&mut self) -> Result<Vec<Backoff>, StoreError> {
        self.read(|transaction, _| {
            let mut select = transaction
                .prepare_cached("SELECT receiver, failures, next, detail FROM backoff ORDER BY receiver")?;
            let rows = select.query_map([], |row| {
                Ok(Backoff {
                    receiver: row.get(0)?,
                    failures: row.get(1)?,
                    next: Timestamp(row.get(2)?),
                    detail: row.get(3)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn set_backoff(&mut self, backoff: &Backoff) -> Result<(), StoreError> {
        self.write(|transaction, _| {
            if backoff.failures == 0 {
                transaction.execute("DELETE FROM backoff WHERE receiver = ?1", [&backoff.receiver])?;
            } else {
                transaction.execute(
                    "REPLACE INTO backoff (receiver, failures, next, detail) VALUES (?1, ?2, ?3, ?4)",
                    params![backoff.receiver, backoff.failures, backoff.next.millis(), backoff.detail],
                )?;
            }
            Ok(())
        })
    }
}

/// What `of` gives of each episode, in order of the facts' ids.
fn by_id<T>(
    episodes: &[EpisodeId],
    of: impl Fn(&EpisodeId) -> Result<Vec<(FactId, T)>, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut facts = Vec::new();
    for id in episodes.iter().collect::<BTreeSet<_>>() {
        facts.extend(of(id)?);
    }
    facts.sort_by_key(|(id, _)| *id);
    Ok(facts.into_iter().map(|(_, fact)| fact).collect())
}

/// What is to be evaluated next.
fn oldest(transaction: &Transaction<'_>, limit: usize) -> Result<Vec<backlog::Piece>, Fault> {
    let mut select =
        transaction.prepare_cached("SELECT event_time, report_id FROM unevaluated ORDER BY 1, 2 LIMIT ?1")?;
    let reports = select.query_map([limit.min(1 << 20)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let reports: Vec<(i64, i64)> = reports.collect::<Result<_, _>>()?;
    let latest = run_log::runs(transaction, Program::Collector, 1)?.into_iter().next();
    let running = latest.filter(|run| run.end.is_none());
    let mut select = transaction.prepare_cached(
        "SELECT run, count(*) FROM unevaluated_attempt WHERE run IS NOT ?1 GROUP BY run ORDER BY max(at), run",
    )?;
    let runs =
        select.query_map([running.map(|run| run.begin.millis())], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut select = transaction.prepare_cached(
        "SELECT run, at, collection_id FROM unevaluated_attempt WHERE run = ?1 ORDER BY at, collection_id",
    )?;
    let mut attempts = Vec::new();
    for run in backlog::enough(runs, limit)? {
        let of_run = select.query_map([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        attempts.extend(of_run.map(|attempt| attempt.map_err(Fault::from)));
    }
    merge(reports, attempts.into_iter(), limit)
}

/// An entry of the backlog, and the bytes that it has in the file.
fn unevaluated(
    transaction: &Transaction<'_>,
    series: &mut Series,
    event_time: Timestamp,
    mark: Mark,
) -> Result<(usize, Unevaluated), Fault> {
    let (sql, id) = match mark {
        Mark::Report(id) => (
            "SELECT uid, name, payload, 0, 0 FROM report JOIN client USING (client_id) WHERE report_id = ?1",
            id,
        ),
        Mark::Attempt(id) => (
            "SELECT uid, name, outcome, coalesce(run, at),
                    coalesce((SELECT whole FROM run WHERE program = 'fleet-collector' AND begin = collection.run), 0)
             FROM collection JOIN client USING (client_id) WHERE collection_id = ?1",
            id,
        ),
    };
    let row = transaction
        .prepare_cached(sql)?
        .query_row([id], |row| {
            let run = (row.get(3)?, row.get(4)?, String::new());
            let (uid, name, blob) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(backlog::Row { mark, uid, name, event_time: event_time.millis(), blob, run })
        })
        .optional()?
        .ok_or_else(|| corrupt(format!("{mark:?} is marked, but is not there")))?;
    let bytes = row.blob.len();
    let (mut unevaluated, values) = row.read().map_err(corrupt)?;
    if let Entry::Report { samples, .. } = &mut unevaluated.entry {
        *samples = series.samples(transaction, &values)?;
    }
    Ok((bytes, unevaluated))
}

fn note_evaluated(transaction: &Transaction<'_>, mark: Mark) -> Result<(), Fault> {
    let (sql, id) = match mark {
        Mark::Report(id) => (
            "DELETE FROM unevaluated
             WHERE event_time = (SELECT event_time FROM report WHERE report_id = ?1) AND report_id = ?1",
            id,
        ),
        Mark::Attempt(id) => (
            "DELETE FROM unevaluated_attempt
             WHERE (run, at) = (SELECT coalesce(run, at), at FROM collection WHERE collection_id = ?1)
                   AND collection_id = ?1",
            id,
        ),
    };
    match transaction.prepare_cached(sql)?.execute([id])? {
        0 => Err(refused(format!("{mark:?} was evaluated already, or never stored"))),
        _ => Ok(()),
    }
}

/// The alerts that `condition` finds; those of one client in order of their keys.
fn states(
    transaction: &Transaction<'_>,
    condition: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<(AlertKey, AlertState)>, Fault> {
    let sql = format!(
        "SELECT uid, rule, labels, state, form FROM alert JOIN client USING (client_id) WHERE {condition}"
    );
    let mut select = transaction.prepare_cached(&sql)?;
    let rows = select.query_and_then(parameters, |row: &Row<'_>| -> Result<_, Fault> {
        let labels = parsed(&row.get::<_, String>(2)?)?;
        let key = AlertKey { client: ClientUid(row.get(0)?), rule: RuleId(row.get(1)?), labels };
        let blob: Vec<u8> = row.get(3)?;
        Ok((key, words::state(&blob, row.get(4)?).map_err(corrupt)?))
    })?;
    let mut states = rows.collect::<Result<Vec<_>, _>>()?;
    states.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(states)
}

fn put_state(transaction: &Transaction<'_>, key: &AlertKey, state: &AlertState) -> Result<(), Fault> {
    let client = subject_id(transaction, key.client)?;
    let labels = key.labels.to_string();
    if state.is_idle() {
        transaction
            .prepare_cached("DELETE FROM alert WHERE client_id = ?1 AND rule = ?2 AND labels = ?3")?
            .execute(params![client, key.rule.0, labels])?;
    } else {
        let firing = state.firing().is_some();
        transaction
            .prepare_cached(
                "REPLACE INTO alert (client_id, rule, labels, firing, state, form) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![client, key.rule.0, labels, firing, to_cbor(state), words::STATE_FORM])?;
    }
    Ok(())
}

fn memory(transaction: &Transaction<'_>, uid: ClientUid) -> Result<Option<(ClientUid, ClientMemory)>, Fault> {
    let mut select = transaction.prepare_cached(
        "SELECT since, reported, booted, reached FROM memory WHERE client_id = (SELECT client_id FROM client WHERE uid = ?1)",
    )?;
    let time =
        |row: &Row<'_>, index| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.map(Timestamp));
    let found = select.query_row([uid.0], |row| {
        let (since, reported, booted) = (time(row, 0)?, time(row, 1)?, time(row, 2)?);
        let memory = ClientMemory { since, reported, booted, reached: row.get(3)? };
        Ok((uid, memory))
    });
    Ok(found.optional()?)
}

fn put_memory(transaction: &Transaction<'_>, uid: ClientUid, memory: &ClientMemory) -> Result<(), Fault> {
    let client = subject_id(transaction, uid)?;
    transaction
        .prepare_cached(
            "REPLACE INTO memory (client_id, since, reported, booted, reached) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            client,
            memory.since.map(Timestamp::millis),
            memory.reported.map(Timestamp::millis),
            memory.booted.map(Timestamp::millis),
            memory.reached
        ])?;
    Ok(())
}
