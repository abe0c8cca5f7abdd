//! The database as what a file is moved into. As long as that goes on, a row of `meta` says so, and no program opens it.

use model::storage_url::PostgresUrl;
use model::wire::{from_cbor, to_cbor};
use serde::{Deserialize, Serialize};

use super::fault::{Fault, corrupt, refused};
use super::link::{Link, Mode, Tx};
use super::values::{Param, param, params};
use super::{PostgresAccess, PostgresStore, migrate, values};
use crate::StoreError;
use crate::transfer::{About, Column, Kind, NUMBERED, Portion, Row, TABLES, Table, Value};

/// A database that is being filled.
#[derive(Debug)]
pub(crate) struct Target {
    link: Link,
}

/// How far a table was moved.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// All of it is there.
    pub(crate) done: bool,
    /// How many rows are.
    pub(crate) rows: u64,
    /// The key of the last.
    pub(crate) after: Option<Vec<Value>>,
}

impl Progress {
    fn text(&self) -> String {
        let digit = |number: u8| char::from_digit(number.into(), 16).unwrap_or_default();
        to_cbor(self).into_iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }

    fn read(text: &str) -> Result<Self, Fault> {
        let digits = |place| text.get(place..place + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digits).collect();
        from_cbor(&bytes.ok_or_else(|| corrupt("a note of how far a table was moved"))?).map_err(corrupt)
    }
}

impl PostgresStore {
    /// Opens a database to move `source` into: one that holds nothing, or what an earlier try left.
    pub(crate) fn open_target(
        url: &PostgresUrl,
        access: &PostgresAccess,
        source: &About,
    ) -> Result<Target, StoreError> {
        let mut link = Self::connected(url, access)?.link;
        migrate::migrate(&mut link, migrate::STEPS)?;
        let mut target = Target { link };
        let moving = format!("{} {}", source.installation, source.state);
        let begun = target.link.again(Mode::Read, |tx| meta(tx, MOVING))?;
        match begun {
            Some(begun) if begun == moving => {}
            Some(begun) if begun.starts_with(&source.installation) => {
                log::info!("storage: the file changed since its move was cut short: the move begins anew");
                target.begin_anew()?;
                target.link.again(Mode::Write, |tx| begin(tx, &moving, source))?;
            }
            Some(_) => {
                let text =
                    "another file is being moved into this database; name another one, or make it anew";
                return Err(StoreError::Other(text.to_owned()));
            }
            None => target.link.again(Mode::Write, |tx| begin(tx, &moving, source))?,
        }
        Ok(target)
    }
}

/// The row of `meta` that says that the database is being filled, and from what.
const MOVING: &str = "moving";

/// Sees that the database is not being filled.
pub(super) fn check(link: &mut Link) -> Result<(), Fault> {
    match link.again(Mode::Read, |tx| meta(tx, MOVING))? {
        None => Ok(()),
        Some(_) => Err(refused(
            "a file is being moved into it; let fleet-collector migrate-storage come to its end, or say it again",
        )),
    }
}

fn meta(tx: &mut Tx<'_>, key: &str) -> Result<Option<String>, Fault> {
    tx.row("SELECT value FROM meta WHERE key = $1", params![key])?.map(|row| row.get(0)).transpose()
}

/// Notes that the database is being filled, unless it holds something.
fn begin(tx: &mut Tx<'_>, moving: &str, source: &About) -> Result<(), Fault> {
    // Where COMMIT was not answered, it may be there.
    if meta(tx, MOVING)?.as_deref() == Some(moving) {
        return Ok(());
    }
    for table in TABLES {
        let condition = table.without.map(|without| format!("WHERE NOT ({without})")).unwrap_or_default();
        if tx.row(&format!("SELECT 1::bigint FROM {} {condition} LIMIT 1", table.name), &[])?.is_some() {
            return Err(refused(if meta(tx, "installation")?.as_ref() == Some(&source.installation) {
                "all of it was moved there already; name it in <storage> in config.xml".to_owned()
            } else {
                format!("the database holds something already (table {}); make an empty one", table.name)
            }));
        }
    }
    tx.execute("INSERT INTO meta (key, value) VALUES ($1, $2)", params![MOVING, moving])?;
    Ok(())
}

