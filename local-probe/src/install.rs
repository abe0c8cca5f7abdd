//! The verb by which an uploaded probe takes its place: it checks itself, renames itself, and tidies up.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::spool::Directory;
use crate::spool::modified;

/// The line that says that the probe is in its place.
pub const INSTALLED: &str = "fleet-health:installed";

/// A probe that nobody used for so long goes (seconds).
const UNUSED: i64 = 7 * 86_400;

/// An upload that never came to its end goes after this (seconds).
const STALE: i64 = 86_400;

/// SHA-256 as hexadecimal digits.
pub fn hex(digest: &[u8; 32]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        for half in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(half), 16));
        }
        text
    })
}

/// Puts the program file `program`, which lies in `home`, in its place if its bytes have the digest `expected`;
/// otherwise removes it. `now` is in seconds since the epoch.
pub fn install(home: &Path, program: &Path, expected: &[u8; 32], now: i64) -> Result<(), String> {
    let directory = Directory::open(home).map_err(|fault| fault.detail)?;
    let place = directory.shown();
    let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let fault = |error: io::Error| format!("{}: {error}", program.display());
    let mut file = File::open(program).map_err(fault)?;
    let metadata = file.metadata().map_err(fault)?;
    let found = directory.stat(name);
    if found.is_none_or(|stat| (stat.st_dev, stat.st_ino) != (metadata.dev() as _, metadata.ino() as _)) {
        return Err(format!("{} does not lie in {place}: upload it there first", program.display()));
    }
    let digest = digest(&mut file).map_err(fault)?;
    if digest != *expected {
        let removed = directory.remove(name).map_err(|fault| fault.detail);
        let (found, expected) = (hex(&digest), hex(expected));
        removed?;
        return Err(format!(
            "{place}/{name} has the digest {found}, not {expected}: it was damaged on its way; removed"
        ));
    }
    file.sync_all().map_err(fault)?;
    let target = format!("probe-{}", hex(expected));
    if name != target {
        directory.rename(name, &target).map_err(|fault| fault.detail)?;
    }
    tidy(&directory, &target, now);
    Ok(())
}

fn digest(file: &mut File) -> io::Result<[u8; 32]> {
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hash.finalize().into()),
            length => hash.update(&chunk[..length]),
        }
    }
}

/// Removes probes that nobody uses and what uploads left behind. What cannot be removed now, the next upload tries.
fn tidy(directory: &Directory, target: &str, now: i64) {
    for name in directory.names().unwrap_or_default() {
        let Some(age) = directory.stat(&name).map(|stat| now.saturating_sub(modified(&stat))) else {
            continue;
        };
        let digits = name.strip_prefix("probe-").filter(|digits| digits.len() == 64);
        let unused = digits.is_some() && name != target && age > UNUSED;
        if unused || (name.starts_with(".upload-") && age > STALE) {
            let _ = directory.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        home
    }

    fn upload(home: &Path, name: &str) -> [u8; 32] {
        fs::write(home.join(name), b"probe").unwrap();
        Sha256::digest(b"probe").into()
    }

    #[test]
    fn it_takes_its_place_and_tidies_up() {
        let home = home();
        let old = format!("probe-{}", "0".repeat(64));
        for name in [".upload-old", &old, "probe-of-somebody"] {
            upload(home.path(), name);
        }
        let digest = upload(home.path(), ".upload-1");
        let later = model::Timestamp::from(std::time::SystemTime::now()).seconds() + UNUSED + 10;
        install(home.path(), &home.path().join(".upload-1"), &digest, later).unwrap();
        let mut names: Vec<_> = fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [format!("probe-{}", hex(&digest)), "probe-of-somebody".to_owned()]);
    }

    #[test]
    fn what_was_damaged_on_its_way_goes() {
        let home = home();
        upload(home.path(), ".upload-1");
        let fault = install(home.path(), &home.path().join(".upload-1"), &[7; 32], 0).unwrap_err();
        assert!(fault.contains("damaged"), "{fault}");
        assert!(!home.path().join(".upload-1").exists());
    }

    #[test]
    fn a_directory_that_is_open_or_a_link_is_refused() {
        let home = home();
        let digest = upload(home.path(), ".upload-1");
        let link = home.path().join("link");
        std::os::unix::fs::symlink(home.path(), &link).unwrap();
        assert!(install(&link, &home.path().join(".upload-1"), &digest, 0).unwrap_err().contains("link"));
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let fault = install(home.path(), &home.path().join(".upload-1"), &digest, 0).unwrap_err();
        assert!(fault.contains("open to others (mode 755)"), "{fault}");
    }

    #[test]
    fn a_program_from_elsewhere_is_refused() {
        let (home, elsewhere) = (home(), home());
        let digest = upload(elsewhere.path(), ".upload-1");
        upload(home.path(), ".upload-1");
        assert!(install(home.path(), &elsewhere.path().join(".upload-1"), &digest, 0).is_err());
    }
}
