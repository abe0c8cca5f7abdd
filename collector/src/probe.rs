//! The program for the clients, as the build embedded it.

use std::path::Path;

/// The probe's bytes: a static program for this collector's architecture.
pub(crate) const BYTES: &[u8] = include_bytes!(env!("PROBE_FILE"));

/// SHA-256 of [`BYTES`], in hexadecimal digits: the last part of its name on a client.
pub(crate) const SHA256: &str = env!("PROBE_SHA256");

/// Whether the embedded probe runs on a machine whose `uname -sm` said `uname`.
pub(crate) fn runs_on(uname: &str) -> bool {
    let machines: &[&str] = match std::env::consts::ARCH {
        "x86" => &["i386", "i486", "i586", "i686", "x86_64"],
        "arm" => &["armv7l", "armv8l", "aarch64"],
        "powerpc64" => &["ppc64", "ppc64le"],
        own => &[own],
    };
    matches!(uname.split_whitespace().collect::<Vec<_>>()[..], ["Linux", machine] if machines.contains(&machine))
}

/// Writes the probe to `file`, executable, for whoever installs it by other means.
pub(crate) fn write(file: &Path) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

    let mut to =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(file)?;
    to.write_all(BYTES)?;
    to.set_permissions(std::fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_static() {
        const PT_INTERP: u32 = 3;
        assert_eq!(&BYTES[..4], b"\x7fELF");
        assert_eq!(BYTES[4], 2, "64 bit");
        let number = |at: usize, bytes: usize| -> u64 {
            BYTES[at..at + bytes].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let (start, size, count) = (number(32, 8) as usize, number(54, 2) as usize, number(56, 2) as usize);
        assert!(count > 0);
        let types: Vec<_> = (0..count).map(|header| number(start + header * size, 4) as u32).collect();
        assert!(!types.contains(&PT_INTERP), "it asks for a dynamic loader");
    }

    #[test]
    fn its_digest_is_its_own() {
        let digest = ring::digest::digest(&ring::digest::SHA256, BYTES);
        let hex: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex.concat(), SHA256);
    }

    #[test]
    fn other_platforms_are_told_apart() {
        assert!(runs_on(&format!("Linux {}", std::env::consts::ARCH)));
        for uname in ["FreeBSD amd64", "Linux", "", "Linux s390x", "Linux x86_64 extra"] {
            assert!(!runs_on(uname), "{uname}");
        }
    }
}
