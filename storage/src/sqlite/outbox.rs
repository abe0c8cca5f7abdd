//! Facts, and the messages that tell them.

use model::{EpisodeId, Fact, FactId, Timestamp};
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::fault::{Fault, corrupt, refused};
use crate::{Delivery, Message, Telling, words};

/// Keeps a fact, unless it is there.
pub(super) fn put_fact(transaction: &Transaction<'_>, fact: &Fact) -> Result<(), Fault> {
    transaction
        .prepare_cached(
            "INSERT INTO fact (episode_id, receiver, ordinal, reason, severity, at, after)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (episode_id, receiver, ordinal) DO NOTHING",
        )?
        .execute(params![
            fact.episode.0,
            fact.receiver,
            fact.ordinal,
            words::of_reason(fact.reason),
            fact.severity.to_string(),
            fact.at.millis(),
            fact.after.millis()
        ])?;
    Ok(())
}

/// Counts a fact as told that no message tells.
pub(super) fn drop_fact(transaction: &Transaction<'_>, fact: FactId) -> Result<(), Fault> {
    let dropped = transaction
        .prepare_cached("UPDATE fact SET told = 1 WHERE fact_id = ?1 AND (told = 1 OR message_id IS NULL)")?
        .execute([fact])?;
    if dropped == 0 { Err(refused(format!("the fact {fact} is in a message, or not there"))) } else { Ok(()) }
}

/// The facts that `condition` finds, by their ids.
pub(super) fn facts(
    transaction: &Transaction<'_>,
    condition: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<(FactId, Fact)>, Fault> {
    let sql = format!("{SELECT_FACT} FROM fact {condition} ORDER BY fact_id");
    let read = |row: &Row<'_>| Ok((row.get(0)?, read_fact(row)?));
    transaction.prepare_cached(&sql)?.query_and_then(parameters, read)?.collect()
}

/// The facts of an episode that are told or on their way, by their ids.
pub(super) fn tellings(
    transaction: &Transaction<'_>,
    episode: &EpisodeId,
) -> Result<Vec<(FactId, Telling)>, Fault> {
    let sql = format!(
        "{SELECT_FACT}, message.created, message.status = 'permanent' FROM fact LEFT JOIN message USING (message_id)
         WHERE episode_id = ?1 AND (told = 1 OR message_id IS NOT NULL)"
    );
    let read = |row: &Row<'_>| {
        let composed = row.get::<_, Option<i64>>(8)?.map(Timestamp);
        let refused = row.get::<_, Option<bool>>(9)?.unwrap_or(false);
        Ok((row.get(0)?, Telling { fact: read_fact(row)?, composed, refused }))
    };
    transaction.prepare_cached(&sql)?.query_and_then([&episode.0], read)?.collect()
}

/// What [`read_fact`] reads, and the fact's id before it.
const SELECT_FACT: &str = "SELECT fact_id, episode_id, fact.receiver, ordinal, reason, severity, at, after";

fn read_fact(row: &Row<'_>) -> Result<Fact, Fault> {
    Ok(Fact {
        episode: EpisodeId(row.get(1)?),
        receiver: row.get(2)?,
        ordinal: row.get(3)?,
        reason: words::reason(&row.get::<_, String>(4)?).map_err(corrupt)?,
        severity: words::severity(&row.get::<_, String>(5)?).map_err(corrupt)?,
        at: Timestamp(row.get(6)?),
        after: Timestamp(row.get(7)?),
    })
}

