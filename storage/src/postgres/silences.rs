//! What people said about being told: silences and acknowledgements.

use model::{Acknowledgement, EpisodeId, Silence, Timestamp};

use super::episodes::texts;
use super::fault::{Fault, corrupt};
use super::link::Tx;
use super::values::{Row, params};

/// Those that are not over at `at`, by their numbers.
pub(super) fn not_over(tx: &mut Tx<'_>, at: Timestamp) -> Result<Vec<Silence>, Fault> {
    let rows = tx.rows(
        "SELECT silence_id, target, metric, begin, until, why FROM silence WHERE until > $1 ORDER BY silence_id",
        params![at.millis()],
    )?;
    let read = |row: Row| {
        Ok(Silence {
            id: row.get(0)?,
            target: row.get(1)?,
            metric: row.get(2)?,
            from: Timestamp(row.get(3)?),
            until: Timestamp(row.get(4)?),
            why: row.get(5)?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Keeps a silence under a number of its own.
pub(super) fn add(tx: &mut Tx<'_>, silence: &Silence) -> Result<i64, Fault> {
    let Silence { target, metric, from, until, why, .. } = silence;
    let row = tx.row(
        "INSERT INTO silence (target, metric, begin, until, why) VALUES ($1, $2, $3, $4, $5)
         RETURNING silence_id",
        params![target.as_str(), metric.as_deref(), from.millis(), until.millis(), why.as_str()],
    )?;
    row.ok_or_else(|| corrupt("a silence has no number"))?.get(0)
}

/// Ends one that is not over; gives whether there was one.
pub(super) fn end(tx: &mut Tx<'_>, id: i64, at: Timestamp) -> Result<bool, Fault> {
    let found = tx.row(
        "SELECT until FROM silence WHERE silence_id = $1 AND until > $2 FOR UPDATE",
        params![id, at.millis()],
    )?;
    let Some(found) = found else { return Ok(false) };
    let until: i64 = found.get(0)?;
    tx.execute(
        "UPDATE silence SET until = greatest(begin, $2) WHERE silence_id = $1",
        params![id, at.millis()],
    )?;
    tx.execute(
        "UPDATE fact SET after = $2 WHERE after = $1 AND NOT told AND message_id IS NULL",
        params![until, at.millis()],
    )?;
    Ok(true)
}

/// The newest of each of these episodes, by their ids.
pub(super) fn acknowledgements(
    tx: &mut Tx<'_>,
    episodes: &[EpisodeId],
) -> Result<Vec<Acknowledgement>, Fault> {
    let rows = tx.rows(
        "SELECT DISTINCT ON (episode_id) episode_id, begin, until, why FROM acknowledgement
         WHERE episode_id = ANY ($1) ORDER BY episode_id, begin DESC",
        params![texts(episodes)],
    )?;
    let read = |row: Row| {
        Ok(Acknowledgement {
            episode: EpisodeId(row.get(0)?),
            from: Timestamp(row.get(1)?),
            until: row.get::<Option<i64>>(2)?.map(Timestamp),
            why: row.get(3)?,
        })
    };
    let mut found = rows.into_iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
    found.sort_by(|a, b| a.episode.cmp(&b.episode));
    Ok(found)
}

/// Keeps one, over one of the same episode and begin.
pub(super) fn acknowledge(tx: &mut Tx<'_>, acknowledgement: &Acknowledgement) -> Result<(), Fault> {
    let Acknowledgement { episode, from, until, why } = acknowledgement;
    tx.execute(
        "INSERT INTO acknowledgement (episode_id, begin, until, why) VALUES ($1, $2, $3, $4)
         ON CONFLICT (episode_id, begin) DO UPDATE SET until = excluded.until, why = excluded.why",
        params![episode.0.as_str(), from.millis(), until.map(Timestamp::millis), why.as_str()],
    )?;
    Ok(())
}
