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

/// What the alerter remembers of an alert, in event time. One that [`Self::is_idle`] need not be kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AlertState {
    /// Where it stands.
    #[serde(default)]
    pub phase: AlertPhase,
    /// What tells the rule's condition from others: a state of another condition was made before an edit.
    #[serde(default)]
    pub condition: u64,
    /// Whether each of the latest records breached, the newest in the lowest bit.
    #[serde(default)]
    pub breaches: u32,
    /// Whether the phase changed between firing and not with each of the latest records, the newest in the lowest bit.
    #[serde(default)]
    pub changes: u32,
    /// The latest values, oldest first, for rules that go by more than the latest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<(Timestamp, f64)>,
    /// Since when its client has reported other things, but not this.
    #[serde(default)]
    pub missing: Option<Timestamp>,
}

impl AlertState {
    /// Whether it says no more than the absence of a state.
    pub fn is_idle(&self) -> bool {
        self.phase == AlertPhase::Inactive
            && self.breaches == 0
            && self.changes == 0
            && self.values.is_empty()
    }

    /// What fires, where it fires.
    pub fn firing(&self) -> Option<&Firing> {
        match &self.phase {
            AlertPhase::Firing(firing) => Some(firing),
            _ => None,
        }
    }
}

/// Where an alert stands.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum AlertPhase {
    /// No breach.
    #[default]
    Inactive,
    /// Breaching, but not for long enough to tell anybody.
    Pending {
        /// The first breach.
        since: Timestamp,
    },
    /// People are told.
    Firing(Firing),
    /// It was firing, and is over.
    Resolved {
        /// The first value that breached no more.
        at: Timestamp,
    },
}

/// An alert that fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    /// The first breach of the episode.
    pub since: Timestamp,
    /// How bad the latest value is.
    pub severity: Severity,
    /// The worst severity that there is news of; `None` while the news is held back.
    pub told: Option<Severity>,
    /// The episode that is open.
    pub episode: EpisodeId,
    /// Since when it has been fine, where it fires only because it has not been so for long enough.
    #[serde(default)]
    pub fine_since: Option<Timestamp>,
    /// It changes too often to be told of each time.
    #[serde(default)]
    pub flapping: bool,
    /// Whether people heard last that it flaps.
    #[serde(default)]
    pub told_flapping: bool,
    /// How many pieces of news there are: the ordinal of the next.
    #[serde(default)]
    pub news: u32,
}

/// What the alerter remembers of a client, in event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClientMemory {
    /// The first attempt.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The newest report that was evaluated.
    #[serde(default)]
    pub reported: Option<Timestamp>,
    /// When the machine booted, by its newest report that says so.
    #[serde(default)]
    pub booted: Option<Timestamp>,
    /// Whether the latest attempt reached it; `None` before the first.
    #[serde(default)]
    pub reached: Option<bool>,
}

/// Times in which nobody is told of what a client or a group does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Its number.
    pub id: i64,
    /// A client's name, or `@group`.
    pub target: String,
    /// The type that it is about; `None`: all.
    pub metric: Option<String>,
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// Why; for people.
    pub why: String,
}

/// Somebody works on an episode: no reminder and no escalation until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The episode.
    pub episode: EpisodeId,
    /// When it was said.
    pub from: Timestamp,
    /// When it expires; `None`: with the episode.
    pub until: Option<Timestamp>,
    /// Why, or who; for people.
    pub why: String,
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
    /// Why the news of it was held back, and since when; empty where it never was.
    pub held: String,
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
    /// The rule's condition was edited, and the value does not breach the new one.
    RuleEdited,
    /// The client has reported other things for a day, but not this.
    Vanished,
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
    /// It fires and is over again and again; nothing more is told of it until that ends.
    Flapping,
    /// It does not change so often any more, and fires.
    Steady,
    /// It still fires: told again, by the clock of the runs.
    Reminder,
    /// It still fires, and nobody took it on: told to others, by the clock of the runs.
    Escalated,
    /// It is over.
    Resolved,
}

/// Names a fact: the store numbers them.
pub type FactId = i64;

/// The ordinals of facts that go by the clock of the runs begin here; below are those of the fold.
pub const FIRST_OF_RUNS: u32 = 1_000_000;

/// An episode's news for one receiver, told or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The episode.
    pub episode: EpisodeId,
    /// The address to tell.
    pub receiver: String,
    /// Counts an episode's news, from 0; those by the clock of the runs from [`FIRST_OF_RUNS`].
    pub ordinal: u32,
    /// What the news is.
    pub reason: Reason,
    /// How bad it was then.
    pub severity: Severity,
    /// When it came about, in event time.
    pub at: Timestamp,
    /// Not to be told before this; what ends within a window or a silence waits for its end.
    pub after: Timestamp,
}
