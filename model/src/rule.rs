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

/// What it takes from the first breach to firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// So many records in a row; 1 fires at once.
    Samples(u32),
}

/// A glob over a series' object: `*` any text, `?` any one character.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(pub String);

impl Pattern {
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

/// Names a rule of a client across runs and edits of its limits: type, `match` and `exclude`, and a number where two
/// rules of one client would be called the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuleId(pub String);

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type of the implicit rule over failed collections.
pub const UNREACHABLE: &str = "unreachable";

/// The type of the implicit rule over changed host keys.
pub const HOST_KEY_CHANGED: &str = "host-key-changed";

/// One `<alert>` as it holds for one client: resolved and ready to evaluate.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name across runs.
    pub id: RuleId,
    /// The metric's plain name, or [`UNREACHABLE`] or [`HOST_KEY_CHANGED`].
    pub metric: String,
    /// Objects that it is about; empty: all.
    pub matches: Vec<Pattern>,
    /// Objects that it is not about.
    pub excludes: Vec<Pattern>,
    /// When it breaches.
    pub threshold: Threshold,
    /// When a breach fires.
    pub hold: Hold,
    /// Addresses to tell.
    pub receivers: Vec<String>,
    /// Free text of the admin for the mail.
    pub note: Option<String>,
    /// Where it is written: `config.xml:12`; empty for a shipped rule.
    pub source: String,
    /// The rule as it stands in config.xml, on one line.
    pub text: String,
}

impl Rule {
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
