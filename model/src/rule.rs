//! What an admin wants to hear of.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Look at it during the day.
    Warning,
    /// Look at it now.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

impl FromStr for Severity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "warning" => Ok(Self::Warning),
            "critical" => Ok(Self::Critical),
            _ => Err(()),
        }
    }
}

/// How a value is compared with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Operator {
    /// `>=`
    #[default]
    #[serde(rename = ">=")]
    AtLeast,
    /// `>`
    #[serde(rename = ">")]
    Above,
    /// `<`
    #[serde(rename = "<")]
    Below,
    /// `<=`
    #[serde(rename = "<=")]
    AtMost,
    /// `==`
    #[serde(rename = "==")]
    Equal,
    /// `!=`
    #[serde(rename = "!=")]
    Unequal,
}

impl Operator {
    /// All of them, in the order in which they are documented.
    pub const ALL: [Self; 6] =
        [Self::AtLeast, Self::Above, Self::Below, Self::AtMost, Self::Equal, Self::Unequal];

    /// How config.xml writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::AtLeast => ">=",
            Self::Above => ">",
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Equal => "==",
            Self::Unequal => "!=",
        }
    }

    /// Whether `value` breaches `limit`.
    #[expect(clippy::float_cmp, reason = "== and != are what the admin asked for")]
    pub fn breaches(self, value: f64, limit: f64) -> bool {
        match self {
            Self::AtLeast => value >= limit,
            Self::Above => value > limit,
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Equal => value == limit,
            Self::Unequal => value != limit,
        }
    }

    /// Whether `a` lies further into the breach than `b`: what makes a peak.
    pub fn is_worse(self, a: f64, b: f64) -> bool {
        match self {
            Self::AtLeast | Self::Above => a > b,
            Self::Below | Self::AtMost => a < b,
            Self::Equal | Self::Unequal => false,
        }
    }
}

/// A comparison and its limits by severity. At least one is given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// The comparison.
    pub operator: Operator,
    /// The limit of a warning, in the metric's base unit.
    pub warning: Option<f64>,
    /// The limit of a critical, in the metric's base unit.
    pub critical: Option<f64>,
}

impl Threshold {
    /// The worst severity whose limit `value` breaches.
    pub fn severity(&self, value: f64) -> Option<Severity> {
        let breached = |limit: Option<f64>| limit.is_some_and(|limit| self.operator.breaches(value, limit));
        if breached(self.critical) {
            Some(Severity::Critical)
        } else if breached(self.warning) {
            Some(Severity::Warning)
        } else {
            None
        }
    }

    /// The limit of `severity`; where that has none, the other's.
    pub fn limit(&self, severity: Severity) -> f64 {
        let (first, second) = match severity {
            Severity::Warning => (self.warning, self.critical),
            Severity::Critical => (self.critical, self.warning),
        };
        first.or(second).unwrap_or(f64::NAN)
    }
}

/// What it takes from the first breach to firing, in record time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// At least `needed` of the latest `of` records breach; 1 of 1 fires at once. At most [`Hold::MAX_SAMPLES`].
    Samples {
        /// How many breach.
        needed: u32,
        /// Of how many.
        of: u32,
    },
    /// Every record across so many milliseconds breaches.
    Span(i64),
}

impl Hold {
    /// The most records that a hold looks back on.
    pub const MAX_SAMPLES: u32 = 32;

    /// Fires at the first breach.
    pub const AT_ONCE: Self = Self::in_a_row(1);

    /// Fires at the `count`th breach in a row.
    pub const fn in_a_row(count: u32) -> Self {
        Self::Samples { needed: count, of: count }
    }
}

/// What is made of the values across the rule's span before it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    /// Their mean; every record counts alike.
    Mean,
    /// The least.
    Least,
    /// The greatest.
    Greatest,
}

/// A percentage of space in use counts only where free space is below these bytes too.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// For a warning.
    pub warning: f64,
    /// For a critical.
    pub critical: f64,
}

impl Floor {
    /// What has to be free for a problem to end: a tenth more than the floor, so that free space that hovers about it is one
    /// problem and not many.
    pub fn end(&self) -> f64 {
        self.warning.max(self.critical) * 1.1
    }

    /// The floor of `severity`.
    pub fn of(&self, severity: Severity) -> f64 {
        match severity {
            Severity::Warning => self.warning,
            Severity::Critical => self.critical,
        }
    }
}

/// Who else is told of a problem that nobody took on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// So many milliseconds after the first mail, by the clock of the runs.
    pub after_ms: i64,
    /// These addresses.
    pub to: Vec<String>,
}

/// A glob over a series' object: `*` any text, `?` any one character.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(pub String);

impl Pattern {
    /// Whether it stands for one object only: for itself.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?'])
    }

    /// Whether `text` fits as a whole.
    pub fn matches(&self, text: &str) -> bool {
        // Greedy with one point of return: linear in practice, quadratic at worst, never exponential.
        let (pattern, text): (Vec<char>, Vec<char>) = (self.0.chars().collect(), text.chars().collect());
        let (mut p, mut t, mut retry) = (0, 0, None);
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    retry = Some((p + 1, t));
                    p += 1;
                }
                Some(&c) if c == '?' || c == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => {
                    let Some((after_star, from)) = retry else {
                        return false;
                    };
                    retry = Some((after_star, from + 1));
                    p = after_star;
                    t = from + 1;
                }
            }
        }
        pattern[p..].iter().all(|&c| c == '*')
    }
}