impl Target {
    /// How far a table was moved.
    pub(crate) fn progress(&mut self, table: &Table) -> Result<Progress, StoreError> {
        let noted = self.link.again(Mode::Read, |tx| meta(tx, &note(table)))?;
        Ok(noted.map(|text| Progress::read(&text)).transpose()?.unwrap_or_default())
    }

    /// Adds rows and notes how far it got, all or nothing, and once.
    pub(crate) fn add(
        &mut self,
        table: &Table,
        rows: &[Row],
        before: &Progress,
        next: &Progress,
    ) -> Result<(), StoreError> {
        let (note, before, next) = (note(table), before.text(), next.text());
        let insert = insert(table);
        let columns: Vec<Values> =
            (0..table.columns.len()).map(|place| Values::of(table, place, rows)).collect::<Result<_, _>>()?;
        Ok(self.link.again(Mode::Write, |tx| {
            let noted = meta(tx, &note)?;
            if noted.as_ref() == Some(&next) {
                // The COMMIT that was not answered.
                return Ok(());
            }
            if noted.is_some_and(|noted| noted != before) {
                return Err(refused("another process moves the same file"));
            }
            tx.execute(
                "INSERT INTO meta (key, value) VALUES ($1, $2)
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                params![note, next],
            )?;
            if !rows.is_empty() {
                let columns: Vec<Param<'_>> = columns.iter().map(Values::parameter).collect();
                tx.execute(&insert, &columns)?;
            }
            Ok(())
        })?)
    }

    /// The next rows of a table after those up to the key `after`; none where there are none.
    pub(crate) fn portion(&mut self, table: &Table, after: Option<&[Value]>) -> Result<Vec<Row>, StoreError> {
        let sql = select(table, after);
        let key: Vec<&Column> = table.target_key.iter().map(|column| &table.columns[*column]).collect();
        let after: Vec<Values> = after
            .unwrap_or_default()
            .iter()
            .zip(key)
            .map(|(value, column)| Values::one(column, value))
            .collect::<Result<_, _>>()?;
        Ok(self.link.again(Mode::Read, |tx| {
            let after: Vec<Param<'_>> = after.iter().map(Values::parameter).collect();
            let mut portion = Portion::default();
            for row in tx.rows(&sql, &after)? {
                let values =
                    table.columns.iter().enumerate().map(|(place, column)| value(&row, place, column.kind));
                if !portion.take(values.collect::<Result<_, _>>()?) {
                    break;
                }
            }
            Ok(portion.rows)
        })?)
    }

    /// Removes what was moved.
    pub(crate) fn begin_anew(&mut self) -> Result<(), StoreError> {
        Ok(self.link.again(Mode::Write, |tx| {
            let emptied = TABLES.iter().filter(|table| table.without.is_none()).map(|table| table.name);
            tx.execute(&format!("TRUNCATE TABLE {}", emptied.collect::<Vec<_>>().join(", ")), &[])?;
            for table in TABLES {
                if let Some(without) = table.without {
                    tx.execute(&format!("DELETE FROM {} WHERE NOT ({without})", table.name), &[])?;
                }
            }
            tx.execute("DELETE FROM meta WHERE key = $1 OR key LIKE 'moved %'", params![MOVING])?;
            Ok(())
        })?)
    }

    /// Lets the programs use it: numbers go on after those that are taken, and nothing says any more that it is being filled.
    pub(crate) fn finish(&mut self, source: &About) -> Result<(), StoreError> {
        Ok(self.link.again(Mode::Write, |tx| {
            for (of, highest) in NUMBERED.iter().zip(&source.highest).filter(|(_, highest)| **highest > 0) {
                let (table, column) = (of.table, of.column);
                let own = format!("pg_get_serial_sequence('{table}', '{column}')");
                let sequence = of.sequence.map_or(own, |name| format!("'{name}'"));
                tx.rows(&format!("SELECT setval({sequence}, $1)"), params![*highest])?;
            }
            tx.execute(
                "UPDATE counter SET value = $1 WHERE name = 'quarantined'",
                params![source.quarantined],
            )?;
            tx.execute(
                "UPDATE meta SET value = $1 WHERE key = 'installation'",
                params![source.installation.as_str()],
            )?;
            // What a file does not have: which run has hold of which client. Nobody has.
            tx.execute(
                "INSERT INTO claim (client_id) SELECT client_id FROM client ON CONFLICT (client_id) DO NOTHING",
                params![],
            )?;
            tx.execute("DELETE FROM meta WHERE key = $1 OR key LIKE 'moved %'", params![MOVING])?;
            Ok(())
        })?)
    }
}

