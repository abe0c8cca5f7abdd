//! Who is logged in: utmp(5), or where there is none the sessions of systemd-logind.

use std::path::Path;

use crate::machine::Machine;
use crate::reading::{Reader, Reading};

/// Where utmp lies.
const UTMP: [&str; 2] = ["run/utmp", "var/run/utmp"];

/// Bytes of an entry: 400 where its times have 64 bits, as on aarch64, and 384 elsewhere (bits/utmp.h of glibc).
const SIZES: [usize; 2] = [384, 400];

/// ut_type of a session.
const USER_PROCESS: u16 = 7;

/// The highest ut_type (ACCOUNTING).
const LAST_TYPE: u16 = 9;

/// The most sessions of systemd that are looked at.
const MAX_SESSIONS: usize = 4096;

/// Counts the sessions of users.
pub(super) struct Users;

impl Reader for Users {
    fn name(&self) -> &'static str {
        "users"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let machine = reading.machine;
        let count = match UTMP.iter().find_map(|path| machine.bytes(path).ok()) {
            Some(utmp) => {
                let pids = sessions(&utmp, &machine.arch).ok_or("utmp has entries of no known size")?;
                // Entries of who was cut off stay; but where others' processes are hidden, nothing can be told of them.
                let exists = |pid: u32| machine.path(Path::new(&format!("proc/{pid}"))).exists();
                let all_seen = exists(1);
                Some(pids.into_iter().filter(|pid| !all_seen || exists(*pid)).count())
            }
            None => logind(machine),
        };
        if let Some(count) = count {
            reading.gauge("users", count as f64);
        }
        Ok(())
    }
}

/// The process of each session: with `ut_type` (2 bytes, then 2 unused), `ut_pid` (4), `ut_line` (32), `ut_id` (4), `ut_user` (32).
fn sessions(utmp: &[u8], arch: &str) -> Option<Vec<u32>> {
    let half = |entry: &[u8], at: usize| u16::from_ne_bytes([entry[at], entry[at + 1]]);
    let is_entry = |entry: &[u8]| half(entry, 0) <= LAST_TYPE && half(entry, 2) == 0;
    let fits = |size: &&usize| utmp.len().is_multiple_of(**size) && utmp.chunks(**size).all(is_entry);
    // A length may fit both, and most bytes are 0.
    let [usual, wide] = SIZES;
    let order = if arch == "aarch64" { [wide, usual] } else { [usual, wide] };
    let size = order.iter().find(fits)?;
    let session = |entry: &[u8]| {
        let pid = u32::from_ne_bytes([entry[4], entry[5], entry[6], entry[7]]);
        (half(entry, 0) == USER_PROCESS && entry[44] != 0).then_some(pid)
    };
    Some(utmp.chunks(*size).filter_map(session).collect())
}

/// systemd 254 and later may be built without utmp; each session has a file then as before, which everybody may read.
fn logind(machine: &Machine) -> Option<usize> {
    let directory = "run/systemd/sessions";
    let entries = std::fs::read_dir(machine.path(Path::new(directory))).ok()?;
    let names = entries.take(MAX_SESSIONS).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_session = |name: &String| {
        let text = machine.text(&format!("{directory}/{name}")).unwrap_or_default();
        let has = |line: &str| text.lines().any(|found| found == line);
        has("CLASS=user") && (has("STATE=active") || has("STATE=online"))
    };
    Some(names.filter(|name| !name.contains('.')).filter(is_session).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(size: usize, kind: u16, pid: u32, user: &str) -> Vec<u8> {
        let mut entry = vec![0; size];
        entry[..2].copy_from_slice(&kind.to_ne_bytes());
        entry[4..8].copy_from_slice(&pid.to_ne_bytes());
        entry[44..44 + user.len()].copy_from_slice(user.as_bytes());
        entry
    }

    #[test]
    fn entries_of_both_sizes_are_read() {
        for (size, arch) in SIZES.into_iter().zip(["x86_64", "aarch64"]) {
            let few =
                [entry(size, 2, 0, "reboot"), entry(size, 7, 11, "ops"), entry(size, 8, 12, "")].concat();
            for arch in ["x86_64", "aarch64"] {
                assert_eq!(sessions(&few, arch), Some(vec![11]), "{size} on {arch}");
            }
            // So many that the other size fits the length too.
            let many: Vec<u8> = (0..9600 / size as u32).flat_map(|pid| entry(size, 7, pid, "x")).collect();
            assert_eq!(sessions(&many, arch).map(|pids| pids.len()), Some(9600 / size), "{size}");
        }
        assert_eq!(sessions(b"", "x86_64"), Some(Vec::new()));
        assert_eq!(sessions(&[0xff; 384], "x86_64"), None);
        assert_eq!(sessions(&[0; 100], "x86_64"), None);
    }

    #[test]
    fn sessions_of_systemd_count_where_there_is_no_utmp() {
        let tree = tempfile::tempdir().unwrap();
        let machine = Machine::this(tree.path());
        assert_eq!(logind(&machine), None);
        let directory = tree.path().join("run/systemd/sessions");
        std::fs::create_dir_all(&directory).unwrap();
        for (name, text) in [
            ("1", "UID=1000\nSTATE=active\nCLASS=user\n"),
            ("c1", "STATE=active\nCLASS=greeter\n"),
            ("2", "STATE=closing\nCLASS=user\n"),
            ("1.ref", ""),
        ] {
            std::fs::write(directory.join(name), text).unwrap();
        }
        assert_eq!(logind(&machine), Some(1));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8..10, 0..1000)) {
            sessions(&bytes, "x86_64");
            sessions(&bytes.repeat(9)[..bytes.len() * 9 / 400 * 400], "aarch64");
        }
    }
}
