//! Episodes as rows.

use model::wire::{from_cbor, to_cbor};
use model::{AlertKey, ClientUid, Episode, EpisodeEnd, EpisodeId, RuleId, Timestamp};
use rusqlite::{Row, Transaction, params};

use super::fault::{Fault, corrupt};
use super::{parsed, subject_id};
use crate::words;

/// Writes an episode over what was there of it.
pub(super) fn put(transaction: &Transaction<'_>, episode: &Episode) -> Result<(), Fault> {
    let client = subject_id(transaction, episode.key.client)?;
    transaction
        .prepare_cached(
            "INSERT INTO episode (episode_id, client_id, rule, labels, client_name, metric, begin, fired, severity,
                                  first_value, limit_value, peak, peak_at, last_value, last_at, detail, evidence,
                                  end_at, end_why, held)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
             ON CONFLICT (episode_id) DO UPDATE SET
                 client_id = excluded.client_id, rule = excluded.rule, labels = excluded.labels,
                 client_name = excluded.client_name, metric = excluded.metric, begin = excluded.begin,
                 fired = excluded.fired, severity = excluded.severity, first_value = excluded.first_value,
                 limit_value = excluded.limit_value, peak = excluded.peak, peak_at = excluded.peak_at,
                 last_value = excluded.last_value, last_at = excluded.last_at, detail = excluded.detail,
                 evidence = excluded.evidence, end_at = excluded.end_at, end_why = excluded.end_why,
                 held = excluded.held",
        )?
        .execute(params![
            episode.id.0,
            client,
            episode.key.rule.0,
            episode.key.labels.to_string(),
            episode.client_name,
            episode.metric,
            episode.begin.millis(),
            episode.fired.millis(),
            episode.severity.to_string(),
            episode.first_value,
            episode.limit,
            episode.peak,
            episode.peak_at.millis(),
            episode.last_value,
            episode.last_at.millis(),
            episode.detail,
            to_cbor(&episode.evidence),
            episode.end.map(|end| end.at.millis()),
            episode.end.map(|end| words::of_end(end.why)),
            episode.held,
        ])?;
    Ok(())
}

/// The episodes that `condition` finds, in the order that it asks for.
pub(super) fn select(
    transaction: &Transaction<'_>,
    condition: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Episode>, Fault> {
    let sql = format!(
        "SELECT episode_id, uid, rule, labels, client_name, metric, begin, fired, severity, first_value, limit_value,
                peak, peak_at, last_value, last_at, detail, evidence, end_at, end_why, held
         FROM episode JOIN client USING (client_id) {condition}"
    );
    transaction.prepare_cached(&sql)?.query_and_then(parameters, read)?.collect()
}

fn read(row: &Row<'_>) -> Result<Episode, Fault> {
    let time = |index| Ok::<_, Fault>(Timestamp(row.get(index)?));
    let end = match (row.get::<_, Option<i64>>(17)?, row.get::<_, Option<String>>(18)?) {
        (Some(at), Some(why)) => {
            Some(EpisodeEnd { at: Timestamp(at), why: words::end(&why).map_err(corrupt)? })
        }
        _ => None,
    };
    Ok(Episode {
        id: EpisodeId(row.get(0)?),
        key: AlertKey {
            client: ClientUid(row.get(1)?),
            rule: RuleId(row.get(2)?),
            labels: parsed(&row.get::<_, String>(3)?)?,
        },
        client_name: row.get(4)?,
        metric: row.get(5)?,
        begin: time(6)?,
        fired: time(7)?,
        severity: words::severity(&row.get::<_, String>(8)?).map_err(corrupt)?,
        first_value: row.get(9)?,
        limit: row.get(10)?,
        peak: row.get(11)?,
        peak_at: time(12)?,
        last_value: row.get(13)?,
        last_at: time(14)?,
        detail: row.get(15)?,
        held: row.get(19)?,
        evidence: from_cbor(&row.get::<_, Vec<u8>>(16)?).map_err(corrupt)?,
        end,
    })
}
