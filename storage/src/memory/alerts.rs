//! The alerter's side.

use std::collections::BTreeSet;

use model::{AlertKey, AlertState, ClientUid, Episode, EpisodeId, Fact, FactId, Timestamp};

use super::{Frozen, Kept, MemoryStore, number, place, refused};
use crate::backlog::merge;
use crate::{AlertStore, Backoff, Delivery, Entry, Mark, Message, Run, Step, StoreError, Unevaluated};

impl AlertStore for MemoryStore {
    fn installation(&mut self) -> Result<String, StoreError> {
        Ok(self.installation.clone())
    }

    fn backlog(&mut self, limit: usize) -> Result<Vec<Unevaluated>, StoreError> {
        let reports = self.unevaluated_reports.iter().take(limit).copied().collect();
        let attempts = self.unevaluated_attempts.iter().take(limit).copied().collect();
        Ok(merge(reports, attempts, limit)
            .into_iter()
            .filter_map(|(_, mark)| self.unevaluated(mark))
            .collect())
    }

    fn alerts(&mut self, clients: &[ClientUid]) -> Result<Vec<(AlertKey, AlertState)>, StoreError> {
        Ok(self.states(|key, _| clients.contains(&key.client)))
    }

    fn firing(&mut self) -> Result<Vec<(AlertKey, AlertState)>, StoreError> {
        Ok(self.states(|_, state| matches!(state, AlertState::Firing { .. })))
    }

    fn episodes(&mut self, ids: &[EpisodeId]) -> Result<Vec<Episode>, StoreError> {
        let ids: BTreeSet<_> = ids.iter().collect();
        Ok(ids.into_iter().filter_map(|id| self.episodes.get(id)).cloned().collect())
    }

    fn commit(&mut self, step: &Step) -> Result<(), StoreError> {
        self.check(step)?;
        for mark in &step.marks {
            let (time, id) = self.key_of(*mark).ok_or_else(|| refused("a mark is gone"))?;
            match mark {
                Mark::Report(_) => self.unevaluated_reports.remove(&(time, id)),
                Mark::Attempt(_) => self.unevaluated_attempts.remove(&(time, id)),
            };
        }
        for (key, state) in &step.states {
            if *state == AlertState::Inactive {
                self.alerts.remove(key);
            } else {
                self.alerts.insert(key.clone(), state.clone());
            }
        }
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

    fn refused(&mut self, episodes: &[EpisodeId]) -> Result<Vec<Fact>, StoreError> {
        let is_refused = |kept: &&Kept| {
            let of = |frozen: &&Frozen| kept.message.as_ref() == Some(&frozen.message.id);
            let frozen = self.messages.iter().find(of);
            frozen.is_some_and(|frozen| matches!(frozen.delivery, Some(Delivery::Permanent { .. })))
        };
        let refused = self.facts.iter().filter(is_refused).map(|kept| &kept.fact);
        Ok(refused.filter(|fact| episodes.contains(&fact.episode)).cloned().collect())
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

    fn note_run(&mut self, run: &Run) -> Result<(), StoreError> {
        self.put_run(run);
        Ok(())
    }
}

impl MemoryStore {
    /// The time and number under which a mark stands, whether it is still there or not.
    fn key_of(&self, mark: Mark) -> Option<(i64, i64)> {
        let (time, id) = match mark {
            Mark::Report(id) => (self.reports.get(place(id)?)?.event_time, id),
            Mark::Attempt(id) => (self.attempts.get(place(id)?)?.at, id),
        };
        Some((time.millis(), id))
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
                (attempt.client, attempt.at, Entry::Attempt { outcome: attempt.outcome.clone() })
            }
        };
        let client = &self.clients[client];
        Some(Unevaluated { mark, client: client.uid, client_name: client.name.clone(), event_time, entry })
    }

    /// Everything for which [`AlertStore::commit`] would fail.
    fn check(&self, step: &Step) -> Result<(), StoreError> {
        let mut seen = BTreeSet::new();
        for mark in &step.marks {
            let stands = self.key_of(*mark).is_some_and(|key| match mark {
                Mark::Report(_) => self.unevaluated_reports.contains(&key),
                Mark::Attempt(_) => self.unevaluated_attempts.contains(&key),
            });
            if !stands || !seen.insert(mark) {
                return Err(refused(format!("{mark:?} was evaluated already, or never stored")));
            }
        }
        for client in
            step.states.iter().map(|(key, _)| key.client).chain(step.episodes.iter().map(|e| e.key.client))
        {
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
