//! Failures of SQLite as a [`StoreError`].

use rusqlite::{Error, ErrorCode};

use crate::StoreError;

/// A [`StoreError`] that `?` makes of the driver's errors; it keeps the driver's type out of this crate's API.
#[derive(Debug)]
pub(super) struct Fault(pub(super) StoreError);

impl From<Fault> for StoreError {
    fn from(Fault(error): Fault) -> Self {
        error
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self(match &error {
            Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy,
                ErrorCode::DiskFull => StoreError::Full,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                    StoreError::Corrupt(error.to_string())
                }
                ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
                    StoreError::Other(format!(
                        "{error}: it has to be a file, and this user must be able to write it and its directory"
                    ))
                }
                _ => StoreError::Other(format!("{error} (SQLite's code {})", failure.extended_code)),
            },
            // A column holds what no statement of ours writes.
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..) => StoreError::Corrupt(error.to_string()),
            _ => StoreError::Other(error.to_string()),
        })
    }
}

/// What the storage holds but no statement of ours writes.
pub(super) fn corrupt(what: impl std::fmt::Display) -> Fault {
    Fault(StoreError::Corrupt(what.to_string()))
}

/// What the caller asked for and cannot be.
pub(super) fn refused(what: impl Into<String>) -> Fault {
    Fault(StoreError::Other(what.into()))
}
