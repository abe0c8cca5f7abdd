//! Storing attempts with their records.

use model::wire::to_cbor;
use model::{Body, Outcome, Record, SpoolId};
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::client_id;
use super::fault::Fault;
use super::series::Series;
use crate::admit::{self, Admission, Twin};
use crate::payload::{self, Extras};
use crate::reports::Keeping;
use crate::{Attempt, Content, QUARANTINED_BYTES, QUARANTINED_RECORDS, Received};

/// What came of storing an attempt.
#[derive(Default)]
pub(super) struct Stored {
    /// How many of its records were new.
    pub(super) new: usize,
    /// How many of those were set aside.
    pub(super) set_aside: usize,
}

/// Stores one attempt.
pub(super) fn attempt(
    transaction: &Transaction<'_>,
    series: &mut Series,
    attempt: &Attempt,
) -> Result<Stored, Fault> {
    let client = client_id(transaction, attempt.client)?;
    let mut latest = Latest::load(transaction, client)?;
    let mut spools: Vec<Spool> = Vec::new();
    let mut stored = Stored::default();
    for received in &attempt.records {
        let Some(sequence) = admit::sequence(received.sequence) else {
            log::warn!("client {}: a record numbered {} is not stored", attempt.client, received.sequence);
            continue;
        };
        if !spools.iter().any(|spool| spool.uid == received.spool) {
            spools.push(Spool::load(transaction, client, received)?);
        }
        let Some(spool) = spools.iter_mut().find(|spool| spool.uid == received.spool) else {
            continue;
        };
        latest.spool = Some(spool.id);
        match spool.admit(transaction, client, sequence, received)? {
            Admission::Known => continue,
            Admission::Conflict => {
                log::warn!(
                    "client {}: record {} of spool {} is not the one that is stored: the machine was rolled back",
                    attempt.client,
                    received.sequence,
                    received.spool
                );
                continue;
            }
            Admission::Moved => {}
            Admission::New => {
                stored.new += 1;
                match received.keeping() {
                    Keeping::Stored(record) => {
                        let report =
                            insert_report(transaction, series, client, spool.id, sequence, received, record)?;
                        latest.see_report(report, received.event_time.millis(), record);
                    }
                    Keeping::SetAside { reason, bytes } => {
                        stored.set_aside += 1;
                        if let Content::Record(_) = received.content {
                            log::warn!("client {}: record {sequence} is set aside: {reason}", attempt.client);
                        }
                        set_aside(transaction, client, spool.id, sequence, received, &reason, &bytes)?;
                    }
                }
                latest.event_time = latest.event_time.max(Some(received.event_time.millis()));
            }
        }
        spool.advance(received);
    }
    spools.iter().filter(|spool| spool.moved).try_for_each(|spool| spool.save(transaction))?;
    latest.see_attempt(insert_attempt(transaction, client, attempt, stored.new)?, attempt);
    latest.save(transaction)?;
    Ok(stored)
}

/// A spool's row while an attempt is stored.
struct Spool<'a> {
    uid: SpoolId,
    id: i64,
    through: Option<u64>,
    digest: &'a [u8; 32],
    last_event_time: i64,
    /// The highest sequence that this client has under other spools.
    others: Option<i64>,
    conflict: bool,
    moved: bool,
}

