//! The rules of every configured client, found by name.

use std::collections::BTreeMap;

use config::Settings;
use model::{ClientName, Episode, Rule, RuleId};

/// The rules of every configured client.
#[derive(Debug, Clone)]
pub struct Rulebook<'a>(BTreeMap<&'a str, &'a [Rule]>);

impl<'a> Rulebook<'a> {
    /// The rules of `settings`.
    pub fn of(settings: &'a Settings) -> Self {
        Self::new(settings.clients.iter().map(|client| (&client.name, client.rules.as_slice())))
    }

    /// The given rules.
    pub fn new(rules: impl IntoIterator<Item = (&'a ClientName, &'a [Rule])>) -> Self {
        Self(rules.into_iter().map(|(name, rules)| (name.as_str(), rules)).collect())
    }

    /// The rules of a client; `None` where it is not configured.
    pub fn rules(&self, client: &str) -> Option<&'a [Rule]> {
        self.0.get(client).copied()
    }

    /// The rule of that name.
    pub fn rule(&self, client: &str, id: &RuleId) -> Option<&'a Rule> {
        self.rules(client)?.iter().find(|rule| rule.id == *id)
    }

    /// The rule that an episode came from, where it is still configured.
    pub fn of_episode(&self, episode: &Episode) -> Option<&'a Rule> {
        self.rule(&episode.client_name, &episode.key.rule)
    }

    /// All addresses that any rule tells, sorted, each once.
    pub fn receivers(&self) -> Vec<&'a str> {
        let mut receivers: Vec<&str> =
            self.0.values().copied().flatten().flat_map(|rule| &rule.receivers).map(String::as_str).collect();
        receivers.sort_unstable();
        receivers.dedup();
        receivers
    }
}
