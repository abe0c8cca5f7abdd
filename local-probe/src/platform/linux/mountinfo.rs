//! `/proc/self/mountinfo` and which of it are file systems that fill up.

use crate::order;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

/// One line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// `major:minor`: equal for two mounts of one file system.
    pub(super) device: String,
    /// Where it is mounted.
    pub(super) path: PathBuf,
    /// The type, such as `ext4`.
    pub(super) kind: String,
    /// Whether mount or file system is read-only.
    pub(super) read_only: bool,
}

impl Mount {
    /// Whether it may hang because a machine elsewhere does.
    pub(super) fn is_remote(&self) -> bool {
        let kinds =
            ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "afs", "9p", "glusterfs", "lustre", "gpfs"];
        kinds.contains(&self.kind.as_str()) || self.kind.starts_with("fuse")
    }
}

/// Types that hold no data of anybody, or are images that are full by nature.
const PSEUDO: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fuse.gvfsd-fuse",
    "fuse.lxcfs",
    "fuse.portal",
    "fuse.snapfuse",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nfsd",
    "none",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "resctrl",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
    "udf",
];

/// Files that container managers mount one by one; their file system is not the container's.
const CONTAINER_FILES: &[&str] =
    &["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log", "/run/.containerenv"];

fn is_real(mount: &Mount) -> bool {
    let path = mount.path.as_os_str().as_bytes();
    match mount.kind.as_str() {
        // What lies there counts as memory; but a full /tmp stops programs.
        "tmpfs" => path == b"/tmp" || path == b"/",
        // A container's own root; seen from the host, its layers lie in a file system that is told of anyway.
        "overlay" | "aufs" => path == b"/",
        kind => {
            !PSEUDO.contains(&kind)
                && !CONTAINER_FILES.iter().any(|file| file.as_bytes() == path)
                && path.len() <= 1024
        }
    }
}

/// The file systems that a person would look at with df(1): no pseudo ones, each device once at its shortest mount
/// point, and of several mounts at one point the last, which hides the others. Local ones first.
pub(super) fn real(mounts: Vec<Mount>) -> Vec<Mount> {
    let mut visible = BTreeMap::new();
    for mount in mounts {
        visible.insert(mount.path.clone(), mount);
    }
    let mut by_device: BTreeMap<String, Mount> = BTreeMap::new();
    for mount in visible.into_values().filter(is_real) {
        let length = |mount: &Mount| mount.path.as_os_str().len();
        match by_device.get(&mount.device) {
            Some(known) if length(known) <= length(&mount) => {}
            _ => {
                by_device.insert(mount.device.clone(), mount);
            }
        }
    }
    let mut real: Vec<_> = by_device.into_values().collect();
    order::sort_by(&mut real, |a, b| (a.is_remote(), &a.path).cmp(&(b.is_remote(), &b.path)));
    real
}

/// Every line that has the form of proc_pid_mountinfo(5):
/// `id parent major:minor root mountpoint options optional... - type source superoptions`.
pub(super) fn parse(bytes: &[u8]) -> Vec<Mount> {
    bytes.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let device = words.nth(2)?;
    let path = words.nth(1)?;
    let options = words.next()?;
    words.by_ref().find(|word| *word == b"-")?;
    let kind = words.next()?;
    let super_options = words.nth(1).unwrap_or_default();
    let read_only = |options: &[u8]| options.split(|byte| *byte == b',').any(|option| option == b"ro");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Mount {
        device: text(device),
        path: PathBuf::from(OsString::from_vec(unescape(path))),
        kind: text(kind),
        read_only: read_only(options) || read_only(super_options),
    })
}

/// Takes away the kernel's `\040` for blank, tab, newline and backslash.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = |digit: u8| digit.checked_sub(b'0').filter(|digit| *digit < 8).map(u32::from);
        let code = match (first, tail) {
            (b'\\', [a, b, c, ..]) => {
                octal(*a).zip(octal(*b)).zip(octal(*c)).map(|((a, b), c)| a * 64 + b * 8 + c)
            }
            _ => None,
        };
        if let Some(byte) = code.and_then(|code| u8::try_from(code).ok()) {
            plain.push(byte);
            rest = &tail[3..];
        } else {
            plain.push(first);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paths(text: &str) -> Vec<String> {
        real(parse(text.as_bytes())).iter().map(|mount| mount.path.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_device_is_told_once_and_pseudo_ones_never() {
        let text = "1 0 0:1 / /proc rw - proc proc rw\n\
            2 0 8:1 /srv /mnt/bound rw - ext4 /dev/sda1 rw\n\
            3 0 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n\
            4 0 0:40 / /home rw - nfs4 server:/home rw\n\
            5 0 8:2 / /with\\040blank rw - xfs /dev/sda2 ro\n\
            6 0 0:41 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw\n\
            7 0 0:42 / /tmp rw - tmpfs tmpfs rw\n\
            8 0 0:43 / /run rw - tmpfs tmpfs rw\n";
        assert_eq!(paths(text), ["/", "/tmp", "/with blank", "/home"]);
        let mounts = real(parse(text.as_bytes()));
        assert_eq!(
            mounts.iter().map(|mount| mount.read_only).collect::<Vec<_>>(),
            [false, false, true, false]
        );
    }

    #[test]
    fn of_two_mounts_at_one_point_the_last_is_seen() {
        let text = "1 0 0:1 / / rw - rootfs rootfs rw\n2 1 8:1 / / ro - ext3 /dev/sda1 ro\n";
        assert_eq!(paths(text), ["/"]);
        assert_eq!(paths("2 1 8:1 / / ro - ext3 /dev/sda1 ro\n3 1 0:1 / / rw - rootfs rootfs rw\n"), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\\\0-9 a/:,-]{0,99}") {
            real(parse(&bytes));
            real(parse(text.as_bytes()));
            unescape(&bytes);
        }
    }
}
