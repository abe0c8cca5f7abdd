//! `/proc/net/dev` and `/sys/class/net`: the interfaces.

use std::collections::BTreeMap;

use crate::counters::Traffic;
use crate::order;
use crate::reading::{MAX_LOOKED_AT, Reader, Reading};

/// Reads the interfaces.
pub(super) struct Network;

impl Reader for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let mut interfaces = parse(&reading.machine.text("proc/net/dev")?);
        let too_many = interfaces.len().saturating_sub(MAX_LOOKED_AT);
        while interfaces.len() > MAX_LOOKED_AT {
            interfaces.pop_last();
        }
        for name in interfaces.keys() {
            state(reading, name);
        }
        reading.counters.interfaces = interfaces;
        match too_many {
            0 => Ok(()),
            more => Err(format!("{more} interfaces more than the {MAX_LOOKED_AT} that are looked at")),
        }
    }
}

fn state(reading: &mut Reading, name: &str) {
    let file = |file: &str| format!("sys/class/net/{name}/{file}");
    // carrier cannot be read while the interface is down (sysfs-class-net).
    let up = match reading.machine.number::<u8>(&file("carrier")) {
        Some(carrier) => Some(carrier == 1),
        None => match reading.machine.text(&file("operstate")).unwrap_or_default().trim() {
            "up" => Some(true),
            "down" | "lowerlayerdown" => Some(false),
            _ => None,
        },
    };
    if let Some(up) = up {
        reading.gauge_of("network-up", "interface", name, f64::from(u8::from(up)));
    }
    // Mbit/s; -1 or an error where it is not known.
    if let Some(speed @ 1..) = reading.machine.number::<i64>(&file("speed")) {
        reading.gauge_of("network-speed", "interface", name, speed as f64 * 1_000_000.0 / 8.0);
    }
}

/// Whether an interface is told of: not the loopback, and not a container's end of a pair, of which there is no end.
fn wanted(name: &str) -> bool {
    let safe = !name.is_empty() && name.len() <= 64 && !name.contains('/') && name != "." && name != "..";
    safe && name != "lo" && !name.starts_with("veth")
}

/// Columns: receive bytes packets errs drop fifo frame compressed multicast, transmit bytes packets errs drop ...
fn parse(text: &str) -> BTreeMap<String, Traffic> {
    let traffic = |values: &str| {
        let columns: Vec<u64> = values.split_whitespace().map_while(|value| value.parse().ok()).collect();
        let [
            bytes_in,
            packets_in,
            errors_in,
            drops_in,
            _,
            _,
            _,
            _,
            bytes_out,
            packets_out,
            errors_out,
            drops_out,
            ..,
        ] = columns[..]
        else {
            return None;
        };
        let sum = |values: [u64; 4]| values.into_iter().fold(0, u64::saturating_add);
        let packets = packets_in.saturating_add(packets_out);
        let bad = sum([errors_in, drops_in, errors_out, drops_out]);
        let drops = Some(drops_in.saturating_add(drops_out));
        Some(Traffic { bytes_in, bytes_out, packets, bad, drops })
    };
    let interface = |line: &str| {
        // The name may hold a colon (an alias); the numbers do not.
        let (name, values) = line.rsplit_once(':')?;
        let name = name.trim();
        Some((name.to_owned(), traffic(values).filter(|_| wanted(name))?))
    };
    order::map(text.lines().filter_map(interface))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loopback_and_container_ends_are_skipped() {
        let text = "Inter-| Receive | Transmit\n face |bytes packets\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
            eth0:100 10 1 2 0 0 0 0 200 20 3 4 0 0 0 0\nveth12: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n";
        let traffic = Traffic { bytes_in: 100, bytes_out: 200, packets: 30, bad: 10, drops: Some(6) };
        assert_eq!(parse(text), BTreeMap::from([("eth0".to_owned(), traffic)]));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", columns in "[0-9 ]{0,200}") {
            parse(&text);
            parse(&format!("eth0:{columns}"));
        }
    }
}
