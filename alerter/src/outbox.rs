//! Messages on their way: frozen before they are sent, noted after.

use std::collections::BTreeMap;

use log::{debug, error, warn};
use model::Timestamp;
use storage::{AlertStore, Backoff, Delivery, Message, StoreError};

use crate::deliver;
use crate::transport::{Answer, Scope, Transport};

/// How many messages went which way in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Accepted.
    pub sent: u64,
    /// Failed, refused or in doubt, or not tried because the way out does not work.
    pub failed: u64,
}

/// The deliveries of one run.
pub struct Outbox<'a> {
    transport: &'a mut dyn Transport,
    now: Timestamp,
    backoffs: BTreeMap<String, Backoff>,
    /// Why nothing more is tried in this run.
    stopped: Option<String>,
    tally: Tally,
}

impl<'a> Outbox<'a> {
    /// Ready to send by `transport`.
    pub fn open(
        store: &mut dyn AlertStore,
        transport: &'a mut dyn Transport,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let backoffs =
            store.backoffs()?.into_iter().map(|backoff| (backoff.receiver.clone(), backoff)).collect();
        Ok(Self { transport, now, backoffs, stopped: None, tally: Tally::default() })
    }

    /// The back-off of a receiver that is not to be tried yet.
    pub fn waits(&self, receiver: &str) -> Option<&Backoff> {
        self.backoffs.get(receiver).filter(|backoff| deliver::is_waiting(backoff, self.now))
    }

    /// What came of it so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Counts messages that could not be composed, or wait for their receivers' back-off.
    pub fn count_failures(&mut self, count: u64) {
        self.tally.failed += count;
    }

    /// Tries the messages of earlier runs again, with the bytes that they have.
    pub fn send_earlier(&mut self, store: &mut dyn AlertStore) -> Result<(), StoreError> {
        for message in store.outbox()? {
            if self.waits(&message.receiver).is_some() {
                self.count_failures(1);
            } else if !self.is_stopped_for(store, &message.receiver)? {
                self.deliver(store, &message, true)?;
            }
        }
        Ok(())
    }

    /// Freezes a new message and sends it.
    pub fn send(&mut self, store: &mut dyn AlertStore, message: &Message) -> Result<(), StoreError> {
        if self.is_stopped_for(store, &message.receiver)? {
            return Ok(());
        }
        store.freeze(message)?;
        self.deliver(store, message, false)
    }

    /// Freezes a message that tells no facts and sends it; where that fails, the next runs try again with the same bytes.
    pub fn post(&mut self, store: &mut dyn AlertStore, message: &Message) -> Result<(), StoreError> {
        store.freeze(message)?;
        if self.waits(&message.receiver).is_some() {
            self.count_failures(1);
            return Ok(());
        }
        if self.is_stopped_for(store, &message.receiver)? {
            Ok(())
        } else {
            self.deliver(store, message, true)
        }
    }

    /// Whether the way out failed in this run; then the receiver waits as if it had been tried.
    fn is_stopped_for(&mut self, store: &mut dyn AlertStore, receiver: &str) -> Result<bool, StoreError> {
        let Some(detail) = self.stopped.clone() else { return Ok(false) };
        self.tally.failed += 1;
        self.back_off(store, receiver, &detail)?;
        Ok(true)
    }

    fn deliver(
        &mut self,
        store: &mut dyn AlertStore,
        message: &Message,
        is_earlier: bool,
    ) -> Result<(), StoreError> {
        let answer = self.transport.deliver(message);
        let delivery = deliver::delivery(&answer, is_earlier);
        store.note_delivery(&message.id, self.now, &delivery)?;
        self.report(message, &answer, &delivery);
        match answer {
            Answer::Accepted { .. } => {
                self.tally.sent += 1;
                self.forget_failures(store, &message.receiver)
            }
            Answer::Refused(_) => {
                self.tally.failed += 1;
                self.forget_failures(store, &message.receiver)
            }
            Answer::NotTaken(fault) | Answer::InDoubt(fault) => {
                self.tally.failed += 1;
                let detail = fault.to_string();
                self.back_off(store, &message.receiver, &detail)?;
                if fault.scope == Scope::All {
                    self.stopped = Some(detail);
                }
                Ok(())
            }
        }
    }

    fn report(&self, message: &Message, answer: &Answer, delivery: &Delivery) {
        let (receiver, way) = (&message.receiver, self.transport.name());
        match (answer, delivery) {
            (Answer::Accepted { said }, _) => {
                debug!("{receiver}: deliver: {way} accepted {}: {said}", message.id);
            }
            (Answer::Refused(fault), _) => {
                error!("{receiver}: deliver: {way} refused the mail for good: {fault}");
            }
            (Answer::NotTaken(fault), Delivery::Dissolved) => {
                warn!("{receiver}: deliver: {way} did not take the mail, the next run tries again: {fault}");
            }
            (Answer::NotTaken(fault) | Answer::InDoubt(fault), _) => {
                warn!(
                    "{receiver}: deliver: {way} may or may not have taken the mail, the same goes again: {fault}"
                );
            }
        }
    }

    fn back_off(
        &mut self,
        store: &mut dyn AlertStore,
        receiver: &str,
        detail: &str,
    ) -> Result<(), StoreError> {
        // Several messages to one receiver fail once per run.
        if self.waits(receiver).is_some() {
            return Ok(());
        }
        let backoff = deliver::back_off(receiver, self.backoffs.get(receiver), self.now, detail);
        store.set_backoff(&backoff)?;
        self.backoffs.insert(receiver.to_owned(), backoff);
        Ok(())
    }

    fn forget_failures(&mut self, store: &mut dyn AlertStore, receiver: &str) -> Result<(), StoreError> {
        if self.backoffs.remove(receiver).is_some() {
            store.set_backoff(&deliver::recovered(receiver, self.now))?;
        }
        Ok(())
    }
}
