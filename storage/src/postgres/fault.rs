//! Failures of the server, the driver and the network as a [`StoreError`], and whether trying again may help.

use std::error::Error as _;
use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::StoreError;

/// A [`StoreError`] that `?` makes of the driver's errors; it keeps the driver's type out of this crate's API.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: StoreError,
    pub(super) kind: Kind,
    /// What the server calls it.
    pub(super) code: Option<SqlState>,
}

/// What to do about a transaction that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It fails again.
    Final,
    /// Another transaction was in its way: it may go on anew.
    Conflict,
    /// The connection is of no use any more, or the server takes nothing now: anew, over a new connection.
    Lost,
}

impl Fault {
    fn of(error: StoreError, kind: Kind) -> Self {
        Self { error, kind, code: None }
    }

    /// Whether the server says that.
    pub(super) fn is(&self, code: &SqlState) -> bool {
        self.code.as_ref() == Some(code)
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::of(error, Kind::Final)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let Some(said) = error.as_db_error() else {
            let kind = if is_lost(&error) { Kind::Lost } else { Kind::Final };
            return Self::of(StoreError::Unreachable(chain(&error)), kind);
        };
        // Two who change the schema or grant something at once; the server has no code of its own for it.
        let at_once = said.code().code() == "XX000" && said.message().contains("concurrently updated");
        let kind = if at_once { Kind::Conflict } else { kind(said.code()) };
        let text = format!("{} (SQLSTATE {})", model::text::escape(said.message()), said.code().code());
        Self { error: told(said.code(), text), kind, code: Some(said.code().clone()) }
    }
}

/// Whether it is the network that failed; the rest fails again: a password that is missing, a certificate that is refused.
fn is_lost(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<io::Error>() {
            return !matches!(inner.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput);
        }
        cause = inner.source();
    }
    // The driver tells neither kind apart: it hung up, or nobody answered.
    error.is_closed() || error.to_string().starts_with("timeout")
}

/// What is to be done, by the classes of <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
fn kind(code: &SqlState) -> Kind {
    match code.code() {
        // serialization_failure, deadlock_detected; lock_not_available: a lock was waited for as long as it may be
        "40001" | "40P01" | "55P03" => Kind::Conflict,
        // statement_completion_unknown; admin_shutdown, crash_shutdown, cannot_connect_now, idle sessions that were ended;
        // read_only_sql_transaction: a server that was primary; too_many_connections.
        "40003" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25006" | "53300" => Kind::Lost,
        // connection exceptions
        other if other.starts_with("08") => Kind::Lost,
        _ => Kind::Final,
    }
}

fn told(code: &SqlState, text: String) -> StoreError {
    match code.code() {
        "42501" => StoreError::Denied(text),
        // disk_full
        "53100" => StoreError::Full,
        // data_corrupted, index_corrupted
        "XX001" | "XX002" => StoreError::Corrupt(text),
        "55P03" => StoreError::Busy,
        // invalid_catalog_name: no such database
        "3D000" => StoreError::Unreachable(text),
        // invalid authorization
        other if other.starts_with("28") => StoreError::Unreachable(text),
        _ if kind(code) == Kind::Lost => StoreError::Unreachable(text),
        _ => StoreError::Other(text),
    }
}

/// What the driver says, with its causes: "error connecting to server: connection refused".
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    explained(model::text::escape(&text))
}

/// What TLS says in the words of its library, with what to do about it.
fn explained(text: String) -> String {
    const MEANINGS: [(&str, &str); 6] = [
        (
            "CaUsedAsEndEntity",
            "its certificate is made as an authority's own: make one with basicConstraints=CA:FALSE",
        ),
        ("UnknownIssuer", "no authority that is trusted here has signed its certificate: see ca-file"),
        ("NotValidForName", "its certificate is for another name than the URL says"),
        ("Expired", "its certificate is out of date"),
        (
            "received fatal alert",
            "it does not take the client certificate: see client-cert, and its ssl_ca_file",
        ),
        ("server does not support TLS", "say ssl=on in its postgresql.conf, or sslmode=disable in the URL"),
    ];
    match MEANINGS.iter().find(|(said, _)| text.contains(said)) {
        Some((_, meaning)) => format!("{text} ({meaning})"),
        None => text,
    }
}

/// What the storage holds but no statement of ours writes.
pub(super) fn corrupt(what: impl std::fmt::Display) -> Fault {
    StoreError::Corrupt(what.to_string()).into()
}

/// What the caller asked for and cannot be.
pub(super) fn refused(what: impl Into<String>) -> Fault {
    StoreError::Other(what.into()).into()
}

/// That the server did not answer in time: whether what it was told happened, nobody knows.
pub(super) fn silent(answer: Duration) -> Fault {
    let text = format!("it does not answer for {} s", answer.as_secs());
    Fault::of(StoreError::Unreachable(text), Kind::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tls_says_comes_with_what_to_do() {
        for (said, meaning) in [
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "CA:FALSE"),
            ("invalid peer certificate: UnknownIssuer", "ca-file"),
            ("received fatal alert: UnknownCA", "client-cert"),
            ("server does not support TLS", "ssl=on"),
        ] {
            let told = explained(said.to_owned());
            assert!(told.starts_with(said) && told.contains(meaning), "{told}");
        }
        assert_eq!(explained("connection refused".to_owned()), "connection refused");
    }
}
