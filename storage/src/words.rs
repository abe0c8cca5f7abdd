//! The words and blobs by which every backend's rows say what the model has as types. Pure. What cannot be read is told
//! as a text: the backend makes an error of it.

use model::alert::EndReason;
use model::wire::from_cbor;
use model::{AlertState, Reason, Severity};

use crate::{Delivery, old_state};

/// The form in which alert states are written: an [`AlertState`] as CBOR. Those of form 1 are read by [`old_state`].
pub(crate) const STATE_FORM: i32 = 2;

/// An alert's state from its blob and the form that its row says.
pub(crate) fn state(blob: &[u8], form: i32) -> Result<AlertState, String> {
    if form == 1 { old_state::decode(blob) } else { from_cbor(blob) }
}

/// A severity from its word.
pub(crate) fn severity(text: &str) -> Result<Severity, String> {
    text.parse().map_err(|()| format!("{text:?} is no severity"))
}

/// Why an episode ended, as a word.
pub(crate) fn of_end(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Recovered => "recovered",
        EndReason::RuleEdited => "rule-edited",
        EndReason::Vanished => "vanished",
        EndReason::RuleRemoved => "rule-removed",
        EndReason::ClientRemoved => "client-removed",
    }
}

/// Why an episode ended, from [`of_end`]'s word.
pub(crate) fn end(text: &str) -> Result<EndReason, String> {
    const ALL: [EndReason; 5] = [
        EndReason::Recovered,
        EndReason::RuleEdited,
        EndReason::Vanished,
        EndReason::RuleRemoved,
        EndReason::ClientRemoved,
    ];
    let found = ALL.into_iter().find(|reason| of_end(*reason) == text);
    found.ok_or_else(|| format!("{text:?} is no reason for an episode's end"))
}

/// What a fact's news is, as a word.
pub(crate) fn of_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::First => "first",
        Reason::Worse => "worse",
        Reason::Flapping => "flapping",
        Reason::Steady => "steady",
        Reason::Reminder => "reminder",
        Reason::Escalated => "escalated",
        Reason::Resolved => "resolved",
    }
}

/// What a fact's news is, from [`of_reason`]'s word.
pub(crate) fn reason(text: &str) -> Result<Reason, String> {
    const ALL: [Reason; 7] = [
        Reason::First,
        Reason::Worse,
        Reason::Flapping,
        Reason::Steady,
        Reason::Reminder,
        Reason::Escalated,
        Reason::Resolved,
    ];
    let found = ALL.into_iter().find(|known| of_reason(*known) == text);
    found.ok_or_else(|| format!("{text:?} is no reason"))
}

/// What became of a message, as the `status` and `detail` of its row. What is dissolved has no row.
pub(crate) fn of_delivery(delivery: &Delivery) -> (&'static str, &str) {
    match delivery {
        Delivery::Sent => ("sent", ""),
        Delivery::Dissolved => ("dissolved", ""),
        Delivery::InDoubt { detail } => ("in-doubt", detail),
        Delivery::Permanent { detail } => ("permanent", detail),
    }
}

/// What became of a message, from [`of_delivery`]'s words; `None` where nothing is noted (`waiting`).
pub(crate) fn delivery(status: &str, detail: String) -> Result<Option<Delivery>, String> {
    Ok(match status {
        "waiting" => None,
        "sent" => Some(Delivery::Sent),
        "in-doubt" => Some(Delivery::InDoubt { detail }),
        "permanent" => Some(Delivery::Permanent { detail }),
        _ => return Err(format!("a message is {status:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_what_it_was_written_for() {
        for text in ["recovered", "rule-edited", "vanished", "rule-removed", "client-removed"] {
            assert_eq!(of_end(end(text).unwrap()), text);
        }
        for text in ["first", "worse", "flapping", "steady", "reminder", "escalated", "resolved"] {
            assert_eq!(of_reason(reason(text).unwrap()), text);
        }
        let detail = || "said so".to_owned();
        for status in
            [Delivery::Sent, Delivery::InDoubt { detail: detail() }, Delivery::Permanent { detail: detail() }]
        {
            let (word, detail) = of_delivery(&status);
            assert_eq!(delivery(word, detail.to_owned()), Ok(Some(status.clone())));
        }
        assert_eq!(delivery("waiting", String::new()), Ok(None));
        let faults = [end("").unwrap_err(), reason("x").unwrap_err(), severity("bad").unwrap_err()];
        assert!(faults.iter().all(|fault| fault.contains("is no")), "{faults:?}");
        assert!(delivery("dissolved", String::new()).is_err());
    }
}
