//! Facts, and the messages that tell them.

use std::collections::{BTreeSet, HashMap};

use model::{EpisodeId, Fact, FactId, Timestamp};

use super::episodes::texts;
use super::fault::{Fault, corrupt, refused};
use super::link::Tx;
use super::values::{Param, Row, params};
use crate::{Delivery, Message, Telling, words};

/// Keeps facts, but for those that are there.
pub(super) fn put_facts(tx: &mut Tx<'_>, facts: &[Fact]) -> Result<(), Fault> {
    if facts.is_empty() {
        return Ok(());
    }
    let times = |of: fn(&Fact) -> Timestamp| -> Vec<i64> { facts.iter().map(|f| of(f).millis()).collect() };
    tx.execute(
        "INSERT INTO fact (episode_id, receiver, ordinal, reason, severity, at, after)
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[])
         ON CONFLICT (episode_id, receiver, ordinal) DO NOTHING",
        params![
            facts.iter().map(|fact| fact.episode.0.as_str()).collect::<Vec<_>>(),
            facts.iter().map(|fact| fact.receiver.as_str()).collect::<Vec<_>>(),
            facts.iter().map(|fact| i64::from(fact.ordinal)).collect::<Vec<_>>(),
            facts.iter().map(|fact| words::of_reason(fact.reason)).collect::<Vec<_>>(),
            facts.iter().map(|fact| fact.severity.to_string()).collect::<Vec<_>>(),
            times(|fact| fact.at),
            times(|fact| fact.after),
        ],
    )?;
    Ok(())
}

/// Counts facts as told that no message tells.
pub(super) fn drop_facts(tx: &mut Tx<'_>, facts: &[FactId]) -> Result<(), Fault> {
    let facts: Vec<FactId> = distinct(facts);
    let dropped = tx.execute(
        "UPDATE fact SET told = true WHERE fact_id = ANY ($1) AND (told OR message_id IS NULL)",
        params![facts.as_slice()],
    )?;
    if dropped == facts.len() as u64 { Ok(()) } else { Err(refused("a fact is in a message, or not there")) }
}

