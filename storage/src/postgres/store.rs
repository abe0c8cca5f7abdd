//! Storing a batch of attempts: a round trip per table, however many attempts there are.

use std::collections::{BTreeMap, HashMap};

use model::wire::to_cbor;
use model::{Body, ClientUid, Outcome, Sample, SpoolId};

use super::batch::{Batch, Client, NewReport, Spool};
use super::fault::{Fault, corrupt, refused};
use super::link::Tx;
use super::run_log::Held;
use super::series::Series;
use super::values::params;
use crate::payload::{self, Extras};
use crate::{Attempt, QUARANTINED_BYTES, QUARANTINED_RECORDS, StoreError, admit};

/// Stores `attempts`; gives for each how many of its records were new.
pub(super) fn attempts(
    tx: &mut Tx<'_>,
    series: &mut Series,
    run: Option<&Held>,
    attempts: &[Attempt],
) -> Result<Vec<usize>, Fault> {
    let mut batch = load(tx, run, attempts)?;
    let new: Vec<usize> = attempts.iter().map(|attempt| batch.take(attempt)).collect();
    put_spools(tx, &mut batch)?;
    let numbers = Numbers::draw(tx, batch.reports.len(), attempts.len())?;
    let payloads = payloads(tx, series, &batch.reports)?;
    put_reports(tx, &batch, &numbers.reports, &payloads)?;
    put_set_aside(tx, &batch)?;
    put_attempts(tx, &batch, &numbers.attempts, attempts, &new)?;
    put_latest(tx, &batch, &payloads)?;
    put_hosts(tx, &batch)?;
    Ok(new)
}

/// The rows that `attempts` are about.
fn load<'a>(tx: &mut Tx<'_>, run: Option<&Held>, attempts: &[Attempt]) -> Result<Batch<'a>, Fault> {
    // Whether each client had its turn: one that was not reached may have it elsewhere.
    let mut turns: BTreeMap<ClientUid, bool> = BTreeMap::new();
    for attempt in attempts {
        *turns.entry(attempt.client).or_default() |= attempt.outcome != Outcome::NotReached;
    }
    if turns.contains_key(&ClientUid::FLEET) {
        return Err(refused("the fleet as a whole is no client"));
    }
    let clients = match run {
        Some(run) => let_go(tx, run, &turns)?,
        None => locked(tx, &turns)?,
    };
    if let Some(missing) = turns.keys().find(|uid| !clients.contains_key(uid)) {
        super::client_id(tx, *missing)?;
        return Err(StoreError::Superseded.into());
    }
    let mut batch = Batch { clients, ..Batch::default() };
    let ids: Vec<i64> = batch.clients.values().map(|client| client.id).collect();
    load_spools(tx, &ids, &mut batch)?;
    load_latest(tx, &ids, &mut batch)?;
    load_twins(tx, &batch.doubtful(attempts), &mut batch)?;
    Ok(batch)
}

/// Lets go of the clients that this run has hold of, and gives those that it had.
fn let_go<'a>(
    tx: &mut Tx<'_>,
    run: &Held,
    turns: &BTreeMap<ClientUid, bool>,
) -> Result<BTreeMap<ClientUid, Client<'a>>, Fault> {
    let uids: Vec<&[u8]> = turns.keys().map(|uid| &uid.0[..]).collect();
    let had: Vec<bool> = turns.values().copied().collect();
    let rows = tx.rows(
        "UPDATE claim SET run_id = NULL, turn = CASE WHEN turns.had THEN $4 ELSE claim.turn END
         FROM unnest($1, $2) AS turns (uid, had) JOIN client ON client.uid = turns.uid
         WHERE claim.client_id = client.client_id AND claim.run_id = $3
         RETURNING claim.client_id, client.uid",
        params![uids, had, run.run_id, run.began],
    )?;
    rows.iter()
        .map(|row| Ok((ClientUid(row.bytes(1)?), Client { id: row.get(0)?, ..Client::default() })))
        .collect()
}

