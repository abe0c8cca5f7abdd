//! Episodes as rows.

use std::collections::BTreeMap;

use model::wire::{from_cbor, to_cbor};
use model::{AlertKey, ClientUid, Episode, EpisodeEnd, EpisodeId, RuleId, Timestamp};

use super::fault::{Fault, corrupt};
use super::link::Tx;
use super::states::{Subjects, subject};
use super::values::{Param, Row, params};
use crate::words;

/// The ids as a parameter.
pub(super) fn texts(ids: &[EpisodeId]) -> Vec<&str> {
    ids.iter().map(|id| id.0.as_str()).collect()
}

/// Writes episodes over what was there of them. Of several of one id the last counts.
pub(super) fn put(tx: &mut Tx<'_>, subjects: &Subjects, episodes: &[Episode]) -> Result<(), Fault> {
    if episodes.is_empty() {
        return Ok(());
    }
    let episodes: BTreeMap<&EpisodeId, &Episode> = episodes.iter().map(|each| (&each.id, each)).collect();
    let episodes: Vec<&Episode> = episodes.into_values().collect();
    let clients: Vec<i64> =
        episodes.iter().map(|each| subject(subjects, each.key.client)).collect::<Result<_, _>>()?;
    tx.execute(
        PUT,
        params![
            column(&episodes, |each| each.id.0.as_str()),
            clients,
            column(&episodes, |each| each.key.rule.0.as_str()),
            column(&episodes, |each| each.key.labels.to_string()),
            column(&episodes, |each| each.client_name.as_str()),
            column(&episodes, |each| each.metric.as_str()),
            column(&episodes, |each| each.begin.millis()),
            column(&episodes, |each| each.fired.millis()),
            column(&episodes, |each| each.severity.to_string()),
            column(&episodes, |each| each.first_value),
            column(&episodes, |each| each.limit),
            column(&episodes, |each| each.peak),
            column(&episodes, |each| each.peak_at.millis()),
            column(&episodes, |each| each.last_value),
            column(&episodes, |each| each.last_at.millis()),
            column(&episodes, |each| each.detail.as_str()),
            column(&episodes, |each| to_cbor(&each.evidence)),
            column(&episodes, |each| each.end.map(|end| end.at.millis())),
            column(&episodes, |each| each.end.map(|end| words::of_end(end.why))),
            column(&episodes, |each| each.held.as_str()),
        ],
    )?;
    Ok(())
}

const PUT: &str = "
    INSERT INTO episode (episode_id, client_id, rule, labels, client_name, metric, begin, fired, severity, first_value,
                         limit_value, peak, peak_at, last_value, last_at, detail, evidence, end_at, end_why, held)
    SELECT * FROM unnest(
        $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
        $9::text[], $10::double precision[], $11::double precision[], $12::double precision[], $13::bigint[],
        $14::double precision[], $15::bigint[], $16::text[], $17::bytea[], $18::bigint[], $19::text[], $20::text[])
    ON CONFLICT (episode_id) DO UPDATE SET
        client_id = excluded.client_id, rule = excluded.rule, labels = excluded.labels,
        client_name = excluded.client_name, metric = excluded.metric, begin = excluded.begin,
        fired = excluded.fired, severity = excluded.severity, first_value = excluded.first_value,
        limit_value = excluded.limit_value, peak = excluded.peak, peak_at = excluded.peak_at,
        last_value = excluded.last_value, last_at = excluded.last_at, detail = excluded.detail,
        evidence = excluded.evidence, end_at = excluded.end_at, end_why = excluded.end_why, held = excluded.held";

fn column<'a, T>(episodes: &[&'a Episode], of: impl Fn(&'a Episode) -> T) -> Vec<T> {
    episodes.iter().map(|episode| of(episode)).collect()
}

/// The episodes that `condition` finds, in the order that it asks for.
pub(super) fn select(tx: &mut Tx<'_>, condition: &str, params: &[Param<'_>]) -> Result<Vec<Episode>, Fault> {
    let sql = format!(
        "SELECT episode_id, uid, rule, labels, client_name, metric, begin, fired, severity, first_value, limit_value,
                peak, peak_at, last_value, last_at, detail, evidence, end_at, end_why, held
         FROM episode JOIN client USING (client_id) {condition}"
    );
    tx.rows(&sql, params)?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Episode, Fault> {
    let time = |index| Ok::<_, Fault>(Timestamp(row.get(index)?));
    let end = match (row.get::<Option<i64>>(17)?, row.get::<Option<&str>>(18)?) {
        (Some(at), Some(why)) => {
            Some(EpisodeEnd { at: Timestamp(at), why: words::end(why).map_err(corrupt)? })
        }
        _ => None,
    };
    Ok(Episode {
        id: EpisodeId(row.get(0)?),
        key: AlertKey {
            client: ClientUid(row.bytes(1)?),
            rule: RuleId(row.get(2)?),
            labels: row.get::<&str>(3)?.parse().map_err(|fault: String| corrupt(fault))?,
        },
        client_name: row.get(4)?,
        metric: row.get(5)?,
        begin: time(6)?,
        fired: time(7)?,
        severity: words::severity(row.get(8)?).map_err(corrupt)?,
        first_value: row.get(9)?,
        limit: row.get(10)?,
        peak: row.get(11)?,
        peak_at: time(12)?,
        last_value: row.get(13)?,
        last_at: time(14)?,
        detail: row.get(15)?,
        held: row.get(19)?,
        evidence: from_cbor(row.get(16)?).map_err(corrupt)?,
        end,
    })
}