impl<'a> Spool<'a> {
    /// The row of the spool that `first` came from, made where there is none.
    fn load(transaction: &Transaction<'_>, client: i64, first: &'a Received) -> Result<Self, Fault> {
        let found = transaction
            .prepare_cached("SELECT spool_id, stored_through, last_event_time FROM spool WHERE client_id = ?1 AND spool = ?2")?
            .query_row((client, first.spool.0), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let (id, through, last_event_time) = if let Some((id, through, time)) = found {
            (id, Some(through), time)
        } else {
            let time = first.event_time.millis();
            let mut insert = transaction.prepare_cached(
                "INSERT INTO spool (client_id, spool, stored_through, digest, last_event_time)
                 VALUES (?1, ?2, 0, zeroblob(32), ?3)",
            )?;
            (insert.insert((client, first.spool.0, time))?, None, time)
        };
        let others = transaction
            .prepare_cached("SELECT max(stored_through) FROM spool WHERE client_id = ?1 AND spool_id <> ?2")?
            .query_row((client, id), |row| row.get(0))?;
        Ok(Self {
            uid: first.spool,
            id,
            through,
            digest: &first.digest,
            last_event_time,
            others,
            conflict: false,
            moved: false,
        })
    }

    fn admit(
        &mut self,
        transaction: &Transaction<'_>,
        client: i64,
        sequence: i64,
        received: &Received,
    ) -> Result<Admission, Fault> {
        if self.conflict {
            return Ok(Admission::Known);
        }
        let may_be_known = self.through.is_some_and(|through| received.sequence <= through);
        let may_have_moved = self.others >= Some(sequence);
        let twins = if may_be_known || may_have_moved {
            twins(transaction, client, sequence, self.id)?
        } else {
            Vec::new()
        };
        let digest = admit::short_digest(&received.digest);
        let admission = admit::admit(self.through, received.sequence, digest, &twins);
        self.conflict = admission == Admission::Conflict;
        Ok(admission)
    }

    fn advance(&mut self, received: &'a Received) {
        self.through = Some(received.sequence);
        self.digest = &received.digest;
        self.last_event_time = self.last_event_time.max(received.event_time.millis());
        self.moved = true;
    }

    fn save(&self, transaction: &Transaction<'_>) -> Result<(), Fault> {
        transaction
            .prepare_cached(
                "UPDATE spool SET stored_through = ?2, digest = ?3, last_event_time = ?4 WHERE spool_id = ?1",
            )?
            .execute(params![self.id, self.through, self.digest, self.last_event_time])?;
        Ok(())
    }
}

fn twins(transaction: &Transaction<'_>, client: i64, sequence: i64, spool: i64) -> Result<Vec<Twin>, Fault> {
    let mut select = transaction.prepare_cached(
        "SELECT spool_id, digest FROM report WHERE client_id = ?1 AND sequence = ?2
         UNION ALL SELECT spool_id, digest FROM quarantine WHERE client_id = ?1 AND sequence = ?2",
    )?;
    let twins = select.query_map((client, sequence), |row| {
        Ok(Twin { same_spool: row.get::<_, i64>(0)? == spool, digest: row.get(1)? })
    })?;
    Ok(twins.collect::<Result<_, _>>()?)
}

fn insert_report(
    transaction: &Transaction<'_>,
    series: &mut Series,
    client: i64,
    spool: i64,
    sequence: i64,
    received: &Received,
    record: &Record,
) -> Result<i64, Fault> {
    let mut values = Vec::new();
    if let Body::Report(report) = &record.body {
        for sample in &report.samples {
            values.push((series.number(transaction, sample)?, sample.value));
        }
    }
    let report = transaction
        .prepare_cached(
            "INSERT INTO report (client_id, spool_id, sequence, digest, event_time, receipt, payload)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .insert(params![
            client,
            spool,
            sequence,
            admit::short_digest(&received.digest),
            received.event_time.millis(),
            received.receipt.millis(),
            payload::encode(&values, &Extras::of(record)),
        ])?;
    transaction
        .prepare_cached("INSERT INTO unevaluated (event_time, report_id) VALUES (?1, ?2)")?
        .execute((received.event_time.millis(), report))?;
    Ok(report)
}

fn set_aside(
    transaction: &Transaction<'_>,
    client: i64,
    spool: i64,
    sequence: i64,
    received: &Received,
    reason: &str,
    envelope: &[u8],
) -> Result<(), Fault> {
    transaction
        .prepare_cached(
            "INSERT INTO quarantine (client_id, spool_id, sequence, digest, event_time, receipt, reason, envelope)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            client,
            spool,
            sequence,
            admit::short_digest(&received.digest),
            received.event_time.millis(),
            received.receipt.millis(),
            model::text::escape(reason),
            envelope,
        ])?;
    transaction.prepare_cached("UPDATE meta SET value = value + 1 WHERE key = 'quarantined'")?.execute([])?;
    Ok(())
}

