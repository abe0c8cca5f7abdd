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

/// The next entries, as [`crate::AlertStore::backlog`] gives them. First their names alone, then what is in those that
/// come first: by the times of these, so that the server looks into no other day.
pub(super) fn oldest(tx: &mut Tx<'_>, series: &mut Series, limit: usize) -> Result<Vec<Unevaluated>, Fault> {
    let reports = reports(tx, limit)?;
    let sizes = sizes(tx, &reports)?;
    let runs = runs(tx, limit)?;
    let queue = attempts(tx, &runs)?;
    let (mut marks, mut bytes) = (Vec::new(), 0);
    for piece in merge(reports, queue.into_iter().map(Ok::<_, Fault>), limit)? {
        bytes += piece.iter().map(|(_, mark)| sizes.get(mark).copied().unwrap_or(0)).sum::<usize>();
        marks.extend(piece);
        if bytes > backlog::MAX_BYTES {
            break;
        }
    }
    let mut rows = bodies(tx, &Marked::of(&marks, Kind::Report))?;
    rows.extend(outcomes(tx, &Marked::of(&marks, Kind::Attempt))?);
    named(tx, series, marks.into_iter().map(|(_, mark)| rows.remove(&mark)))
}

/// What marks name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Report,
    Attempt,
}

/// Marks of one kind, as columns, and the time that they span.
#[derive(Default)]
struct Marked {
    times: Vec<i64>,
    ids: Vec<i64>,
    first: i64,
    last: i64,
}

impl Marked {
    fn of(marks: &[(i64, Mark)], kind: Kind) -> Self {
        let id = |mark: Mark| match mark {
            Mark::Report(id) => (kind == Kind::Report).then_some(id),
            Mark::Attempt(id) => (kind == Kind::Attempt).then_some(id),
        };
        Self::at(marks.iter().filter_map(|(time, mark)| Some((*time, id(*mark)?))))
    }

    fn at(marks: impl Iterator<Item = (i64, i64)>) -> Self {
        let (times, ids): (Vec<i64>, Vec<i64>) = marks.unzip();
        let (first, last) = (times.iter().min(), times.iter().max());
        Self { first: first.copied().unwrap_or(0), last: last.copied().unwrap_or(0), times, ids }
    }
}

/// The oldest reports, in order.
fn reports(tx: &mut Tx<'_>, limit: usize) -> Result<Vec<(i64, i64)>, Fault> {
    let rows = tx.rows(
        "SELECT event_time, report_id FROM unevaluated ORDER BY 1, 2 LIMIT $1",
        params![limit.min(1 << 20) as i64],
    )?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The bytes of each.
fn sizes(tx: &mut Tx<'_>, reports: &[(i64, i64)]) -> Result<HashMap<Mark, usize>, Fault> {
    if reports.is_empty() {
        return Ok(HashMap::new());
    }
    let Marked { times, ids, first, last } = Marked::at(reports.iter().copied());
    let rows = tx.rows(
        "SELECT report.report_id, octet_length(payload)::bigint
         FROM unnest($1::bigint[], $2::bigint[]) AS mark (event_time, report_id)
              JOIN report ON report.event_time = mark.event_time AND report.report_id = mark.report_id
         WHERE report.event_time BETWEEN $3 AND $4",
        params![times, ids, first, last],
    )?;
    rows.iter().map(|row| Ok((Mark::Report(row.get(0)?), row.get::<i64>(1)? as usize))).collect()
}

/// Hosts whose runs begin within so many milliseconds share the clients of one turn: but for runs by hand, no client is in two of
/// them.
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

/// The attempts of these runs, in the order of the runs.
fn attempts(tx: &mut Tx<'_>, runs: &[i64]) -> Result<Vec<backlog::Queued>, Fault> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx
        .rows("SELECT run, at, collection_id FROM unevaluated_attempt WHERE run = ANY ($1)", params![runs])?;
    let mut queue: Vec<backlog::Queued> =
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect::<Result<_, Fault>>()?;
    let place: HashMap<i64, usize> = runs.iter().enumerate().map(|(place, run)| (*run, place)).collect();
    queue.sort_unstable_by_key(|(run, at, id)| (place.get(run).copied(), *at, *id));
    Ok(queue)
}

/// What attempts found.
fn outcomes(tx: &mut Tx<'_>, marked: &Marked) -> Result<HashMap<Mark, backlog::Row>, Fault> {
    if marked.ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = tx.rows(
        "SELECT collection.at, collection.collection_id, client.uid, client.name, collection.outcome, collection.run,
                coalesce(run.whole, false), coalesce(run.host, '')
         FROM unnest($1::bigint[], $2::bigint[]) AS mark (at, collection_id)
              JOIN collection ON collection.at = mark.at AND collection.collection_id = mark.collection_id
              LEFT JOIN client ON client.client_id = collection.client_id
              LEFT JOIN run ON run.program = 'fleet-collector' AND run.begin = collection.run
         WHERE collection.at BETWEEN $3 AND $4",
        params![marked.times.as_slice(), marked.ids.as_slice(), marked.first, marked.last],
    )?;
    let read = |row: Row| {
        let mark = Mark::Attempt(row.get(1)?);
        let run = (row.get(5)?, row.get(6)?, row.get(7)?);
        Ok((mark, entry(&row, 2, mark, row.get(0)?, run)?))
    };
    rows.into_iter().map(read).collect()
}

/// What reports say.
fn bodies(tx: &mut Tx<'_>, marked: &Marked) -> Result<HashMap<Mark, backlog::Row>, Fault> {
    if marked.ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = tx.rows(
        "SELECT report.event_time, report.report_id, client.uid, client.name, payload
         FROM unnest($1::bigint[], $2::bigint[]) AS mark (event_time, report_id)
              JOIN report ON report.event_time = mark.event_time AND report.report_id = mark.report_id
              LEFT JOIN client ON client.client_id = report.client_id
         WHERE report.event_time BETWEEN $3 AND $4",
        params![marked.times.as_slice(), marked.ids.as_slice(), marked.first, marked.last],
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
        row.ok_or_else(|| corrupt("what is marked as not evaluated is not there"))?.read().map_err(corrupt)
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
