//! The file as what is moved to another storage.

use rusqlite::types::ValueRef;
use rusqlite::{params_from_iter, types};

use super::SqliteStore;
use super::fault::{Fault, corrupt};
use crate::transfer::{
    About, Column, Kind, NUMBERED, Numbered, Portion, Row, Sum, TABLES, Table, Value, sum,
};
use crate::{AlertStore as _, StoreError};

impl SqliteStore {
    /// What the file says of itself as a whole.
    pub(crate) fn about(&mut self) -> Result<About, StoreError> {
        let mut state = Vec::new();
        for table in TABLES.iter().filter(|table| ["run", "silence", "acknowledgement"].contains(&table.name))
        {
            let sum: Sum = sum(table.source_key, |after| self.portion(table, after))?;
            state.push(sum.to_string());
        }
        let (quarantined, highest) = self.read(|transaction, _| {
            let one = |sql: &str| Ok::<i64, Fault>(transaction.query_row(sql, [], |row| row.get(0))?);
            let highest =
                |of: &Numbered| one(&format!("SELECT coalesce(max({}), 0) FROM {}", of.column, of.table));
            let quarantined = one("SELECT value FROM meta WHERE key = 'quarantined'")?;
            Ok((quarantined, NUMBERED.iter().map(highest).collect::<Result<_, _>>()?))
        })?;
        Ok(About { installation: self.installation()?, quarantined, highest, state: state.concat() })
    }

    /// The next rows of a table after those up to the key `after`; none where there are none.
    pub(crate) fn portion(&mut self, table: &Table, after: Option<&[Value]>) -> Result<Vec<Row>, StoreError> {
        let sql = select(table, after);
        self.read(|transaction, _| {
            let mut select = transaction.prepare_cached(&sql)?;
            let after = params_from_iter(after.unwrap_or_default().iter().map(parameter));
            let mut rows = select.query(after)?;
            let mut portion = Portion::default();
            while let Some(row) = rows.next()? {
                let values = table.columns.iter().enumerate().map(|(place, column)| {
                    value(row.get_ref(place)?, column)
                        .map_err(|fault| corrupt(format!("{}.{}: {fault}", table.name, column.name)))
                });
                if !portion.take(values.collect::<Result<_, Fault>>()?) {
                    break;
                }
            }
            Ok(portion.rows)
        })
    }
}

fn select(table: &Table, after: Option<&[Value]>) -> String {
    let columns: Vec<&str> = table.columns.iter().map(|column| column.source).collect();
    let key: Vec<&str> = table.source_key.iter().map(|column| table.columns[*column].source).collect();
    let (columns, key) = (columns.join(", "), key.join(", "));
    let mut conditions: Vec<String> =
        table.without.iter().map(|without| format!("NOT ({without})")).collect();
    if after.is_some() {
        conditions.push(format!("({key}) > ({})", vec!["?"; table.source_key.len()].join(", ")));
    }
    let condition = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
    format!("SELECT {columns} FROM {} WHERE {condition} ORDER BY {key} LIMIT {}", table.source, Portion::ROWS)
}

fn parameter(value: &Value) -> types::Value {
    match value {
        Value::Null => types::Value::Null,
        Value::Integer(number) => types::Value::Integer(*number),
        Value::Real(number) => types::Value::Real(*number),
        Value::Text(text) => types::Value::Text(text.clone()),
        Value::Blob(bytes) => types::Value::Blob(bytes.clone()),
    }
}

/// A value of the file as its column has it in the target.
fn value(value: ValueRef<'_>, column: &Column) -> Result<Value, String> {
    Ok(match (column.kind, value) {
        (_, ValueRef::Null) => Value::Null,
        (Kind::Integer | Kind::Boolean, ValueRef::Integer(number)) => Value::Integer(number),
        (Kind::Real, ValueRef::Real(number)) => Value::Real(number),
        // No text of PostgreSQL's holds a NUL (https://www.postgresql.org/docs/15/datatype-character.html).
        (Kind::Text, ValueRef::Text(bytes)) => {
            let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
            Value::Text(text.replace('\0', "\u{fffd}"))
        }
        (Kind::Blob, ValueRef::Blob(bytes)) => Value::Blob(bytes.to_vec()),
        (kind, other) => return Err(format!("{:?} where {kind:?} belongs", other.data_type())),
    })
}