/// Removes the oldest of what is set aside beyond the bounds.
pub(super) fn bound_quarantine(transaction: &Transaction<'_>) -> Result<(), Fault> {
    transaction
        .prepare_cached(
            "DELETE FROM quarantine WHERE quarantine_id IN (
                 SELECT quarantine_id FROM (
                     SELECT quarantine_id,
                            row_number() OVER newest AS number,
                            sum(length(envelope)) OVER newest AS bytes
                     FROM quarantine WINDOW newest AS (ORDER BY quarantine_id DESC))
                 WHERE number > ?1 OR bytes > ?2)",
        )?
        .execute((QUARANTINED_RECORDS, QUARANTINED_BYTES))?;
    Ok(())
}

fn insert_attempt(
    transaction: &Transaction<'_>,
    client: i64,
    attempt: &Attempt,
    stored: usize,
) -> Result<i64, Fault> {
    let id = transaction
        .prepare_cached(
            "INSERT INTO collection (client_id, at, outcome, seconds, uploaded, stored, run)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .insert(params![
            client,
            attempt.at.millis(),
            to_cbor(&attempt.outcome),
            attempt.seconds,
            attempt.uploaded,
            stored as i64,
            attempt.run.millis()
        ])?;
    transaction
        .prepare_cached("INSERT INTO unevaluated_attempt (run, at, collection_id) VALUES (?1, ?2, ?3)")?
        .execute((attempt.run.millis(), attempt.at.millis(), id))?;
    Ok(id)
}

/// The row of `latest` while an attempt is stored.
#[derive(Default)]
struct Latest<'a> {
    client: i64,
    spool: Option<i64>,
    event_time: Option<i64>,
    report: Option<i64>,
    report_time: Option<i64>,
    collection: Option<i64>,
    collection_at: Option<i64>,
    contact: Option<i64>,
    failed: bool,
    judged: Option<i64>,
    host: Option<&'a model::Host>,
}

impl<'a> Latest<'a> {
    fn load(transaction: &Transaction<'_>, client: i64) -> Result<Self, Fault> {
        let found = transaction
            .prepare_cached(
                "SELECT spool_id, event_time, report_id, report_time, collection_id, collection_at, contact, failed,
                        judged
                 FROM latest WHERE client_id = ?1",
            )?
            .query_row([client], |row| {
                Ok(Self {
                    client,
                    spool: row.get(0)?,
                    event_time: row.get(1)?,
                    report: row.get(2)?,
                    report_time: row.get(3)?,
                    collection: row.get(4)?,
                    collection_at: row.get(5)?,
                    contact: row.get(6)?,
                    failed: row.get(7)?,
                    judged: row.get(8)?,
                    host: None,
                })
            })
            .optional()?;
        Ok(found.unwrap_or(Self { client, ..Self::default() }))
    }

    fn see_report(&mut self, id: i64, event_time: i64, record: &'a Record) {
        if let Body::Report(report) = &record.body
            && self.report_time <= Some(event_time)
        {
            self.report = Some(id);
            self.report_time = Some(event_time);
            self.host = Some(&report.host);
        }
    }

    fn see_attempt(&mut self, id: i64, attempt: &Attempt) {
        let at = Some(attempt.at.millis());
        if self.collection_at <= at {
            self.collection = Some(id);
            self.collection_at = at;
        }
        if attempt.outcome != Outcome::NotReached && self.judged <= at {
            self.failed = !attempt.outcome.is_collected();
            self.judged = at;
        }
        if attempt.outcome.is_collected() {
            self.contact = self.contact.max(at);
        }
    }

    fn save(&self, transaction: &Transaction<'_>) -> Result<(), Fault> {
        transaction
            .prepare_cached("REPLACE INTO latest VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
            .execute(params![
            self.client,
            self.spool,
            self.event_time,
            self.report,
            self.report_time,
            self.collection,
            self.collection_at,
            self.contact,
            self.failed,
            self.judged
        ])?;
        if let Some(host) = self.host {
            transaction
                .prepare_cached("UPDATE client SET host = ?2 WHERE client_id = ?1 AND host IS NOT ?2")?
                .execute((self.client, to_cbor(host)))?;
        }
        Ok(())
    }
}
