//! `accept-new`: the host key of a server that nothing is known of is written down, told once, and holds from then on.

use std::path::Path;

use model::{Objection, Outcome};

use crate::host_key;
use crate::known_hosts::{self, Kept};

/// Writes `key` of the server at `address` and `port` into the product's own known_hosts `file`; where it stands. What
/// another client or program has written there meanwhile counts.
pub(crate) fn accept(file: &Path, (address, port): (&str, u16), key: &[u8]) -> Result<String, Outcome> {
    let offered = host_key::shown(key);
    let parsed = host_key::parse(key).map_err(|detail| Outcome::Malformed { detail })?;
    match known_hosts::keep(file, (address, port), &parsed) {
        Ok(Kept::Written(source)) => {
            log::warn!(
                "accept-new: {} showed the host key {offered}, which nobody knew, and from now on must show it \
                 ({source}): compare it with the machine's own",
                known_hosts::name_of(address, port)
            );
            Ok(source)
        }
        Ok(Kept::There(source)) => Ok(source),
        Ok(Kept::Other(source)) => {
            let expected = format!("the key at {source}");
            Err(Outcome::HostKeyChanged { offered, expected, by: Objection::Line })
        }
        Ok(Kept::Revoked(source)) => {
            let expected = format!("any but this key: {source} revokes it");
            Err(Outcome::HostKeyChanged { offered, expected, by: Objection::Revocation })
        }
        Err(error) => {
            Err(Outcome::HostKeyNotKept { detail: format!("{}: {error}; it is {offered}", file.display()) })
        }
    }
}
