//! TCP and connection tracking, from the kernel's sums: listing 100,000 sockets would cost more than all else.

use crate::reading::{Reader, Reading, percent};

/// Reads `/proc/net/{sockstat,sockstat6,snmp,netstat}` and the counts of `nf_conntrack`.
pub(super) struct Sockets;

impl Reader for Sockets {
    fn name(&self) -> &'static str {
        "sockets"
    }

    fn read(&self, reading: &mut Reading) -> Result<(), String> {
        let machine = reading.machine;
        let sums = machine.text("proc/net/sockstat")?;
        // A kernel without IPv6 has no such file.
        let sums6 = machine.text("proc/net/sockstat6").unwrap_or_default();
        if let Some(used) = sum(&sums, "TCP:", "inuse") {
            let used6 = sum(&sums6, "TCP6:", "inuse").unwrap_or(0);
            reading.gauge("tcp-sockets", used.saturating_add(used6) as f64);
        }
        if let Some(waiting) = sum(&sums, "TCP:", "tw") {
            reading.gauge("tcp-time-wait", waiting as f64);
        }
        let snmp = machine.text("proc/net/snmp")?;
        if let Some(established) = column(&snmp, "Tcp:", "CurrEstab") {
            reading.gauge("tcp-established", established as f64);
        }
        let netstat = machine.text("proc/net/netstat").unwrap_or_default();
        reading.counters.tcp.sent = column(&snmp, "Tcp:", "OutSegs");
        reading.counters.tcp.sent_again = column(&snmp, "Tcp:", "RetransSegs");
        reading.counters.tcp.listen_drops = column(&netstat, "TcpExt:", "ListenDrops");
        let tracked =
            |file: &str| machine.number::<u64>(&format!("proc/sys/net/netfilter/nf_conntrack_{file}"));
        if let Some(value) = tracked("count").zip(tracked("max")).and_then(|(count, max)| percent(count, max))
        {
            reading.gauge("conntrack", value);
        }
        Ok(())
    }
}

/// The number behind `name` in the line that begins with `kind`: `TCP: inuse 5 orphan 0 tw 2`.
fn sum(text: &str, kind: &str, name: &str) -> Option<u64> {
    let mut words = text.lines().find_map(|line| line.strip_prefix(kind))?.split_whitespace();
    words.find(|word| *word == name)?;
    words.next()?.parse().ok()
}

/// The number below `name`: one line with names, the next with numbers, both begin with `kind`.
fn column(text: &str, kind: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(kind));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|word| word == name)?;
    numbers.split_whitespace().nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sums_and_columns_go_by_name() {
        assert_eq!(sum("sockets: used 9\nTCP: inuse 5 orphan 0 tw 2 alloc 7 mem 1\n", "TCP:", "tw"), Some(2));
        let text = "Ip: Forwarding\nIp: 1\nTcp: MaxConn CurrEstab OutSegs\nTcp: -1 3 99\n";
        assert_eq!(column(text, "Tcp:", "CurrEstab"), Some(3));
        assert_eq!((column(text, "Tcp:", "MaxConn"), column(text, "Udp:", "x")), (None, None));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}", lines in "(Tcp: [A-Za-z0-9 ]{0,20}\n){0,3}") {
            sum(&text, "TCP:", "tw");
            column(&lines, "Tcp:", "A");
        }
    }
}
