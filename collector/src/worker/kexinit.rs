//! What a server offers in the key exchange (RFC 4253, 7.1). libssh2 says only that nothing fits; this says what.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use model::text::escape_to;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::ssh::Offer;

/// The most bytes that are read for it.
const MAX_BYTES: u64 = 64 * 1024;

/// The most lines before the server's version (RFC 4253, 4.2).
const MAX_LINES: usize = 64;

/// The most characters of a list that are shown.
const MAX_SHOWN: usize = 400;

/// How long a server may take; what it says only improves a message.
const PATIENCE: Duration = Duration::from_secs(3);

/// SSH_MSG_KEXINIT
const KEXINIT: u8 = 20;

/// Asks the server at the other end of `connection` for its offer, and names the first kind of algorithm that both do
/// not share.
pub(super) fn nothing_in_common(connection: OwnedFd, ours: &Offer) -> Option<String> {
    compare(ours, &parse(&fetch(connection).ok()?)?)
}

fn fetch(connection: OwnedFd) -> io::Result<Vec<u8>> {
    set_socket_timeout(&connection, Timeout::Recv, Some(PATIENCE))?;
    // A socket of whichever family.
    let mut stream = File::from(connection);
    stream.write_all(b"SSH-2.0-fleet-health\r\n")?;
    let mut from = BufReader::new(stream.take(MAX_BYTES));
    for _ in 0..MAX_LINES {
        let mut line = Vec::new();
        from.read_until(b'\n', &mut line)?;
        if line.is_empty() || line.starts_with(b"SSH-") {
            break;
        }
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut packet = vec![0; u32::from_be_bytes(length).min(MAX_BYTES as u32) as usize];
    from.read_exact(&mut packet)?;
    Ok(packet)
}

/// The name lists of a KEXINIT packet without its length: key exchange, host keys, ciphers and MACs to the server.
fn parse(packet: &[u8]) -> Option<[Vec<String>; 4]> {
    let (_, payload) = packet.split_first()?;
    let (kind, rest) = payload.split_first()?;
    if *kind != KEXINIT {
        return None;
    }
    let mut rest = rest.get(16..)?;
    let mut lists = Vec::new();
    for _ in 0..6 {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let list = std::str::from_utf8(after.get(..length)?).ok()?;
        lists.push(list.split(',').map(str::to_owned).collect());
        rest = &after[length..];
    }
    let [kex, host_keys, ciphers, _, macs, _] = <[Vec<String>; 6]>::try_from(lists).ok()?;
    Some([kex, host_keys, ciphers, macs])
}

fn compare(ours: &Offer, theirs: &[Vec<String>; 4]) -> Option<String> {
    let ours = [&ours.kex, &ours.host_keys, &ours.ciphers, &ours.macs];
    let kinds = [
        ("key exchange", "KexAlgorithms"),
        ("host key", "HostKeyAlgorithms, HostKey"),
        ("cipher", "Ciphers"),
        ("MAC", "MACs"),
    ];
    let ((kind, option), (ours, theirs)) = kinds
        .iter()
        .zip(ours.into_iter().zip(theirs))
        .find(|(_, (ours, theirs))| !ours.iter().any(|name| theirs.contains(name)))?;
    let shown = |list: &[String]| escape_to(&list.join(","), MAX_SHOWN);
    Some(format!(
        "{kind}: the server offers {}, we offer {} (sshd_config there: {option})",
        shown(theirs),
        shown(ours)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(lists: &[&str; 6]) -> Vec<u8> {
        let mut packet = vec![4, KEXINIT];
        packet.extend([7; 16]);
        for list in lists {
            packet.extend((list.len() as u32).to_be_bytes());
            packet.extend(list.as_bytes());
        }
        packet
    }

    fn ours() -> Offer {
        let list = |names: &str| names.split(',').map(str::to_owned).collect();
        Offer { kex: list("k1,k2"), host_keys: list("h1"), ciphers: list("c1"), macs: list("m1") }
    }

    #[test]
    fn the_first_kind_that_differs_is_named() {
        let said = |lists: &[&str; 6]| compare(&ours(), &parse(&packet(lists)).unwrap());
        assert_eq!(said(&["k2,k9", "h1", "c1", "c1", "m1", "m1"]), None);
        assert_eq!(
            said(&["k2", "h1", "3des-cbc,c9", "c1", "m9", "m9"]).as_deref(),
            Some("cipher: the server offers 3des-cbc,c9, we offer c1 (sshd_config there: Ciphers)")
        );
        assert_eq!(
            said(&["k\x1b", "h1", "c1", "c1", "m1", "m1"]).as_deref(),
            Some(
                "key exchange: the server offers k\\u{1b}, we offer k1,k2 (sshd_config there: KexAlgorithms)"
            )
        );
    }

    proptest! {
        #[test]
        fn no_packet_makes_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80), cut in 0_usize..80) {
            if bytes.len() > 1 {
                bytes[1] = KEXINIT;
            }
            let _ = parse(&bytes);
            let whole = packet(&["k", "h", "c", "c", "m", "m"]);
            prop_assert_eq!(parse(&whole[..cut.min(whole.len())]).is_some(), cut >= whole.len());
        }
    }
}