/// The clients' rows, which nobody else changes until the end of the transaction.
fn locked<'a>(
    tx: &mut Tx<'_>,
    turns: &BTreeMap<ClientUid, bool>,
) -> Result<BTreeMap<ClientUid, Client<'a>>, Fault> {
    let uids: Vec<&[u8]> = turns.keys().map(|uid| &uid.0[..]).collect();
    let rows = tx.rows(
        "SELECT claim.client_id, client.uid FROM claim JOIN client ON client.client_id = claim.client_id
         WHERE client.uid = ANY($1) ORDER BY claim.client_id FOR UPDATE OF claim",
        params![uids],
    )?;
    rows.iter()
        .map(|row| Ok((ClientUid(row.bytes(1)?), Client { id: row.get(0)?, ..Client::default() })))
        .collect()
}

fn load_spools(tx: &mut Tx<'_>, clients: &[i64], batch: &mut Batch<'_>) -> Result<(), Fault> {
    let rows = tx.rows(
        "SELECT spool_id, client_id, spool, stored_through, last_event_time FROM spool WHERE client_id = ANY($1)",
        params![clients],
    )?;
    for row in rows {
        batch.spools.push(Spool {
            id: Some(row.get(0)?),
            client: row.get(1)?,
            uid: SpoolId(row.bytes(2)?),
            through: Some(row.get::<i64>(3)? as u64),
            digest: None,
            last_event_time: row.get(4)?,
        });
    }
    Ok(())
}

fn load_latest(tx: &mut Tx<'_>, clients: &[i64], batch: &mut Batch<'_>) -> Result<(), Fault> {
    let rows = tx.rows(
        "SELECT client_id, spool_id, event_time, report_time, collection_at, contact, failed, judged
         FROM latest WHERE client_id = ANY($1)",
        params![clients],
    )?;
    let Batch { clients, spools, .. } = batch;
    let mut by_id: HashMap<i64, &mut Client<'_>> =
        clients.values_mut().map(|client| (client.id, client)).collect();
    for row in rows {
        let Some(client) = by_id.get_mut(&row.get(0)?) else { continue };
        let spool: Option<i64> = row.get(1)?;
        client.spool = spool.and_then(|id| spools.iter().position(|spool| spool.id == Some(id)));
        client.event_time = row.get(2)?;
        client.report_time = row.get(3)?;
        client.collection_at = row.get(4)?;
        client.contact = row.get(5)?;
        client.failed = row.get(6)?;
        client.judged = row.get(7)?;
    }
    Ok(())
}

fn load_twins(tx: &mut Tx<'_>, doubtful: &[(i64, i64)], batch: &mut Batch<'_>) -> Result<(), Fault> {
    if doubtful.is_empty() {
        return Ok(());
    }
    let (clients, sequences): (Vec<i64>, Vec<i64>) = doubtful.iter().copied().unzip();
    let rows = tx.rows(
        "SELECT client_id, sequence, spool_id, digest
         FROM unnest($1, $2) AS wanted (client_id, sequence) JOIN report USING (client_id, sequence)
         UNION ALL
         SELECT client_id, sequence, spool_id, digest
         FROM unnest($1, $2) AS wanted (client_id, sequence) JOIN quarantine USING (client_id, sequence)",
        params![clients, sequences],
    )?;
    for row in rows {
        let spool: i64 = row.get(2)?;
        let place = batch.spools.iter().position(|row| row.id == Some(spool));
        let place =
            place.ok_or_else(|| corrupt(format!("a record names the spool {spool}, which is not there")))?;
        batch.twins.entry((row.get(0)?, row.get(1)?)).or_default().push((place, row.get(3)?));
    }
    Ok(())
}

