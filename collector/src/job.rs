//! What supervisor and worker say to each other: one [`Job`] down the worker's stdin (and behind it, where the worker asks
//! for one, an open connection: `handover`), [`Up`]s from its stdout.
//!
//! A frame is `head length | tail length (4 bytes each, big endian) | head (CBOR) | tail (raw bytes)`; both lengths are
//! bounded, so that neither side can exhaust the other.

use std::io::{self, Read, Write};

use config::Secret;
use model::wire::{MAX_FRAME, Request, from_cbor};
use model::{ClientName, Clock, Outcome, Phase, SpoolId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize as _, Zeroizing};

use crate::found::Found;
use crate::host_key::Expected;
use crate::probe::Probes;

/// The most bytes of a frame's head. A job stays below what a socket holds, so that handing it over never waits.
const MAX_HEAD: usize = 60 * 1024;

/// Everything that a worker knows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The supervisor's process id: a worker whose parent is another one has lost it.
    pub(crate) supervisor: i32,
    /// The client's name, for log lines.
    pub(crate) name: ClientName,
    /// How to get there.
    pub(crate) way: Way,
    /// What to do there.
    pub(crate) task: Task,
}

/// How to get to a client.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Way {
    /// It is this machine.
    Local,
    /// By SSH.
    Ssh {
        /// Name or address.
        address: String,
        /// TCP port.
        port: u16,
        /// How a connection to it comes about.
        dial: Dial,
        /// Login name.
        username: String,
        /// Which host keys to expect.
        expected: Box<Expected>,
        /// What to log in with.
        credentials: Credentials,
    },
}

/// How a connection comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Dial {
    /// The worker resolves the address and opens it.
    Direct,
    /// The supervisor hands one over that leads through a bastion or a command.
    Handed,
}

/// What to do at a client, or on the way to one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Be a bastion: have the server open connections to the next one, and carry bytes, as long as the supervisor asks.
    Forward {
        /// The next server's name or address, as this server is to resolve it.
        address: String,
        /// Its TCP port.
        port: u16,
    },
    /// Only see which host key the server has.
    HostKey,
    /// Run the probe and fetch its records.
    Collect {
        /// Where the probe is.
        place: Place,
        /// What the probe is told.
        request: Box<Request>,
        /// The client's key pairs, to open its records.
        identities: Vec<PrivateKey>,
        /// Whether records of key pairs that are not here are given up: set aside, and so acknowledged.
        discard: bool,
    },
}

/// Where a client has its probe.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In one of these directories, tried in order; one of these probes, sent where it is missing.
    Shipped {
        /// The directories.
        directories: Vec<String>,
        /// The probes.
        probes: Probes,
    },
    /// Where it was installed: the login runs it and nothing else, and nothing is ever sent there.
    Installed,
}

/// The private half of a client's key pair.
#[derive(Serialize, Deserialize)]
pub(crate) struct PrivateKey {
    /// Which.
    pub(crate) key_id: u32,
    /// Its bytes.
    pub(crate) bytes: [u8; 32],
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.key_id)
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// What a client may be logged in to with, in the order of trying.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// Keys, by value.
    pub(crate) keys: Vec<LoginKey>,
    /// The socket of an agent; the supervisor puts it into the worker's environment as `SSH_AUTH_SOCK`.
    pub(crate) agent: Option<String>,
    /// Which of the agent's keys are to be used; all where none is named.
    pub(crate) agent_keys: Vec<PublicHalf>,
    /// A password.
    pub(crate) password: Option<Hidden>,
}

/// A key to log in with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LoginKey {
    /// Its file, for people.
    pub(crate) file: String,
    /// The private key as PEM: without encryption, unless it is of a form that only libssh2 reads.
    pub(crate) pem: Hidden,
    /// What libssh2 decrypts it with.
    pub(crate) passphrase: Option<Hidden>,
}

/// A key whose private half an agent holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublicHalf {
    /// Its file, for people.
    pub(crate) file: String,
    /// The public key's blob (RFC 4253, 6.6).
    pub(crate) blob: Vec<u8>,
}

/// A secret on its way to the worker.
#[derive(Debug, Clone)]
pub(crate) struct Hidden(pub(crate) Secret);

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.reveal())
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

/// What a worker says. Records, quarantined envelopes and host keys are the frame's tail.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Up {
    /// A phase began.
    Phase(Phase),
    /// Something that was found on the way.
    Found(Found),
    /// Something worth telling whoever runs with `-v`.
    Note(String),
    /// The probe began to stream; its clocks now, and the spool that it files under.
    Hello {
        /// Both clocks of the client.
        clock: Clock,
        /// Where the records belong.
        spool: SpoolId,
    },
    /// One record, opened and decoded; its CBOR is the tail.
    Record {
        /// Its place in the spool.
        sequence: u64,
        /// SHA-256 of its envelope.
        digest: [u8; 32],
    },
    /// One envelope that would not open or decode; it is the tail.
    Quarantined {
        /// Its place in the spool.
        sequence: u64,
        /// SHA-256 of it.
        digest: [u8; 32],
        /// Why.
        reason: String,
    },
    /// The server's host key is the tail: the one that was asked for, or one that is not known.
    HostKey,
    /// A connection is wanted ([`Dial::Handed`]).
    Dial,
    /// The bastion is logged in to, and can be asked for connections.
    Ready,
    /// The bastion has opened the connection that was asked for.
    Open,
    /// The bastion cannot connect to the next server.
    Unreachable {
        /// What it said.
        detail: String,
    },
    /// The end.
    Done {
        /// How it went.
        outcome: Outcome,
        /// Whether the probe was sent.
        uploaded: bool,
    },
}

