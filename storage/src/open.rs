//! The storage that config.xml names, whichever it is.

use std::fmt;
use std::time::Duration;

use model::StorageUrl;

#[cfg(feature = "postgres")]
use crate::{PostgresAccess, PostgresStore};
use crate::{Program, SqliteStore, Store, StoreError};

/// How a program comes to its storage.
#[derive(Clone)]
pub struct Access {
    /// Where it is.
    pub url: StorageUrl,
    /// With what one logs in there, where config.xml says it.
    pub password: Option<String>,
    /// How long after the last sign of life of a run others take it for dead.
    pub lease: Duration,
    /// Who comes.
    pub program: Program,
}

/// Without the password.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("url", &self.url)
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

/// Opens the storage to write to it; makes what is not there, and brings an older schema up to date.
pub fn open(access: &Access) -> Result<Box<dyn Store>, StoreError> {
    match &access.url {
        StorageUrl::Sqlite(path) => Ok(Box::new(SqliteStore::open(path)?)),
        #[cfg(feature = "postgres")]
        StorageUrl::Postgres(url) => Ok(Box::new(PostgresStore::open(url, &access.to_postgres())?)),
        #[cfg(not(feature = "postgres"))]
        StorageUrl::Postgres(_) => Err(left_out()),
    }
}

/// Opens the storage to read it: nothing is made or changed.
pub fn open_existing(access: &Access) -> Result<Box<dyn Store>, StoreError> {
    match &access.url {
        StorageUrl::Sqlite(path) => Ok(Box::new(SqliteStore::open_existing(path)?)),
        #[cfg(feature = "postgres")]
        StorageUrl::Postgres(url) => Ok(Box::new(PostgresStore::open_existing(url, &access.to_postgres())?)),
        #[cfg(not(feature = "postgres"))]
        StorageUrl::Postgres(_) => Err(left_out()),
    }
}

/// What may be written to while the storage stays as it is.
pub fn open_copy(access: &Access) -> Result<Box<dyn Store>, StoreError> {
    match &access.url {
        StorageUrl::Sqlite(path) => Ok(Box::new(SqliteStore::open_copy(path)?)),
        #[cfg(feature = "postgres")]
        StorageUrl::Postgres(url) => Ok(Box::new(PostgresStore::open_copy(url, &access.to_postgres())?)),
        #[cfg(not(feature = "postgres"))]
        StorageUrl::Postgres(_) => Err(left_out()),
    }
}

#[cfg(feature = "postgres")]
impl Access {
    pub(crate) fn to_postgres(&self) -> PostgresAccess {
        PostgresAccess {
            password: self.password.clone(),
            lease: self.lease,
            ..PostgresAccess::new(self.program)
        }
    }
}

#[cfg(not(feature = "postgres"))]
pub(crate) fn left_out() -> StoreError {
    StoreError::Other("this program was built without PostgreSQL (the feature `postgres`)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let access = Access {
            url: StorageUrl::Sqlite("/x".into()),
            password: Some("hunter2".to_owned()),
            lease: Duration::from_secs(60),
            program: Program::Alerter,
        };
        assert!(!format!("{access:?}").contains("hunter2"));
    }
}