/// Names a rule of a client across runs and edits of its limits: type and `match`, and a number where two rules of one
/// client would be called the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleId(pub String);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type of the implicit rule over failed collections. Value: 1 failed, 0 collected.
pub const UNREACHABLE: &str = "unreachable";

/// The type of the implicit rule over changed host keys. Value: 1 changed, 0 collected.
pub const HOST_KEY_CHANGED: &str = "host-key-changed";

/// The type of rules over clients that are collected and say nothing new. Value: seconds since the latest record.
pub const STALE: &str = "stale";

/// The type of rules over reboots: an event. Value: 1 where the machine booted since the record before.
pub const REBOOT: &str = "reboot";

/// The type of rules over units that failed, by unit. Value: 1 failed.
pub const SERVICE: &str = "service";

/// The type of rules over mount points. Value: 0 there and writable, 1 read-only, 2 absent.
pub const MOUNT: &str = "mount";

/// The type of rules over file systems that fill up. Value: seconds until no space is left.
pub const DISK_FORECAST: &str = "disk-forecast";

/// The type of the fleet's own rule over runs that reached nobody: the collector cannot reach the network.
pub const ISOLATED: &str = "isolated";

/// The type of the fleet's own rule over a collector that does not run.
pub const COLLECTOR_STALE: &str = "collector-stale";

/// Types that tell of an event: what ends such an episode is not told, for its mail said all.
pub fn is_event(kind: &str) -> bool {
    [REBOOT, "oom"].contains(&kind)
}

/// One `<alert>` as it holds for one client: resolved and ready to evaluate.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name across runs.
    pub id: RuleId,
    /// Its type: a metric's plain name, or one of the types above.
    pub metric: String,
    /// Objects that it is about; empty: all.
    pub matches: Vec<Pattern>,
    /// Objects that it is not about.
    pub excludes: Vec<Pattern>,
    /// When it breaches.
    pub threshold: Threshold,
    /// While it fires, what breaches this with the threshold's operator still counts as a breach.
    pub clear: Option<f64>,
    /// What free space has to be below too; for types that have it.
    pub floor: Option<Floor>,
    /// When a breach fires.
    pub hold: Hold,
    /// What is compared instead of the latest value, over the span of `hold`.
    pub aggregate: Option<Aggregate>,
    /// The milliseconds that the line of a forecast is fitted over; for [`DISK_FORECAST`].
    pub fit_ms: Option<i64>,
    /// It goes on firing until it has been fine for so many milliseconds of record time; 0: the first fine record ends it.
    pub keep_firing_ms: i64,
    /// Addresses to tell.
    pub receivers: Vec<String>,
    /// Milliseconds between reminders; `None`: as the receiver says.
    pub repeat_ms: Option<i64>,
    /// Who else is told, and when.
    pub escalation: Option<Escalation>,
    /// The window in which it tells nobody.
    pub mute: Option<String>,
    /// Free text of the admin for the mail.
    pub note: Option<String>,
    /// Where it is written: `config.xml:12`; empty for a shipped rule.
    pub source: String,
    /// The rule as it stands in config.xml, on one line.
    pub text: String,
}

impl Rule {
    /// The worst severity that `value` breaches, given the free space beside it where that is known.
    pub fn severity(&self, value: f64, free: Option<f64>) -> Option<Severity> {
        let Some((floor, free)) = self.floor.zip(free) else { return self.threshold.severity(value) };
        [Severity::Critical, Severity::Warning].into_iter().find(|&severity| {
            let alone = Threshold {
                warning: self.threshold.warning.filter(|_| severity == Severity::Warning),
                critical: self.threshold.critical.filter(|_| severity == Severity::Critical),
                ..self.threshold
            };
            free < floor.of(severity) && alone.severity(value).is_some()
        })
    }

    /// Whether what fires goes on with `value`.
    pub fn still_breaches(&self, value: f64, free: Option<f64>) -> bool {
        let low = self.floor.zip(free).is_none_or(|(floor, free)| free < floor.end());
        let clear = |clear| self.threshold.operator.breaches(value, clear);
        low && (self.threshold.severity(value).is_some() || self.clear.is_some_and(clear))
    }

    /// Whether the rule is about a series of its metric with that object.
    pub fn is_about(&self, object: &str) -> bool {
        (self.matches.is_empty() || self.matches.iter().any(|pattern| pattern.matches(object)))
            && !self.excludes.iter().any(|pattern| pattern.matches(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, fits) in [
            ("/var*", "/var/lib", true),
            ("*", "", true),
            ("/", "/", true),
            ("/", "/var", false),
            ("eth?", "eth0", true),
            ("eth?", "eth10", false),
            ("*a*b*c", "xxaxxbxxbc", true),
            ("*a*b*c", "xxaxxbxxb", false),
        ] {
            assert_eq!(Pattern(pattern.to_owned()).matches(text), fits, "{pattern} {text}");
        }
        let long = "a".repeat(2000);
        assert!(!Pattern("*a*a*a*a*a*a*a*b".to_owned()).matches(&long));
    }

    #[test]
    fn the_worst_breached_severity_counts() {
        let threshold = Threshold { operator: Operator::AtLeast, warning: Some(80.0), critical: Some(90.0) };
        assert_eq!(threshold.severity(79.9), None);
        assert_eq!(threshold.severity(80.0), Some(Severity::Warning));
        assert_eq!(threshold.severity(90.0), Some(Severity::Critical));
    }
}
