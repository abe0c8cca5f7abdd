//! What the alerter has not looked at yet, read by a handful of statements however much it is.

use std::collections::HashMap;

use model::Sample;

use super::fault::{Fault, corrupt};
use super::link::Tx;
use super::series::Series;
use super::values::{Row, params};
use crate::backlog::{self, merge};
use crate::payload::Values;
use crate::{Entry, Mark, Unevaluated};

/// The next entries, as [`crate::AlertStore::backlog`] gives them.
pub(super) fn oldest(tx: &mut Tx<'_>, series: &mut Series, limit: usize) -> Result<Vec<Unevaluated>, Fault> {
    let reports = reports(tx, limit)?;
    let runs = runs(tx, limit)?;
    let mut attempts = attempts(tx, &runs)?;
    let queue = attempts.order.iter().copied().map(Ok::<_, Fault>);
    let (mut marks, mut bytes) = (Vec::new(), 0);
    for piece in merge(reports.order, queue, limit)? {
        bytes += piece.iter().map(|(_, mark)| reports.sizes.get(mark).copied().unwrap_or(0)).sum::<usize>();
        marks.extend(piece);
        if bytes > backlog::MAX_BYTES {
            break;
        }
    }
    let mut rows = bodies(tx, &marks)?;
    rows.extend(attempts.rows.drain());
    named(tx, series, marks.into_iter().map(|(_, mark)| rows.remove(&mark)))
}

/// The oldest reports, in order, and the bytes of each.
#[derive(Default)]
struct Reports {
    order: Vec<(i64, i64)>,
    sizes: HashMap<Mark, usize>,
}

fn reports(tx: &mut Tx<'_>, limit: usize) -> Result<Reports, Fault> {
    let rows = tx.rows(
        "SELECT unevaluated.event_time, unevaluated.report_id, octet_length(payload)::bigint
         FROM unevaluated LEFT JOIN report
              ON report.event_time = unevaluated.event_time AND report.report_id = unevaluated.report_id
         ORDER BY 1, 2 LIMIT $1",
        params![limit.min(1 << 20) as i64],
    )?;
    let mut reports = Reports::default();
    for row in rows {
        let (time, id): (i64, i64) = (row.get(0)?, row.get(1)?);
        let size: Option<i64> = row.get(2)?;
        let size = size.ok_or_else(|| corrupt(format!("the report {id} is marked, but is not there")))?;
        reports.order.push((time, id));
        reports.sizes.insert(Mark::Report(id), size as usize);
    }
    Ok(reports)
}

/// Hosts whose runs begin within so many milliseconds share the clients of one turn: no client is in two of these runs.
const ONE_TURN_MS: i64 = 30_000;

/// The runs that are over and end first, as many as have `limit` attempts to evaluate. Runs of several hosts overlap: they
/// stand where their last attempt does. A run waits for those that go on since an earlier turn (a host that died, until its
/// lease is over), or a client's attempts would be evaluated in another order than that in which they were made.
fn runs(tx: &mut Tx<'_>, limit: usize) -> Result<Vec<i64>, Fault> {
    let rows = tx.rows(
        "WITH going AS (SELECT begin FROM run WHERE program = 'fleet-collector' AND finish IS NULL AND NOT over)
         SELECT run, count(*) FROM unevaluated_attempt
         WHERE run NOT IN (SELECT begin FROM going) AND NOT EXISTS (SELECT 1 FROM going WHERE begin < run - $2)
         GROUP BY run ORDER BY max(at), run LIMIT $1",
        params![limit.min(1 << 20) as i64, ONE_TURN_MS],
    )?;
    backlog::enough(rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))), limit)
}

/// Attempts in order of their runs.
struct Attempts {
    order: Vec<backlog::Queued>,
    rows: HashMap<Mark, backlog::Row>,
}

