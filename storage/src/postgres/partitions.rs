//! Reports and attempts by day: days are made ahead, and dropped when they are older than what is kept. Where the engine has
//! no partitions, and for what no day's partition takes, rows are deleted a few at a time. What nobody evaluated stays.

use std::time::Duration;

use model::Timestamp;
use tokio_postgres::error::SqlState;

use super::fault::{Fault, corrupt, refused};
use super::link::{Link, Mode, Tx};
use super::run_log::millis;
use super::values::params;
use super::{PostgresStore, migrate};
use crate::{Maintained, StoreError};

/// A day in milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// So many days are made ahead, and how many of those that rows wait for in the default partition at once.
const AHEAD: i64 = 7;
const BEHIND: i64 = 1000;

/// The rows that one transaction deletes.
const BATCH: i64 = 5000;

/// The runs of each program and host that are kept, however old they are.
const RUNS_KEPT: i64 = 1000;

/// How often a day is tried that somebody else stores something of meanwhile.
const TRIES: u32 = 5;

/// A table that may be partitioned.
#[derive(Clone, Copy)]
struct Table {
    name: &'static str,
    /// Its number, and its time.
    id: &'static str,
    time: &'static str,
    /// Where its rows are named that nobody evaluated, by the same number.
    marks: &'static str,
    /// The time in there.
    mark_time: &'static str,
}

const TABLES: [Table; 2] = [
    Table {
        name: "report",
        id: "report_id",
        time: "event_time",
        marks: "unevaluated",
        mark_time: "event_time",
    },
    Table {
        name: "collection",
        id: "collection_id",
        time: "at",
        marks: "unevaluated_attempt",
        mark_time: "at",
    },
];

/// The partition of a span.
struct Partition {
    name: String,
    from: i64,
    to: i64,
}

impl PostgresStore {
    /// Brings the schema up to date, grants the programs' roles what they need where they exist, makes the partitions of the days to come, and removes what is older than `keep`
    /// (`None`: nothing) and evaluated. For the role that owns the tables; to others it is [`StoreError::Denied`].
    pub fn maintain(&mut self, now: Timestamp, keep: Option<Duration>) -> Result<Maintained, StoreError> {
        migrate::migrate(&mut self.link, migrate::STEPS)?;
        let link = &mut self.link;
        link.again(Mode::Schema, grant)?;
        let mut done = Maintained::default();
        let oldest = keep.map(|keep| now.millis().saturating_sub(millis(keep)));
        for table in TABLES {
            if link.again(Mode::Read, |tx| is_partitioned(tx, table))? {
                make(link, table, now.millis(), oldest, &mut done)?;
                if let Some(oldest) = oldest {
                    drop_old(link, table, oldest, &mut done)?;
                    delete_old(link, table, &format!("{}_default", table.name), oldest, &mut done)?;
                }
            } else if let Some(oldest) = oldest {
                delete_old(link, table, table.name, oldest, &mut done)?;
            }
        }
        if let Some(oldest) = oldest {
            done.deleted += link.again(Mode::Write, |tx| forget_runs(tx, oldest))?;
        }
        link.again(Mode::Write, |tx| note(tx, now))?;
        Ok(done)
    }

    /// [`Self::maintain`], where this role owns the tables and a day went by since it was done last. `None`: not now.
    pub fn maintain_daily(
        &mut self,
        now: Timestamp,
        keep: Option<Duration>,
    ) -> Result<Option<Maintained>, StoreError> {
        let due = self.link.again(Mode::Read, |tx| Ok(owns(tx)? && is_due(tx, now)?))?;
        if due { self.maintain(now, keep).map(Some) } else { Ok(None) }
    }
}

/// Grants each program's role what it needs, where there are such roles.
fn grant(tx: &mut Tx<'_>) -> Result<(), Fault> {
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname IN ('fleet_collector', 'fleet_alerter')";
    let roles: i64 = tx.row(roles, params![])?.map_or(Ok(0), |row| row.get(0))?;
    if roles == 2 { tx.batch(include_str!("../../../sql/postgres/grants.sql")) } else { Ok(()) }
}

/// Whether this role owns the tables, or is a member of the one that does.
fn owns(tx: &mut Tx<'_>) -> Result<bool, Fault> {
    let owned = "SELECT pg_has_role(tableowner, 'MEMBER') FROM pg_tables
                 WHERE tablename = 'report' AND schemaname = current_schema()";
    tx.row(owned, params![])?.map_or(Ok(false), |row| row.get(0))
}

/// When it was done last.
const MAINTAINED: &str = "maintained";

