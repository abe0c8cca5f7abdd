//! What people and programs ask.

use model::{ClientUid, Episode, Labels, Sample, Timestamp};
use rusqlite::{Row, Transaction};

use super::fault::{Fault, corrupt};
use super::series::{self, Series};
use super::{SqliteStore, episodes, outbox, run_log};
use crate::history::LatestRow;
use crate::{Counts, Delivery, History, Latest, Message, Program, Run, StoreError, payload};

impl History for SqliteStore {
    fn latest(&mut self) -> Result<Vec<Latest>, StoreError> {
        self.read(|transaction, series| {
            let mut select = transaction.prepare_cached(
                "SELECT name, uid, collection.at, outcome, contact, report.event_time, host, payload
                 FROM client
                 LEFT JOIN latest USING (client_id)
                 LEFT JOIN collection USING (collection_id)
                 LEFT JOIN report USING (report_id)
                 WHERE client.client_id <> 0
                 ORDER BY name",
            )?;
            select.query_and_then([], |row| latest(transaction, series, row))?.collect()
        })
    }

    fn series(
        &mut self,
        client: ClientUid,
        metric: &str,
        labels: &Labels,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, f64)>, StoreError> {
        self.read(|transaction, _| {
            let Some(wanted) = series::find(transaction, metric, labels)? else { return Ok(Vec::new()) };
            let mut found = Vec::new();
            each_report(transaction, client, (from, to), |time, values| {
                let of_series = values.into_iter().filter(|(series, _)| *series == wanted);
                found.extend(of_series.map(|(_, value)| (time, value)));
                Ok(())
            })?;
            Ok(found)
        })
    }

    fn reports(
        &mut self,
        client: ClientUid,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, Vec<Sample>)>, StoreError> {
        self.read(|transaction, series| {
            let mut found = Vec::new();
            each_report(transaction, client, (from, to), |time, values| {
                found.push((time, series.samples(transaction, &values)?));
                Ok(())
            })?;
            Ok(found)
        })
    }

    fn open_episodes(&mut self) -> Result<Vec<Episode>, StoreError> {
        let open = "WHERE end_at IS NULL ORDER BY begin, episode_id";
        self.read(|transaction, _| episodes::select(transaction, open, []))
    }

    fn episodes_between(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Episode>, StoreError> {
        // Two selections, each by an index of its own.
        let within = "WHERE episode_id IN (
                SELECT episode_id FROM episode WHERE end_at >= ?1 AND begin <= ?2
                UNION ALL SELECT episode_id FROM episode WHERE end_at IS NULL AND begin <= ?2)
             ORDER BY begin DESC, episode_id DESC LIMIT ?3";
        let parameters = (from.millis(), to.millis(), i64::try_from(limit).unwrap_or(i64::MAX));
        let mut found = self.read(|transaction, _| episodes::select(transaction, within, parameters))?;
        found.reverse();
        Ok(found)
    }

    fn episodes_named(&mut self, prefix: &str, limit: usize) -> Result<Vec<Episode>, StoreError> {
        // The last of all characters: a range of the index.
        let after = format!("{prefix}\u{10ffff}");
        let named = "WHERE episode_id BETWEEN ?1 AND ?2 ORDER BY episode_id LIMIT ?3";
        let parameters = (prefix, after, i64::try_from(limit).unwrap_or(i64::MAX));
        self.read(|transaction, _| episodes::select(transaction, named, parameters))
    }

    fn unsent(&mut self) -> Result<Vec<(Message, Delivery)>, StoreError> {
        let messages = self.read(|transaction, _| outbox::messages(transaction, "WHERE status <> 'sent'"))?;
        let shown = |(message, delivery): (_, Option<_>)| (message, delivery.unwrap_or(Delivery::NOT_NOTED));
        Ok(messages.into_iter().map(shown).collect())
    }

    fn latest_runs(&mut self, program: Program, limit: usize) -> Result<Vec<Run>, StoreError> {
        self.read(|transaction, _| run_log::runs(transaction, program, limit))
    }

    fn last_run(&mut self, program: Program) -> Result<Option<Run>, StoreError> {
        self.read(|transaction, _| Ok(run_log::runs(transaction, program, 1)?.into_iter().next()))
    }

    fn counts(&mut self) -> Result<Counts, StoreError> {
        self.read(|transaction, _| {
            let count = |sql: &str| Ok::<u64, Fault>(transaction.query_row(sql, [], |row| row.get(0))?);
            Ok(Counts {
                reports: count("SELECT count(*) FROM report")?,
                unevaluated: count("SELECT count(*) FROM unevaluated")?
                    + count("SELECT count(*) FROM unevaluated_attempt")?,
                quarantined: count("SELECT value FROM meta WHERE key = 'quarantined'")?,
                untold: count("SELECT count(*) FROM fact WHERE told = 0 AND message_id IS NULL")?,
            })
        })
    }
}

/// Hands on what a client reported within a span, oldest first: time, and value by number of series.
fn each_report(
    transaction: &Transaction<'_>,
    client: ClientUid,
    (from, to): (Timestamp, Timestamp),
    mut take: impl FnMut(Timestamp, Vec<(i64, f64)>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut select = transaction.prepare_cached(
        "SELECT event_time, report_id, payload FROM report
         WHERE client_id = (SELECT client_id FROM client WHERE uid = ?1) AND event_time BETWEEN ?2 AND ?3
         ORDER BY event_time, report_id",
    )?;
    let mut rows = select.query((client.0, from.millis(), to.millis()))?;
    while let Some(row) = rows.next()? {
        let (time, report): (i64, i64) = (row.get(0)?, row.get(1)?);
        let blob = row.get_ref(2)?.as_blob().map_err(|error| corrupt(error.to_string()))?;
        let values =
            payload::decode_values(blob).map_err(|fault| corrupt(format!("report {report}: {fault}")))?;
        take(Timestamp(time), values)?;
    }
    Ok(())
}

fn latest(transaction: &Transaction<'_>, series: &mut Series, row: &Row<'_>) -> Result<Latest, Fault> {
    let attempt = match row.get::<_, Option<i64>>(2)? {
        None => None,
        Some(at) => Some((at, row.get(3)?)),
    };
    let report = match row.get::<_, Option<i64>>(5)? {
        None => None,
        Some(event_time) => Some((event_time, row.get(6)?, row.get(7)?)),
    };
    let (name, uid, last_contact) = (row.get(0)?, row.get(1)?, row.get(4)?);
    let row = LatestRow { name, uid, attempt, last_contact, report };
    let (mut latest, values) = row.read().map_err(corrupt)?;
    if let Some((_, _, samples)) = &mut latest.report {
        *samples = series.samples(transaction, &values)?;
    }
    Ok(latest)
}