/// Writes the spools that went on, and makes rows of those that have none.
fn put_spools(tx: &mut Tx<'_>, batch: &mut Batch<'_>) -> Result<(), Fault> {
    let moved = |row: &&Spool<'_>| row.digest.is_some();
    let through = |row: &Spool<'_>| row.through.unwrap_or(0) as i64;
    let digest = |row: &Spool<'_>| row.digest.map_or_else(Vec::new, |digest| digest.to_vec());
    let old: Vec<&Spool<'_>> = batch.spools.iter().filter(|row| row.id.is_some()).filter(moved).collect();
    if !old.is_empty() {
        let ids: Vec<Option<i64>> = old.iter().map(|row| row.id).collect();
        let throughs: Vec<i64> = old.iter().map(|row| through(row)).collect();
        let digests: Vec<Vec<u8>> = old.iter().map(|row| digest(row)).collect();
        let times: Vec<i64> = old.iter().map(|row| row.last_event_time).collect();
        tx.execute(
            "UPDATE spool SET stored_through = moved.through, digest = moved.digest, last_event_time = moved.time
             FROM unnest($1, $2, $3, $4) AS moved (spool_id, through, digest, time)
             WHERE spool.spool_id = moved.spool_id",
            params![ids, throughs, digests, times],
        )?;
    }
    let new: Vec<&Spool<'_>> = batch.spools.iter().filter(|row| row.id.is_none()).collect();
    if new.is_empty() {
        return Ok(());
    }
    let clients: Vec<i64> = new.iter().map(|row| row.client).collect();
    let uids: Vec<&[u8]> = new.iter().map(|row| &row.uid.0[..]).collect();
    let throughs: Vec<i64> = new.iter().map(|row| through(row)).collect();
    let digests: Vec<Vec<u8>> = new.iter().map(|row| digest(row)).collect();
    let times: Vec<i64> = new.iter().map(|row| row.last_event_time).collect();
    let rows = tx.rows(
        "INSERT INTO spool (client_id, spool, stored_through, digest, last_event_time)
         SELECT client_id, spool, through, digest, time
         FROM unnest($1, $2, $3, $4, $5) AS new (client_id, spool, through, digest, time)
         RETURNING spool_id, client_id, spool",
        params![clients, uids, throughs, digests, times],
    )?;
    for row in rows {
        let (id, client, uid) = (row.get(0)?, row.get::<i64>(1)?, SpoolId(row.bytes(2)?));
        if let Some(spool) = batch.spools.iter_mut().find(|row| row.client == client && row.uid == uid) {
            spool.id = Some(id);
        }
    }
    Ok(())
}

impl Batch<'_> {
    fn spool_id(&self, place: usize) -> Option<i64> {
        self.spools.get(place).and_then(|spool| spool.id)
    }
}

/// Numbers for what is new, in order.
struct Numbers {
    reports: Vec<i64>,
    attempts: Vec<i64>,
}

impl Numbers {
    fn draw(tx: &mut Tx<'_>, reports: usize, attempts: usize) -> Result<Self, Fault> {
        let rows = tx.rows(
            "SELECT true, nextval('report_number') FROM generate_series(1, $1)
             UNION ALL SELECT false, nextval('collection_number') FROM generate_series(1, $2)",
            params![reports as i64, attempts as i64],
        )?;
        let mut numbers = Self { reports: Vec::new(), attempts: Vec::new() };
        for row in rows {
            let of_reports: bool = row.get(0)?;
            let kind = if of_reports { &mut numbers.reports } else { &mut numbers.attempts };
            kind.push(row.get(1)?);
        }
        numbers.reports.sort_unstable();
        numbers.attempts.sort_unstable();
        Ok(numbers)
    }
}

