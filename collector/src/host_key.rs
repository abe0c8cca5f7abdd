//! Whether the key that a server offers is the one expected there. Pure; there is no way to say "do not care".

use config::HostKeyPin;
use model::{Objection, Outcome};
use serde::{Deserialize, Serialize};
use ssh_key::{Fingerprint, PublicKey};

use crate::known_hosts::{KnownHosts, Says};

/// How the names of certificate types end (OpenSSH's PROTOCOL.certkeys).
pub(crate) const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// Everything that is written down about one server's key.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// Keys, by blob, and where they stand.
    pub(crate) keys: Vec<(Vec<u8>, String)>,
    /// Whether config.xml pins these, so that no file's lines are among them.
    pub(crate) pinned: bool,
    /// SHA-256 of keys, and where they stand.
    pub(crate) fingerprints: Vec<([u8; 32], String)>,
    /// Keys that must not be used, and where that stands.
    pub(crate) revoked: Vec<(Vec<u8>, String)>,
    /// Keys whose host certificates hold, and where they stand.
    pub(crate) authorities: Vec<(Vec<u8>, String)>,
    /// Where something may stand that cannot be read.
    pub(crate) doubts: Vec<String>,
}

/// The most lines that cannot be read that are named to a person.
const MAX_DOUBTS: usize = 3;

/// What is to be thought of an offered key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// It is written down at that place.
    Match(&'a str),
    /// Nothing is written down.
    Unknown,
    /// Another is written down at that place.
    Changed(&'a str),
    /// Another is pinned at that place.
    Unpinned(&'a str),
    /// It is marked as revoked at that place.
    Revoked(&'a str),
}

impl Expected {
    /// What applies to the server at `address` and `port`: its pins if it has any, else the files' lines. A revoked key
    /// stays revoked even where it is pinned.
    ///
    /// # Errors
    /// Where a line revokes a key of that server's, and which one cannot be read.
    pub(crate) fn gather<'a>(
        (address, port): (&str, u16),
        (pins, source): (&[HostKeyPin], &str),
        files: impl Iterator<Item = &'a KnownHosts> + Clone,
    ) -> Result<Self, Outcome> {
        let mut expected = Self { pinned: !pins.is_empty(), ..Self::default() };
        for pin in pins {
            let source = format!("{source} (host-key)");
            match pin {
                HostKeyPin::Key(_, blob) => expected.keys.push((blob.clone(), source)),
                HostKeyPin::Fingerprint(digest) => expected.fingerprints.push((*digest, source)),
            }
        }
        for doubt in files.clone().flat_map(|file| file.doubts(address, port)) {
            if doubt.revokes {
                let detail = format!("{} revokes a key, and which one is unreadable", doubt.source);
                return Err(Outcome::KnownHosts { detail });
            }
            if expected.doubts.len() < MAX_DOUBTS {
                expected.doubts.push(doubt.source.clone());
            }
        }
        for line in files.flat_map(|file| file.of(address, port)) {
            let list = match line.says {
                Says::Known => &mut expected.keys,
                Says::Revoked => &mut expected.revoked,
                Says::Authority => &mut expected.authorities,
            };
            if line.says == Says::Revoked || pins.is_empty() {
                list.push((line.key.to_vec(), line.source.to_owned()));
            }
        }
        Ok(expected)
    }

    /// Whether nothing is written down about the server: neither a key, nor an authority, nor a revocation. What cannot be
    /// read may be any of them.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self { doubts: self.doubts.clone(), ..Self::default() }
    }

    /// The verdict over an offered key's blob.
    pub(crate) fn judge(&self, offered: &[u8]) -> Verdict<'_> {
        let holds = |list: &'_ [(Vec<u8>, String)]| list.iter().position(|(key, _)| key == offered);
        if let Some(at) = holds(&self.revoked) {
            return Verdict::Revoked(&self.revoked[at].1);
        }
        if let Some(at) = holds(&self.keys) {
            return Verdict::Match(&self.keys[at].1);
        }
        let digest = sha256(offered);
        if let Some((_, source)) = self.fingerprints.iter().find(|(expected, _)| *expected == digest) {
            return Verdict::Match(source);
        }
        let fingerprint = self.fingerprints.first().map(|(_, source)| source);
        match self.keys.first().map(|(_, source)| source).or(fingerprint) {
            None => Verdict::Unknown,
            Some(source) if self.pinned => Verdict::Unpinned(source),
            Some(source) => Verdict::Changed(source),
        }
    }

    /// The names of the key types that are written down (RFC 4253, 6.6).
    pub(crate) fn types(&self) -> Vec<&str> {
        self.keys.iter().filter_map(|(blob, _)| type_of(blob)).collect()
    }
}

