//! The words of Fleet Health as types, and the wire form of what a client reports. No I/O happens here.
//!
//! Everything else in the workspace speaks in these types: the probe fills a [`Record`], the collector stamps it,
//! the stores keep it, the alerter folds it into [`AlertState`]s.

pub mod alert;
pub mod client;
mod condition;
pub mod exit;
pub mod labels;
pub mod metric;
pub mod outcome;
pub mod record;
pub mod rule;
pub mod storage_url;
pub mod text;
pub mod time;
pub mod wire;

pub use alert::{
    Acknowledgement, AlertKey, AlertPhase, AlertState, ClientMemory, Episode, EpisodeEnd, EpisodeId, Fact,
    FactId, Firing, Reason, Silence,
};
pub use client::{ClientName, ClientUid, SpoolId};
pub use exit::Exit;
pub use labels::Labels;
pub use metric::{Metric, Unit};
pub use outcome::{Objection, Outcome, Phase};
pub use record::{Body, Clock, Evidence, Gap, Host, Process, ReaderOutcome, Record, Report, Sample};
pub use rule::{Aggregate, Escalation, Floor, Hold, Operator, Pattern, Rule, RuleId, Severity, Threshold};
pub use storage_url::{PgHost, PgServer, PgTls, PostgresUrl, StorageUrl};
pub use time::Timestamp;
