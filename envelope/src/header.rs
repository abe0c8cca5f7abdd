//! The clear part of an envelope.

use model::{ClientUid, SpoolId};
use sha2::{Digest as _, Sha256};

/// The version of the envelope's form.
const VERSION: u8 = 1;

/// `version | key id | client uid | spool id | sequence`
pub(crate) const LENGTH: usize = 1 + 4 + 16 + 16 + 8;

/// What an envelope says in the clear; all of it is associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which key pair opens it.
    pub key_id: u32,
    /// Whose it is, by its own word.
    pub client: ClientUid,
    /// The spool that it was written for.
    pub spool: SpoolId,
    /// Its place in that spool.
    pub sequence: u64,
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = VERSION;
        bytes[1..5].copy_from_slice(&self.key_id.to_be_bytes());
        bytes[5..21].copy_from_slice(&self.client.0);
        bytes[21..37].copy_from_slice(&self.spool.0);
        bytes[37..].copy_from_slice(&self.sequence.to_be_bytes());
        bytes
    }
}

/// Splits an envelope into its header and the rest. Says nothing of whether it opens.
pub fn split(envelope: &[u8]) -> Result<(Header, &[u8]), String> {
    let Some((head, rest)) = envelope.split_first_chunk::<LENGTH>() else {
        return Err(format!("an envelope of {} bytes is cut short", envelope.len()));
    };
    if head[0] != VERSION {
        return Err(format!("an envelope of version {}", head[0]));
    }
    let mut parts = (&head[1..], [0; 4], [0; 16], [0; 16], [0; 8]);
    for part in [&mut parts.1[..], &mut parts.2[..], &mut parts.3[..], &mut parts.4[..]] {
        let (front, back) = parts.0.split_at(part.len());
        part.copy_from_slice(front);
        parts.0 = back;
    }
    let header = Header {
        key_id: u32::from_be_bytes(parts.1),
        client: ClientUid(parts.2),
        spool: SpoolId(parts.3),
        sequence: u64::from_be_bytes(parts.4),
    };
    Ok((header, rest))
}

/// SHA-256 of an envelope: what "stored through" names it by.
pub fn digest(envelope: &[u8]) -> [u8; 32] {
    Sha256::digest(envelope).into()
}