impl Verdict<'_> {
    /// How the attempt ends where it is no match.
    pub(crate) fn refusal(&self, offered: &[u8]) -> Option<Outcome> {
        let offered = shown(offered);
        let (expected, by) = match self {
            Self::Match(_) => return None,
            Self::Unknown => return Some(Outcome::HostKeyUnknown { offered }),
            Self::Changed(source) => (format!("the key at {source}"), Objection::Line),
            Self::Unpinned(source) => (format!("the key at {source}"), Objection::Pin),
            Self::Revoked(source) => {
                (format!("any but this key: {source} revokes it"), Objection::Revocation)
            }
        };
        Some(Outcome::HostKeyChanged { offered, expected, by })
    }
}

/// A key as OpenSSH shows it: `ssh-ed25519 SHA256:...`.
pub(crate) fn shown(blob: &[u8]) -> String {
    let name = type_of(blob).map_or_else(|| "unknown".to_owned(), model::text::escape);
    format!("{name} {}", Fingerprint::Sha256(sha256(blob)))
}

/// The key that `blob` holds.
pub(crate) fn parse(blob: &[u8]) -> Result<PublicKey, String> {
    PublicKey::from_bytes(blob).map_err(|error| format!("the server's key cannot be read: {error}"))
}

/// The name of a key's type (RFC 4253, 6.6).
pub(crate) fn type_of(blob: &[u8]) -> Option<&str> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    std::str::from_utf8(rest.get(..u32::from_be_bytes(*length) as usize)?).ok()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The host key algorithms to ask for, of those that the library can do: what is written down comes first, since a
/// server shows one key only; then certificates, where an authority is known; none that signs by SHA-1, no DSA, and none
/// of `not`.
pub(crate) fn algorithms(supported: &[&str], expected: &Expected, not: &[String]) -> Vec<String> {
    let known = expected.types();
    let rank = |name: &str| match (name.contains("-cert-"), known.contains(&key_type(name))) {
        (_, true) => 0,
        (true, _) => 1,
        _ => 2,
    };
    let allowed = supported
        .iter()
        .filter(|name| {
            !["ssh-rsa", "ssh-dss"].iter().any(|old| name.strip_suffix(CERTIFICATE).unwrap_or(name) == *old)
        })
        .filter(|name| !name.contains("-cert-") || !expected.authorities.is_empty())
        .filter(|name| !not.iter().any(|not| not == key_type(name)));
    let mut names: Vec<String> = allowed.map(|name| (*name).to_owned()).collect();
    names.sort_by_key(|name| rank(name));
    names
}

