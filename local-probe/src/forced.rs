//! The login that may do nothing but have its client served: `command="local-probe forced DIR"` in authorized_keys.
//!
//! sshd runs that command whatever the login asked for, and says what that was in `SSH_ORIGINAL_COMMAND` (sshd(8)). It is
//! compared with the one text that is answered, and used for nothing else.

use std::ffi::OsStr;

use model::text::escape;
use model::wire::{ANSWERS_ALONE, SERVE_INSTALLED};

use crate::spool::Limits;

/// Spools that such a login can have made: each request names its own, and each may grow to its cap.
const SPOOLS: usize = 64;

/// How full the directory of such a login may become.
pub fn limits() -> Limits {
    Limits { spools: SPOOLS, ..Limits::default() }
}

/// Whether the login asked for what it may have; the error is the answer for a person and for the collector.
pub fn check(asked: Option<&OsStr>) -> Result<(), String> {
    let version = env!("CARGO_PKG_VERSION");
    let found = match asked {
        Some(asked) if asked == SERVE_INSTALLED => return Ok(()),
        Some(asked) => format!("not `{}`", escape(&asked.to_string_lossy())),
        None => "and gives no shell".to_owned(),
    };
    Err(format!("local-probe {version}: {ANSWERS_ALONE}, {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_is_answered() {
        assert_eq!(check(Some(OsStr::new("local-probe serve"))), Ok(()));
        for asked in
            ["", "local-probe serve ", "local-probe serve /etc", "sh", "local-probe serve;sh", "local-probe"]
        {
            assert!(check(Some(OsStr::new(asked))).unwrap_err().contains("alone, not `"), "{asked}");
        }
        assert!(check(None).unwrap_err().ends_with("gives no shell"));
    }
}
