//! A directory that is ours alone, and the few things that are done in it, all relative to its descriptor.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use model::wire::{Fault, FaultKind};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::fault::{at, not_safe};

/// The start of a temporary's name.
pub(super) const TEMPORARY: &str = ".tmp-";

/// The most names that one directory may hold.
const MAX_NAMES: usize = 1_000_000;

/// A directory of ours: no link, owned by our effective user, closed to all others.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    shown: String,
}

const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Directory {
    /// Opens `path`, or makes it where only it is missing. Its last part may not be a link; what leads there is trusted
    /// as far as that the directory found is ours and closed to others.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        Self::open_at(rustix::fs::CWD, path, path.display().to_string())
    }

    /// The directory `name` in this one, made where it is missing.
    pub fn child(&self, name: &str) -> Result<Self, Fault> {
        Self::open_at(self.fd.as_fd(), Path::new(name), self.place(name))
    }

    fn open_at(parent: BorrowedFd, path: &Path, shown: String) -> Result<Self, Fault> {
        let fd = match rustix::fs::openat(parent, path, OPEN, Mode::empty()) {
            Err(Errno::NOENT) => {
                let made = rustix::fs::mkdirat(parent, path, Mode::RWXU);
                if let Err(error) = made
                    && error != Errno::EXIST
                {
                    return Err(at(&shown, "cannot be made", &error.into(), FaultKind::Other));
                }
                let above =
                    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let above =
                    rustix::fs::openat(parent, above, OPEN.difference(OFlags::NOFOLLOW), Mode::empty());
                match above.and_then(sync_directory) {
                    // A directory that may be written and not read cannot be synced by us.
                    Ok(()) | Err(Errno::ACCESS) => {}
                    Err(error) => {
                        return Err(at(&shown, "cannot be synced", &error.into(), FaultKind::Other));
                    }
                }
                rustix::fs::openat(parent, path, OPEN, Mode::empty())
            }
            opened => opened,
        };
        let fd = match fd {
            Ok(fd) => fd,
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(not_safe(&shown, "is a link or no directory")),
            Err(error) => return Err(at(&shown, "cannot be opened", &error.into(), FaultKind::Other)),
        };
        let stat = rustix::fs::fstat(&fd)
            .map_err(|e| at(&shown, "cannot be checked", &e.into(), FaultKind::Other))?;
        check_ours(&stat, &shown)?;
        Ok(Self { fd, shown })
    }

    /// Its path, for people.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub(super) fn place(&self, name: &str) -> String {
        format!("{}/{name}", self.shown)
    }

    fn fault(&self, name: &str, what: &str, error: Errno) -> Fault {
        at(&self.place(name), what, &io::Error::from(error), FaultKind::Other)
    }

    /// Opens a file of ours; `None` where there is none. A FIFO does not block.
    pub(super) fn open_file(&self, name: &str, flags: OFlags) -> Result<Option<(File, Stat)>, Fault> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => {
                return Err(not_safe(&self.place(name), "is a link or no plain file"));
            }
            Err(error) => return Err(self.fault(name, "cannot be opened", error)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|error| self.fault(name, "cannot be checked", error))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_safe(&self.place(name), "is no plain file"));
        }
        if stat.st_nlink > 1 {
            return Err(not_safe(&self.place(name), "has a second name (a hard link)"));
        }
        check_ours(&stat, &self.place(name))?;
        Ok(Some((File::from(fd), stat)))
    }

    /// At most `limit` bytes of a file of ours; `None` where there is none.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Fault> {
        let Some((file, _)) = self.open_file(name, OFlags::RDONLY)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| at(&self.place(name), "cannot be read", &error, FaultKind::Other))?;
        Ok(Some(bytes))
    }

    /// Puts `bytes` under `name`, whole or not at all. `durable`: when this returns, they survive a loss of power.
    pub fn replace(&self, name: &str, bytes: &[u8], durable: bool) -> Result<(), Fault> {
        let temporary = format!("{TEMPORARY}{}-{name}", std::process::id());
        let written = self.write_new(&temporary, bytes, durable).and_then(|()| {
            rustix::fs::renameat(&self.fd, &temporary, &self.fd, name)
                .map_err(|error| self.fault(name, "cannot be renamed to", error))
        });
        if written.is_err() {
            // What cannot be removed now is removed by the next run.
            let _ = rustix::fs::unlinkat(&self.fd, &temporary, AtFlags::empty());
        }
        written?;
        if durable { self.sync() } else { Ok(()) }
    }

    fn write_new(&self, name: &str, bytes: &[u8], durable: bool) -> Result<(), Fault> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| self.fault(name, "cannot be made", error))?;
        let mut file = File::from(fd);
        let write = file.write_all(bytes).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
        write.map_err(|error| at(&self.place(name), "cannot be written", &error, FaultKind::Other))
    }

    /// Removes a name; one that is not there is no fault.
    pub fn remove(&self, name: &str) -> Result<(), Fault> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.fault(name, "cannot be removed", error)),
        }
    }

    /// Makes renames and removals survive a loss of power.
    pub fn sync(&self) -> Result<(), Fault> {
        sync_directory(&self.fd).map_err(|error| self.fault(".", "cannot be synced", error))
    }

    /// Every name in it but `.` and `..`; those that are no UTF-8 are not ours and are left out.
    pub fn names(&self) -> Result<Vec<String>, Fault> {
        let fault = |error| self.fault(".", "cannot be listed", error);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
            if names.len() > MAX_NAMES {
                return Err(super::other(format!("{} holds more than {MAX_NAMES} files", self.shown)));
            }
        }
        Ok(names)
    }

    /// Removes an empty directory in it, durably.
    pub(crate) fn remove_directory(&self, name: &str) -> Result<(), Fault> {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)
            .map_err(|error| self.fault(name, "cannot be removed", error))?;
        self.sync()
    }

    /// Removes what a run that was killed left behind; only with the lock held.
    pub(super) fn remove_temporaries(&self) -> Result<(), Fault> {
        self.names()?.iter().filter(|name| name.starts_with(TEMPORARY)).try_for_each(|name| self.remove(name))
    }

    /// What is known of a name without following a link; `None` where there is none.
    pub(crate) fn stat(&self, name: &str) -> Option<Stat> {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// Renames a file in it, durably.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        rustix::fs::renameat(&self.fd, from, &self.fd, to)
            .map_err(|error| self.fault(to, "cannot be renamed to", error))?;
        self.sync()
    }

    /// Makes the link `name` point at `target`, whole or not at all.
    pub(crate) fn point(&self, name: &str, target: &str) -> Result<(), Fault> {
        let current = rustix::fs::readlinkat(&self.fd, name, Vec::new());
        if current.is_ok_and(|current| current.to_bytes() == target.as_bytes()) {
            return Ok(());
        }
        let temporary = format!("{TEMPORARY}{}-{name}", std::process::id());
        rustix::fs::symlinkat(target, &self.fd, &temporary)
            .and_then(|()| rustix::fs::renameat(&self.fd, &temporary, &self.fd, name))
            .map_err(|error| self.fault(name, "cannot be made a link", error))
    }

    /// Notes that a file was used now, at most once a day.
    pub(crate) fn touch(&self, name: &str) {
        const DAY: i64 = 86_400;
        let now = model::Timestamp::from(std::time::SystemTime::now()).seconds();
        if self.stat(name).is_some_and(|stat| (now - modified(&stat)).abs() > DAY) {
            let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
            let times = Timestamps { last_access: now, last_modification: now };
            // It only keeps the file from being tidied away, and the next use tries again.
            let _ = rustix::fs::utimensat(&self.fd, name, &times, AtFlags::SYMLINK_NOFOLLOW);
        }
    }
}

/// When a file was changed, in seconds since the epoch.
#[allow(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    reason = "the field's type differs between targets"
)]
pub(crate) fn modified(stat: &Stat) -> i64 {
    stat.st_mtime as i64
}

fn check_ours(stat: &Stat, shown: &str) -> Result<(), Fault> {
    let us = rustix::process::geteuid().as_raw();
    if stat.st_uid != us {
        return Err(not_safe(shown, &format!("belongs to user {}, not to {us}", stat.st_uid)));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(not_safe(shown, &format!("is open to others (mode {:o})", stat.st_mode & 0o7777)));
    }
    Ok(())
}

/// Some file systems sync no directories and say EINVAL (fsync(2)); there a rename is as durable as it gets.
fn sync_directory(fd: impl AsFd) -> Result<(), Errno> {
    match rustix::fs::fsync(fd) {
        Err(Errno::INVAL) => Ok(()),
        result => result,
    }
}
