//! One of the stores that are compared.

use model::{FactId, Silence};

use crate::conformance::{Store, at};
use crate::{Entry, Mark, Message, Run, StoreError, Unevaluated};

/// A store under test, with the numbers that it gave out in the order in which they were seen.
pub(super) struct Side {
    pub(super) store: Box<dyn Store>,
    /// Where runs are noted, if that is another process's business.
    pub(super) runner: Option<Box<dyn Store>>,
    pub(super) facts: Vec<FactId>,
    pub(super) silences: Vec<i64>,
    pub(super) marks: Vec<Mark>,
}

/// What was seen as the n-th, or what no store gives out.
pub(super) fn nth(seen: &[i64], place: usize) -> i64 {
    seen.get(place).copied().unwrap_or(i64::MAX - place as i64)
}

/// Where it was seen; now, if never before.
pub(super) fn rank<T: PartialEq + Copy>(seen: &mut Vec<T>, number: T) -> i64 {
    let place = seen.iter().position(|known| *known == number).unwrap_or_else(|| {
        seen.push(number);
        seen.len() - 1
    });
    place as i64
}

impl Side {
    pub(super) fn new(store: impl Store + 'static) -> Self {
        let (facts, silences, marks) = (Vec::new(), Vec::new(), Vec::new());
        Self { store: Box::new(store), runner: None, facts, silences, marks }
    }

    pub(super) fn ranked(&mut self, entries: Vec<Unevaluated>) -> Vec<Unevaluated> {
        let ranked = entries.into_iter().map(|entry| {
            let place = rank(&mut self.marks, entry.mark);
            // Where only one host collects, no backend has to say which.
            let entry = match entry.entry {
                Entry::Attempt { outcome, run, whole, .. } => Unevaluated {
                    entry: Entry::Attempt { outcome, run, whole, host: String::new() },
                    ..entry
                },
                Entry::Report { .. } => entry,
            };
            let mark = match entry.mark {
                Mark::Report(_) => Mark::Report(place),
                Mark::Attempt(_) => Mark::Attempt(place),
            };
            Unevaluated { mark, ..entry }
        });
        ranked.collect()
    }

    pub(super) fn with_ranks(&mut self, message: Message) -> Message {
        let facts = message.facts.iter().map(|fact| rank(&mut self.facts, *fact)).collect();
        Message { facts, ..message }
    }

    pub(super) fn all_of(&self, places: &[usize]) -> Vec<FactId> {
        places.iter().map(|place| nth(&self.facts, *place)).collect()
    }

    pub(super) fn untold(&mut self) -> Result<Vec<(FactId, model::Fact)>, StoreError> {
        let untold = self.store.untold()?;
        Ok(untold.into_iter().map(|(id, fact)| (rank(&mut self.facts, id), fact)).collect())
    }

    pub(super) fn silences(&mut self) -> Result<Vec<Silence>, StoreError> {
        let silences = self.store.silences(at(3))?.into_iter();
        Ok(silences.map(|kept| Silence { id: rank(&mut self.silences, kept.id), ..kept }).collect())
    }

    pub(super) fn run(&mut self, run: &Run, ended: bool) -> Result<(), StoreError> {
        let store = self.runner.as_mut().unwrap_or(&mut self.store);
        let run = store.begin_run(run)?;
        let end = ended.then(|| run.begin.plus(1000));
        if ended { store.end_run(&Run { end, ..run }) } else { Ok(()) }
    }
}