/// The row of `meta` that says how far a table was moved.
fn note(table: &Table) -> String {
    format!("moved {}", table.name)
}

fn list<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    columns.map(|column| column.name).collect::<Vec<_>>().join(", ")
}

fn insert(table: &Table) -> String {
    let given =
        table.columns.iter().zip(1..).map(|(column, place)| format!("${place}::{}[]", column.kind.name()));
    let given = given.collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {} ({}) SELECT * FROM unnest({given})", table.name, list(table.columns.iter()))
}

fn select(table: &Table, after: Option<&[Value]>) -> String {
    let key = list(table.target_key.iter().map(|column| &table.columns[*column]));
    let mut conditions: Vec<String> =
        table.without.iter().map(|without| format!("NOT ({without})")).collect();
    if after.is_some() {
        let given: Vec<String> = (1..=table.target_key.len()).map(|place| format!("${place}")).collect();
        conditions.push(format!("({key}) > ({})", given.join(", ")));
    }
    let condition = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
    let columns = list(table.columns.iter());
    format!("SELECT {columns} FROM {} WHERE {condition} ORDER BY {key} LIMIT {}", table.name, Portion::ROWS)
}

impl Kind {
    /// The type's name in SQL.
    fn name(self) -> &'static str {
        match self {
            Self::Integer => "bigint",
            Self::Boolean => "boolean",
            Self::Real => "double precision",
            Self::Text => "text",
            Self::Blob => "bytea",
        }
    }
}

/// The values of a column, or one, as a parameter.
enum Values {
    Integers(Vec<Option<i64>>),
    Booleans(Vec<Option<bool>>),
    Reals(Vec<Option<f64>>),
    Texts(Vec<Option<String>>),
    Blobs(Vec<Option<Vec<u8>>>),
    Integer(i64),
    Text(String),
}

impl Values {
    fn of(table: &Table, place: usize, rows: &[Row]) -> Result<Self, Fault> {
        let column = &table.columns[place];
        let wrong = || corrupt(format!("{}.{} is of another type", table.name, column.name));
        macro_rules! values {
            ($variant:ident, $($value:pat => $as:expr),+) => {
                Self::$variant(
                    rows.iter()
                        .map(|row| match row.get(place) {
                            Some(Value::Null) => Ok(None),
                            $(Some($value) => Ok(Some($as)),)+
                            _ => Err(wrong()),
                        })
                        .collect::<Result<_, _>>()?,
                )
            };
        }
        Ok(match column.kind {
            Kind::Integer => values!(Integers, Value::Integer(number) => *number),
            Kind::Boolean => values!(Booleans, Value::Integer(number) => *number != 0),
            Kind::Real => values!(Reals, Value::Real(number) => *number),
            Kind::Text => values!(Texts, Value::Text(text) => text.clone()),
            Kind::Blob => values!(Blobs, Value::Blob(bytes) => bytes.clone()),
        })
    }

    /// A part of a key.
    fn one(column: &Column, value: &Value) -> Result<Self, Fault> {
        match value {
            Value::Integer(number) => Ok(Self::Integer(*number)),
            Value::Text(text) => Ok(Self::Text(text.clone())),
            _ => Err(corrupt(format!("{} is part of a key", column.name))),
        }
    }

    fn parameter(&self) -> Param<'_> {
        match self {
            Self::Integers(all) => param(all),
            Self::Booleans(all) => param(all),
            Self::Reals(all) => param(all),
            Self::Texts(all) => param(all),
            Self::Blobs(all) => param(all),
            Self::Integer(one) => param(one),
            Self::Text(one) => param(one),
        }
    }
}

fn value(row: &values::Row, place: usize, kind: Kind) -> Result<Value, Fault> {
    let value = match kind {
        Kind::Integer => row.get::<Option<i64>>(place)?.map(Value::Integer),
        Kind::Boolean => row.get::<Option<bool>>(place)?.map(|is| Value::Integer(is.into())),
        Kind::Real => row.get::<Option<f64>>(place)?.map(Value::Real),
        Kind::Text => row.get::<Option<String>>(place)?.map(Value::Text),
        Kind::Blob => row.get::<Option<Vec<u8>>>(place)?.map(Value::Blob),
    };
    Ok(value.unwrap_or(Value::Null))
}