/// The payloads of new reports, in their order.
fn payloads(tx: &mut Tx<'_>, series: &mut Series, reports: &[NewReport<'_>]) -> Result<Vec<Vec<u8>>, Fault> {
    fn samples<'a>(report: &NewReport<'a>) -> &'a [Sample] {
        match &report.record.body {
            Body::Report(report) => &report.samples,
            Body::Gap(_) => &[],
        }
    }
    series.learn(tx, &reports.iter().flat_map(|report| samples(report)))?;
    let payload = |report: &NewReport<'_>| {
        let value = |sample: &Sample| {
            let number = series.number(sample);
            Ok((number.ok_or_else(|| corrupt("a series is gone as soon as it is made"))?, sample.value))
        };
        let values = samples(report).iter().map(value).collect::<Result<Vec<_>, Fault>>()?;
        Ok(payload::encode(&values, &Extras::of(report.record)))
    };
    reports.iter().map(payload).collect()
}

fn put_reports(
    tx: &mut Tx<'_>,
    batch: &Batch<'_>,
    numbers: &[i64],
    payloads: &[Vec<u8>],
) -> Result<(), Fault> {
    let new = &batch.reports;
    if new.is_empty() {
        return Ok(());
    }
    let clients: Vec<i64> = new.iter().map(|report| report.client).collect();
    let spools: Vec<Option<i64>> = new.iter().map(|report| batch.spool_id(report.spool)).collect();
    let sequences: Vec<i64> = new.iter().map(|report| report.sequence).collect();
    let digests: Vec<i64> = new.iter().map(|report| admit::short_digest(&report.received.digest)).collect();
    let times: Vec<i64> = new.iter().map(|report| report.received.event_time.millis()).collect();
    let receipts: Vec<i64> = new.iter().map(|report| report.received.receipt.millis()).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    tx.execute(
        "WITH kept AS (
             INSERT INTO report (report_id, client_id, spool_id, sequence, digest, event_time, receipt, payload)
             SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
             RETURNING report_id, event_time)
         INSERT INTO unevaluated (report_id, event_time) SELECT report_id, event_time FROM kept",
        params![numbers, clients, spools, sequences, digests, times, receipts, payloads],
    )?;
    Ok(())
}

fn put_set_aside(tx: &mut Tx<'_>, batch: &Batch<'_>) -> Result<(), Fault> {
    let new = &batch.set_aside;
    if new.is_empty() {
        return Ok(());
    }
    let clients: Vec<i64> = new.iter().map(|aside| aside.client).collect();
    let spools: Vec<Option<i64>> = new.iter().map(|aside| batch.spool_id(aside.spool)).collect();
    let sequences: Vec<i64> = new.iter().map(|aside| aside.sequence).collect();
    let digests: Vec<i64> = new.iter().map(|aside| admit::short_digest(&aside.received.digest)).collect();
    let times: Vec<i64> = new.iter().map(|aside| aside.received.event_time.millis()).collect();
    let receipts: Vec<i64> = new.iter().map(|aside| aside.received.receipt.millis()).collect();
    let reasons: Vec<String> = new.iter().map(|aside| model::text::escape(&aside.reason)).collect();
    let envelopes: Vec<&[u8]> = new.iter().map(|aside| &aside.bytes[..]).collect();
    tx.execute(
        "INSERT INTO quarantine (client_id, spool_id, sequence, digest, event_time, receipt, reason, envelope)
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)",
        params![clients, spools, sequences, digests, times, receipts, reasons, envelopes],
    )?;
    let count = "UPDATE counter SET value = value + $1 WHERE name = 'quarantined'";
    tx.execute(count, params![new.len() as i64])?;
    // The oldest beyond the bounds.
    tx.execute(
        "DELETE FROM quarantine WHERE quarantine_id IN (
             SELECT quarantine_id FROM (
                 SELECT quarantine_id,
                        row_number() OVER (ORDER BY quarantine_id DESC) AS number,
                        sum(length(envelope)) OVER (ORDER BY quarantine_id DESC) AS bytes
                 FROM quarantine) AS newest
             WHERE number > $1 OR bytes > $2)",
        params![QUARANTINED_RECORDS as i64, QUARANTINED_BYTES as i64],
    )?;
    Ok(())
}

