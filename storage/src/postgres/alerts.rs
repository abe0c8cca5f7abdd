//! The alerter's side: backlog, alerts, episodes, facts. Whatever the size of a step, its round trips are about ten.

use model::{
    Acknowledgement, AlertKey, AlertState, ClientMemory, ClientUid, Episode, EpisodeId, Fact, FactId,
    Silence, Timestamp,
};

use super::fault::{Fault, corrupt, refused};
use super::link::Tx;
use super::values::{Row, params};
use super::{PostgresStore, backlog, episodes, outbox, run_log, silences, states};
use crate::{AlertStore, Backoff, Delivery, Mark, Message, Step, StoreError, Telling, Unevaluated};

impl AlertStore for PostgresStore {
    fn installation(&mut self) -> Result<String, StoreError> {
        self.read(|tx, _| {
            let found = tx.row("SELECT value FROM meta WHERE key = 'installation'", &[])?;
            found.ok_or_else(|| corrupt("the storage does not say which it is"))?.get(0)
        })
    }

    fn backlog(&mut self, limit: usize) -> Result<Vec<Unevaluated>, StoreError> {
        if !self.link.is_private() {
            self.write(|tx, _| run_log::bury(tx))?;
        }
        self.read(|tx, series| backlog::oldest(tx, series, limit))
    }

    fn alerts(&mut self, clients: &[ClientUid]) -> Result<Vec<(AlertKey, AlertState)>, StoreError> {
        self.read(|tx, _| states::of_clients(tx, clients))
    }

    fn memories(&mut self, clients: &[ClientUid]) -> Result<Vec<(ClientUid, ClientMemory)>, StoreError> {
        self.read(|tx, _| states::memories(tx, clients))
    }

    fn silences(&mut self, at: Timestamp) -> Result<Vec<Silence>, StoreError> {
        self.read(|tx, _| silences::not_over(tx, at))
    }

    fn add_silence(&mut self, silence: &Silence) -> Result<i64, StoreError> {
        self.write_once(|tx, _| silences::add(tx, silence))
    }

    fn end_silence(&mut self, id: i64, at: Timestamp) -> Result<bool, StoreError> {
        self.write(|tx, _| silences::end(tx, id, at))
    }

