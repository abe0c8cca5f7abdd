//! Values on their way to the server and from it. Each parameter says its type, so that a statement needs no name and no
//! round trip of its own: a pooler may give every transaction another connection.

use tokio_postgres::types::{FromSql, ToSql, Type};

use super::fault::{Fault, corrupt};

/// A value whose type at the server is known.
pub(super) trait Typed: ToSql + Sync {
    /// Its type there.
    const TYPE: Type;
}

/// A parameter with its type.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// `value` as a parameter.
pub(super) fn param<T: Typed>(value: &T) -> Param<'_> {
    (value, T::TYPE)
}

/// The parameters of a statement, in order: `params![client, name]`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::postgres::values::param(&$value)),*] };
}
pub(super) use params;

/// One value by several types of ours, an option of it, and a list of either.
macro_rules! typed {
    ($($one:ident, $list:ident: $($of:ty),+;)+) => {$($(
        impl Typed for $of { const TYPE: Type = Type::$one; }
        impl Typed for Option<$of> { const TYPE: Type = Type::$one; }
        impl Typed for Vec<$of> { const TYPE: Type = Type::$list; }
        impl Typed for &[$of] { const TYPE: Type = Type::$list; }
        impl Typed for Vec<Option<$of>> { const TYPE: Type = Type::$list; }
    )+)+};
}

typed! {
    INT8, INT8_ARRAY: i64;
    INT4, INT4_ARRAY: i32;
    BOOL, BOOL_ARRAY: bool;
    FLOAT8, FLOAT8_ARRAY: f64;
    TEXT, TEXT_ARRAY: String, &str;
    BYTEA, BYTEA_ARRAY: Vec<u8>, &[u8];
}

/// A row of an answer.
#[derive(Debug)]
pub(super) struct Row(pub(super) tokio_postgres::Row);

impl Row {
    /// The value of the column `index`, from 0. One of another type is damage: no statement of ours asks for it.
    pub(super) fn get<'a, T: FromSql<'a>>(&'a self, index: usize) -> Result<T, Fault> {
        self.0.try_get(index).map_err(corrupt)
    }

    /// A column of `N` bytes.
    pub(super) fn bytes<const N: usize>(&self, index: usize) -> Result<[u8; N], Fault> {
        let bytes: &[u8] = self.get(index)?;
        bytes.try_into().map_err(|_| corrupt(format!("{} bytes where {N} belong", bytes.len())))
    }
}
