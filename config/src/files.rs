//! Where files come from: the disk, or memory.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use model::Pattern;
use zeroize::Zeroizing;

/// What was read of a file.
pub(crate) struct Content {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// What tells files apart, however they are named: device and inode.
    pub(crate) identity: (u64, u64),
}

/// Where files come from.
pub(crate) trait Files {
    /// The file at `path`, but no more than one byte beyond `limit`.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Content>;

    /// The names in a directory, in no order.
    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>>;
}

/// The disk.
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Content> {
        // Without NONBLOCK, opening a FIFO would wait for a writer; regular files do not care.
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len().min(limit) as usize + 1));
        file.take(limit + 1).read_to_end(&mut bytes)?;
        Ok(Content { bytes, mode: metadata.mode(), identity: (metadata.dev(), metadata.ino()) })
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        std::fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    }
}

/// Files that are their owner's alone, by their paths.
pub(crate) struct Memory<'t>(pub(crate) &'t [(&'t Path, &'t str)]);

impl Files for Memory<'_> {
    fn read(&self, path: &Path, _: u64) -> io::Result<Content> {
        let index = self.0.iter().position(|(known, _)| *known == path).ok_or_else(absent)?;
        let bytes = Zeroizing::new(self.0[index].1.as_bytes().to_vec());
        Ok(Content { bytes, mode: 0o600, identity: (0, index as u64) })
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let below = self.0.iter().filter_map(|(path, _)| path.strip_prefix(directory).ok());
        let names: BTreeSet<_> =
            below.filter_map(|rest| Some(rest.components().next()?.as_os_str().to_owned())).collect();
        if names.is_empty() { Err(absent()) } else { Ok(names.into_iter().collect()) }
    }
}

/// As the disk says it.
fn absent() -> io::Error {
    rustix::io::Errno::NOENT.into()
}

fn is_wild(part: Component<'_>) -> bool {
    part.as_os_str().to_string_lossy().contains(['*', '?'])
}

/// Whether `pattern` names files by wildcards: then it may well find none.
pub(crate) fn has_wildcards(pattern: &Path) -> bool {
    pattern.components().any(is_wild)
}

/// The paths that `pattern` means, by name, but no more than `limit`: `*` and `?` stand for parts of one name, and not
/// for a dot at its beginning (glob(7)). Without them it means itself, whether or not that is there.
pub(crate) fn expand(files: &dyn Files, pattern: &Path, limit: usize) -> io::Result<Vec<PathBuf>> {
    let mut paths = vec![PathBuf::new()];
    for part in pattern.components() {
        if !is_wild(part) {
            for path in &mut paths {
                path.push(part);
            }
            continue;
        }
        let text = part.as_os_str().to_string_lossy().into_owned();
        let shows_hidden = text.starts_with('.');
        let glob = Pattern(text);
        let mut found = Vec::new();
        for directory in paths {
            let names = match files.names(&directory) {
                Ok(names) => names,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(error),
            };
            let fits = |name: &str| (shows_hidden || !name.starts_with('.')) && glob.matches(name);
            let fitting = names.iter().filter(|name| name.to_str().is_some_and(fits));
            found.extend(fitting.map(|name| directory.join(name)));
        }
        found.sort();
        found.truncate(limit);
        paths = found;
    }
    Ok(paths)
}

/// Whether there is nothing of that name.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let files: Vec<_> =
            ["/etc/f/b.xml", "/etc/f/a.xml", "/etc/f/.x.xml", "/etc/g/a.xml", "/etc/g/h/c.txt"]
                .iter()
                .map(|path| (Path::new(path), ""))
                .collect();
        let expand = |pattern: &str| {
            let paths = expand(&Memory(&files), Path::new(pattern), 3).unwrap();
            paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(expand("/etc/f/*.xml"), "/etc/f/a.xml /etc/f/b.xml");
        assert_eq!(expand("/etc/?/a.xml"), "/etc/f/a.xml /etc/g/a.xml");
        assert_eq!(expand("/etc/f/.*"), "/etc/f/.x.xml");
        assert_eq!(expand("/etc/*/*"), "/etc/f/a.xml /etc/f/b.xml /etc/g/a.xml");
        assert_eq!(expand("/none/*.xml"), "");
        assert_eq!(expand("none.xml"), "none.xml");
    }
}
