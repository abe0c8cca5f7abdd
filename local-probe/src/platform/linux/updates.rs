//! Updates that wait, where a file tells: Ubuntu's update-notifier writes one after each `apt update`.

use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::reading::{Reader, Reading};

/// What `apt-check --human-readable` said last; the message of the day shows it.
const FILE: &str = "var/lib/update-notifier/updates-available";

/// Apt looks for updates every day; what is older than this says nothing of today.
const MAX_AGE: i64 = 7 * 86_400;

/// Reads that file.
pub(super) struct Updates;

impl Reader for Updates {
    fn name(&self) -> &'static str {
        "updates"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let Ok(metadata) = reading.machine.path(Path::new(FILE)).metadata() else { return Ok(()) };
        let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let written = written.and_then(|time| i64::try_from(time.as_secs()).ok()).unwrap_or(0);
        let age = reading.clock.wall.seconds().saturating_sub(written);
        if age > MAX_AGE {
            return Err(format!("/{FILE} is {} days old: apt does not look for updates", age / 86_400));
        }
        // Empty where apt never looked; in the language of the machine, of which only English is read.
        if let Some((all, security)) = parse(&reading.machine.text(FILE)?) {
            reading.gauge("updates", all as f64);
            reading.gauge("security-updates", security as f64);
        }
        Ok(())
    }
}

/// All updates, and those for security. The forms of Ubuntu 14.04 to 24.04:
/// `12 packages can be updated.`, `12 updates can be installed immediately.`, `12 updates can be applied immediately.`, then
/// `5 updates are security updates.`, `5 of these updates are (standard) security updates.` or, for none, no line. What
/// could be had with a subscription (`... additional security updates ...`) is not pending.
fn parse(text: &str) -> Option<(u64, u64)> {
    let number = |line: &str| line.split(' ').next()?.parse::<u64>().ok();
    let find = |wanted: &dyn Fn(&str) -> bool| text.lines().filter(|line| wanted(line)).find_map(number);
    let can = ["can be updated", "can be installed immediately", "can be applied immediately"];
    let all = find(&|line| can.iter().any(|words| line.contains(words)))?;
    let security = find(&|line| line.contains("security update") && !line.contains("additional"));
    Some((all, security.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use proptest::prelude::*;

    #[test]
    fn each_form_is_understood() {
        for (text, expected) in [
            ("\n12 packages can be updated.\n5 updates are security updates.\n\n", Some((12, 5))),
            (
                "3 updates can be installed immediately.\n0 of these updates are security updates.\n",
                Some((3, 0)),
            ),
            (
                "\nExpanded Security Maintenance for Applications is not enabled.\n\n14 updates can be applied \
                 immediately.\n1 of these updates is a standard security update.\nTo see these additional updates \
                 run: apt list --upgradable\n\n7 additional security updates can be applied with ESM Apps.\n",
                Some((14, 1)),
            ),
            ("1 update can be applied immediately.\n", Some((1, 0))),
            ("0 updates can be applied immediately.\n\n2 additional security updates can be\n", Some((0, 0))),
            ("12 Aktualisierungen können sofort durchgeführt werden.\n", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn an_old_file_is_not_believed() {
        let tree = tempfile::tempdir().unwrap();
        let path = tree.path().join(FILE);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "12 updates can be applied immediately.\n").unwrap();
        let machine = Machine::this(tree.path());
        let mut clock = machine.clock();
        let told = |clock: &model::Clock| {
            let mut reading = Reading::new(&machine, clock, &[]);
            let fault = Updates.read(&mut reading).err();
            (reading.samples.len(), fault)
        };
        assert_eq!(told(&clock), (2, None));
        clock.wall = model::Timestamp::from_seconds(clock.wall.seconds() + 8 * 86_400);
        let (samples, fault) = told(&clock);
        assert!(samples == 0 && fault.unwrap().contains("8 days old"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([0-9]{0,30} ?(updates?|security update|can be updated|.{0,9})\n?){0,9}") {
            parse(&text);
        }
    }
}
