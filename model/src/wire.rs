//! What collector and probe say to each other over one exec, and the frames of it. Pure: bytes in, values out.
//!
//! ```text
//! stdin   -> one frame Request
//! stdout  <- login noise (skipped up to MAX_NOISE) · MAGIC · Hello · Envelope* · (Fault | End)
//! ```
//!
//! A frame is `kind (1 byte) | length (4 bytes, big endian) | payload`. Success is the [`End`] frame with its digest,
//! never the exit status alone.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ClientUid, Clock, SpoolId};

/// What starts the probe's output, after whatever the login shell printed.
pub const MAGIC: &[u8; 16] = b"\x02fleet-health/1\n";

/// How [`MAGIC`] begins in every version of this protocol; the version's number and a newline follow. A field that is
/// added to a frame is skipped by who does not know it, and makes no new version.
pub const MAGIC_STEM: &[u8; 14] = b"\x02fleet-health/";

/// What the collector's exec says to a login whose key is limited to the installed probe, and all that such a login
/// answers (sshd hands it over as `SSH_ORIGINAL_COMMAND`).
pub const SERVE_INSTALLED: &str = "local-probe serve";

/// What an installed probe says of the login that it limits, when that is asked for anything else.
pub const ANSWERS_ALONE: &str = "this login answers `local-probe serve` alone";

/// Bytes of login noise before [`MAGIC`] that are skipped.
pub const MAX_NOISE: usize = 64 * 1024;

/// The most bytes that one frame may have: an envelope around the largest record.
pub const MAX_FRAME: usize = crate::record::MAX_RECORD + 1024;

/// The most envelope bytes that one run fetches; the rest follows with the next run.
pub const MAX_FETCH: u64 = 8 * 1024 * 1024;

/// The most envelopes of one stream: more than a spool holds.
pub const MAX_RECORDS: u64 = 32 * 1024;

/// The most names of processes in one request, and the most bytes of each.
pub const MAX_PROCESSES: (usize, usize) = (100, 256);

/// The line that the shell's part prints when the probe is not there: this word, then what `uname -sm` said.
pub const MISSING: &str = "fleet-health:missing";

/// What the collector sends into the exec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Whose spool: the directory below `remote-dir`.
    pub client: ClientUid,
    /// The key that new records are sealed to; kept beside the spool.
    pub recipient: Recipient,
    /// What is stored for good and may be removed.
    pub stored: Option<StoredThrough>,
    /// Write a new record even if the newest is younger than 10 s.
    pub fresh: bool,
    /// Names of processes whose number is asked for; kept beside the spool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<String>,
    /// Envelope bytes after which the stream ends early, with [`End::more`].
    pub max_bytes: u64,
    /// How long the collector waits for the exec, in seconds: nobody reads on after that.
    #[serde(default = "usual_seconds")]
    pub seconds: u32,
    /// What the visit is for.
    #[serde(default, skip_serializing_if = "Purpose::is_collect")]
    pub purpose: Purpose,
}

/// What collectors waited at most that did not say it.
fn usual_seconds() -> u32 {
    120
}

/// What a visit is for. A probe that knows only the first answers every visit as one, and [`End::left`] tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To take a new record and fetch what is spooled.
    #[default]
    Collect,
    /// To fetch what is spooled and not stored; or, where there is no such record, to remove the spool. Nothing new is
    /// taken.
    Leave,
    /// To remove the spool, whatever it holds.
    Abandon,
}

impl Purpose {
    /// Whether it is the usual one.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_collect(&self) -> bool {
        *self == Self::Collect
    }
}

/// The public half of a client's key pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Names the key pair; counts up from 1 per client.
    pub key_id: u32,
    /// The X25519 public key.
    pub public_key: [u8; 32],
}

/// "Stored through": everything of this spool up to `sequence` is stored for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredThrough {
    /// Which spool.
    pub spool: SpoolId,
    /// The last sequence that is stored.
    pub sequence: u64,
    /// SHA-256 of that record's envelope: tells a spool that was rolled back.
    pub digest: [u8; 32],
}

/// The probe's first frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The probe's version, as `CARGO_PKG_VERSION`.
    pub version: String,
    /// Its directory, absolute; empty where it does not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub directory: String,
    /// Both clocks at the time of streaming.
    pub clock: Clock,
    /// Under which spool the envelopes that follow are to be filed. An envelope's own header may name an older one,
    /// after a roll-back.
    pub spool: SpoolId,
    /// Records in the spool.
    pub spooled: u64,
}

