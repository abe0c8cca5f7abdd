//! Where reports, alerts and messages are kept: one repository trait per user of it, in plain types of `model`.
//!
//! Every backend passes the one conformance suite (feature `conformance`); the obligations that it checks stand on the
//! traits.

mod admit;
#[cfg(test)]
mod agreement;
mod alerts;
mod backlog;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod history;
mod lock;
mod memory;
mod old_state;
mod open;
mod overdue;
mod payload;
mod place;
#[cfg(feature = "postgres")]
mod postgres;
mod reports;
mod run_log;
mod skew;
mod sqlite;
#[cfg(feature = "postgres")]
mod transfer;
mod upkeep;
mod words;

pub use alerts::{AlertStore, Backoff, Delivery, Entry, Mark, Message, Step, Telling, Unevaluated};
pub use error::StoreError;
pub use history::{Counts, History, Latest};
pub use lock::RunLock;
pub use memory::MemoryStore;
pub use open::{Access, open, open_copy, open_existing};
pub use overdue::{Here, Punctuality, RUNS_LOOKED_AT, booted, gone, habit, overdue, punctuality, usual};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresAccess, PostgresStore};
pub use reports::{
    Attempt, Claimed, ClientRow, Content, QUARANTINED_BYTES, QUARANTINED_RECORDS, Received, ReportStore,
    SealedKey,
};
pub use run_log::{Program, Run, RunLog};
pub use skew::Skew;
pub use sqlite::SqliteStore;
pub use upkeep::{Maintained, Moved, maintain, maintain_daily, transfer};

/// A whole store.
pub trait Store: ReportStore + AlertStore + History {}

impl<T: ReportStore + AlertStore + History> Store for T {}