    fn acknowledgements(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Acknowledgement>, StoreError> {
        self.read(|tx, _| silences::acknowledgements(tx, episodes))
    }

    fn acknowledge(&mut self, acknowledgement: &Acknowledgement) -> Result<(), StoreError> {
        self.write(|tx, _| silences::acknowledge(tx, acknowledgement))
    }

    fn firing(&mut self) -> Result<Vec<(AlertKey, AlertState)>, StoreError> {
        self.read(|tx, _| states::firing(tx))
    }

    fn episodes(&mut self, ids: &[EpisodeId]) -> Result<Vec<Episode>, StoreError> {
        self.read(|tx, _| {
            let mut found =
                episodes::select(tx, "WHERE episode_id = ANY ($1)", params![episodes::texts(ids)])?;
            found.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(found)
        })
    }

    fn commit(&mut self, step: &Step) -> Result<(), StoreError> {
        self.write(|tx, _| {
            note_evaluated(tx, &step.marks)?;
            let subjects = states::subjects(tx, step)?;
            states::put(tx, &subjects, &step.states)?;
            states::put_memories(tx, &subjects, &step.memories)?;
            episodes::put(tx, &subjects, &step.episodes)?;
            outbox::put_facts(tx, &step.facts)
        })
    }

    fn untold(&mut self) -> Result<Vec<(FactId, Fact)>, StoreError> {
        self.read(|tx, _| outbox::facts(tx, "WHERE NOT told AND message_id IS NULL", &[]))
    }

    fn told(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Fact>, StoreError> {
        let told = "WHERE episode_id = ANY ($1) AND (told OR message_id IS NOT NULL)";
        let facts = self.read(|tx, _| outbox::facts(tx, told, params![episodes::texts(episodes)]))?;
        Ok(facts.into_iter().map(|(_, fact)| fact).collect())
    }

    fn tellings(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Telling>, StoreError> {
        self.read(|tx, _| outbox::tellings(tx, episodes))
    }

    fn messages_since(&mut self, since: Timestamp) -> Result<Vec<(String, Timestamp)>, StoreError> {
        self.read(|tx, _| outbox::since(tx, since))
    }

    fn drop_facts(&mut self, facts: &[FactId]) -> Result<(), StoreError> {
        self.write(|tx, _| outbox::drop_facts(tx, facts))
    }

    fn freeze(&mut self, message: &Message) -> Result<(), StoreError> {
        self.write(|tx, _| outbox::freeze(tx, message))
    }

    fn has_message(&mut self, id: &str) -> Result<bool, StoreError> {
        self.read(|tx, _| Ok(tx.row("SELECT 1::bigint FROM message WHERE id = $1", params![id])?.is_some()))
    }

    fn outbox(&mut self) -> Result<Vec<Message>, StoreError> {
        let open = "WHERE status IN ('waiting', 'in-doubt')";
        let messages = self.read(|tx, _| outbox::messages(tx, open, &[]))?;
        Ok(messages.into_iter().map(|kept| kept.message).collect())
    }

    fn note_delivery(
        &mut self,
        message_id: &str,
        at: Timestamp,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        self.write(|tx, _| outbox::note(tx, message_id, at, delivery))
    }

    fn backoffs(&mut self) -> Result<Vec<Backoff>, StoreError> {
        let backoff = |row: Row| {
            let failures: i64 = row.get(1)?;
            Ok(Backoff {
                receiver: row.get(0)?,
                failures: u32::try_from(failures).map_err(corrupt)?,
                next: Timestamp(row.get(2)?),
                detail: row.get(3)?,
            })
        };
        let mut all: Vec<Backoff> = self.read(|tx, _| {
            let rows = tx.rows("SELECT receiver, failures, next, detail FROM backoff", &[])?;
            rows.into_iter().map(backoff).collect()
        })?;
        all.sort_by(|a, b| a.receiver.cmp(&b.receiver));
        Ok(all)
    }

    fn set_backoff(&mut self, backoff: &Backoff) -> Result<(), StoreError> {
        let Backoff { receiver, failures, next, detail } = backoff;
        self.write(|tx, _| {
            if *failures == 0 {
                tx.execute("DELETE FROM backoff WHERE receiver = $1", params![receiver.as_str()])?;
            } else {
                tx.execute(
                    "INSERT INTO backoff (receiver, failures, next, detail) VALUES ($1, $2, $3, $4)
                     ON CONFLICT (receiver) DO UPDATE SET
                         failures = excluded.failures, next = excluded.next, detail = excluded.detail",
                    params![receiver.as_str(), i64::from(*failures), next.millis(), detail.as_str()],
                )?;
            }
            Ok(())
        })
    }
}

/// Spends marks. One that is not there fails the step: somebody else has folded it, or it stands in the step twice.
fn note_evaluated(tx: &mut Tx<'_>, marks: &[Mark]) -> Result<(), Fault> {
    let (mut reports, mut attempts) = (Vec::new(), Vec::new());
    for mark in marks {
        match mark {
            Mark::Report(id) => reports.push(*id),
            Mark::Attempt(id) => attempts.push(*id),
        }
    }
    for (sql, ids, what) in [
        ("DELETE FROM unevaluated WHERE report_id = ANY ($1)", reports, "reports"),
        ("DELETE FROM unevaluated_attempt WHERE collection_id = ANY ($1)", attempts, "attempts"),
    ] {
        if !ids.is_empty() && tx.execute(sql, params![ids.as_slice()])? != ids.len() as u64 {
            return Err(refused(format!("some of these {what} were evaluated already, or never stored")));
        }
    }
    Ok(())
}
