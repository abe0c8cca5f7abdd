//! The alerter's side.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Acknowledgement, AlertKey, AlertState, ClientMemory, ClientUid, Episode, EpisodeId, Fact, FactId,
    Silence, Timestamp,
};

use super::{Frozen, Kept, MemoryStore, number, place, refused};
use crate::backlog::{Queued, merge};
use crate::{
    AlertStore, Backoff, Delivery, Entry, Mark, Message, Program, Run, Step, StoreError, Telling, Unevaluated,
};

impl AlertStore for MemoryStore {
    fn installation(&mut self) -> Result<String, StoreError> {
        Ok(self.installation.clone())
    }

    fn backlog(&mut self, limit: usize) -> Result<Vec<Unevaluated>, StoreError> {
        let reports = self.unevaluated_reports.iter().take(limit).copied().collect();
        let running = self.latest_run(Program::Collector).filter(|run| run.end.is_none());
        let running = running.map(|run| run.begin.millis());
        let mut runs: BTreeMap<i64, Vec<Queued>> = BTreeMap::new();
        for attempt in self.unevaluated_attempts.iter().filter(|(run, ..)| Some(*run) != running) {
            runs.entry(attempt.0).or_default().push(*attempt);
        }
        let mut runs: Vec<Vec<Queued>> = runs.into_values().collect();
        // Those of one run stand in order of time.
        runs.sort_by_key(|run| run.last().map(|(_, at, _)| *at));
        let pieces = merge(reports, runs.into_iter().flatten().map(Ok::<_, StoreError>), limit)?;
        Ok(pieces.concat().into_iter().filter_map(|(_, mark)| self.unevaluated(mark)).collect())
    }

    fn alerts(&mut self, clients: &[ClientUid]) -> Result<Vec<(AlertKey, AlertState)>, StoreError> {
        Ok(self.states(|key, _| clients.contains(&key.client)))
    }

    fn memories(&mut self, clients: &[ClientUid]) -> Result<Vec<(ClientUid, ClientMemory)>, StoreError> {
        let wanted = self.memories.iter().filter(|(uid, _)| clients.contains(uid));
        Ok(wanted.map(|(uid, memory)| (*uid, *memory)).collect())
    }

    fn silences(&mut self, at: Timestamp) -> Result<Vec<Silence>, StoreError> {
        Ok(self.silences.iter().filter(|silence| silence.until > at).cloned().collect())
    }

    fn add_silence(&mut self, silence: &Silence) -> Result<i64, StoreError> {
        let id = self.silences.last().map_or(1, |last| last.id + 1);
        self.silences.push(Silence { id, ..silence.clone() });
        Ok(id)
    }

    fn end_silence(&mut self, id: i64, at: Timestamp) -> Result<bool, StoreError> {
        let found = self.silences.iter_mut().find(|silence| silence.id == id && silence.until > at);
        let Some(silence) = found else { return Ok(false) };
        let until = std::mem::replace(&mut silence.until, at.max(silence.from));
        let waits = |kept: &&mut Kept| kept.fact.after == until && !kept.told && kept.message.is_none();
        self.facts.iter_mut().filter(waits).for_each(|kept| kept.fact.after = at);
        Ok(true)
    }