/// Writes one frame.
pub(crate) fn write<T: Serialize>(to: &mut impl Write, head: &T, tail: &[u8]) -> io::Result<()> {
    // A buffer that never grows leaves no copy of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_HEAD + 8 + tail.len()));
    bytes.extend([0; 8]);
    ciborium::into_writer(head, Capped(&mut bytes)).map_err(|error| io::Error::other(error.to_string()))?;
    let head_length = (bytes.len() - 8) as u32;
    bytes[..4].copy_from_slice(&head_length.to_be_bytes());
    bytes[4..8].copy_from_slice(&(tail.len() as u32).to_be_bytes());
    bytes.extend(tail);
    to.write_all(&bytes)
}

/// Takes one frame off the front of `buffer`: `None` where its bytes are not all there yet.
pub(crate) fn take<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> Result<Option<(T, Vec<u8>)>, String> {
    let Some(lengths) = buffer.first_chunk::<8>() else {
        return Ok(None);
    };
    let (head, tail) = lengths_of(*lengths)?;
    if buffer.len() < 8 + head + tail {
        return Ok(None);
    }
    let value = from_cbor(&buffer[8..8 + head])?;
    let rest = buffer[8 + head..8 + head + tail].to_vec();
    buffer.drain(..8 + head + tail);
    Ok(Some((value, rest)))
}

/// Reads one frame without a tail; `None` where the other side closed before it began.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl Read) -> Result<Option<T>, String> {
    let mut lengths = [0; 8];
    match from.read_exact(&mut lengths) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.to_string()),
    }
    let (head, _) = lengths_of(lengths)?;
    let mut bytes = Zeroizing::new(vec![0; head]);
    from.read_exact(&mut bytes).map_err(|error| error.to_string())?;
    from_cbor(&bytes).map(Some)
}

fn lengths_of(bytes: [u8; 8]) -> Result<(usize, usize), String> {
    let both = u64::from_be_bytes(bytes);
    let (head, tail) = ((both >> 32) as usize, (both & 0xffff_ffff) as usize);
    if head > MAX_HEAD || tail > MAX_FRAME {
        return Err(format!("a frame of {head} and {tail} bytes"));
    }
    Ok((head, tail))
}

/// Takes at most [`MAX_HEAD`] bytes.
struct Capped<'a>(&'a mut Vec<u8>);

impl Write for Capped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_HEAD + 8 {
            return Err(io::Error::other(format!("more than {MAX_HEAD} bytes")));
        }
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ClientUid;
    use model::wire::{Purpose, Recipient};
    use proptest::prelude::*;

    fn job(password: &str) -> Job {
        let credentials = Credentials {
            keys: vec![],
            agent: None,
            agent_keys: vec![],
            password: Some(Hidden(Secret::new(password.to_owned()))),
        };
        Job {
            supervisor: 7,
            name: "web1".parse().unwrap(),
            way: Way::Ssh {
                address: "::1".to_owned(),
                port: 22,
                dial: Dial::Direct,
                username: "ops".to_owned(),
                expected: Box::default(),
                credentials,
            },
            task: Task::Collect {
                place: Place::Shipped {
                    directories: vec![".fleet-health".to_owned()],
                    probes: Probes::load(&[], &mut |warning| panic!("{warning}")),
                },
                request: Box::new(Request {
                    client: ClientUid([1; 16]),
                    recipient: Recipient { key_id: 1, public_key: [2; 32] },
                    stored: None,
                    fresh: false,
                    processes: Vec::new(),
                    max_bytes: 5,
                    seconds: 30,
                    purpose: Purpose::Collect,
                }),
                identities: vec![PrivateKey { key_id: 1, bytes: [0x5a; 32] }],
                discard: false,
            },
        }
    }

    #[test]
    fn a_job_arrives_and_shows_no_secret() {
        let mut bytes = Vec::new();
        write(&mut bytes, &job("geheim"), b"").unwrap();
        let arrived: Job = read(&mut &bytes[..]).unwrap().unwrap();
        let Way::Ssh { credentials, .. } = &arrived.way else { panic!() };
        assert_eq!(credentials.password.as_ref().unwrap().0.reveal(), "geheim");
        let shown = format!("{arrived:?}");
        assert!(!shown.contains("geheim") && !shown.contains("90, 90"), "{shown}");
        assert!(read::<Job>(&mut &b""[..]).unwrap().is_none());
    }

    #[test]
    fn a_job_that_no_socket_holds_is_refused() {
        assert!(write(&mut Vec::new(), &job(&"x".repeat(MAX_HEAD)), b"").is_err());
    }

    #[test]
    fn absurd_lengths_are_refused_at_once() {
        assert!(take::<Up>(&mut vec![0xff; 8]).is_err());
        assert!(read::<Job>(&mut &[0xff; 8][..]).is_err());
    }

    proptest! {
        #[test]
        fn ups_survive_any_cut(tail in proptest::collection::vec(any::<u8>(), 0..300), cut in 0_usize..400) {
            let up = Up::Record { sequence: 9, digest: [3; 32] };
            let mut bytes = Vec::new();
            write(&mut bytes, &up, &tail).unwrap();
            let cut = cut.min(bytes.len());
            let mut buffer = bytes[..cut].to_vec();
            if cut < bytes.len() {
                prop_assert_eq!(take::<Up>(&mut buffer), Ok(None));
                buffer.extend(&bytes[cut..]);
            }
            prop_assert_eq!(take::<Up>(&mut buffer), Ok(Some((up, tail))));
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = take::<Up>(&mut bytes);
        }
    }
}