fn distinct(facts: &[FactId]) -> Vec<FactId> {
    facts.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

/// The facts that `condition` finds, by their ids.
pub(super) fn facts(
    tx: &mut Tx<'_>,
    condition: &str,
    params: &[Param<'_>],
) -> Result<Vec<(FactId, Fact)>, Fault> {
    let sql = format!("{SELECT_FACT} FROM fact {condition} ORDER BY fact_id");
    tx.rows(&sql, params)?.iter().map(|row| Ok((row.get(0)?, read_fact(row)?))).collect()
}

/// The facts of episodes that are told or on their way, by their ids.
pub(super) fn tellings(tx: &mut Tx<'_>, episodes: &[EpisodeId]) -> Result<Vec<Telling>, Fault> {
    let sql = format!(
        "{SELECT_FACT}, message.created, coalesce(message.status = 'permanent', false)
         FROM fact LEFT JOIN message USING (message_id)
         WHERE episode_id = ANY ($1) AND (told OR message_id IS NOT NULL) ORDER BY fact_id"
    );
    let read = |row: &Row| {
        let composed = row.get::<Option<i64>>(8)?.map(Timestamp);
        Ok(Telling { fact: read_fact(row)?, composed, refused: row.get(9)? })
    };
    tx.rows(&sql, params![texts(episodes)])?.iter().map(read).collect()
}

/// What [`read_fact`] reads, and the fact's id before it.
const SELECT_FACT: &str = "SELECT fact_id, episode_id, fact.receiver, ordinal, reason, severity, at, after";

fn read_fact(row: &Row) -> Result<Fact, Fault> {
    Ok(Fact {
        episode: EpisodeId(row.get(1)?),
        receiver: row.get(2)?,
        ordinal: u32::try_from(row.get::<i64>(3)?).map_err(corrupt)?,
        reason: words::reason(row.get(4)?).map_err(corrupt)?,
        severity: words::severity(row.get(5)?).map_err(corrupt)?,
        at: Timestamp(row.get(6)?),
        after: Timestamp(row.get(7)?),
    })
}

/// Who was written to since then, and when; oldest first.
pub(super) fn since(tx: &mut Tx<'_>, since: Timestamp) -> Result<Vec<(String, Timestamp)>, Fault> {
    let rows = tx.rows(
        "SELECT receiver, created FROM message WHERE created >= $1 AND status <> 'permanent'
         ORDER BY created, message_id",
        params![since.millis()],
    )?;
    rows.iter().map(|row| Ok((row.get(0)?, Timestamp(row.get(1)?)))).collect()
}

/// Keeps a message and ties its facts to it. The same message again changes nothing; another of its id is refused.
pub(super) fn freeze(tx: &mut Tx<'_>, message: &Message) -> Result<(), Fault> {
    if let Some(kept) = find(tx, &message.id)? {
        return if kept.message.is_same_as(message) {
            Ok(())
        } else {
            Err(refused(format!("the message {} is frozen with another content", message.id)))
        };
    }
    let Message { id, receiver, subject, created, bytes, facts } = message;
    let number = tx.row(
        "INSERT INTO message (id, receiver, subject, created, bytes, status, detail)
         VALUES ($1, $2, $3, $4, $5, 'waiting', '') RETURNING message_id",
        params![id.as_str(), receiver.as_str(), subject.as_str(), created.millis(), bytes.as_slice()],
    )?;
    let number: i64 = number.ok_or_else(|| corrupt("a message has no number"))?.get(0)?;
    let facts = distinct(facts);
    let tied = tx.execute(
        "UPDATE fact SET message_id = $1 WHERE fact_id = ANY ($2) AND NOT told AND message_id IS NULL",
        params![number, facts.as_slice()],
    )?;
    if tied == facts.len() as u64 {
        Ok(())
    } else {
        Err(refused(format!("a fact of the message {id} is told, in another message, or not there")))
    }
}

/// A message's row.
pub(super) struct Kept {
    number: i64,
    /// The message.
    pub(super) message: Message,
    /// What became of it; `None` where nothing is noted.
    pub(super) delivery: Option<Delivery>,
}

/// The messages that `condition` finds, oldest first.
pub(super) fn messages(tx: &mut Tx<'_>, condition: &str, params: &[Param<'_>]) -> Result<Vec<Kept>, Fault> {
    let sql = format!(
        "SELECT message_id, id, receiver, subject, created, bytes, status, detail FROM message {condition}
         ORDER BY created, message_id"
    );
    let mut kept: Vec<Kept> = tx.rows(&sql, params)?.iter().map(read).collect::<Result<_, _>>()?;
    if kept.is_empty() {
        return Ok(kept);
    }
    let numbers: Vec<i64> = kept.iter().map(|kept| kept.number).collect();
    let rows = tx.rows(
        "SELECT message_id, fact_id FROM fact WHERE message_id = ANY ($1) ORDER BY fact_id",
        params![numbers],
    )?;
    let mut facts: HashMap<i64, Vec<FactId>> = HashMap::new();
    for row in rows {
        facts.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    for kept in &mut kept {
        kept.message.facts = facts.remove(&kept.number).unwrap_or_default();
    }
    Ok(kept)
}

fn find(tx: &mut Tx<'_>, message_id: &str) -> Result<Option<Kept>, Fault> {
    Ok(messages(tx, "WHERE id = $1", params![message_id])?.pop())
}

fn read(row: &Row) -> Result<Kept, Fault> {
    let message = Message {
        id: row.get(1)?,
        receiver: row.get(2)?,
        subject: row.get(3)?,
        created: Timestamp(row.get(4)?),
        bytes: row.get(5)?,
        facts: Vec::new(),
    };
    let delivery = words::delivery(row.get(6)?, row.get(7)?).map_err(corrupt)?;
    Ok(Kept { number: row.get(0)?, message, delivery })
}

/// Notes what became of a message. What is sent or given up stays so.
pub(super) fn note(
    tx: &mut Tx<'_>,
    message_id: &str,
    at: Timestamp,
    delivery: &Delivery,
) -> Result<(), Fault> {
    let kept = find(tx, message_id)?.ok_or_else(|| refused(format!("there is no message {message_id}")))?;
    let (status, detail) = words::of_delivery(delivery);
    if let Some(before) = kept.delivery.filter(|before| !before.may_become(delivery)) {
        let (before, _) = words::of_delivery(&before);
        return Err(refused(format!("the message {message_id} is {before} and cannot become {status}")));
    }
    let number = kept.number;
    if *delivery == Delivery::Dissolved {
        tx.execute("UPDATE fact SET message_id = NULL WHERE message_id = $1", params![number])?;
        tx.execute("DELETE FROM message WHERE message_id = $1", params![number])?;
        return Ok(());
    }
    tx.execute(
        "UPDATE message SET status = $2, detail = $3, noted = $4 WHERE message_id = $1",
        params![number, status, detail, at.millis()],
    )?;
    if let Delivery::Sent | Delivery::Permanent { .. } = delivery {
        tx.execute("UPDATE fact SET told = true WHERE message_id = $1", params![number])?;
    }
    Ok(())
}