    fn acknowledgements(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Acknowledgement>, StoreError> {
        let mut newest = BTreeMap::new();
        for acknowledgement in self.acknowledgements.values() {
            newest.insert(&acknowledgement.episode, acknowledgement);
        }
        newest.retain(|id, _| episodes.contains(id));
        Ok(newest.into_values().cloned().collect())
    }

    fn acknowledge(&mut self, acknowledgement: &Acknowledgement) -> Result<(), StoreError> {
        let Acknowledgement { episode, from, .. } = acknowledgement;
        if !self.episodes.contains_key(episode) {
            return Err(refused(format!("there is no episode {episode}")));
        }
        self.acknowledgements.insert((episode.clone(), *from), acknowledgement.clone());
        Ok(())
    }

    fn firing(&mut self) -> Result<Vec<(AlertKey, AlertState)>, StoreError> {
        Ok(self.states(|_, state| state.firing().is_some()))
    }

    fn episodes(&mut self, ids: &[EpisodeId]) -> Result<Vec<Episode>, StoreError> {
        let ids: BTreeSet<_> = ids.iter().collect();
        Ok(ids.into_iter().filter_map(|id| self.episodes.get(id)).cloned().collect())
    }

    fn commit(&mut self, step: &Step) -> Result<(), StoreError> {
        self.check(step)?;
        for mark in &step.marks {
            match self.standing(*mark) {
                Some(Standing::Report(key)) => self.unevaluated_reports.remove(&key),
                Some(Standing::Attempt(key)) => self.unevaluated_attempts.remove(&key),
                None => return Err(refused("a mark is gone")),
            };
        }
        for (key, state) in &step.states {
            if state.is_idle() {
                self.alerts.remove(key);
            } else {
                self.alerts.insert(key.clone(), state.clone());
            }
        }
        self.memories.extend(step.memories.iter().copied());
        for episode in &step.episodes {
            self.episodes.insert(episode.id.clone(), episode.clone());
        }
        for fact in &step.facts {
            let key = |fact: &Fact| (fact.episode.clone(), fact.receiver.clone(), fact.ordinal);
            if !self.facts.iter().any(|kept| key(&kept.fact) == key(fact)) {
                self.facts.push(Kept { fact: fact.clone(), told: false, message: None });
            }
        }
        Ok(())
    }

    fn untold(&mut self) -> Result<Vec<(FactId, Fact)>, StoreError> {
        let untold = self.facts.iter().enumerate().filter(|(_, kept)| !kept.told && kept.message.is_none());
        Ok(untold.map(|(place, kept)| (number(place), kept.fact.clone())).collect())
    }

    fn told(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Fact>, StoreError> {
        let told = self.facts.iter().filter(|kept| kept.told || kept.message.is_some());
        Ok(told.map(|kept| &kept.fact).filter(|fact| episodes.contains(&fact.episode)).cloned().collect())
    }

    fn tellings(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Telling>, StoreError> {
        let told = self.facts.iter().filter(|kept| kept.told || kept.message.is_some());
        let telling = |kept: &Kept| {
            let of = |frozen: &&Frozen| kept.message.as_ref() == Some(&frozen.message.id);
            let frozen = self.messages.iter().find(of);
            Telling {
                fact: kept.fact.clone(),
                composed: frozen.map(|frozen| frozen.message.created),
                refused: frozen.is_some_and(Frozen::is_refused),
            }
        };
        Ok(told.filter(|kept| episodes.contains(&kept.fact.episode)).map(telling).collect())
    }

    fn messages_since(&mut self, since: Timestamp) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let wanted = self.oldest_first(|kept| kept.message.created >= since && !kept.is_refused());
        Ok(wanted.into_iter().map(|kept| (kept.message.receiver.clone(), kept.message.created)).collect())
    }

    fn drop_facts(&mut self, facts: &[FactId]) -> Result<(), StoreError> {
        let places: Vec<usize> = facts.iter().filter_map(|id| place(*id)).collect();
        let may =
            |place: &usize| self.facts.get(*place).is_some_and(|kept| kept.told || kept.message.is_none());
        if places.len() < facts.len() || !places.iter().all(may) {
            return Err(refused("a fact is in a message, or not there"));
        }
        for place in places {
            self.facts[place].told = true;
        }
        Ok(())
    }

    fn freeze(&mut self, message: &Message) -> Result<(), StoreError> {
        if let Some(kept) = self.messages.iter().find(|kept| kept.message.id == message.id) {
            return if kept.message.is_same_as(message) {
                Ok(())
            } else {
                Err(refused(format!("the message {} is frozen with another content", message.id)))
            };
        }
        let facts: BTreeSet<FactId> = message.facts.iter().copied().collect();
        for &id in &facts {
            let kept = place(id).and_then(|place| self.facts.get(place));
            if kept.is_none_or(|kept| kept.told || kept.message.is_some()) {
                return Err(refused(format!("the fact {id} is told, in another message, or not there")));
            }
        }
        for place in facts.iter().filter_map(|id| place(*id)) {
            self.facts[place].message = Some(message.id.clone());
        }
        let message = Message { facts: facts.into_iter().collect(), ..message.clone() };
        self.messages.push(Frozen { message, delivery: None });
        Ok(())
    }

    fn has_message(&mut self, id: &str) -> Result<bool, StoreError> {
        Ok(self.messages.iter().any(|kept| kept.message.id == id))
    }

    fn outbox(&mut self) -> Result<Vec<Message>, StoreError> {
        let open = |kept: &Frozen| matches!(kept.delivery, None | Some(Delivery::InDoubt { .. }));
        Ok(self.oldest_first(open).into_iter().map(|kept| kept.message.clone()).collect())
    }

    fn note_delivery(
        &mut self,
        message_id: &str,
        _: Timestamp,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        let found = self.messages.iter().position(|kept| kept.message.id == message_id);
        let index = found.ok_or_else(|| refused(format!("there is no message {message_id}")))?;
        if self.messages[index].delivery.as_ref().is_some_and(|before| !before.may_become(delivery)) {
            return Err(refused(format!("the message {message_id} cannot become that any more")));
        }
        let tied = self.facts.iter_mut().filter(|kept| kept.message.as_deref() == Some(message_id));
        match delivery {
            Delivery::Dissolved => {
                tied.for_each(|kept| kept.message = None);
                self.messages.remove(index);
                return Ok(());
            }
            Delivery::Sent | Delivery::Permanent { .. } => tied.for_each(|kept| kept.told = true),
            Delivery::InDoubt { .. } => {}
        }
        self.messages[index].delivery = Some(delivery.clone());
        Ok(())
    }

    fn backoffs(&mut self) -> Result<Vec<Backoff>, StoreError> {
        Ok(self.backoffs.values().cloned().collect())
    }

    fn set_backoff(&mut self, backoff: &Backoff) -> Result<(), StoreError> {
        if backoff.failures == 0 {
            self.backoffs.remove(&backoff.receiver);
        } else {
            self.backoffs.insert(backoff.receiver.clone(), backoff.clone());
        }
        Ok(())
    }
}

/// Where a mark stands in its queue.
enum Standing {
    Report((i64, i64)),
    Attempt(Queued),
}

impl MemoryStore {
    /// Where a mark stands, if it was not evaluated.
    fn standing(&self, mark: Mark) -> Option<Standing> {
        match mark {
            Mark::Report(id) => {
                let key = (self.reports.get(place(id)?)?.event_time.millis(), id);
                self.unevaluated_reports.contains(&key).then_some(Standing::Report(key))
            }
            Mark::Attempt(id) => {
                let attempt = self.attempts.get(place(id)?)?;
                let key = (attempt.run.millis(), attempt.at.millis(), id);
                self.unevaluated_attempts.contains(&key).then_some(Standing::Attempt(key))
            }
        }
    }

    fn unevaluated(&self, mark: Mark) -> Option<Unevaluated> {
        let (client, event_time, entry) = match mark {
            Mark::Report(id) => {
                let report = self.reports.get(place(id)?)?;
                let entry =
                    Entry::Report { samples: report.samples.clone(), evidence: report.evidence.clone() };
                (report.client, report.event_time, entry)
            }
            Mark::Attempt(id) => {
                let attempt = self.attempts.get(place(id)?)?;
                let of_run = |run: &&Run| run.program == Program::Collector && run.begin == attempt.run;
                let whole = self.runs.values().find(of_run).is_some_and(|run| run.whole);
                let (outcome, host) = (attempt.outcome.clone(), String::new());
                let entry = Entry::Attempt { outcome, run: attempt.run, whole, host };
                (attempt.client, attempt.at, entry)
            }
        };
        let client = &self.clients[client];
        Some(Unevaluated { mark, client: client.uid, client_name: client.name.clone(), event_time, entry })
    }

    /// Everything for which [`AlertStore::commit`] would fail.
    fn check(&self, step: &Step) -> Result<(), StoreError> {
        let mut seen = BTreeSet::new();
        for mark in &step.marks {
            if self.standing(*mark).is_none() || !seen.insert(mark) {
                return Err(refused(format!("{mark:?} was evaluated already, or never stored")));
            }
        }
        let alerts = step.states.iter().map(|(key, _)| key.client);
        let episodes = step.episodes.iter().map(|episode| episode.key.client);
        let clients = alerts.chain(episodes).chain(step.memories.iter().map(|(uid, _)| *uid));
        for client in clients.filter(|client| *client != ClientUid::FLEET) {
            self.client(client)?;
        }
        for fact in &step.facts {
            let is_new = step.episodes.iter().any(|episode| episode.id == fact.episode);
            if !is_new && !self.episodes.contains_key(&fact.episode) {
                return Err(refused(format!("there is no episode {}", fact.episode)));
            }
        }
        Ok(())
    }

    fn states(&self, wanted: impl Fn(&AlertKey, &AlertState) -> bool) -> Vec<(AlertKey, AlertState)> {
        let wanted = self.alerts.iter().filter(|(key, state)| wanted(key, state));
        wanted.map(|(key, state)| (key.clone(), state.clone())).collect()
    }

    pub(super) fn oldest_first(&self, wanted: impl Fn(&Frozen) -> bool) -> Vec<&Frozen> {
        let mut messages: Vec<&Frozen> = self.messages.iter().filter(|kept| wanted(kept)).collect();
        messages.sort_by_key(|kept| kept.message.created);
        messages
    }
}
