//! Host certificates (OpenSSH's PROTOCOL.certkeys): whether one that a server shows makes its key an expected one. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::text::escape;
use ssh_key::certificate::CertType;
use ssh_key::{Algorithm, Certificate, HashAlg, PublicKey};

use crate::host_key::{CERTIFICATE, Expected, type_of};

/// What a server showed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The key that it proved to have; of a certificate, the certified one.
    pub(crate) key: Vec<u8>,
    /// Of a certificate: the authority's line that it holds by, or why it does not.
    pub(crate) certified: Option<Result<String, String>>,
}

/// Looks at a host key's blob, which may be a certificate. `host` is the name that was asked for.
pub(crate) fn examine(blob: Vec<u8>, host: &str, expected: &Expected, now: SystemTime) -> Shown {
    if !type_of(&blob).is_some_and(|name| name.ends_with(CERTIFICATE)) {
        return Shown { key: blob, certified: None };
    }
    let certificate = match Certificate::from_bytes(&blob) {
        Ok(certificate) => certificate,
        Err(error) => {
            // The parser knows no time without end, which is what ssh-keygen writes where -V is not given.
            let why = match error {
                ssh_key::Error::Time => {
                    "its certificate has no end: give it one (ssh-keygen -s CA -h -V +52w)".to_owned()
                }
                error => format!("its certificate cannot be read: {error}"),
            };
            return Shown { key: blob, certified: Some(Err(why)) };
        }
    };
    let Ok(key) = PublicKey::from(certificate.public_key().clone()).to_bytes() else {
        let why = "the certified key cannot be written".to_owned();
        return Shown { key: blob, certified: Some(Err(why)) };
    };
    let certified = holds(&certificate, host, expected, now);
    Shown { key, certified: Some(certified) }
}

/// The line of the authority that signed it, where everything is as it must be. The certified key's own revocation is
/// judged where every key's is.
fn holds(
    certificate: &Certificate,
    host: &str,
    expected: &Expected,
    now: SystemTime,
) -> Result<String, String> {
    let authority = PublicKey::from(certificate.signature_key().clone());
    let shown = authority.fingerprint(HashAlg::Sha256);
    let blob = authority.to_bytes().map_err(|error| format!("its authority cannot be read: {error}"))?;
    if let Some((_, source)) = expected.revoked.iter().find(|(revoked, _)| *revoked == blob) {
        return Err(format!("its certificate is of the authority {shown}, which {source} revokes"));
    }
    let known = expected.authorities.iter().find(|(known, _)| *known == blob);
    let Some((_, source)) = known else {
        return Err(format!("its certificate is of another authority, {shown}"));
    };
    if certificate.cert_type() != CertType::Host {
        return Err("its certificate is one for users, not for hosts".to_owned());
    }
    if matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err("its certificate is signed by SHA-1: sign it anew with -t rsa-sha2-512".to_owned());
    }
    certificate.verify_signature().map_err(|_| "its certificate's signature is wrong".to_owned())?;
    if !certificate.critical_options().is_empty() {
        return Err("its certificate has critical options, which none for hosts has".to_owned());
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    if now < certificate.valid_after() {
        return Err("its certificate is not valid yet: check the clocks".to_owned());
    }
    if now >= certificate.valid_before() {
        return Err("its certificate has expired: renew it (ssh-keygen -s CA -h)".to_owned());
    }
    if !certificate.valid_principals().iter().any(|principal| principal.eq_ignore_ascii_case(host)) {
        let principals = escape(&certificate.valid_principals().join(", "));
        return Err(format!("its certificate is for {principals}, not for {host} (ssh-keygen -h -n {host})"));
    }
    Ok(format!("certified by the authority at {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;
    use std::process::Command;

    fn keygen(directory: &Path, arguments: &[&str]) {
        let made = Command::new("ssh-keygen").arg("-q").args(arguments).current_dir(directory).status();
        assert!(made.unwrap().success(), "{arguments:?}");
    }

    fn blob(directory: &Path, name: &str) -> Vec<u8> {
        PublicKey::read_openssh_file(&directory.join(name)).unwrap().to_bytes().unwrap()
    }

    /// A certificate of `host.pub` that the real ssh-keygen signs.
    fn certificate(directory: &Path, arguments: &[&str]) -> Vec<u8> {
        keygen(directory, &[&["-s", "ca", "-I", "test"][..], arguments, &["host.pub"]].concat());
        Certificate::read_file(&directory.join("host-cert.pub")).unwrap().to_bytes().unwrap()
    }

    #[test]
    fn only_what_a_known_authority_certifies_for_this_host_and_now_holds() {
        let place = tempfile::tempdir().unwrap();
        let at = place.path();
        for name in ["ca", "other", "host"] {
            keygen(at, &["-t", "ed25519", "-N", "", "-f", name]);
        }
        let of = |name: &str| vec![(blob(at, &format!("{name}.pub")), format!("kh:{name}"))];
        let expected = Expected { authorities: of("ca"), ..Expected::default() };
        let judge = |shown: &[u8], expected: &Expected| {
            let shown = examine(shown.to_vec(), "web1", expected, SystemTime::now());
            shown.certified.unwrap()
        };
        let good = certificate(at, &["-h", "-n", "web9,web1", "-V", "-1h:+1h"]);
        assert_eq!(judge(&good, &expected), Ok("certified by the authority at kh:ca".to_owned()));
        let refused = |arguments: &[&str]| judge(&certificate(at, arguments), &expected).unwrap_err();
        for (arguments, why) in [
            (&["-h", "-n", "web1", "-V", "-2h:-1h"][..], "expired"),
            (&["-h", "-n", "web1", "-V", "+1h:+2h"], "not valid yet"),
            (&["-h", "-n", "web2", "-V", "-1h:+1h"], "is for web2, not for web1"),
            (&["-h", "-n", "*", "-V", "-1h:+1h"], "is for *, not for web1"),
            (&["-h", "-V", "-1h:+1h"], "not for web1"),
            (&["-n", "web1", "-V", "-1h:+1h"], "for users"),
        ] {
            assert!(refused(arguments).contains(why), "{arguments:?}: {}", refused(arguments));
        }
        let stranger = Expected { authorities: of("other"), ..Expected::default() };
        assert!(judge(&good, &stranger).unwrap_err().contains("another authority"));
        let revoked = Expected { authorities: of("ca"), revoked: of("ca"), ..Expected::default() };
        assert!(judge(&good, &revoked).unwrap_err().contains("revokes"));
        let mut forged = good.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert!(judge(&forged, &expected).is_err());
        let plain = examine(blob(at, "host.pub"), "web1", &expected, SystemTime::now());
        assert_eq!(plain.certified, None);
    }

    proptest! {
        #[test]
        fn no_certificate_makes_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let name = b"ssh-ed25519-cert-v01@openssh.com";
            let blob = [&(name.len() as u32).to_be_bytes(), &name[..], &tail].concat();
            let shown = examine(blob, "web1", &Expected::default(), UNIX_EPOCH);
            prop_assert!(shown.certified.unwrap().is_err());
        }
    }
}
