//! Making faults that name place, cause and remedy.

use std::io;

use model::wire::{Fault, FaultKind};
use rustix::io::Errno;

/// A fault without a place.
pub(crate) fn other(detail: String) -> Fault {
    Fault { kind: FaultKind::Other, detail }
}

/// A fault at `place`; a full disk or quota is always [`FaultKind::NoSpace`].
pub(crate) fn at(place: &str, what: &str, error: &io::Error, kind: FaultKind) -> Fault {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    if errno == Some(Errno::NOSPC) || errno == Some(Errno::DQUOT) {
        let detail = format!("{place} {what}: {error}: make room on that file system");
        return Fault { kind: FaultKind::NoSpace, detail };
    }
    Fault { kind, detail: format!("{place} {what}: {error}") }
}

/// A place that cannot be trusted.
pub(super) fn not_safe(place: &str, why: &str) -> Fault {
    let detail = format!("{place} {why}: look who made it, then move it away");
    Fault { kind: FaultKind::Unsafe, detail }
}
