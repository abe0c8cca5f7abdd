//! A server: found, dialled, shaken hands with, and known by its host key. What comes out of here is a session whose
//! host key is verified; nothing else can be logged in to.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::mem;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use model::text::escape;
use model::{Outcome, Phase};
use ssh2::{Channel, DisconnectCode, ErrorCode, MethodType, Session};

use super::Link;
use super::kexinit;
use super::transport::{Hear, Transport};
use crate::certificate::{self, Shown};
use crate::found::Found;
use crate::host_key::{self, Expected, Verdict};
use crate::job::{Credentials, Dial, Up, Way};

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// What several addresses share of the connection's budget; the last one has what is left of it.
const DIALLING: Duration = Duration::from_millis(4500);

/// The most host keys that one server is asked for, where a pin tells no type.
const MAX_KEY_TYPES: usize = 3;

/// The server that this worker is for.
pub(super) struct Server<'a> {
    address: &'a str,
    port: u16,
    dial: Dial,
    expected: &'a Expected,
    pub(super) username: &'a str,
    pub(super) credentials: &'a Credentials,
}

impl<'a> Server<'a> {
    /// `None` where it is this machine.
    pub(super) fn of(way: &'a Way) -> Option<Self> {
        match way {
            Way::Local => None,
            Way::Ssh { address, port, dial, username, expected, credentials } => {
                Some(Self { address, port: *port, dial: *dial, expected, username, credentials })
            }
        }
    }
}

/// A session with a server whose host key is the expected one.
pub(super) struct Verified {
    session: Session,
    socket: OwnedFd,
}

impl Verified {
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Its connection, to wait for.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Connects to `server`; one that is not the expected one is refused before it learns anything. A key that nobody knows
/// is shown to the supervisor.
pub(super) fn connect(server: &Server<'_>, link: &mut Link) -> Result<Verified, Outcome> {
    let (met, blob) = meet(server, link)?;
    let shown = certificate::examine(blob, server.address, server.expected, SystemTime::now());
    let source = accept(&shown, server.expected).inspect_err(|refusal| {
        if matches!(refusal, Outcome::HostKeyUnknown { .. }) {
            link.send(&Up::HostKey, &shown.key);
        }
    })?;
    link.found(Found::HostKey { shown: host_key::shown(&shown.key), source });
    Ok(met)
}

/// Where it stands that this is the server's key; of a certificate that does not hold, why.
fn accept(shown: &Shown, expected: &Expected) -> Result<String, Outcome> {
    let verdict = expected.judge(&shown.key);
    match (verdict, &shown.certified) {
        (Verdict::Match(source), _) => Ok(source.to_owned()),
        (Verdict::Unknown | Verdict::Changed(_), Some(Ok(source))) => Ok(source.clone()),
        (verdict, certified) => {
            let mut refusal = verdict.refusal(&shown.key).unwrap_or(Outcome::NotReached);
            if let (
                Outcome::HostKeyUnknown { offered } | Outcome::HostKeyChanged { offered, .. },
                Some(Err(why)),
            ) = (&mut refusal, certified)
            {
                *offered = format!("{offered}; {why}");
            }
            Err(refusal)
        }
    }
}

/// The server's host key, whatever it is; of a certificate, the certified one.
pub(super) fn host_key(server: &Server<'_>, link: &mut Link) -> Result<Vec<u8>, Outcome> {
    let (met, blob) = meet(server, link)?;
    let _ = met.session.disconnect(Some(DisconnectCode::ByApplication), "that was all", None);
    let shown = certificate::examine(blob, server.address, server.expected, SystemTime::now());
    if let Ok(source) = accept(&shown, server.expected) {
        link.found(Found::HostKey { shown: host_key::shown(&shown.key), source });
    }
    Ok(shown.key)
}

/// A session with the server, whose host key is still to be judged, and that key. A server shows one key only; where a
/// pin is a fingerprint, which tells no type, it is asked for the others too, and the first counts if none of them fits.
fn meet(server: &Server<'_>, link: &mut Link) -> Result<(Verified, Vec<u8>), Outcome> {
    let settled = |key: &[u8]| {
        server.expected.fingerprints.is_empty()
            || matches!(server.expected.judge(key), Verdict::Match(_) | Verdict::Revoked(_))
    };
    let first = shake_hands(server, &[], link)?;
    if settled(&first.1) {
        return Ok(first);
    }
    let mut shown = vec![host_key::type_of(&first.1).unwrap_or_default().to_owned()];
    while shown.len() < MAX_KEY_TYPES {
        let Ok(next) = shake_hands(server, &shown, link) else { break };
        if settled(&next.1) {
            return Ok(next);
        }
        shown.push(host_key::type_of(&next.1).unwrap_or_default().to_owned());
    }
    Ok(first)
}

fn shake_hands(server: &Server<'_>, not: &[String], link: &mut Link) -> Result<(Verified, Vec<u8>), Outcome> {
    let stream = open(server, link)?;
    link.enter(Phase::Handshake);
    let mut session = Session::new().map_err(|error| lost(Phase::Handshake, &error))?;
    let offer = Offer::of(&session, server.expected, not).map_err(|error| lost(Phase::Handshake, &error))?;
    let socket = stream.try_clone().map_err(|error| Outcome::WorkerFailed { detail: error.to_string() })?;
    session.set_tcp_stream(stream);
    if let Err(error) = session.handshake() {
        return Err(not_shaken(&error, &offer, server, link));
    }
    let key = session.host_key().map(|(key, _)| key.to_vec());
    let key = key.ok_or_else(|| Outcome::Malformed { detail: "the server showed no host key".to_owned() })?;
    Ok((Verified { session, socket }, key))
}

/// A connection to the server: opened from here, or handed over. Behind a proxy the name is not ours to resolve.
fn open(server: &Server<'_>, link: &mut Link) -> Result<OwnedFd, Outcome> {
    if server.dial == Dial::Direct {
        link.enter(Phase::Dns);
        let addresses = resolve(server.address, server.port)?;
        link.found(Found::Addresses(addresses.clone()));
        link.enter(Phase::Connect);
        return dial(&addresses, link).map(OwnedFd::from);
    }
    link.enter(Phase::Connect);
    link.send(&Up::Dial, &[]);
    match link.connection() {
        Ok(Some(connection)) => {
            link.found(Found::Proxied);
            Ok(connection)
        }
        Ok(None) => Err(Outcome::NotReached),
        Err(error) => Err(Outcome::WorkerFailed { detail: error.to_string() }),
    }
}

fn resolve(address: &str, port: u16) -> Result<Vec<SocketAddr>, Outcome> {
    let fail = |detail: String| Outcome::Dns { detail: escape(&format!("{address}: {detail}")) };
    let found = (address, port).to_socket_addrs().map_err(|error| fail(error.to_string()))?;
    let addresses: Vec<_> = found.take(MAX_ADDRESSES).collect();
    if addresses.is_empty() { Err(fail("no address".to_owned())) } else { Ok(addresses) }
}

fn dial(addresses: &[SocketAddr], link: &mut Link) -> Result<TcpStream, Outcome> {
    let mut failures = Vec::new();
    for (left, address) in (0..addresses.len()).rev().zip(addresses) {
        let connected = if left == 0 {
            TcpStream::connect(address)
        } else {
            TcpStream::connect_timeout(address, DIALLING / addresses.len() as u32)
        };
        match connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => {
                link.found(Found::Connected(*address));
                return Ok(stream);
            }
            Err(error) => failures.push((*address, error)),
        }
    }
    Err(not_dialled(&failures))
}

