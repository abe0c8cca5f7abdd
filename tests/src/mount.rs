//! Small file systems in memory. Root only.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::child;

/// A tmpfs, unmounted when this is dropped.
#[derive(Debug)]
pub struct Mount(PathBuf);

impl Mount {
    /// Mounts one at `path`, which is made, with these options of mount(8).
    pub fn new(path: PathBuf, options: &str) -> Self {
        std::fs::create_dir_all(&path).expect("a directory of ours");
        let target = path.display().to_string();
        child::output("mount", &["-t", "tmpfs", "-o", options, "tmpfs", &target]);
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it one of which nothing can be written any more.
    pub fn read_only(&self) {
        child::output("mount", &["-o", "remount,ro", &self.0.display().to_string()]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).stderr(Stdio::null()).status();
    }
}
