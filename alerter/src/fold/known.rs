//! What a fold knows before it begins.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Acknowledgement, AlertKey, AlertState, ClientMemory, ClientUid, Episode, EpisodeId, Fact, Labels, RuleId,
    Silence,
};

/// What the store knows of the alerts that a batch touches.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Their states; one that is missing is idle.
    pub states: BTreeMap<AlertKey, AlertState>,
    /// The episodes that are open among them.
    pub episodes: BTreeMap<EpisodeId, Episode>,
    /// Who has news of those episodes, told or not: the end of one is for them.
    pub audience: BTreeMap<EpisodeId, BTreeSet<String>>,
    /// What is remembered of the clients.
    pub memories: BTreeMap<ClientUid, ClientMemory>,
    /// Silences that are not over at the first entry.
    pub silences: Vec<Silence>,
    /// Who took on which of the episodes.
    pub acknowledgements: BTreeMap<EpisodeId, Acknowledgement>,
}

impl Known {
    /// Adds the receivers of `facts` to the audience of their episodes.
    pub fn add_audience<'a>(&mut self, facts: impl IntoIterator<Item = &'a Fact>) {
        for fact in facts {
            self.audience.entry(fact.episode.clone()).or_default().insert(fact.receiver.clone());
        }
    }

    /// The alerts of one client.
    pub(super) fn of_client(&self, client: ClientUid) -> impl Iterator<Item = (&AlertKey, &AlertState)> {
        let first = AlertKey { client, rule: RuleId(String::new()), labels: Labels::none() };
        self.states.range(first..).take_while(move |(key, _)| key.client == client)
    }
}
