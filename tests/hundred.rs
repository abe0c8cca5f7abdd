//! A hundred machines in one run: loopback addresses 127.0.0.1 to 127.0.0.100, real sshd on each.

use std::time::Instant;

use tests::site::Site;
use tests::sshd::Sshd;

/// How many machines.
const HOSTS: usize = 100;

/// Addresses per sshd; it listens on at most 16.
const PER_SSHD: usize = 15;

#[test]
fn a_hundred_machines_are_collected_and_none_is_lost() {
    let site = Site::new();
    let addresses: Vec<String> = (1..=HOSTS).map(|host| format!("127.0.0.{host}")).collect();
    let servers: Vec<Sshd> = addresses.chunks(PER_SSHD).map(|some| Sshd::on(some, "")).collect();
    let known: Vec<String> = servers
        .iter()
        .map(|sshd| format!("[127.0.0.*]:{} {}\n", sshd.port(), sshd.host_key("ed25519")))
        .collect();
    site.write_known_hosts(&known.concat());
    let clients = addresses.iter().enumerate().map(|(index, address)| {
        let sshd = &servers[index / PER_SSHD];
        let client = site.client(sshd, &format!("host{index}"), "", "");
        client.replace(&format!("ip=\"{}\"", sshd.address()), &format!("ip=\"{address}\""))
    });
    site.configure(&clients.collect::<String>());

    let begin = Instant::now();
    let first = site.collect().expect_all();
    tests::tell(&format!("{HOSTS} machines, first run with uploads: {:.2} s", begin.elapsed().as_secs_f64()));
    assert_eq!((first.collected, first.clients.len()), (HOSTS as u64, HOSTS));
    assert!(first.clients.values().all(|client| client.uploaded));

    let begin = Instant::now();
    let second = site.collect().expect_all();
    tests::tell(&format!("{HOSTS} machines, second run: {:.2} s", begin.elapsed().as_secs_f64()));
    assert_eq!((second.collected, second.clients.len()), (HOSTS as u64, HOSTS));
    assert!(second.clients.values().all(|client| !client.uploaded), "a second run uploads nothing");

    let accepted: usize = servers.iter().map(Sshd::accepted).sum();
    assert_eq!(accepted, 2 * HOSTS, "one login per machine and run");
    let status = site.status();
    assert_eq!(status["clients"].as_array().map(Vec::len), Some(HOSTS), "{status}");
}
