//! What became of a rule on a series, and what people are to be told of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClientUid, Evidence, Labels, RuleId, Severity, Timestamp};

/// Names an alert: a rule on a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertKey {
    /// The client.
    pub client: ClientUid,
    /// The rule.
    pub rule: RuleId,
    /// The series' labels.
    pub labels: Labels,
}

/// Where an alert stands, in event time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum AlertState {
    /// No breach.
    #[default]
    Inactive,
    /// Breaching, but not for long enough to tell anybody.
    Pending {
        /// The first breach.
        since: Timestamp,
        /// Breaches in a row.
        breaches: u32,
    },
    /// People are told.
    Firing {
        /// The first breach of the episode.
        since: Timestamp,
        /// How bad the latest value is.
        severity: Severity,
        /// The worst severity that was told.
        worst: Severity,
        /// The episode that is open.
        episode: EpisodeId,
    },
    /// It was firing, and is over.
    Resolved {
        /// The first value that breached no more.
        at: Timestamp,
    },
}

/// Names an episode: a digest of its [`AlertKey`] and begin, so that every split of a backlog into runs gives the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EpisodeId(pub String);

impl fmt::Display for EpisodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From firing to resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Its name.
    pub id: EpisodeId,
    /// The alert.
    pub key: AlertKey,
    /// The client's name when it fired; for people.
    pub client_name: String,
    /// The rule's metric.
    pub metric: String,
    /// The first breach.
    pub begin: Timestamp,
    /// When it fired.
    pub fired: Timestamp,
    /// The worst severity so far.
    pub severity: Severity,
    /// The value that made it fire.
    pub first_value: f64,
    /// The limit that was breached last.
    pub limit: f64,
    /// The worst value so far.
    pub peak: f64,
    /// When that was.
    pub peak_at: Timestamp,
    /// The latest value.
    pub last_value: f64,
    /// When that was.
    pub last_at: Timestamp,
    /// What a failed collection said, for rules over collections; else empty.
    pub detail: String,
    /// As it was at the breach.
    pub evidence: Evidence,
    /// How and when it ended.
    pub end: Option<EpisodeEnd>,
}

/// How and when an episode ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpisodeEnd {
    /// When, in event time.
    pub at: Timestamp,
    /// Why.
    pub why: EndReason,
}

/// Why an episode ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// The value is fine again.
    Recovered,
    /// The rule is no longer in config.xml.
    RuleRemoved,
    /// The client is no longer in config.xml.
    ClientRemoved,
}

/// What there is to tell of an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// It fires.
    First,
    /// Its severity rose.
    Worse,
    /// It is over.
    Resolved,
}

/// Names a fact: the store numbers them.
pub type FactId = i64;

/// An episode's news for one receiver, told or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The episode.
    pub episode: EpisodeId,
    /// The address to tell.
    pub receiver: String,
    /// Counts an episode's news for one receiver, from 0.
    pub ordinal: u32,
    /// What the news is.
    pub reason: Reason,
    /// How bad it was then.
    pub severity: Severity,
    /// When it came about, in event time.
    pub at: Timestamp,
}
