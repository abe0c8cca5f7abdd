//! What an answer of a transport means for a message and its receiver.
//!
//! Pure: the time of the run is handed in.

use model::Timestamp;
use storage::{Backoff, Delivery};

use crate::transport::Answer;

/// Minutes to wait after one, two, three ... failures in a row; the last one from then on.
const WAITS: [i64; 6] = [1, 2, 5, 15, 30, 60];

/// What becomes of a message. One that was frozen by an earlier run may have been accepted then, so it never dissolves.
pub fn delivery(answer: &Answer, is_earlier: bool) -> Delivery {
    match answer {
        Answer::Accepted { .. } => Delivery::Sent,
        Answer::NotTaken(_) if !is_earlier => Delivery::Dissolved,
        Answer::Refused(fault) => Delivery::Permanent { detail: fault.to_string() },
        Answer::NotTaken(fault) | Answer::InDoubt(fault) => Delivery::InDoubt { detail: fault.to_string() },
    }
}

/// The back-off of a receiver after one more failure.
pub fn back_off(receiver: &str, before: Option<&Backoff>, now: Timestamp, detail: &str) -> Backoff {
    let failures = before.map_or(0, |before| before.failures).saturating_add(1);
    let wait = WAITS[(failures as usize - 1).min(WAITS.len() - 1)];
    Backoff {
        receiver: receiver.to_owned(),
        failures,
        next: now.plus(wait * 60_000),
        detail: detail.to_owned(),
    }
}

/// No back-off any more.
pub fn recovered(receiver: &str, now: Timestamp) -> Backoff {
    Backoff { receiver: receiver.to_owned(), failures: 0, next: now, detail: String::new() }
}

/// Whether a receiver is not to be tried yet. A wait longer than any that we set comes from a clock that was wrong.
pub fn is_waiting(backoff: &Backoff, now: Timestamp) -> bool {
    let left = backoff.next.since(now);
    left > 0 && left <= WAITS[WAITS.len() - 1] * 60_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Fault, Scope, Stage};

    #[test]
    fn answers_become_deliveries() {
        let fault = || Fault { stage: Stage::Data, scope: Scope::Message, detail: String::new(), remedy: "" };
        let name = |answer: &Answer, is_earlier| match delivery(answer, is_earlier) {
            Delivery::Sent => "sent",
            Delivery::Dissolved => "dissolved",
            Delivery::InDoubt { .. } => "in doubt",
            Delivery::Permanent { .. } => "permanent",
        };
        for (answer, fresh, earlier) in [
            (Answer::Accepted { said: String::new() }, "sent", "sent"),
            (Answer::NotTaken(fault()), "dissolved", "in doubt"),
            (Answer::Refused(fault()), "permanent", "permanent"),
            (Answer::InDoubt(fault()), "in doubt", "in doubt"),
        ] {
            assert_eq!((name(&answer, false), name(&answer, true)), (fresh, earlier), "{answer:?}");
        }
    }

    #[test]
    fn waits_grow_to_an_hour() {
        let mut before = None;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let next = back_off("a@b", before.as_ref(), Timestamp(0), "");
            waits.push(next.next.millis() / 60_000);
            before = Some(next);
        }
        assert_eq!(waits, [1, 2, 5, 15, 30, 60, 60, 60]);
    }

    #[test]
    fn a_clock_that_was_wrong_does_not_silence_a_receiver() {
        let backoff = back_off("a@b", None, Timestamp(0), "");
        assert!(is_waiting(&backoff, Timestamp(59_999)));
        assert!(!is_waiting(&backoff, Timestamp(60_000)));
        assert!(!is_waiting(&backoff, Timestamp(-86_400_000)), "the clock was a day ahead when it failed");
    }
}