fn not_dialled(failures: &[(SocketAddr, io::Error)]) -> Outcome {
    let detail =
        failures.iter().map(|(address, error)| format!("{address}: {error}")).collect::<Vec<_>>().join("; ");
    let all = |kind| failures.iter().all(|(_, error)| error.kind() == kind);
    if all(ErrorKind::TimedOut) {
        return Outcome::Timeout { phase: Phase::Connect };
    }
    if failures.iter().any(|(_, error)| matches!(error.kind(), ErrorKind::ConnectionReset)) {
        return Outcome::Disconnected { phase: Phase::Connect, detail };
    }
    Outcome::Refused { detail }
}

/// What we offer in the key exchange, by the name that people know it by.
pub(super) struct Offer {
    pub(super) kex: Vec<String>,
    pub(super) host_keys: Vec<String>,
    pub(super) ciphers: Vec<String>,
    pub(super) macs: Vec<String>,
}

impl Offer {
    /// Everything that libssh2 can do but what is broken, set as `session`'s preference.
    fn of(session: &Session, expected: &Expected, not: &[String]) -> Result<Self, ssh2::Error> {
        let sound = |method| -> Result<Vec<String>, ssh2::Error> {
            let broken =
                ["sha1", "md5", "ripemd", "rmd", "-cbc", "arcfour", "blowfish", "cast128", "3des", "none"];
            let names = session.supported_algs(method)?;
            Ok(names
                .iter()
                .filter(|name| !broken.iter().any(|part| name.contains(part)))
                .map(|name| (*name).to_owned())
                .collect())
        };
        let offer = Self {
            kex: sound(MethodType::Kex)?,
            host_keys: host_key::algorithms(&session.supported_algs(MethodType::HostKey)?, expected, not),
            ciphers: sound(MethodType::CryptCs)?,
            macs: sound(MethodType::MacCs)?,
        };
        session.method_pref(MethodType::Kex, &offer.kex.join(","))?;
        session.method_pref(MethodType::HostKey, &offer.host_keys.join(","))?;
        for (methods, list) in [
            ([MethodType::CryptCs, MethodType::CryptSc], &offer.ciphers),
            ([MethodType::MacCs, MethodType::MacSc], &offer.macs),
        ] {
            for method in methods {
                session.method_pref(method, &list.join(","))?;
            }
        }
        Ok(offer)
    }
}

