//! Messages, and the facts that they tell.

use model::{ClientUid, EpisodeId, Fact, FactId};

use super::{Outcomes, Store, at, enrol, episode, fact};
use crate::{Backoff, Delivery, Message, Step, StoreError, Telling};

const RECEIVER: &str = "ops@example.org";

/// Two facts of one episode, untold.
fn prepared(store: &mut dyn Store) -> Result<(EpisodeId, Vec<(FactId, Fact)>), StoreError> {
    let web: ClientUid = enrol(store, "web")?;
    let begun = episode(web, "/", 9);
    let facts = vec![fact(&begun, RECEIVER, 0), fact(&begun, RECEIVER, 1)];
    store.commit(&Step { episodes: vec![begun.clone()], facts, ..Step::default() })?;
    Ok((begun.id, store.untold()?))
}

fn message(id: &str, created: i64, facts: &[FactId]) -> Message {
    Message {
        id: format!("{id}@example.org"),
        receiver: RECEIVER.to_owned(),
        subject: format!("disk {id}"),
        created: at(created),
        bytes: format!("Message-ID: <{id}@example.org>\r\n\r\ndisk\r\n").into_bytes(),
        facts: facts.to_vec(),
    }
}

fn doubt(detail: &str) -> Delivery {
    Delivery::InDoubt { detail: detail.to_owned() }
}

/// The same message again changes nothing; other bytes, another receiver or other facts under its id are refused.
pub fn a_frozen_message_never_changes(store: &mut dyn Store) -> Outcomes {
    let (_, facts) = prepared(store)?;
    let first = message("m", 10, &[facts[0].0]);
    store.freeze(&first)?;
    store.freeze(&first)?;
    let others = [
        Message { bytes: b"other".to_vec(), ..first.clone() },
        Message { receiver: "b@example.org".to_owned(), ..first.clone() },
        Message { facts: vec![facts[0].0, facts[1].0], ..first.clone() },
    ];
    for other in others {
        assert!(store.freeze(&other).is_err(), "{other:?}");
    }
    assert_eq!(store.outbox()?, [first.clone()]);
    store.note_delivery(&first.id, at(11), &Delivery::Sent)?;
    assert!(store.freeze(&Message { bytes: b"other".to_vec(), ..first }).is_err(), "nor after it was sent");
    Ok(())
}

/// A fact that is tied cannot be tied again; where one fact cannot be, no message is.
pub fn a_fact_is_in_one_message_at_most(store: &mut dyn Store) -> Outcomes {
    let (id, facts) = prepared(store)?;
    let first = message("m1", 10, &[facts[0].0]);
    store.freeze(&first)?;
    assert_eq!(store.untold()?, facts[1..]);
    assert_eq!(store.told(std::slice::from_ref(&id))?, [facts[0].1.clone()]);
    assert_eq!(store.counts()?.untold, 1);
    assert!(store.freeze(&message("m2", 10, &[facts[1].0, facts[0].0])).is_err());
    assert!(store.freeze(&message("m3", 10, &[facts[1].0, 4711])).is_err());
    assert_eq!(store.outbox()?, [first.clone()]);
    assert_eq!(store.untold()?, facts[1..]);
    store.note_delivery(&first.id, at(11), &Delivery::Sent)?;
    assert!(store.freeze(&message("m4", 10, &[facts[0].0])).is_err(), "it is told");
    Ok(())
}

/// Sent for good: nothing takes it back.
pub fn what_is_sent_is_told(store: &mut dyn Store) -> Outcomes {
    let (id, facts) = prepared(store)?;
    let sent = message("m", 10, &[facts[0].0, facts[1].0]);
    store.freeze(&sent)?;
    store.note_delivery(&sent.id, at(11), &Delivery::Sent)?;
    assert_eq!((store.outbox()?, store.unsent()?, store.untold()?), (vec![], vec![], vec![]));
    store.note_delivery(&sent.id, at(12), &Delivery::Sent)?;
    for other in [Delivery::Dissolved, doubt("?"), Delivery::Permanent { detail: "550".to_owned() }] {
        assert!(store.note_delivery(&sent.id, at(12), &other).is_err(), "{other:?}");
    }
    assert_eq!(store.told(std::slice::from_ref(&id))?.len(), 2);
    assert!(store.tellings(&[id])?.iter().all(|telling| !telling.refused));
    assert!(store.note_delivery("none@example.org", at(12), &Delivery::Sent).is_err());
    Ok(())
}

/// Its facts wait for the next message, and its id is free.
pub fn what_is_dissolved_is_free_again(store: &mut dyn Store) -> Outcomes {
    let (id, facts) = prepared(store)?;
    let first = message("m", 10, &[facts[0].0, facts[1].0]);
    store.freeze(&first)?;
    assert!(store.has_message(&first.id)?);
    store.note_delivery(&first.id, at(11), &Delivery::Dissolved)?;
    assert!(!store.has_message(&first.id)?);
    assert_eq!((store.outbox()?, store.untold()?, store.told(&[id])?), (vec![], facts.clone(), vec![]));
    assert!(store.note_delivery(&first.id, at(11), &Delivery::Dissolved).is_err(), "it is gone");
    let second = Message { bytes: b"other".to_vec(), ..first };
    store.freeze(&second)?;
    assert_eq!(store.outbox()?, [second]);
    Ok(())
}