/// Who was written to since then, and when; oldest first.
pub(super) fn since(
    transaction: &Transaction<'_>,
    since: Timestamp,
) -> Result<Vec<(String, Timestamp)>, Fault> {
    let mut select = transaction.prepare_cached(
        "SELECT receiver, created FROM message WHERE created >= ?1 AND status <> 'permanent'
         ORDER BY created, message_id",
    )?;
    let rows = select.query_map([since.millis()], |row| Ok((row.get(0)?, Timestamp(row.get(1)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps a message and ties its facts to it. The same message again changes nothing; another of its id is refused.
pub(super) fn freeze(transaction: &Transaction<'_>, message: &Message) -> Result<(), Fault> {
    if let Some((_, kept, _)) = find(transaction, &message.id)? {
        return if kept.is_same_as(message) {
            Ok(())
        } else {
            Err(refused(format!("the message {} is frozen with another content", message.id)))
        };
    }
    let id = transaction
        .prepare_cached(
            "INSERT INTO message (id, receiver, subject, created, bytes, status, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, 'waiting', '')",
        )?
        .insert(params![
            message.id,
            message.receiver,
            message.subject,
            message.created.millis(),
            message.bytes
        ])?;
    let mut tie = transaction.prepare_cached(
        "UPDATE fact SET message_id = ?1
         WHERE fact_id = ?2 AND told = 0 AND (message_id IS NULL OR message_id = ?1)",
    )?;
    for fact in &message.facts {
        if tie.execute((id, fact))? == 0 {
            return Err(refused(format!("the fact {fact} is told, in another message, or not there")));
        }
    }
    Ok(())
}

/// The messages that `condition` finds, oldest first, with what became of them; `None` where nothing is noted.
pub(super) fn messages(
    transaction: &Transaction<'_>,
    condition: &str,
) -> Result<Vec<(Message, Option<Delivery>)>, Fault> {
    let sql = format!("{SELECT} {condition} ORDER BY created, message_id");
    let rows: Vec<Kept> =
        transaction.prepare_cached(&sql)?.query_and_then([], read)?.collect::<Result<_, _>>()?;
    rows.into_iter().map(|kept| whole(transaction, kept)).map(|kept| kept.map(|(_, m, d)| (m, d))).collect()
}

/// Notes what became of a message. What is sent or given up stays so.
pub(super) fn note(
    transaction: &Transaction<'_>,
    message_id: &str,
    at: Timestamp,
    delivery: &Delivery,
) -> Result<(), Fault> {
    let (id, _, before) =
        find(transaction, message_id)?.ok_or_else(|| refused(format!("there is no message {message_id}")))?;
    let (status, detail) = words::of_delivery(delivery);
    if let Some(before) = before.filter(|before| !before.may_become(delivery)) {
        let (before, _) = words::of_delivery(&before);
        return Err(refused(format!("the message {message_id} is {before} and cannot become {status}")));
    }
    if *delivery == Delivery::Dissolved {
        transaction.execute("UPDATE fact SET message_id = NULL WHERE message_id = ?1", [id])?;
        transaction.execute("DELETE FROM message WHERE message_id = ?1", [id])?;
        return Ok(());
    }
    transaction
        .prepare_cached("UPDATE message SET status = ?2, detail = ?3, noted = ?4 WHERE message_id = ?1")?
        .execute((id, status, detail, at.millis()))?;
    if let Delivery::Sent | Delivery::Permanent { .. } = delivery {
        transaction.execute("UPDATE fact SET told = 1 WHERE message_id = ?1", [id])?;
    }
    Ok(())
}

const SELECT: &str = "SELECT message_id, id, receiver, subject, created, bytes, status, detail FROM message";

/// A message's row: its facts are read afterwards.
type Kept = (i64, Message, Option<Delivery>);

fn find(transaction: &Transaction<'_>, message_id: &str) -> Result<Option<Kept>, Fault> {
    let sql = format!("{SELECT} WHERE id = ?1");
    let kept = transaction.prepare_cached(&sql)?.query_row([message_id], |row| Ok(read(row))).optional()?;
    kept.transpose()?.map(|kept| whole(transaction, kept)).transpose()
}

/// Whether there is a message of that id.
pub(super) fn is_kept(transaction: &Transaction<'_>, message_id: &str) -> Result<bool, Fault> {
    let mut select = transaction.prepare_cached("SELECT EXISTS (SELECT 1 FROM message WHERE id = ?1)")?;
    Ok(select.query_row([message_id], |row| row.get(0))?)
}

fn whole(transaction: &Transaction<'_>, (id, mut message, delivery): Kept) -> Result<Kept, Fault> {
    let mut select =
        transaction.prepare_cached("SELECT fact_id FROM fact WHERE message_id = ?1 ORDER BY fact_id")?;
    message.facts = select.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok((id, message, delivery))
}

fn read(row: &Row<'_>) -> Result<Kept, Fault> {
    let delivery = words::delivery(&row.get::<_, String>(6)?, row.get(7)?).map_err(corrupt)?;
    let message = Message {
        id: row.get(1)?,
        receiver: row.get(2)?,
        subject: row.get(3)?,
        created: Timestamp(row.get(4)?),
        bytes: row.get(5)?,
        facts: Vec::new(),
    };
    Ok((row.get(0)?, message, delivery))
}
