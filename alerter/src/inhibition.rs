//! What holds news back: a rule's window, or a silence. By event time.

use model::{Rule, Silence, Timestamp};

use crate::rulebook::Rulebook;

/// Why news is held back, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// For people: `window "backup"`, `silence 3 (disks are replaced)`.
    pub why: String,
    /// When it ends.
    pub until: Timestamp,
}

/// What holds back the news of `rule` on `client` at `at`; of several the one that ends last.
pub fn holding(
    rules: &Rulebook,
    silences: &[Silence],
    client: &str,
    rule: &Rule,
    at: Timestamp,
) -> Option<Holding> {
    let window = rule.mute.as_deref().and_then(|name| {
        let until = rules.closes(name, at)?;
        Some(Holding { why: format!("window \"{name}\""), until })
    });
    let silences = silences.iter().filter(|silence| {
        silence.from <= at
            && at < silence.until
            && silence.metric.as_ref().is_none_or(|metric| *metric == rule.metric)
            && rules.is_meant(client, &silence.target)
    });
    let silences = silences.map(|silence| Holding {
        why: format!("silence {} ({})", silence.id, silence.why),
        until: silence.until,
    });
    window.into_iter().chain(silences).max_by_key(|holding| holding.until)
}
