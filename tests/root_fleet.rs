//! Hosts in networks of their own, one of which is cut off from everything in the middle of a run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;

use tests::child::until;
use tests::host::Host;
use tests::machines::{count, stored};
use tests::network::Network;
use tests::programs;
use tests::server::{Server, Setup};
use tests::site::{newest, spools};
use tests::smtp::Smtp;
use tests::sshd::Sshd;

/// Enough that a run is still at it when the cable is pulled out.
const CLIENTS: usize = 60;

/// Where the spools of all clients lie.
const DIRECTORY: &str = "machines";

/// A host's config.xml: the same clients for each, at the address at which it finds them. Without one, a word of SSH.
fn configure(
    host: &Host,
    (server, database): (&Server, &str),
    address: &str,
    ssh: Option<(&Sshd, &str)>,
    mail: &str,
) {
    let mut elements = format!("<schedule collector-every=\"60s\"/>\n{mail}<defaults concurrency=\"4\"/>\n");
    let login = ssh.map_or_else(String::new, |(sshd, directory)| {
        let keys = ["ed25519", "ecdsa", "rsa"].map(|kind| {
            format!("[{address}]:{} {}\n", sshd.port(), sshd.host_key(kind))
        });
        host.site().write_known_hosts(&keys.concat());
        format!(
            "ip=\"{address}\" port=\"{}\" username=\"{}\" identity-file=\"{}\" known-hosts=\"{}\" remote-dir=\"{directory}\"",
            sshd.port(),
            tests::user(),
            sshd.login_key().display(),
            host.site().text("known_hosts"),
        )
    });
    for number in 0..CLIENTS {
        let _ = writeln!(
            elements,
            "<client name=\"machine-{number:03}\" {login} mail=\"ops@example.org\"><alert type=\"memory\" limit=\"1%\"/></client>"
        );
    }
    let port = server.port();
    let url =
        format!("url=\"postgres://postgres@{address}:{port}/{database}?sslmode=disable\" lease=\"10s\"");
    host.configure(&url, &elements);
}

#[test]
fn a_host_without_a_network_loses_its_clients_to_the_others() {
    let networks = [Network::new(1), Network::new(2)];
    let [a, b] = [0, 1].map(|index: usize| Host::within(&format!("collector-{index}"), &networks[index]));
    let alerter = Host::new("alerter");
    let addresses = ["127.0.0.1", networks[0].outside(), networks[1].outside()];
    let server = Server::with(Setup {
        settings: vec![format!("listen_addresses={}", addresses.join(","))],
        ..Setup::default()
    });
    let database = server.database();
    let sshd = Sshd::on(&addresses.map(str::to_owned), "");
    let smtp = Smtp::start();
    let directory = a.site().text(DIRECTORY);
    for (host, network) in [&a, &b].into_iter().zip(&networks) {
        configure(host, (&server, &database), network.outside(), Some((&sshd, &directory)), "");
    }
    let mail = format!(
        "<mail host=\"127.0.0.1\" port=\"{}\" tls=\"none\" from=\"fleet@example.org\"/>\n",
        smtp.port()
    );
    configure(&alerter, (&server, &database), "127.0.0.1", None, &mail);
    a.collector(&["run", "--only", "machine-000"]).expect(0);
    std::fs::create_dir_all(b.site().path("state")).unwrap();
    std::fs::copy(a.site().path("state/master.key"), b.site().path("state/master.key")).unwrap();
    tests::machines::let_time_pass(&server, &database);
    let number = |sql: &str| count(&server, &database, sql);
    let before = number("SELECT count(*) FROM collection");

    let (cut_off, well) =
        (a.start(&programs::collector(), &["run"]), b.start(&programs::collector(), &["run"]));
    let mut held = 0;
    until("the first host has hold of clients", || {
        held = number("SELECT count(*) FROM claim JOIN run USING (run_id) WHERE host = 'collector-0'");
        held > 0
    });
    networks[0].cut();
    tests::tell(&format!("cut off a host that held {held} of {CLIENTS} clients"));
    well.wait().expect(0);
    let each_once = |what: &str| {
        let attempts = number("SELECT count(*) FROM collection") - before;
        let clients = number("SELECT count(DISTINCT client_id) FROM collection");
        assert_eq!((attempts, clients), (CLIENTS as u64, CLIENTS as u64), "{what}");
    };
    each_once("after the lease of the one that was cut off");
    networks[0].heal();
    let late = cut_off.wait();
    assert!(late.code == Some(75) && late.stderr.contains("taken for dead"), "{late:?}");
    each_once("after it came back");
    let made: u64 = spools(&a.site().path(DIRECTORY)).iter().map(|spool| newest(spool)).sum();
    assert_eq!(stored(&server, &database), made, "each record is stored once");

    alerter.alerter(&[]).expect(0);
    alerter.alerter(&[]).expect(0);
    let mails = smtp.mails();
    assert_eq!(mails.len(), 1, "one mail: {mails:#?}");
    let told = |number: &usize| mails[0].body().matches(&format!("machine-{number:03}")).count() > 0;
    assert!((0..CLIENTS).all(|number| told(&number)), "{}", mails[0].text);
}
