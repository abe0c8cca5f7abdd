//! Envelopes of one stream, opened, checked and passed up.

use std::ops::ControlFlow;

use envelope::{Header, Identity, OpenError};
use model::text::escape;
use model::wire::Request;
use model::{ClientUid, Outcome, Record};

use crate::job::{PrivateKey, Up};

/// What is known of the records so far.
pub(super) struct Records {
    client: ClientUid,
    identities: Vec<Identity>,
    /// The sequence of the newest so far, or what is stored through.
    newest: Option<u64>,
    /// Whether one of this stream was seen.
    begun: bool,
    /// The lowest key pair that a record of this stream is sealed to.
    oldest_key: Option<u32>,
    /// Whether records of key pairs that are not here are given up.
    discard: bool,
    quarantined: u32,
    first_fault: String,
}

/// What one envelope turned out to be.
#[derive(Debug, PartialEq)]
enum Opened {
    /// A good record; its CBOR.
    Good(u64, Vec<u8>),
    /// Not for this client, not sealed to it, or no record; why.
    Bad(Option<u64>, String),
}

impl Records {
    pub(super) fn new(request: &Request, keys: &[PrivateKey], discard: bool) -> Self {
        Self {
            client: request.client,
            identities: keys
                .iter()
                .filter_map(|key| Identity::from_bytes(key.key_id, &key.bytes).ok())
                .collect(),
            newest: request.stored.as_ref().map(|stored| stored.sequence),
            begun: false,
            oldest_key: None,
            discard,
            quarantined: 0,
            first_fault: String::new(),
        }
    }

    /// Opens one: what is to be passed up of it, and the frame's tail. An unknown key or a sequence that goes back ends
    /// the stream: what came before it is stored, what comes after is not acknowledged. Where unknown keys are given up,
    /// their records are set aside as they are.
    pub(super) fn open(&mut self, envelope: &[u8]) -> Result<(Up, Vec<u8>), Outcome> {
        let digest = envelope::digest(envelope);
        if let Ok((header, _)) = envelope::split(envelope) {
            self.oldest_key = Some(self.oldest_key.map_or(header.key_id, |oldest| oldest.min(header.key_id)));
        }
        let opened = match open(&self.identities, self.client, envelope) {
            Err(Outcome::Undecryptable { detail }) if self.discard => {
                let claimed = envelope::split(envelope).ok().map(|(header, _)| header.sequence);
                Opened::Bad(claimed, format!("given up: {detail}"))
            }
            opened => opened?,
        };
        match opened {
            Opened::Good(sequence, record) => {
                self.follow(sequence)?;
                Ok((Up::Record { sequence, digest }, record))
            }
            Opened::Bad(claimed, reason) => {
                // What would not open proves nothing, its sequence neither; a spool has no holes.
                let next = self.newest.filter(|_| self.begun || claimed.is_none());
                let sequence = next.map(|newest| newest.saturating_add(1)).or(claimed).unwrap_or(1);
                self.follow(sequence)?;
                if self.quarantined == 0 {
                    self.first_fault = escape(&reason);
                }
                self.quarantined += 1;
                Ok((Up::Quarantined { sequence, digest, reason }, envelope.to_vec()))
            }
        }
    }

    fn follow(&mut self, sequence: u64) -> Result<(), Outcome> {
        let back = self.begun && self.newest.is_some_and(|newest| sequence <= newest);
        if back || sequence == 0 || i64::try_from(sequence).is_err() {
            return Err(Outcome::Malformed { detail: format!("record {sequence} is out of order") });
        }
        self.newest = Some(sequence);
        self.begun = true;
        Ok(())
    }

    /// The lowest key pair that a record of this stream is sealed to; `None` where there was no record.
    pub(super) fn oldest_key(&self) -> Option<u32> {
        self.oldest_key
    }

    /// How the stream ended, once it is whole.
    pub(super) fn outcome(&self) -> Outcome {
        if self.quarantined == 0 {
            return Outcome::Collected;
        }
        Outcome::Quarantined { count: self.quarantined, detail: self.first_fault.clone() }
    }
}

/// Opens and decodes `envelope`. That it is `client`'s is what its session says; an envelope that claims to be another's
/// is set aside.
fn open(identities: &[Identity], client: ClientUid, envelope: &[u8]) -> Result<Opened, Outcome> {
    let claimed = || envelope::split(envelope).ok().map(|(header, _)| header.sequence);
    let (header, plaintext) = match envelope::open(identities, envelope) {
        Ok(opened) => opened,
        Err(OpenError::UnknownKey(key)) => return unknown_key(client, envelope, key),
        Err(OpenError::Malformed(why)) => return Ok(Opened::Bad(claimed(), why)),
        Err(OpenError::Refused) => {
            return Ok(Opened::Bad(claimed(), "it was changed, or sealed to another key".to_owned()));
        }
    };
    if let ControlFlow::Break(bad) = belongs(header, client) {
        return Ok(bad);
    }
    // Encoded anew, so that the supervisor reads our bytes and never the client's.
    let record = Record::decode(&plaintext).and_then(|record| record.encode());
    Ok(match record {
        Ok(record) => Opened::Good(header.sequence, record),
        Err(fault) => Opened::Bad(Some(header.sequence), fault.to_string()),
    })
}

