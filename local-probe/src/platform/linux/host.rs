//! What the machine calls itself.

use crate::machine::line;
use crate::reading::{Reader, Reading};

/// Reads names, os-release(5) and the kernel's release.
pub(super) struct HostNames;

impl Reader for HostNames {
    fn name(&self) -> &'static str {
        "host"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let machine = reading.machine;
        let mut faults = Vec::new();
        let mut name =
            |path: &str| machine.text(path).map_err(|fault| faults.push(fault)).map(|text| line(&text));
        reading.host.hostname = name("proc/sys/kernel/hostname").unwrap_or_default();
        reading.host.kernel = name("proc/sys/kernel/osrelease").unwrap_or_default();
        reading.host.arch.clone_from(&machine.arch);
        reading.host.virtualization = super::container::virtualization(machine);
        // os-release(5): the file in /etc wins; distributions before 2012 have neither.
        let os_release = machine.text("etc/os-release").or_else(|_| machine.text("usr/lib/os-release"));
        match os_release.ok().and_then(|text| pretty_name(&text)) {
            Some(os) => reading.host.os = os,
            None => faults.push("no PRETTY_NAME in /etc/os-release".to_owned()),
        }
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }
}

/// PRETTY_NAME as a shell would read it: quotes around it and backslashes inside double quotes are taken away.
fn pretty_name(text: &str) -> Option<String> {
    let value = text.lines().filter_map(|line| line.trim().strip_prefix("PRETTY_NAME=")).next_back()?;
    let inside = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let name = if let Some(literal) = inside('\'') {
        literal.to_owned()
    } else {
        let mut name = String::new();
        let mut chars = inside('"').unwrap_or(value).chars();
        while let Some(c) = chars.next() {
            name.extend(if c == '\\' { chars.next() } else { Some(c) });
        }
        name
    };
    Some(line(&name)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_are_read_as_a_shell_does() {
        for (text, name) in [
            ("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n", "Debian GNU/Linux 12 (bookworm)"),
            ("PRETTY_NAME='a\\b'", "a\\b"),
            ("PRETTY_NAME=\"say \\\"hi\\\"\"", "say \"hi\""),
            ("PRETTY_NAME=Plain", "Plain"),
        ] {
            assert_eq!(pretty_name(text).as_deref(), Some(name));
        }
        assert_eq!(pretty_name("PRETTY_NAME=\"\""), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            pretty_name(&format!("PRETTY_NAME={text}"));
        }
    }
}
