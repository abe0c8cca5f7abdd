//! What the readers look at: a tree of files and the few answers that are no files.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Timestamp};

use crate::platform;

/// The most bytes that are read of one file; `/proc/stat` of the largest machines has less than a tenth of it.
pub const MAX_FILE: u64 = 4 * 1024 * 1024;

/// What statvfs(3) tells about a file system, in bytes and inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Size of the file system.
    pub total: u64,
    /// Bytes that are free, those kept for root included.
    pub free: u64,
    /// Bytes that ordinary users can still fill.
    pub available: u64,
    /// Inodes; 0 where the file system counts none.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
}

/// Asks for the space of the file system that is mounted there. May never return.
pub type AskSpace = Arc<dyn Fn(&Path) -> io::Result<Space> + Send + Sync>;

/// One machine, real or a tree of files.
#[derive(Clone)]
pub struct Machine {
    /// Where its `/proc`, `/sys` and `/etc` are.
    pub root: PathBuf,
    /// `uname -m`.
    pub arch: String,
    /// The process that is not counted: this one.
    pub own_pid: u32,
    /// Bytes of a page.
    pub page_size: u64,
    /// Clock ticks of `/proc` per second (USER_HZ).
    pub ticks_per_second: u64,
    /// statvfs(3).
    pub ask_space: AskSpace,
    /// Wall clock, and milliseconds of a clock that never steps.
    pub times: fn() -> (Timestamp, u64),
    /// How long a run samples that has no earlier counters to compare with.
    pub pause: Duration,
}

impl Machine {
    /// The machine that this process runs on, with its files below `root`, which is `/` but for trials.
    pub fn this(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            arch: rustix::system::uname().machine().to_string_lossy().into_owned(),
            own_pid: std::process::id(),
            page_size: rustix::param::page_size() as u64,
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            ask_space: Arc::new(statvfs),
            times: platform::times,
            pause: Duration::from_millis(250),
        }
    }

    /// Both clocks now.
    pub fn clock(&self) -> Clock {
        let (wall, boottime_ms) = (self.times)();
        Clock { wall, boottime_ms, boot_id: platform::boot_id(self) }
    }

    /// The path below the root.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        let below = path.as_os_str().as_bytes();
        let below = below.strip_prefix(b"/").unwrap_or(below);
        self.root.join(std::ffi::OsStr::from_bytes(below))
    }

    /// At most [`MAX_FILE`] bytes of a file below the root; the error names the file.
    pub(crate) fn bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        let fault = |error: io::Error| format!("/{path}: {error}");
        let mut bytes = Vec::new();
        File::open(self.path(Path::new(path)))
            .map_err(fault)?
            .take(MAX_FILE)
            .read_to_end(&mut bytes)
            .map_err(fault)?;
        Ok(bytes)
    }

    /// [`Self::bytes`] as text; what is no UTF-8 is replaced.
    pub(crate) fn text(&self, path: &str) -> Result<String, String> {
        self.bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The one number that a file holds.
    pub(crate) fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path).ok()?.trim().parse().ok()
    }
}

/// The first line of `text`, cut to what a name may have.
pub(crate) fn line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().chars().take(256).collect()
}

fn statvfs(path: &Path) -> io::Result<Space> {
    let answer = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(answer.f_frsize);
    Ok(Space {
        total: bytes(answer.f_blocks),
        free: bytes(answer.f_bfree),
        available: bytes(answer.f_bavail),
        inodes: answer.f_files,
        inodes_free: answer.f_ffree,
    })
}
