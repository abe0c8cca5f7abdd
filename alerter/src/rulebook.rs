//! The rules of every configured client, found by name, and what else config.xml says of who is told when.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Local;
use chrono_tz::Tz;
use config::{Settings, Window};
use model::{ClientName, Episode, Rule, RuleId, Severity, Timestamp};

use crate::evaluate::Terms;

/// What config.xml says of who is told of what, and when.
#[derive(Debug, Clone, Default)]
pub struct Rulebook<'a> {
    clients: BTreeMap<&'a str, Member<'a>>,
    fleet: Vec<Terms<'a>>,
    windows: BTreeMap<&'a str, &'a Window>,
    /// The least severity that an address is told of, by the address in lower case.
    least: BTreeMap<String, Severity>,
    /// The zone of windows that name none; `None`: this host's.
    zone: Option<Tz>,
}

/// A configured client.
#[derive(Debug, Clone, Default)]
struct Member<'a> {
    rules: Vec<Terms<'a>>,
    parent: Option<&'a str>,
    groups: Option<&'a BTreeSet<String>>,
}

impl<'a> Rulebook<'a> {
    /// What `settings` say.
    pub fn of(settings: &'a Settings) -> Self {
        let member = |client: &'a config::Client| Member {
            rules: client.rules.iter().map(Terms::from).collect(),
            parent: client.parent.as_ref().map(ClientName::as_str),
            groups: Some(&client.groups),
        };
        let least = |receiver: &config::Receiver| {
            receiver.min_severity.map(|severity| (receiver.mail.to_ascii_lowercase(), severity))
        };
        Self {
            clients: settings.clients.iter().map(|client| (client.name.as_str(), member(client))).collect(),
            fleet: settings.fleet_rules.iter().map(Terms::from).collect(),
            windows: settings.windows.iter().map(|window| (window.name.as_str(), window)).collect(),
            least: settings.receivers.iter().filter_map(least).collect(),
            zone: None,
        }
    }

    /// The given rules of the given clients, and nothing else.
    pub fn new(rules: impl IntoIterator<Item = (&'a ClientName, &'a [Rule])>) -> Self {
        let member = |rules: &'a [Rule]| Member {
            rules: rules.iter().map(Terms::from).collect(),
            ..Member::default()
        };
        let clients = rules.into_iter().map(|(name, rules)| (name.as_str(), member(rules))).collect();
        Self { clients, ..Self::default() }
    }

    /// The same with another zone for windows that name none.
    #[must_use]
    pub fn in_zone(self, zone: Tz) -> Self {
        Self { zone: Some(zone), ..self }
    }

    /// The rules of a client; `None` where it is not configured. The fleet's own under the empty name.
    pub fn rules(&self, client: &str) -> Option<&[Terms<'a>]> {
        if client.is_empty() {
            return Some(&self.fleet);
        }
        self.clients.get(client).map(|member| member.rules.as_slice())
    }

    /// The rule of that name.
    pub fn rule(&self, client: &str, id: &RuleId) -> Option<&'a Rule> {
        self.rules(client)?.iter().map(|terms| terms.rule).find(|rule| rule.id == *id)
    }

    /// The rule that an episode came from, where it is still configured.
    pub fn of_episode(&self, episode: &Episode) -> Option<&'a Rule> {
        self.rule(&episode.client_name, &episode.key.rule)
    }

    /// Through whom a client is reached: its parent, that one's parent, and so on.
    pub fn ancestors(&self, client: &str) -> Vec<&'a str> {
        let mut ancestors = Vec::new();
        let mut next = self.clients.get(client).and_then(|member| member.parent);
        while let Some(parent) = next.filter(|parent| !ancestors.contains(parent)) {
            ancestors.push(parent);
            next = self.clients.get(parent).and_then(|member| member.parent);
        }
        ancestors
    }

    /// Whether `target` is the client's name or, with an `@`, a group of it.
    pub fn is_meant(&self, client: &str, target: &str) -> bool {
        match target.strip_prefix('@') {
            None => target == client,
            Some(group) => {
                let groups = self.clients.get(client).and_then(|member| member.groups);
                groups.is_some_and(|groups| groups.contains(group))
            }
        }
    }

    /// When the window of that name closes, where it is open at `at`.
    pub fn closes(&self, window: &str, at: Timestamp) -> Option<Timestamp> {
        let window = self.windows.get(window)?;
        match self.zone {
            Some(zone) => window.closes(at, &zone),
            None => window.closes(at, &Local),
        }
    }

    /// Whether an address wants to hear of something that bad.
    pub fn wants(&self, receiver: &str, severity: Severity) -> bool {
        self.least.get(&receiver.to_ascii_lowercase()).is_none_or(|least| severity >= *least)
    }

    /// All addresses that any rule tells, sorted, each once.
    pub fn receivers(&self) -> Vec<&'a str> {
        let rules = self.clients.values().flat_map(|member| &member.rules).chain(&self.fleet);
        let receivers: BTreeSet<&str> =
            rules.flat_map(|terms| &terms.rule.receivers).map(String::as_str).collect();
        receivers.into_iter().collect()
    }
}