fn is_due(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, Fault> {
    let last = tx.row("SELECT value FROM meta WHERE key = $1", params![MAINTAINED])?;
    let Some(last) = last else { return Ok(true) };
    let last: i64 = last.get::<&str>(0)?.parse().map_err(corrupt)?;
    // A clock that was set back must not put it off for ever.
    Ok(!(last..last.saturating_add(DAY)).contains(&now.millis()))
}

fn note(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), Fault> {
    tx.execute(
        "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        params![MAINTAINED, now.millis().to_string()],
    )?;
    Ok(())
}

fn is_partitioned(tx: &mut Tx<'_>, table: Table) -> Result<bool, Fault> {
    let sql = "SELECT count(*) > 0 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
               WHERE relname = $1 AND nspname = current_schema() AND relkind = 'p'";
    tx.row(sql, params![table.name])?.map_or(Ok(false), |row| row.get(0))
}

/// The partitions of `table` but the default one, oldest first.
fn partitions(tx: &mut Tx<'_>, table: Table) -> Result<Vec<Partition>, Fault> {
    let rows = tx.rows(
        "SELECT part.relname::text, pg_get_expr(part.relpartbound, part.oid)
         FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
              JOIN pg_class whole ON whole.oid = inhparent
              JOIN pg_namespace ON pg_namespace.oid = whole.relnamespace
         WHERE whole.relname = $1 AND nspname = current_schema()",
        params![table.name],
    )?;
    let mut found = Vec::new();
    for row in rows {
        if let Some((from, to)) = bounds(row.get(1)?) {
            found.push(Partition { name: row.get(0)?, from, to });
        }
    }
    found.sort_by_key(|partition| partition.from);
    Ok(found)
}

/// The span of `FOR VALUES FROM ('1') TO ('2')`; of the default partition none.
fn bounds(text: &str) -> Option<(i64, i64)> {
    let mut numbers =
        text.split(|c: char| !c.is_ascii_digit() && c != '-').filter_map(|word| word.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// Makes the partitions of the days to come, and of those that the default one has rows of.
fn make(
    link: &mut Link,
    table: Table,
    now: i64,
    oldest: Option<i64>,
    done: &mut Maintained,
) -> Result<(), Fault> {
    let Table { name, time, .. } = table;
    let today = now.div_euclid(DAY);
    let (there, waiting) = link.again(Mode::Read, |tx| {
        let waiting = tx.rows(
            &format!(
                "SELECT DISTINCT {time} / {DAY} FROM {name}_default
                 WHERE {time} >= $1 AND {time} < $2 ORDER BY 1 LIMIT {BEHIND}"
            ),
            params![oldest.unwrap_or(0).max(0), (today + AHEAD + 1) * DAY],
        )?;
        let waiting = waiting.iter().map(|row| row.get(0)).collect::<Result<Vec<i64>, Fault>>()?;
        Ok((partitions(tx, table)?, waiting))
    })?;
    let mut days: Vec<i64> = waiting.into_iter().chain(today..=today + AHEAD).collect();
    days.sort_unstable();
    days.dedup();
    let missing = |day: &i64| !there.iter().any(|part| (part.from..part.to).contains(&(day * DAY)));
    for day in days.into_iter().filter(missing) {
        done.moved += make_day(link, table, day)?;
        done.made += 1;
    }
    Ok(())
}

/// Makes the partition of a day; gives how many rows came into it from the default one.
fn make_day(link: &mut Link, table: Table, day: i64) -> Result<u64, Fault> {
    let mut tries = 0;
    loop {
        tries += 1;
        match link.again(Mode::Write, |tx| attach(tx, table, day)) {
            // Something of that day was stored meanwhile.
            Err(fault) if fault.is(&SqlState::CHECK_VIOLATION) && tries < TRIES => {}
            // Another host was faster.
            Err(fault) if fault.is(&SqlState::DUPLICATE_TABLE) => return Ok(0),
            result => return result,
        }
    }
}

/// Filled before it is attached: only for the attaching, which looks through the default partition, are others kept from
/// the table.
fn attach(tx: &mut Tx<'_>, table: Table, day: i64) -> Result<u64, Fault> {
    let Table { name, time, .. } = table;
    let (from, to) = (day * DAY, (day + 1) * DAY);
    take_time(tx)?;
    let date = "SELECT to_char(to_timestamp($1) AT TIME ZONE 'UTC', 'YYYYMMDD')";
    let date = tx.row(date, params![(from / 1000) as f64])?;
    let date: String = date.ok_or_else(|| corrupt("the server knows no date"))?.get(0)?;
    let part = format!("{name}_{date}");
    tx.batch(&format!("CREATE TABLE {part} (LIKE {name} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))?;
    let moved = tx.execute(
        &format!(
            "WITH gone AS (DELETE FROM {name}_default WHERE {time} >= $1 AND {time} < $2 RETURNING *)
             INSERT INTO {part} SELECT * FROM gone"
        ),
        params![from, to],
    )?;
    tx.batch(&format!("ALTER TABLE {name} ATTACH PARTITION {part} FOR VALUES FROM ({from}) TO ({to})"))?;
    Ok(moved)
}

/// What maintains may take longer than what a run does.
fn take_time(tx: &mut Tx<'_>) -> Result<(), Fault> {
    tx.batch("SET LOCAL statement_timeout = '1h'")
}

/// Drops the partitions that end before `oldest`, but those of which something was not evaluated.
fn drop_old(link: &mut Link, table: Table, oldest: i64, done: &mut Maintained) -> Result<(), Fault> {
    let old = link.again(Mode::Read, |tx| partitions(tx, table))?;
    for part in old.into_iter().filter(|part| part.to <= oldest) {
        let Table { marks, mark_time, .. } = table;
        let evaluated = |tx: &mut Tx<'_>| {
            let left = tx.row(
                &format!("SELECT count(*) FROM {marks} WHERE {mark_time} >= $1 AND {mark_time} < $2"),
                params![part.from, part.to],
            )?;
            match left.map_or(Ok(0), |row| row.get::<i64>(0))? {
                0 => Ok(()),
                _ => Err(refused(UNEVALUATED)),
            }
        };
        let dropped = link.again(Mode::Write, |tx| {
            // Before, for an engine that takes back no change of the schema; and again when nobody stores anything in it
            // any more.
            evaluated(tx)?;
            tx.batch(&format!("ALTER TABLE {} DETACH PARTITION {}", table.name, part.name))?;
            evaluated(tx)?;
            tx.batch(&format!("DROP TABLE {}", part.name))
        });
        match dropped {
            Ok(()) => done.dropped += 1,
            Err(Fault { error: StoreError::Other(why), .. }) if why == UNEVALUATED => {
                log::info!("storage: {} is kept until all of it is evaluated", part.name);
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

/// Why a partition is not dropped; the transaction that detached it does not happen.
const UNEVALUATED: &str = "some of it is not evaluated";

/// Deletes what is older than `oldest` and evaluated from `place`, a few rows at a time.
fn delete_old(
    link: &mut Link,
    table: Table,
    place: &str,
    oldest: i64,
    done: &mut Maintained,
) -> Result<(), Fault> {
    let Table { id, time, marks, .. } = table;
    let delete = format!(
        "DELETE FROM {place} WHERE ({time}, {id}) IN (
             SELECT {time}, {id} FROM {place} AS old
             WHERE {time} < $1 AND NOT EXISTS (SELECT 1 FROM {marks} WHERE {marks}.{id} = old.{id})
             ORDER BY {time}, {id} LIMIT {BATCH})"
    );
    loop {
        let deleted = link.again(Mode::Write, |tx| tx.execute(&delete, params![oldest]))?;
        done.deleted += deleted;
        if deleted < BATCH as u64 {
            return Ok(());
        }
    }
}

/// Forgets runs that are over, but the latest of each host and those that something still names.
fn forget_runs(tx: &mut Tx<'_>, oldest: i64) -> Result<u64, Fault> {
    tx.execute(
        "DELETE FROM run WHERE run_id IN (
             SELECT run_id FROM (
                 SELECT run.*, row_number() OVER (PARTITION BY program, host ORDER BY begin DESC) AS number
                 FROM run) AS numbered
             WHERE number > $1 AND begin < $2 AND (over OR finish IS NOT NULL)
                   AND NOT EXISTS (SELECT 1 FROM claim WHERE claim.run_id = numbered.run_id)
                   AND NOT EXISTS (SELECT 1 FROM unevaluated_attempt WHERE unevaluated_attempt.run = numbered.begin)
             LIMIT 5000)",
        params![RUNS_KEPT, oldest],
    )
}

#[cfg(test)]
mod tests {
    use super::bounds;

    #[test]
    fn a_span_is_read_as_the_server_says_it() {
        assert_eq!(
            bounds("FOR VALUES FROM ('1785196800000') TO ('1785283200000')"),
            Some((1_785_196_800_000, 1_785_283_200_000))
        );
        assert_eq!(bounds("FOR VALUES FROM ('-5') TO ('7')"), Some((-5, 7)));
        assert_eq!(bounds("DEFAULT"), None);
    }
}
