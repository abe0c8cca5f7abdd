//! Pinned host keys, as OpenSSH writes them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::fault::Wrong;
use crate::settings::HostKeyPin;
use crate::value::Value;

/// A list of pins: `ssh-ed25519 AAAA...` (what `ssh-keyscan` and known_hosts files show behind the host) or `SHA256:...`
/// (what `ssh-keygen -l` shows).
pub(crate) fn pins(text: &str) -> Value<Vec<HostKeyPin>> {
    let mut words = crate::value::items(text);
    let mut pins = Vec::new();
    while let Some(word) = words.next() {
        pins.push(match word.strip_prefix("SHA256:") {
            Some(digest) => fingerprint(digest)
                .ok_or_else(|| wrong("a SHA-256 fingerprint has 43 characters behind SHA256:"))?,
            None => key(word, words.next().unwrap_or_default())?,
        });
    }
    if pins.is_empty() { Err(wrong("there is no key")) } else { Ok(pins) }
}

fn wrong(cause: &str) -> Wrong {
    Wrong::new(format!("this is not a host key: {cause}"))
        .expected("ssh-ed25519 AAAA..., or SHA256:..., without a host before and a comment behind")
        .help("ask the host itself: cat /etc/ssh/ssh_host_ed25519_key.pub")
}

fn fingerprint(digest: &str) -> Option<HostKeyPin> {
    let bytes = STANDARD_NO_PAD.decode(digest.trim_end_matches('=')).ok()?;
    bytes.try_into().ok().map(HostKeyPin::Fingerprint)
}

/// A key in the form of RFC 4253, 6.6: its blob starts with its algorithm's name.
fn key(algorithm: &str, encoded: &str) -> Value<HostKeyPin> {
    let blob = STANDARD.decode(encoded).map_err(|_| wrong("what follows the algorithm is not Base64"))?;
    let name =
        blob.split_first_chunk().and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize));
    match name {
        Some(name) if name == algorithm.as_bytes() && !name.is_empty() => {
            Ok(HostKeyPin::Key(algorithm.to_owned(), blob))
        }
        _ => Err(wrong("algorithm and key do not belong together")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    const PRINT: &str = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";

    #[test]
    fn openssh_forms() {
        let both = pins(&format!("{KEY}, {PRINT}")).unwrap();
        assert!(matches!(&both[0], HostKeyPin::Key(name, blob) if name == "ssh-ed25519" && blob.len() == 51));
        assert!(matches!(both[1], HostKeyPin::Fingerprint(_)));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let comment = format!("{KEY} root@host");
        let swapped = KEY.replace("ssh-ed25519 ", "ssh-rsa ");
        for bad in
            ["", "SHA256:", "SHA256:abc", "ssh-ed25519", "ssh-ed25519 !!!", "MD5:aa:bb", &comment, &swapped]
        {
            assert!(pins(bad).is_err(), "{bad}");
        }
    }
}