/// Somebody may have got it: it stays as it is until it is known, and its facts are not told in other words.
pub fn what_is_in_doubt_goes_again_with_the_same_bytes(store: &mut dyn Store) -> Outcomes {
    let (_, facts) = prepared(store)?;
    let first = message("m", 10, &[facts[0].0]);
    store.freeze(&first)?;
    assert_eq!(store.unsent()?, [(first.clone(), doubt(""))]);
    for detail in ["lost after DATA", "again"] {
        store.note_delivery(&first.id, at(11), &doubt(detail))?;
        assert_eq!(store.outbox()?, [first.clone()]);
        assert_eq!(store.unsent()?, [(first.clone(), doubt(detail))]);
        assert_eq!(store.untold()?, facts[1..]);
    }
    assert!(store.note_delivery(&first.id, at(12), &Delivery::Dissolved).is_err());
    store.note_delivery(&first.id, at(12), &Delivery::Sent)?;
    assert_eq!(store.outbox()?, []);
    Ok(())
}

/// Its facts count as told, and can be asked for.
pub fn what_is_refused_is_kept_and_shown(store: &mut dyn Store) -> Outcomes {
    let (id, facts) = prepared(store)?;
    let (refused, waiting) = (message("m1", 10, &[facts[0].0]), message("m2", 10, &[facts[1].0]));
    store.freeze(&refused)?;
    store.freeze(&waiting)?;
    let permanent = Delivery::Permanent { detail: "550 no such user".to_owned() };
    store.note_delivery(&refused.id, at(11), &permanent)?;
    assert_eq!(store.outbox()?, [waiting.clone()]);
    assert_eq!(store.unsent()?, [(refused, permanent), (waiting, doubt(""))]);
    let refused: Vec<bool> = store.tellings(&[id])?.iter().map(|telling| telling.refused).collect();
    assert_eq!(refused, [true, false]);
    Ok(())
}

/// By when they were made, then in the order of being frozen.
pub fn messages_come_oldest_first(store: &mut dyn Store) -> Outcomes {
    for (id, created) in [("c", 30), ("a", 10), ("z", 20), ("b", 20)] {
        store.freeze(&message(id, created, &[]))?;
    }
    let ids: Vec<String> = store.outbox()?.into_iter().map(|message| message.subject).collect();
    assert_eq!(ids, ["disk a", "disk z", "disk b", "disk c"]);
    Ok(())
}

/// Dropped ones count as told; one that waits in a message cannot be dropped, and then none is.
pub fn facts_can_be_dropped(store: &mut dyn Store) -> Outcomes {
    let (id, facts) = prepared(store)?;
    store.freeze(&message("m", 10, &[facts[0].0]))?;
    for these in [vec![facts[1].0, facts[0].0], vec![facts[1].0, 4711], vec![-1]] {
        assert!(store.drop_facts(&these).is_err(), "{these:?}");
        assert_eq!(store.untold()?, facts[1..]);
    }
    store.drop_facts(&[facts[1].0])?;
    store.drop_facts(&[facts[1].0])?;
    assert_eq!((store.untold()?, store.counts()?.untold), (vec![], 0));
    assert_eq!(store.told(std::slice::from_ref(&id))?.len(), 2);
    let composed: Vec<_> = store.tellings(&[id])?.iter().map(|telling| telling.composed).collect();
    assert_eq!(composed, [Some(at(10)), None]);
    Ok(())
}

/// One per receiver; no failures, no back-off.
pub fn a_receivers_back_off_is_replaced(store: &mut dyn Store) -> Outcomes {
    let backoff = |receiver: &str, failures| Backoff {
        receiver: receiver.to_owned(),
        failures,
        next: at(i64::from(failures) * 60),
        detail: format!("{failures} times"),
    };
    for set in [backoff("b@x", 1), backoff("a@x", 7), backoff("b@x", 2), backoff("c@x", 1), backoff("c@x", 0)]
    {
        store.set_backoff(&set)?;
    }
    assert_eq!(store.backoffs()?, [backoff("a@x", 7), backoff("b@x", 2)]);
    Ok(())
}

/// By the fact, from the message that tells it; and by the receiver, without what was refused or dissolved.
pub fn when_people_were_told_is_known(store: &mut dyn Store) -> Outcomes {
    let (id, facts) = prepared(store)?;
    assert_eq!(store.tellings(std::slice::from_ref(&id))?, []);
    let (first, second) = (message("m1", 10, &[facts[0].0]), message("m2", 20, &[facts[1].0]));
    store.freeze(&second)?;
    store.freeze(&first)?;
    let telling = |place: usize, composed, refused| Telling {
        fact: facts[place].1.clone(),
        composed: Some(at(composed)),
        refused,
    };
    assert_eq!(store.tellings(&[id.clone(), id.clone()])?, [telling(0, 10, false), telling(1, 20, false)]);
    let when = |seconds| (RECEIVER.to_owned(), at(seconds));
    assert_eq!(store.messages_since(at(10))?, [when(10), when(20)]);
    assert_eq!(store.messages_since(at(11))?, [when(20)]);
    store.note_delivery(&first.id, at(30), &Delivery::Sent)?;
    store.note_delivery(&second.id, at(30), &Delivery::Permanent { detail: "550".to_owned() })?;
    assert_eq!(store.tellings(&[id])?, [telling(0, 10, false), telling(1, 20, true)]);
    assert_eq!(store.messages_since(at(0))?, [when(10)]);
    let third = message("m3", 40, &[]);
    store.freeze(&third)?;
    store.note_delivery(&third.id, at(41), &Delivery::Dissolved)?;
    assert_eq!(store.messages_since(at(0))?, [when(10)]);
    Ok(())
}