/// The type of key that signs by `algorithm` (RFC 8332: the RSA ones share it).
fn key_type(algorithm: &str) -> &str {
    if algorithm.starts_with("rsa-sha2-") { "ssh-rsa" } else { algorithm }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(kind: &str, bytes: &[u8]) -> Vec<u8> {
        [&(kind.len() as u32).to_be_bytes(), kind.as_bytes(), bytes].concat()
    }

    fn expected(keys: &[&[u8]], revoked: &[&[u8]]) -> Expected {
        let place =
            |list: &[&[u8]], name: &str| list.iter().map(|key| (key.to_vec(), name.to_owned())).collect();
        Expected { keys: place(keys, "kh:1"), revoked: place(revoked, "kh:2"), ..Expected::default() }
    }

    #[test]
    fn only_an_explicit_match_passes() {
        let (a, b, rsa) = (blob("ssh-ed25519", b"a"), blob("ssh-ed25519", b"b"), blob("ssh-rsa", b"a"));
        assert_eq!(expected(&[], &[]).judge(&a), Verdict::Unknown);
        assert_eq!(expected(&[&a], &[]).judge(&a), Verdict::Match("kh:1"));
        assert_eq!(expected(&[&b, &a], &[]).judge(&a), Verdict::Match("kh:1"));
        assert_eq!(expected(&[&b], &[]).judge(&a), Verdict::Changed("kh:1"));
        assert_eq!(expected(&[&rsa], &[]).judge(&a), Verdict::Changed("kh:1"), "another type");
        assert_eq!(expected(&[&a], &[&a]).judge(&a), Verdict::Revoked("kh:2"), "revoked wins");
        assert_eq!(
            expected(&[], &[&b]).judge(&a),
            Verdict::Unknown,
            "another key's revocation proves nothing"
        );
    }

    #[test]
    fn fingerprints_pin_too() {
        let (a, b) = (blob("ssh-ed25519", b"a"), blob("ssh-ed25519", b"b"));
        let pinned = Expected {
            pinned: true,
            fingerprints: vec![(sha256(&a), "c.xml:3".to_owned())],
            ..Expected::default()
        };
        assert_eq!(pinned.judge(&a), Verdict::Match("c.xml:3"));
        assert_eq!(pinned.judge(&b), Verdict::Unpinned("c.xml:3"));
    }

    #[test]
    fn a_pin_overrides_the_files_but_no_revocation() {
        let ed = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("kh");
        std::fs::write(&file, format!("web1 {ed}\n@revoked web2 {ed}\n")).unwrap();
        let known = KnownHosts::read(&file, &mut |warning| panic!("{warning}")).unwrap();
        let key = PublicKey::from_openssh(ed).unwrap().to_bytes().unwrap();
        let pin = [HostKeyPin::Fingerprint([1; 32])];
        let gather =
            |host, pins| Expected::gather((host, 22), (pins, "c.xml:9"), [&known].into_iter()).unwrap();
        assert!(matches!(gather("web1", &[]).judge(&key), Verdict::Match(_)));
        assert_eq!(gather("web1", &pin).judge(&key), Verdict::Unpinned("c.xml:9 (host-key)"));
        let pin = [HostKeyPin::Key("ssh-ed25519".to_owned(), key.clone())];
        assert_eq!(gather("web1", &pin).judge(&key), Verdict::Match("c.xml:9 (host-key)"));
        assert!(matches!(gather("web2", &pin).judge(&key), Verdict::Revoked(_)));
        assert_eq!(shown(&key), "ssh-ed25519 SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ");
    }

    #[test]
    fn a_refusal_says_what_speaks_against_the_key() {
        for (verdict, objection) in [
            (Verdict::Changed("kh:1"), Objection::Line),
            (Verdict::Unpinned("c.xml:3 (host-key)"), Objection::Pin),
            (Verdict::Revoked("kh:2"), Objection::Revocation),
        ] {
            let Some(Outcome::HostKeyChanged { by, .. }) = verdict.refusal(b"") else {
                panic!("{verdict:?}")
            };
            assert_eq!(by, objection);
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_no_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("kh");
        std::fs::write(&file, "web1 ssh-ed25519 !!!\n@revoked db* ssh-ed25519 !!!\n").unwrap();
        let known = KnownHosts::read(&file, &mut |_| {}).unwrap();
        let pin = [HostKeyPin::Fingerprint([1; 32])];
        let gather = |host, pins| Expected::gather((host, 22), (pins, "c.xml:9"), [&known].into_iter());
        let expected = gather("web1", &[]).unwrap();
        assert!(expected.is_nothing() && expected.doubts == [format!("{}:1", file.display())]);
        assert!(gather("web2", &[]).unwrap().doubts.is_empty());
        for pins in [&[][..], &pin] {
            let refused = gather("db1", pins).unwrap_err();
            assert!(refused.message().contains(&format!("{}:2 revokes", file.display())), "{refused:?}");
        }
    }

    #[test]
    fn known_types_are_asked_for_first_and_sha1_never() {
        let supported = [
            "ssh-ed25519",
            "ecdsa-sha2-nistp256",
            "rsa-sha2-512",
            "rsa-sha2-256",
            "ssh-rsa",
            "ssh-rsa-cert-v01@openssh.com",
            "ssh-dss",
        ];
        let rsa = expected(&[&blob("ssh-rsa", b"")], &[]);
        assert_eq!(
            algorithms(&supported, &rsa, &[]),
            ["rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519", "ecdsa-sha2-nistp256"]
        );
        let cert = "ssh-ed25519-cert-v01@openssh.com";
        let authority = Expected { authorities: vec![(vec![], "kh:1".to_owned())], ..rsa };
        let supported_too = [&supported[..], &[cert]].concat();
        assert_eq!(algorithms(&supported_too, &authority, &[])[..3], ["rsa-sha2-512", "rsa-sha2-256", cert]);
        assert_eq!(
            algorithms(&supported, &Expected::default(), &["ssh-rsa".to_owned()]),
            ["ssh-ed25519", "ecdsa-sha2-nistp256"]
        );
    }
}
