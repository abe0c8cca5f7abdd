//! The alerter's side: backlog, alerts, episodes, facts.

use std::collections::BTreeSet;

use model::wire::{from_cbor, to_cbor};
use model::{AlertKey, AlertState, ClientUid, Episode, EpisodeId, Fact, FactId, RuleId, Timestamp};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::fault::{Fault, corrupt, refused};
use super::series::Series;
use super::{SqliteStore, client_id, episodes, outbox, parsed};
use crate::backlog::{self, merge};
use crate::{
    AlertStore, Backoff, Delivery, Entry, Mark, Message, Run, Step, StoreError, Unevaluated, payload,
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
            let oldest = |sql: &str| -> Result<Vec<(i64, i64)>, Fault> {
                let mut select = transaction.prepare_cached(sql)?;
                let rows = select.query_map([limit.min(1 << 20)], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<Result<_, _>>()?)
            };
            let reports = oldest("SELECT event_time, report_id FROM unevaluated ORDER BY 1, 2 LIMIT ?1")?;
            let attempts =
                oldest("SELECT at, collection_id FROM unevaluated_collection ORDER BY 1, 2 LIMIT ?1")?;
            let (mut entries, mut bytes) = (Vec::new(), 0);
            for (time, mark) in merge(reports, attempts, limit) {
                let (size, entry) = unevaluated(transaction, series, Timestamp(time), mark)?;
                bytes += size;
                entries.push(entry);
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
            step.episodes.iter().try_for_each(|episode| episodes::put(transaction, episode))?;
            step.facts.iter().try_for_each(|fact| outbox::put_fact(transaction, fact))
        })
    }

    fn untold(&mut self) -> Result<Vec<(FactId, Fact)>, StoreError> {
        self.read(|transaction, _| outbox::facts(transaction, "WHERE told = 0 AND message_id IS NULL", []))
    }

    fn told(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Fact>, StoreError> {
        let told = "WHERE episode_id = ?1 AND (told = 1 OR message_id IS NOT NULL)";
        self.read(|transaction, _| facts_of(transaction, episodes, told))
    }

    fn refused(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Fact>, StoreError> {
        let refused = "WHERE episode_id = ?1
                       AND message_id IN (SELECT message_id FROM message WHERE status = 'permanent')";
        self.read(|transaction, _| facts_of(transaction, episodes, refused))
    }

    fn drop_facts(&mut self, facts: &[FactId]) -> Result<(), StoreError> {
        self.write(|transaction, _| facts.iter().try_for_each(|fact| outbox::drop_fact(transaction, *fact)))
    }

    fn freeze(&mut self, message: &Message) -> Result<(), StoreError> {
        self.write(|transaction, _| outbox::freeze(transaction, message))
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

    fn note_run(&mut self, run: &Run) -> Result<(), StoreError> {
        self.put_run(run)
    }
}

/// The facts of `episodes` that `condition` finds, by their ids.
fn facts_of(
    transaction: &Transaction<'_>,
    episodes: &[EpisodeId],
    condition: &str,
) -> Result<Vec<Fact>, Fault> {
    let mut facts = Vec::new();
    for id in episodes.iter().collect::<BTreeSet<_>>() {
        facts.extend(outbox::facts(transaction, condition, [&id.0])?);
    }
    facts.sort_by_key(|(id, _)| *id);
    Ok(facts.into_iter().map(|(_, fact)| fact).collect())
}

/// An entry of the backlog, and the bytes that it has in the file.
fn unevaluated(
    transaction: &Transaction<'_>,
    series: &mut Series,
    event_time: Timestamp,
    mark: Mark,
) -> Result<(usize, Unevaluated), Fault> {
    let (sql, id) = match mark {
        Mark::Report(id) => {
            ("SELECT uid, name, payload FROM report JOIN client USING (client_id) WHERE report_id = ?1", id)
        }
        Mark::Attempt(id) => (
            "SELECT uid, name, outcome FROM collection JOIN client USING (client_id) WHERE collection_id = ?1",
            id,
        ),
    };
    let (uid, name, blob): (_, String, Vec<u8>) = transaction
        .prepare_cached(sql)?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?
        .ok_or_else(|| corrupt(format!("{mark:?} is marked, but is not there")))?;
    let fault = |fault: String| corrupt(format!("{mark:?} of {name}: {fault}"));
    let entry = match mark {
        Mark::Report(_) => {
            let (values, extras) = payload::decode(&blob).map_err(fault)?;
            Entry::Report { samples: series.samples(transaction, &values)?, evidence: extras.evidence }
        }
        Mark::Attempt(_) => Entry::Attempt { outcome: from_cbor(&blob).map_err(fault)? },
    };
    let client_name = parsed(&name)?;
    Ok((blob.len(), Unevaluated { mark, client: ClientUid(uid), client_name, event_time, entry }))
}

fn note_evaluated(transaction: &Transaction<'_>, mark: Mark) -> Result<(), Fault> {
    let (sql, id) = match mark {
        Mark::Report(id) => (
            "DELETE FROM unevaluated
             WHERE event_time = (SELECT event_time FROM report WHERE report_id = ?1) AND report_id = ?1",
            id,
        ),
        Mark::Attempt(id) => (
            "DELETE FROM unevaluated_collection
             WHERE at = (SELECT at FROM collection WHERE collection_id = ?1) AND collection_id = ?1",
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
    let sql =
        format!("SELECT uid, rule, labels, state FROM alert JOIN client USING (client_id) WHERE {condition}");
    let mut select = transaction.prepare_cached(&sql)?;
    let rows = select.query_and_then(parameters, |row: &Row<'_>| -> Result<_, Fault> {
        let labels = parsed(&row.get::<_, String>(2)?)?;
        let key = AlertKey { client: ClientUid(row.get(0)?), rule: RuleId(row.get(1)?), labels };
        Ok((key, from_cbor(&row.get::<_, Vec<u8>>(3)?).map_err(corrupt)?))
    })?;
    let mut states = rows.collect::<Result<Vec<_>, _>>()?;
    states.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(states)
}

fn put_state(transaction: &Transaction<'_>, key: &AlertKey, state: &AlertState) -> Result<(), Fault> {
    let client = client_id(transaction, key.client)?;
    let labels = key.labels.to_string();
    if *state == AlertState::Inactive {
        transaction
            .prepare_cached("DELETE FROM alert WHERE client_id = ?1 AND rule = ?2 AND labels = ?3")?
            .execute(params![client, key.rule.0, labels])?;
    } else {
        let firing = matches!(state, AlertState::Firing { .. });
        transaction
            .prepare_cached(
                "REPLACE INTO alert (client_id, rule, labels, firing, state) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![client, key.rule.0, labels, firing, to_cbor(state)])?;
    }
    Ok(())
}
