//! What people said about being told: silences and acknowledgements.

use model::{Acknowledgement, EpisodeId, Silence, Timestamp};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::fault::Fault;

/// Those that are not over at `at`, by their numbers.
pub(super) fn not_over(transaction: &Transaction<'_>, at: Timestamp) -> Result<Vec<Silence>, Fault> {
    let mut select = transaction.prepare_cached(
        "SELECT silence_id, target, metric, begin, until, why FROM silence WHERE until > ?1 ORDER BY silence_id",
    )?;
    let rows = select.query_map([at.millis()], |row| {
        Ok(Silence {
            id: row.get(0)?,
            target: row.get(1)?,
            metric: row.get(2)?,
            from: Timestamp(row.get(3)?),
            until: Timestamp(row.get(4)?),
            why: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keeps a silence under a number of its own.
pub(super) fn add(transaction: &Transaction<'_>, silence: &Silence) -> Result<i64, Fault> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO silence (target, metric, begin, until, why) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    Ok(insert.insert(params![
        silence.target,
        silence.metric,
        silence.from.millis(),
        silence.until.millis(),
        silence.why
    ])?)
}

/// Ends one that is not over; gives whether there was one.
pub(super) fn end(transaction: &Transaction<'_>, id: i64, at: Timestamp) -> Result<bool, Fault> {
    let until = transaction
        .prepare_cached("SELECT until FROM silence WHERE silence_id = ?1 AND until > ?2")?
        .query_row((id, at.millis()), |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(until) = until else { return Ok(false) };
    transaction
        .prepare_cached("UPDATE silence SET until = max(begin, ?2) WHERE silence_id = ?1")?
        .execute((id, at.millis()))?;
    transaction
        .prepare_cached("UPDATE fact SET after = ?2 WHERE after = ?1 AND told = 0 AND message_id IS NULL")?
        .execute((until, at.millis()))?;
    Ok(true)
}

/// The newest of an episode.
pub(super) fn acknowledgement(
    transaction: &Transaction<'_>,
    episode: &EpisodeId,
) -> Result<Option<Acknowledgement>, Fault> {
    let mut select = transaction.prepare_cached(
        "SELECT begin, until, why FROM acknowledgement WHERE episode_id = ?1 ORDER BY begin DESC LIMIT 1",
    )?;
    let found = select.query_row([&episode.0], |row| {
        Ok(Acknowledgement {
            episode: episode.clone(),
            from: Timestamp(row.get(0)?),
            until: row.get::<_, Option<i64>>(1)?.map(Timestamp),
            why: row.get(2)?,
        })
    });
    Ok(found.optional()?)
}

/// Keeps one, over one of the same episode and begin.
pub(super) fn acknowledge(
    transaction: &Transaction<'_>,
    acknowledgement: &Acknowledgement,
) -> Result<(), Fault> {
    let Acknowledgement { episode, from, until, why } = acknowledgement;
    transaction
        .prepare_cached(
            "REPLACE INTO acknowledgement (episode_id, begin, until, why) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((&episode.0, from.millis(), until.map(Timestamp::millis), why))?;
    Ok(())
}
