//! What people and programs ask.

use model::{ClientUid, Episode, Labels, Sample, Timestamp};

use super::fault::{Fault, corrupt};
use super::link::Tx;
use super::values::{Row, params};
use super::{PostgresStore, episodes, outbox, series};
use crate::history::LatestRow;
use crate::payload::{self, Values};
use crate::{Counts, Delivery, History, Latest, Message, Program, Run, RunLog as _, StoreError};

/// How many reports of a span are read at once.
const PORTION: i64 = 4096;

impl History for PostgresStore {
    fn latest(&mut self) -> Result<Vec<Latest>, StoreError> {
        let mut all = self.read(|tx, series| {
            let rows = tx.rows(
                "SELECT name, uid, collection_at, outcome, contact, report_time, host, payload
                 FROM client LEFT JOIN latest USING (client_id) WHERE client.client_id <> 0",
                &[],
            )?;
            let latest = rows.iter().map(latest).collect::<Result<Vec<_>, _>>()?;
            let (mut all, values): (Vec<Latest>, Vec<Values>) = latest.into_iter().unzip();
            for (latest, named) in all.iter_mut().zip(series.samples(tx, &values)?) {
                if let Some((_, _, samples)) = &mut latest.report {
                    *samples = named;
                }
            }
            Ok(all)
        })?;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    fn series(
        &mut self,
        client: ClientUid,
        metric: &str,
        labels: &Labels,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, f64)>, StoreError> {
        self.read(|tx, _| {
            let Some(wanted) = series::find(tx, metric, labels)? else { return Ok(Vec::new()) };
            let reports = reports(tx, client, from, to)?;
            let of_series = |(time, values): (Timestamp, Values)| {
                let found = values.into_iter().filter(move |(series, _)| *series == wanted);
                found.map(move |(_, value)| (time, value))
            };
            Ok(reports.into_iter().flat_map(of_series).collect())
        })
    }

    fn reports(
        &mut self,
        client: ClientUid,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, Vec<Sample>)>, StoreError> {
        self.read(|tx, series| {
            let reports = reports(tx, client, from, to)?;
            let (times, values): (Vec<Timestamp>, Vec<Values>) = reports.into_iter().unzip();
            Ok(times.into_iter().zip(series.samples(tx, &values)?).collect())
        })
    }

    fn open_episodes(&mut self) -> Result<Vec<Episode>, StoreError> {
        let mut open = self.read(|tx, _| episodes::select(tx, "WHERE end_at IS NULL", &[]))?;
        open.sort_by(|a, b| (a.begin, &a.id).cmp(&(b.begin, &b.id)));
        Ok(open)
    }

    fn episodes_between(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Episode>, StoreError> {
        // Two selections, each by an index of its own.
        let within = "WHERE episode_id IN (
                SELECT episode_id FROM episode WHERE end_at >= $1 AND begin <= $2
                UNION ALL SELECT episode_id FROM episode WHERE end_at IS NULL AND begin <= $2)
             ORDER BY begin DESC, episode_id DESC LIMIT $3";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut found =
            self.read(|tx, _| episodes::select(tx, within, params![from.millis(), to.millis(), limit]))?;
        found.reverse();
        Ok(found)
    }

    fn episodes_named(&mut self, prefix: &str, limit: usize) -> Result<Vec<Episode>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let named = "WHERE episode_id LIKE $1 ORDER BY episode_id LIMIT $2";
        self.read(|tx, _| episodes::select(tx, named, params![beginning(prefix), limit]))
    }

    fn unsent(&mut self) -> Result<Vec<(Message, Delivery)>, StoreError> {
        let kept = self.read(|tx, _| outbox::messages(tx, "WHERE status <> 'sent'", &[]))?;
        let shown = |kept: outbox::Kept| (kept.message, kept.delivery.unwrap_or(Delivery::NOT_NOTED));
        Ok(kept.into_iter().map(shown).collect())
    }

    fn latest_runs(&mut self, program: Program, limit: usize) -> Result<Vec<Run>, StoreError> {
        self.runs(program, limit)
    }

    fn last_run(&mut self, program: Program) -> Result<Option<Run>, StoreError> {
        Ok(self.runs(program, 1)?.into_iter().next())
    }

    fn counts(&mut self) -> Result<Counts, StoreError> {
        self.read(|tx, _| {
            let counts = tx.row(
                "SELECT (SELECT count(*) FROM report),
                        (SELECT count(*) FROM unevaluated) + (SELECT count(*) FROM unevaluated_attempt),
                        (SELECT value FROM counter WHERE name = 'quarantined'),
                        (SELECT count(*) FROM fact WHERE NOT told AND message_id IS NULL)",
                &[],
            )?;
            let counts = counts.ok_or_else(|| corrupt("nothing can be counted"))?;
            let count = |index| Ok::<_, Fault>(counts.get::<i64>(index)?.cast_unsigned());
            Ok(Counts {
                reports: count(0)?,
                unevaluated: count(1)?,
                quarantined: count(2)?,
                untold: count(3)?,
            })
        })
    }
}

/// A pattern of LIKE for what begins with `prefix`.
fn beginning(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for character in prefix.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

fn latest(row: &Row) -> Result<(Latest, Values), Fault> {
    let attempt = match row.get::<Option<i64>>(2)? {
        None => None,
        Some(at) => Some((at, row.get(3)?)),
    };
    let report = match row.get::<Option<i64>>(5)? {
        None => None,
        Some(event_time) => Some((event_time, row.get(6)?, row.get(7)?)),
    };
    let (name, uid, last_contact) = (row.get(0)?, row.bytes(1)?, row.get(4)?);
    LatestRow { name, uid, attempt, last_contact, report }.read().map_err(corrupt)
}

/// What a client reported within a span, oldest first: time, and value by number of series.
fn reports(
    tx: &mut Tx<'_>,
    client: ClientUid,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(Timestamp, Values)>, Fault> {
    let client = tx.row("SELECT client_id FROM client WHERE uid = $1", params![&client.0[..]])?;
    let Some(client) = client else { return Ok(Vec::new()) };
    let client: i64 = client.get(0)?;
    let (mut found, mut after) = (Vec::new(), (from.millis(), i64::MIN));
    loop {
        let rows = tx.rows(
            "SELECT event_time, report_id, payload FROM report
             WHERE client_id = $1 AND event_time BETWEEN $2 AND $3 AND (event_time > $2 OR report_id > $4)
             ORDER BY event_time, report_id LIMIT $5",
            params![client, after.0, to.millis(), after.1, PORTION],
        )?;
        for row in &rows {
            after = (row.get(0)?, row.get(1)?);
            let values = payload::decode_values(row.get(2)?);
            let values = values.map_err(|fault| corrupt(format!("report {}: {fault}", after.1)))?;
            found.push((Timestamp(after.0), values));
        }
        if rows.len() < PORTION as usize {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(beginning(r"a%_\"), r"a\%\_\\%");
        assert_eq!(beginning(""), "%");
    }
}
