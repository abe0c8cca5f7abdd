//! Whether the distribution asks for a reboot.

use std::path::Path;

use crate::reading::{Reader, Reading};

/// Files that packages of Debian and Ubuntu make when a reboot is due.
const REQUIRED: [&str; 2] = ["run/reboot-required", "var/run/reboot-required"];

/// What makes those files. Without one of these their absence says nothing.
const MAKERS: [&str; 3] = [
    "usr/share/update-notifier/notify-reboot-required",
    "etc/kernel/postinst.d/unattended-upgrades",
    "etc/kernel/postinst.d/update-notifier",
];

/// Looks for those files.
pub(super) struct Reboot;

impl Reader for Reboot {
    fn name(&self) -> &'static str {
        "reboot"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let any = |paths: &[&str]| paths.iter().any(|path| reading.machine.path(Path::new(path)).exists());
        let (required, told) = (any(&REQUIRED), any(&MAKERS));
        if required || told {
            reading.gauge("reboot-required", f64::from(u8::from(required)));
        }
        Ok(())
    }
}
