//! The directory that a store lives in: made private, on a local disk, closed to others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::StoreError;

/// Makes `directory` (mode 0700, with its parents) where it is not there, and sees that others may not write in it.
pub(crate) fn prepare(directory: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| failed("make the directory", directory, &error))?;
    let about = fs::metadata(directory).map_err(|error| failed("look at", directory, &error))?;
    if about.permissions().mode() & 0o002 != 0 {
        return Err(StoreError::Unsuitable(format!("everybody may write in {}", directory.display())));
    }
    Ok(())
}

/// Sees that `directory` is on a file system of this machine: SQLite's log needs shared memory and locks that hold,
/// <https://sqlite.org/wal.html#overview>.
pub(crate) fn check_local(directory: &Path) -> Result<(), StoreError> {
    let about = rustix::fs::statfs(directory).map_err(|error| failed("look at", directory, &error.into()))?;
    // The field's type differs by architecture; magic numbers have 32 bits.
    match remote_kind(about.f_type as u32) {
        Some(kind) => {
            Err(StoreError::Unsuitable(format!("{} is on {kind}, no local disk", directory.display())))
        }
        None => Ok(()),
    }
}

/// The name of a network file system by its magic number: `statfs(2)` and `linux/magic.h`.
fn remote_kind(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517b => "SMB",
        0xfe53_4d42 => "SMB2",
        0xff53_4d42 => "CIFS",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x564c => "NCP",
        0x00c3_6400 => "Ceph",
        0x0bd0_0bd0 => "Lustre",
        0x0102_1997 => "9P",
        _ => return None,
    })
}

/// Makes an empty file of mode 0600 where there is none: SQLite would make it by the umask, and its log files take
/// their mode from it.
pub(crate) fn create_private(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // SQLite puts the names of the files that it makes on the disk; this one is ours.
        Ok(_) => sync(path),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed("make", path, &error)),
    }
}

/// Puts `path`'s content, and its name in its directory, on the disk.
pub(crate) fn sync(path: &Path) -> Result<(), StoreError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    [path, parent]
        .into_iter()
        .try_for_each(|what| File::open(what)?.sync_all())
        .map_err(|error| failed("write to the disk", path, &error))
}

/// An I/O failure with its place.
pub(crate) fn failed(what: &str, path: &Path, error: &io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Other(format!("cannot {what} {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_by_their_magic() {
        assert_eq!(remote_kind(0x6969), Some("NFS"));
        assert_eq!(remote_kind(0xff53_4d42), Some("CIFS"));
        for local in [0xef53, 0x5846_5342, 0x0102_1994, 0x9123_683e] {
            assert_eq!(remote_kind(local), None, "ext4, XFS, tmpfs, Btrfs");
        }
    }

    #[test]
    fn directories_are_made_private_and_open_ones_refused() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("a/b");
        prepare(&inner).unwrap();
        for made in [&inner, &top.path().join("a")] {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o7777, 0o700);
        }
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(matches!(prepare(&inner), Err(StoreError::Unsuitable(_))));
    }
}
