//! Whether a record that came is stored already. Pure; every backend decides by it.

/// What is to be done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is stored already: nothing.
    Known,
    /// The client has it under another spool, from before a roll-back: it counts as stored through, and no more.
    Moved,
    /// Store it.
    New,
    /// Another record is stored as this one: the client was rolled back to a spool that had gone on. Neither it nor
    /// what follows is stored, nor may it count as stored through; the probe sees that the digests differ, takes a new
    /// spool id, and sends all of it again.
    Conflict,
}

/// A stored record of the same client and sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Twin {
    /// Whether it is under the same spool.
    pub(crate) same_spool: bool,
    /// Its [`short_digest`].
    pub(crate) digest: i64,
}

/// Decides about the record `sequence` of a spool that is stored through `through`.
pub(crate) fn admit(through: Option<u64>, sequence: u64, digest: i64, twins: &[Twin]) -> Admission {
    if let Some(own) = twins.iter().find(|twin| twin.same_spool) {
        return if own.digest == digest { Admission::Known } else { Admission::Conflict };
    }
    if through.is_some_and(|through| sequence <= through) {
        Admission::Known
    } else if twins.iter().any(|twin| twin.digest == digest) {
        Admission::Moved
    } else {
        Admission::New
    }
}

/// The first eight bytes of an envelope's digest: enough to tell the few records of one client and sequence apart.
pub(crate) fn short_digest(digest: &[u8; 32]) -> i64 {
    let (first, _) = digest.split_first_chunk().expect("32 bytes begin with 8");
    i64::from_be_bytes(*first)
}

/// The sequence as the stores number it. `None` for what no honest probe reaches; such a record is not stored.
pub(crate) fn sequence(number: u64) -> Option<i64> {
    i64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case() {
        let own = |digest| Twin { same_spool: true, digest };
        let other = |digest| Twin { same_spool: false, digest };
        for (through, twins, expected) in [
            (None, vec![], Admission::New),
            (Some(4), vec![], Admission::New),
            (Some(5), vec![], Admission::Known),
            (Some(9), vec![own(1)], Admission::Known),
            (Some(9), vec![own(2)], Admission::Conflict),
            (None, vec![other(1)], Admission::Moved),
            (Some(4), vec![other(2), other(1)], Admission::Moved),
            (None, vec![other(2)], Admission::New),
            (Some(9), vec![other(1), own(2)], Admission::Conflict),
        ] {
            assert_eq!(admit(through, 5, 1, &twins), expected, "{through:?} {twins:?}");
        }
    }
}