fn put_attempts(
    tx: &mut Tx<'_>,
    batch: &Batch<'_>,
    numbers: &[i64],
    attempts: &[Attempt],
    new: &[usize],
) -> Result<(), Fault> {
    let client = |attempt: &Attempt| batch.clients.get(&attempt.client).map(|client| client.id);
    let clients: Vec<Option<i64>> = attempts.iter().map(client).collect();
    let times: Vec<i64> = attempts.iter().map(|attempt| attempt.at.millis()).collect();
    let outcomes: Vec<Vec<u8>> = attempts.iter().map(|attempt| to_cbor(&attempt.outcome)).collect();
    let seconds: Vec<f64> = attempts.iter().map(|attempt| attempt.seconds).collect();
    let uploaded: Vec<bool> = attempts.iter().map(|attempt| attempt.uploaded).collect();
    let stored: Vec<i64> = new.iter().map(|new| *new as i64).collect();
    let runs: Vec<i64> = attempts.iter().map(|attempt| attempt.run.millis()).collect();
    tx.execute(
        "WITH kept AS (
             INSERT INTO collection (collection_id, client_id, at, outcome, seconds, uploaded, stored, run)
             SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
             RETURNING collection_id, run, at)
         INSERT INTO unevaluated_attempt (collection_id, run, at) SELECT collection_id, run, at FROM kept",
        params![numbers, clients, times, outcomes, seconds, uploaded, stored, runs],
    )?;
    Ok(())
}

fn put_latest(tx: &mut Tx<'_>, batch: &Batch<'_>, payloads: &[Vec<u8>]) -> Result<(), Fault> {
    let rows: Vec<&Client<'_>> = batch.clients.values().collect();
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let spools: Vec<Option<i64>> =
        rows.iter().map(|row| row.spool.and_then(|place| batch.spool_id(place))).collect();
    let times: Vec<Option<i64>> = rows.iter().map(|row| row.event_time).collect();
    let reports: Vec<Option<i64>> = rows.iter().map(|row| row.report_time).collect();
    let payload = |row: &&Client<'_>| row.report.and_then(|(place, _)| payloads.get(place)).cloned();
    let payloads: Vec<Option<Vec<u8>>> = rows.iter().map(payload).collect();
    let attempts: Vec<Option<i64>> = rows.iter().map(|row| row.collection_at).collect();
    let outcomes: Vec<Option<Vec<u8>>> = rows.iter().map(|row| row.outcome.map(to_cbor)).collect();
    let contacts: Vec<Option<i64>> = rows.iter().map(|row| row.contact).collect();
    let failed: Vec<bool> = rows.iter().map(|row| row.failed).collect();
    let judged: Vec<Option<i64>> = rows.iter().map(|row| row.judged).collect();
    tx.execute(
        "INSERT INTO latest (client_id, spool_id, event_time, report_time, payload, collection_at, outcome, contact,
                             failed, judged)
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (client_id) DO UPDATE SET
             spool_id = excluded.spool_id, event_time = excluded.event_time, report_time = excluded.report_time,
             payload = coalesce(excluded.payload, latest.payload), collection_at = excluded.collection_at,
             outcome = coalesce(excluded.outcome, latest.outcome), contact = excluded.contact,
             failed = excluded.failed, judged = excluded.judged",
        params![ids, spools, times, reports, payloads, attempts, outcomes, contacts, failed, judged],
    )?;
    Ok(())
}

fn put_hosts(tx: &mut Tx<'_>, batch: &Batch<'_>) -> Result<(), Fault> {
    let seen = batch.clients.values().filter_map(|client| Some((client.id, to_cbor(client.report?.1))));
    let (ids, hosts): (Vec<i64>, Vec<Vec<u8>>) = seen.unzip();
    if ids.is_empty() {
        return Ok(());
    }
    tx.execute(
        "UPDATE client SET host = seen.host FROM unnest($1, $2) AS seen (client_id, host)
         WHERE client.client_id = seen.client_id AND client.host IS DISTINCT FROM seen.host",
        params![ids, hosts],
    )?;
    Ok(())
}