fn not_shaken(error: &ssh2::Error, offer: &Offer, server: &Server<'_>, link: &mut Link) -> Outcome {
    match code(error) {
        libssh2_sys::LIBSSH2_ERROR_KEX_FAILURE | libssh2_sys::LIBSSH2_ERROR_KEY_EXCHANGE_FAILURE => {
            // Libssh2 says only that nothing fits: the server is asked anew for its offer.
            match open(server, link).ok().and_then(|stream| kexinit::nothing_in_common(stream, offer)) {
                Some(detail) => Outcome::NoCommonAlgorithm { detail },
                None => lost(Phase::Handshake, error),
            }
        }
        libssh2_sys::LIBSSH2_ERROR_HOSTKEY_INIT | libssh2_sys::LIBSSH2_ERROR_HOSTKEY_SIGN => {
            Outcome::Malformed {
                detail: format!("the server does not prove its host key: {}", escape(error.message())),
            }
        }
        _ => lost(Phase::Handshake, error),
    }
}

/// The library's number for `error` (`LIBSSH2_ERROR_*`); 0 for others.
pub(super) fn code(error: &ssh2::Error) -> i32 {
    match error.code() {
        ErrorCode::Session(code) => code,
        ErrorCode::SFTP(_) => 0,
    }
}

/// A connection that broke.
pub(super) fn lost(phase: Phase, error: &ssh2::Error) -> Outcome {
    Outcome::Disconnected { phase, detail: escape(&format!("{} ({})", error.message(), code(error))) }
}

fn broke(error: &io::Error) -> Outcome {
    Outcome::Disconnected { phase: Phase::Exec, detail: escape(&error.to_string()) }
}

/// Runs commands over a session that is logged in.
pub(super) struct Ssh(Verified);

impl Ssh {
    pub(super) fn new(session: Verified) -> Self {
        Self(session)
    }

    fn start(&self, command: &str) -> Result<Channel, ssh2::Error> {
        let mut channel = self.0.session().channel_session()?;
        channel.exec(command)?;
        Ok(channel)
    }
}

impl Transport for Ssh {
    fn exec(&mut self, command: &str, input: &[u8], hear: &mut Hear<'_>) -> Result<(), Outcome> {
        let mut channel = self.start(command).map_err(|error| lost(Phase::Exec, &error))?;
        // The command need not read it: what matters is what it says. A broken connection shows when reading.
        let _ = channel.write_all(input).and_then(|()| channel.send_eof().map_err(io::Error::from));
        let mut piece = [0; 16 * 1024];
        loop {
            let count = channel.read(&mut piece).map_err(|error| broke(&error))?;
            if count == 0 {
                // Nothing else comes: what is there of stderr waits already.
                let count = channel.stderr().read(&mut piece).map_err(|error| broke(&error))?;
                return hear(&piece[..count]).map(|_| ());
            }
            if hear(&piece[..count])? {
                // Closing it would wait for the server's answer, a round trip for nothing.
                mem::forget(channel);
                return Ok(());
            }
        }
    }

    fn finish(self: Box<Self>) {
        let _ = self.0.session().disconnect(Some(DisconnectCode::ByApplication), "done", None);
        // Its channels would be closed one by one, each waiting for an answer.
        mem::forget(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_does_what_is_offered_and_nothing_broken() {
        let session = Session::new().unwrap();
        let offer = Offer::of(&session, &Expected::default(), &[]).unwrap();
        for (list, needed) in [
            (&offer.kex, "curve25519-sha256"),
            (&offer.host_keys, "rsa-sha2-512"),
            (&offer.ciphers, "aes256-gcm@openssh.com"),
            (&offer.macs, "hmac-sha2-256-etm@openssh.com"),
        ] {
            assert!(list.iter().any(|name| name == needed), "{needed} of {list:?}");
            assert!(!list.iter().any(|name| name.contains("sha1") || name.contains("cbc")), "{list:?}");
        }
    }

    #[test]
    fn how_dialling_failed_is_told_apart() {
        let at: SocketAddr = "[::1]:22".parse().unwrap();
        let fail = |kinds: &[ErrorKind]| {
            not_dialled(&kinds.iter().map(|kind| (at, io::Error::from(*kind))).collect::<Vec<_>>()).name()
        };
        assert_eq!(fail(&[ErrorKind::TimedOut]), "timeout");
        assert_eq!(fail(&[ErrorKind::TimedOut, ErrorKind::ConnectionRefused]), "refused");
        assert_eq!(fail(&[ErrorKind::HostUnreachable]), "refused");
        assert_eq!(fail(&[ErrorKind::ConnectionReset]), "disconnected");
    }
}
