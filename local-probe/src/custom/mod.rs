//! The admin's own metrics: `/etc/fleet-health/metrics.d/*.prom`.
//!
//! Whatever makes those files cannot make a run fail, or wait: only regular files are read, and of them so much as the
//! bounds say. A file with a fault costs its own metrics, and no other's.

mod textfile;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use model::Sample;
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::order;
use crate::reading::{Reader, Reading};

/// Where the files lie, below the root. It may be a link to where another program's files already lie.
const DIRECTORY: &str = "etc/fleet-health/metrics.d";

/// The most names that are looked at in the directory, and the most files that are read.
const MAX_FILES: (usize, usize) = (4096, 64);

/// The most bytes of one file.
const MAX_BYTES: u64 = 256 * 1024;

/// The most series of all files together.
const MAX_SERIES: usize = 512;

/// Reads the admin's own metrics.
pub(crate) struct Custom;

impl Reader for Custom {
    fn name(&self) -> &'static str {
        "custom"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let path = reading.machine.path(Path::new(DIRECTORY));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match openat(CWD, &path, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(format!("/{DIRECTORY}: {}", io::Error::from(error))),
        };
        let mut names =
            names(directory.as_fd()).map_err(|error| format!("/{DIRECTORY}: {}", io::Error::from(error)))?;
        let mut faults = Vec::new();
        if names.len() > MAX_FILES.1 {
            faults.push(format!(
                "{} files more than the {} that are read",
                names.len() - MAX_FILES.1,
                MAX_FILES.1
            ));
            names.truncate(MAX_FILES.1);
        }
        let mut known = BTreeSet::new();
        for name in names {
            if let Err(fault) = file(reading, directory.as_fd(), &name, &mut known) {
                faults.push(format!("{name}{fault}"));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }
}

/// Names like `*.prom`, sorted; those that begin with a dot are being written.
fn names(directory: BorrowedFd) -> Result<Vec<String>, Errno> {
    let entries = Dir::read_from(directory)?.take(MAX_FILES.0);
    let name = |entry: rustix::fs::DirEntry| entry.file_name().to_str().map(str::to_owned).ok();
    let wanted = |name: &String| {
        !name.starts_with('.') && Path::new(name).extension().is_some_and(|extension| extension == "prom")
    };
    let mut names: Vec<String> = entries.filter_map(|entry| name(entry.ok()?)).filter(wanted).collect();
    order::sort(&mut names);
    Ok(names)
}

/// Adds a file's series and its age. The fault follows the file's name.
fn file(
    reading: &mut Reading,
    directory: BorrowedFd,
    name: &str,
    known: &mut BTreeSet<String>,
) -> Result<(), String> {
    let (bytes, written) = open(directory, name)?;
    let now = reading.clock.wall.seconds();
    reading.gauge_of("custom-age", "file", name, now.saturating_sub(written).max(0) as f64);
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!(": more than {MAX_BYTES} bytes"));
    }
    let series = textfile::parse(&bytes).map_err(|wrong| format!(":{}: {}", wrong.line, wrong.what))?;
    // All of the file or nothing.
    let mut with_these = known.clone();
    for (line, Sample { metric, labels, .. }) in &series {
        if !with_these.insert(format!("{metric} {labels}")) {
            return Err(format!(":{line}: this series was there before"));
        }
        if with_these.len() > MAX_SERIES {
            return Err(format!(
                ":{line}: more than {MAX_SERIES} series, those of the files before included"
            ));
        }
    }
    *known = with_these;
    for (_, Sample { metric, labels, value }) in series {
        reading.push(&metric, labels, value);
    }
    Ok(())
}