fn belongs(header: Header, client: ClientUid) -> ControlFlow<Opened> {
    if header.client == client {
        return ControlFlow::Continue(());
    }
    ControlFlow::Break(Opened::Bad(None, format!("it claims to be of another client, {}", header.client)))
}

fn unknown_key(client: ClientUid, envelope: &[u8], key: u32) -> Result<Opened, Outcome> {
    match envelope::split(envelope) {
        Ok((header, _)) if header.client == client => {
            Err(Outcome::Undecryptable { detail: format!("key pair {key}, record {}", header.sequence) })
        }
        Ok((header, _)) => {
            Ok(Opened::Bad(None, format!("it claims to be of another client, {}", header.client)))
        }
        Err(why) => Ok(Opened::Bad(None, why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envelope::seal;
    use model::wire::{MAX_FETCH, Purpose, Recipient};
    use model::{Body, Clock, Report, SpoolId, Timestamp};

    const OURS: ClientUid = ClientUid([1; 16]);
    const OTHER: ClientUid = ClientUid([2; 16]);

    fn identity() -> Identity {
        Identity::from_bytes(1, &[7; 32]).unwrap()
    }

    fn records() -> Records {
        let request = Request {
            client: OURS,
            recipient: identity().recipient(),
            stored: None,
            fresh: false,
            processes: Vec::new(),
            max_bytes: MAX_FETCH,
            seconds: 30,
            purpose: Purpose::Collect,
        };
        Records::new(&request, &[PrivateKey { key_id: 1, bytes: [7; 32] }], false)
    }

    fn record() -> Vec<u8> {
        let clock = Clock { wall: Timestamp(1), boottime_ms: 2, boot_id: "b".to_owned() };
        Record { version: 1, clock, body: Body::Report(Report::default()) }.encode().unwrap()
    }

    fn sealed(to: &Recipient, client: ClientUid, sequence: u64, plaintext: &[u8]) -> Vec<u8> {
        let header = Header { key_id: to.key_id, client, spool: SpoolId([3; 16]), sequence };
        seal(to, &header, plaintext).unwrap()
    }

    fn ours(sequence: u64) -> Vec<u8> {
        sealed(&identity().recipient(), OURS, sequence, &record())
    }

    /// The sequence and whether it is good.
    fn kept(records: &mut Records, envelope: &[u8]) -> (u64, bool) {
        match records.open(envelope) {
            Ok((Up::Record { sequence, .. }, tail)) => {
                assert_eq!(tail, record());
                (sequence, true)
            }
            Ok((Up::Quarantined { sequence, .. }, tail)) => {
                assert_eq!(tail, envelope);
                (sequence, false)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn good_records_pass_in_order() {
        let mut records = records();
        assert_eq!(kept(&mut records, &ours(4)), (4, true));
        assert_eq!(kept(&mut records, &ours(5)), (5, true));
        assert!(matches!(records.open(&ours(5)), Err(Outcome::Malformed { .. })));
        assert_eq!(records.outcome(), Outcome::Collected);
    }

    #[test]
    fn what_is_no_record_of_this_client_is_set_aside_and_the_next_one_passes() {
        let recipient = identity().recipient();
        let mut flipped = ours(6);
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [
            sealed(&recipient, OTHER, 900, &record()),
            sealed(&recipient, OURS, 6, b"no record"),
            flipped,
            ours(6)[..30].to_vec(),
            Vec::new(),
            sealed(&Recipient { key_id: 9, ..recipient.clone() }, OTHER, 6, &record()),
        ] {
            let mut records = records();
            assert_eq!(kept(&mut records, &ours(5)), (5, true));
            assert_eq!(kept(&mut records, &bad), (6, false));
            assert_eq!(kept(&mut records, &ours(7)), (7, true));
            assert!(matches!(records.outcome(), Outcome::Quarantined { count: 1, .. }));
        }
    }

    #[test]
    fn an_unknown_key_ends_the_stream_there() {
        let unknown = Recipient { key_id: 9, ..identity().recipient() };
        let mut records = records();
        assert_eq!(kept(&mut records, &ours(5)), (5, true));
        let Err(Outcome::Undecryptable { detail }) = records.open(&sealed(&unknown, OURS, 6, &record()))
        else {
            panic!()
        };
        assert_eq!(detail, "key pair 9, record 6");
    }

    #[test]
    fn a_sequence_that_no_storage_holds_is_refused() {
        assert!(matches!(records().open(&ours(u64::MAX)), Err(Outcome::Malformed { .. })));
        assert!(matches!(records().open(&ours(0)), Err(Outcome::Malformed { .. })));
    }
}