fn attempts(tx: &mut Tx<'_>, runs: &[i64]) -> Result<Attempts, Fault> {
    let (mut order, mut found) = (Vec::new(), HashMap::new());
    if runs.is_empty() {
        return Ok(Attempts { order, rows: found });
    }
    let rows = tx.rows(
        "SELECT queue.run, queue.at, queue.collection_id, client.uid, client.name, collection.outcome,
                coalesce(run.whole, false), coalesce(run.host, '')
         FROM unevaluated_attempt AS queue
              LEFT JOIN collection ON collection.at = queue.at AND collection.collection_id = queue.collection_id
              LEFT JOIN client ON client.client_id = collection.client_id
              LEFT JOIN run ON run.program = 'fleet-collector' AND run.begin = queue.run
         WHERE queue.run = ANY ($1)",
        params![runs],
    )?;
    for row in rows {
        let (begin, at, id): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let mark = Mark::Attempt(id);
        let run = (begin, row.get(6)?, row.get(7)?);
        order.push((begin, at, id));
        found.insert(mark, entry(&row, 3, mark, at, run)?);
    }
    let place: HashMap<i64, usize> = runs.iter().enumerate().map(|(place, run)| (*run, place)).collect();
    order.sort_unstable_by_key(|(run, at, id)| (place.get(run).copied(), *at, *id));
    Ok(Attempts { order, rows: found })
}

/// The reports among `marks`, with their payloads.
fn bodies(tx: &mut Tx<'_>, marks: &[(i64, Mark)]) -> Result<HashMap<Mark, backlog::Row>, Fault> {
    let (mut times, mut ids) = (Vec::new(), Vec::new());
    for (time, mark) in marks {
        if let Mark::Report(id) = mark {
            times.push(*time);
            ids.push(*id);
        }
    }
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = tx.rows(
        "SELECT report.event_time, report.report_id, client.uid, client.name, payload
         FROM unnest($1::bigint[], $2::bigint[]) AS mark (event_time, report_id)
              JOIN report ON report.event_time = mark.event_time AND report.report_id = mark.report_id
              LEFT JOIN client ON client.client_id = report.client_id",
        params![times, ids],
    )?;
    let read = |row: Row| {
        let mark = Mark::Report(row.get(1)?);
        Ok((mark, entry(&row, 2, mark, row.get(0)?, (0, false, String::new()))?))
    };
    rows.into_iter().map(read).collect()
}

/// An entry whose client and blob stand in the columns from `first` on.
fn entry(
    row: &Row,
    first: usize,
    mark: Mark,
    event_time: i64,
    run: (i64, bool, String),
) -> Result<backlog::Row, Fault> {
    let gone = || corrupt(format!("{mark:?} is marked, but is not there"));
    let name: Option<String> = row.get(first + 1)?;
    let blob: Option<Vec<u8>> = row.get(first + 2)?;
    let (name, blob) = (name.ok_or_else(gone)?, blob.ok_or_else(gone)?);
    Ok(backlog::Row { mark, uid: row.bytes(first)?, name, event_time, blob, run })
}

/// The entries with the names of their series.
fn named(
    tx: &mut Tx<'_>,
    series: &mut Series,
    rows: impl Iterator<Item = Option<backlog::Row>>,
) -> Result<Vec<Unevaluated>, Fault> {
    let read = |row: Option<backlog::Row>| {
        row.ok_or_else(|| corrupt("a report went while it was read"))?.read().map_err(corrupt)
    };
    let mut entries = rows.map(read).collect::<Result<Vec<_>, Fault>>()?;
    let values: Vec<Values> = entries.iter_mut().map(|(_, values)| std::mem::take(values)).collect();
    let samples = series.samples(tx, &values)?;
    let named = |((mut unevaluated, _), named): ((Unevaluated, Values), Vec<Sample>)| {
        if let Entry::Report { samples, .. } = &mut unevaluated.entry {
            *samples = named;
        }
        unevaluated
    };
    Ok(entries.into_iter().zip(samples).map(named).collect())
}
