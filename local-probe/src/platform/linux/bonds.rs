//! `/proc/net/bonding`: interfaces that are several.

use std::path::Path;

use crate::order;
use crate::reading::{Reader, Reading};

/// The most bonds that are told of.
const MAX_BONDS: usize = 64;

/// Reads each file of `/proc/net/bonding`.
pub(super) struct Bonds;

impl Reader for Bonds {
    fn name(&self) -> &'static str {
        "bonds"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let Ok(entries) = std::fs::read_dir(reading.machine.path(Path::new("proc/net/bonding"))) else {
            return Ok(());
        };
        let mut names: Vec<_> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).take(MAX_BONDS).collect();
        order::sort(&mut names);
        for name in names {
            let (members, up) = parse(&reading.machine.text(&format!("proc/net/bonding/{name}"))?);
            reading.gauge_of("bond-members", "bond", &name, members as f64);
            reading.gauge_of("bond-up", "bond", &name, up as f64);
            let degraded = members == 0 || up < members;
            reading.gauge_of("bond-degraded", "bond", &name, f64::from(u8::from(degraded)));
        }
        Ok(())
    }
}

/// How many members there are, and how many of them have a link. The first `MII Status` is the bond's own.
fn parse(text: &str) -> (usize, usize) {
    let (mut members, mut up) = (0, 0);
    for line in text.lines() {
        if line.starts_with("Slave Interface:") {
            members += 1;
        } else if members > 0 && line.strip_prefix("MII Status:").is_some_and(|state| state.trim() == "up") {
            up += 1;
        }
    }
    (members, up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bonds_own_link_is_no_members() {
        let text = "Bonding Mode: 802.3ad\nMII Status: up\n\nSlave Interface: eth0\nMII Status: up\n\
            Slave Interface: eth1\nMII Status: down\n";
        assert_eq!(parse(text), (2, 1));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(.{0,20}|Slave Interface:|MII Status:|\n){0,9}") {
            parse(&text);
        }
    }
}