/// Up to a byte more than a file may have, and when it was written.
fn open(directory: BorrowedFd, name: &str) -> Result<(Vec<u8>, i64), String> {
    let fault = |error: io::Error| format!(": {error}");
    // A FIFO would make us wait without NONBLOCK.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::LOOP) => return Err(": a link is not followed".to_owned()),
        Err(error) => return Err(fault(error.into())),
    };
    let stat = fstat(&file).map_err(|error| fault(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(": no regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::from(file).take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(fault)?;
    Ok((bytes, stat.st_mtime))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use std::path::PathBuf;

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(tree.path().join(DIRECTORY)).unwrap();
            Self(tree)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(DIRECTORY).join(name)
        }

        fn put(&self, name: &str, text: &str) {
            std::fs::write(self.path(name), text).unwrap();
        }

        /// The values, the ages left out, and the fault.
        fn read(&self) -> (Vec<String>, Option<String>) {
            let machine = Machine::this(self.0.path());
            let clock = machine.clock();
            let mut reading = Reading::new(&machine, &clock, &[]);
            let fault = Custom.read(&mut reading).err();
            let own = reading.samples.iter().filter(|sample| sample.metric != "custom-age");
            let shown = |sample: &Sample| format!("{} {} {}", sample.metric, sample.labels, sample.value);
            (own.map(shown).collect(), fault)
        }
    }

    #[test]
    fn no_directory_is_no_fault() {
        let machine = Machine::this(Path::new("/nowhere"));
        let clock = machine.clock();
        assert_eq!(Custom.read(&mut Reading::new(&machine, &clock, &[])), Ok(()));
    }

    #[test]
    fn a_faulty_file_costs_only_itself() {
        let tree = Tree::new();
        tree.put("a.prom", "cpu 100\nqueue{name=\"mail\"} 3\n");
        tree.put("b.prom", "fine 1\nwrong one\n");
        tree.put("c.prom", "fine 2\n");
        tree.put("d.prom", "fine 3\n");
        tree.put(".tmp.prom", "hidden 1\n");
        tree.put("readme.txt", "not read\n");
        let (samples, fault) = tree.read();
        assert_eq!(samples, ["custom:cpu  100", "custom:queue name=mail 3", "custom:fine  2"]);
        let expected = "b.prom:2: a number has to follow the name and its labels; \
            d.prom:1: this series was there before";
        assert_eq!(fault.as_deref(), Some(expected));
    }

    #[test]
    fn only_regular_files_are_read_and_nothing_waits() {
        let tree = Tree::new();
        tree.put("secret", "leaked 1\n");
        std::os::unix::fs::symlink(tree.path("secret"), tree.path("a.prom")).unwrap();
        rustix::fs::mknodat(CWD, tree.path("b.prom"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::fs::create_dir(tree.path("c.prom")).unwrap();
        tree.put("d.prom", "fine 1\n");
        let (samples, fault) = tree.read();
        assert_eq!(samples, ["custom:fine  1"]);
        let expected = "a.prom: a link is not followed; b.prom: no regular file; c.prom: no regular file";
        assert_eq!(fault.as_deref(), Some(expected));
    }

    #[test]
    fn files_bytes_and_series_are_bounded() {
        let tree = Tree::new();
        tree.put("a.prom", &"#".repeat(300_000));
        let series = |name: &str, count: usize| {
            (0..count).map(|i| format!("{name}{{i=\"{i}\"}} 1\n")).collect::<Vec<_>>().concat()
        };
        tree.put("b.prom", &series("b", 500));
        tree.put("c.prom", &series("c", 20));
        tree.put("d.prom", &series("d", 12));
        let (samples, fault) = tree.read();
        assert_eq!(samples.len(), MAX_SERIES);
        let expected = "a.prom: more than 262144 bytes; \
            c.prom:13: more than 512 series, those of the files before included";
        assert_eq!(fault.as_deref(), Some(expected));
        for i in 0..100 {
            tree.put(&format!("e{i:02}.prom"), "");
        }
        assert!(tree.read().1.unwrap().starts_with("40 files more than the 64 that are read; a.prom"));
    }

    #[test]
    fn a_file_has_an_age() {
        let tree = Tree::new();
        tree.put("backup.prom", "");
        let machine = Machine::this(tree.0.path());
        let clock = machine.clock();
        for (seconds, expected) in [(7200, 7200.0), (-7200, 0.0)] {
            let written = std::time::UNIX_EPOCH
                + std::time::Duration::from_secs((clock.wall.seconds() - seconds).unsigned_abs());
            File::options()
                .write(true)
                .open(tree.path("backup.prom"))
                .unwrap()
                .set_modified(written)
                .unwrap();
            let mut reading = Reading::new(&machine, &clock, &[]);
            Custom.read(&mut reading).unwrap();
            let age = &reading.samples[0];
            assert_eq!((age.metric.as_str(), age.labels.object().as_str()), ("custom-age", "backup.prom"));
            assert!((age.value - expected).abs() < 1.0, "{}", age.value);
        }
    }
}