/// The last frame of a stream that is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Envelope frames that were sent.
    pub sent: u64,
    /// SHA-256 of all frames since [`MAGIC`], this one excluded.
    pub digest: [u8; 32],
    /// Whether more is spooled than one run takes.
    pub more: bool,
    /// Whether the spool is removed now; only where that was the visit's purpose, and the probe knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<bool>,
}

/// Why the probe gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What kind of trouble it is.
    pub kind: FaultKind,
    /// What happened, where, for people.
    pub detail: String,
}

/// What kind of trouble a probe met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The file system is full.
    NoSpace,
    /// A directory or file of the spool is a link, foreign, or open to others.
    Unsafe,
    /// Another probe held the spool's lock for too long.
    Locked,
    /// Anything else.
    Other,
}

/// The kinds of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A [`Request`].
    Request = 1,
    /// A [`Hello`].
    Hello = 2,
    /// The bytes of one envelope.
    Envelope = 3,
    /// A [`Fault`].
    Fault = 4,
    /// An [`End`].
    End = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Request, Self::Hello, Self::Envelope, Self::Fault, Self::End]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the payload is.
    pub kind: Kind,
    /// The payload.
    pub payload: Vec<u8>,
}

/// The bytes of a frame's header.
pub const HEADER: usize = 5;

impl Frame {
    /// A frame around `value`'s CBOR.
    ///
    /// # Panics
    /// Never for the types of this module: writing CBOR to memory cannot fail.
    pub fn of<T: Serialize>(kind: Kind, value: &T) -> Self {
        Self { kind, payload: to_cbor(value) }
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.payload.len());
        bytes.push(self.kind as u8);
        bytes.extend((self.payload.len() as u32).to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// Takes one frame off the front of `buffer`: `None` where its bytes are not all there yet.
    pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Self>, String> {
        if buffer.len() < HEADER {
            return Ok(None);
        }
        let kind = Kind::from_byte(buffer[0]).ok_or_else(|| format!("frame kind {}", buffer[0]))?;
        let length = u32::from_be_bytes([buffer[1], buffer[2], buffer[3], buffer[4]]) as usize;
        if length > MAX_FRAME {
            return Err(format!("a frame of {length} bytes"));
        }
        if buffer.len() < HEADER + length {
            return Ok(None);
        }
        let payload = buffer[HEADER..HEADER + length].to_vec();
        buffer.drain(..HEADER + length);
        Ok(Some(Self { kind, payload }))
    }
}

/// `value` as CBOR.
///
/// # Panics
/// Where `value`'s `Serialize` fails, which none of this crate does.
pub fn to_cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("memory takes every byte, and our types serialize");
    bytes
}

/// Reads exactly one CBOR value that fills `bytes`, nested at most 16 deep.
pub fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut rest = bytes;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, 16)
        .map_err(|error| crate::text::escape(&error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(format!("{} bytes too many", rest.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_survive_any_cut(payload in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..305) {
            let frame = Frame { kind: Kind::Envelope, payload };
            let bytes = frame.to_bytes();
            let cut = cut.min(bytes.len());
            let mut buffer = bytes[..cut].to_vec();
            if cut < bytes.len() {
                prop_assert_eq!(Frame::take(&mut buffer), Ok(None));
                buffer.extend(&bytes[cut..]);
            }
            prop_assert_eq!(Frame::take(&mut buffer), Ok(Some(frame)));
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Frame::take(&mut bytes);
            let _ = from_cbor::<Hello>(&bytes);
        }
    }

    #[test]
    fn the_magic_begins_as_every_version_does() {
        assert_eq!(MAGIC.strip_prefix(MAGIC_STEM), Some(&b"1\n"[..]));
    }

    #[test]
    fn what_a_later_version_adds_is_skipped_and_what_an_earlier_one_lacks_has_a_default() {
        #[derive(Serialize)]
        struct Later {
            client: ClientUid,
            recipient: Recipient,
            stored: Option<StoredThrough>,
            fresh: bool,
            max_bytes: u64,
            colour: &'static str,
        }
        let recipient = Recipient { key_id: 1, public_key: [2; 32] };
        let later = Later {
            client: ClientUid([1; 16]),
            recipient: recipient.clone(),
            stored: None,
            fresh: true,
            max_bytes: 5,
            colour: "red",
        };
        let expected = Request {
            client: ClientUid([1; 16]),
            recipient,
            stored: None,
            fresh: true,
            processes: Vec::new(),
            max_bytes: 5,
            seconds: 120,
            purpose: Purpose::Collect,
        };
        assert_eq!(from_cbor::<Request>(&to_cbor(&later)), Ok(expected));
    }

    #[test]
    fn an_absurd_length_is_refused_at_once() {
        assert!(Frame::take(&mut vec![3, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
