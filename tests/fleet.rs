//! Three collectors and two alerters on one PostgreSQL: one collector is killed and one cut off from the database in the
//! middle of a run, and each client is still collected once in each interval, each episode told once.
//!
//! `FLEET_CLIENTS=N` sets how many clients there are: each has a directory, keys and a spool of its own behind one real sshd.
//! The usual number keeps a plain run short; `FLEET_CLIENTS=1000` takes some minutes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tests::child::until;
use tests::host::{Host, Running};
use tests::machines::let_time_pass;
use tests::programs;
use tests::relay::{Relay, Traffic};
use tests::server::Server;
use tests::site::{newest, spools};
use tests::smtp::Smtp;
use tests::sshd::Sshd;

/// Clients whose episodes are told to one receiver.
const PER_RECEIVER: usize = 10;

/// How many clients there are unless `FLEET_CLIENTS` says it.
const USUAL: usize = 120;

/// The lease of all runs.
const LEASE: &str = "10s";

/// What all clients share: their spools lie beside each other, their probe is sent once.
const DIRECTORY: &str = "machines";

/// Five hosts and their surroundings.
struct Fleet {
    clients: usize,
    every: Duration,
    server: Server,
    database: String,
    /// Between the second collector and the database.
    relay: Relay,
    smtp: Smtp,
    sshd: Sshd,
    collectors: Vec<Host>,
    alerters: Vec<Host>,
    begun: Instant,
}

fn client(number: usize) -> String {
    format!("machine-{number:05}")
}

fn receiver(number: usize) -> String {
    format!("team-{}@example.org", number / PER_RECEIVER)
}

impl Fleet {
    fn start() -> Self {
        let clients = std::env::var("FLEET_CLIENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(USUAL);
        let server = Server::start();
        let database = server.database();
        let fleet = Self {
            clients,
            every: Duration::from_secs(20.max(clients as u64 / 10)),
            relay: Relay::to((server.address(), server.port())),
            server,
            database,
            smtp: Smtp::start(),
            sshd: Sshd::start(),
            collectors: ["collector-a", "collector-b", "collector-c"].map(Host::new).into(),
            alerters: ["alerter-a", "alerter-b"].map(Host::new).into(),
            begun: Instant::now(),
        };
        fleet.configure();
        fleet
    }

    fn configure(&self) {
        // Few at a time, so that each has a share, and is still at it when something happens to it.
        let schedule = format!(
            "<schedule collector-every=\"{}s\"/>\n<defaults concurrency=\"6\"/>\n",
            self.every.as_secs()
        );
        let directory = self.collectors[0].site().text(DIRECTORY);
        for (index, host) in self.collectors.iter().enumerate() {
            host.site().know(&self.sshd);
            let login = format!(
                "ip=\"{}\" port=\"{}\" username=\"{}\" identity-file=\"{}\" known-hosts=\"{}\" remote-dir=\"{directory}\"",
                self.sshd.address(),
                self.sshd.port(),
                tests::user(),
                self.sshd.login_key().display(),
                host.site().text("known_hosts"),
            );
            let port = if index == 1 { self.relay.port() } else { self.server.port() };
            host.configure(&self.storage(port), &(schedule.clone() + &self.elements(&login)));
        }
        let mail = format!(
            "<mail host=\"127.0.0.1\" port=\"{}\" tls=\"none\" from=\"fleet@example.org\"/>\n",
            self.smtp.port()
        );
        for host in &self.alerters {
            host.configure(
                &self.storage(self.server.port()),
                &(schedule.clone() + &mail + &self.elements("")),
            );
        }
    }

    fn storage(&self, port: u16) -> String {
        let database = &self.database;
        format!("url=\"postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable\" lease=\"{LEASE}\"")
    }

    /// Each client, with a limit that is always crossed.
    fn elements(&self, login: &str) -> String {
        let mut text = String::new();
        for number in 0..self.clients {
            let (name, mail) = (client(number), receiver(number));
            let _ = writeln!(
                text,
                "<client name=\"{name}\" {login} mail=\"{mail}\"><alert type=\"memory\" limit=\"1%\"/></client>"
            );
        }
        text
    }

    /// What everybody shares: the database's schema, the master key, the probe on the machines.
    fn prepare(&mut self) {
        let first = &self.collectors[0];
        first.collector(&["run", "--only", &client(0)]).expect(0);
        for other in &self.collectors[1..] {
            std::fs::create_dir_all(other.site().path("state")).expect("a directory of ours");
            let key = "state/master.key";
            std::fs::copy(first.site().path(key), other.site().path(key)).expect("the first run made it");
        }
        // That client had its turn, and is to have it again.
        let_time_pass(&self.server, &self.database);
        self.begun = Instant::now();
    }

    /// Waits for the begin of an interval, and says when that is by the database's clock.
    fn begin_interval(&self, number: u32) -> u64 {
        let from_begin = self.every * number;
        sleep(from_begin.saturating_sub(self.begun.elapsed()));
        self.number("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)")
    }

    fn number(&self, sql: &str) -> u64 {
        self.server.sql(&self.database, sql).parse().unwrap_or_else(|_| panic!("no number: {sql}"))
    }

    fn start_collectors(&self) -> Vec<Running<'_>> {
        let program = programs::collector();
        self.collectors.iter().map(|host| host.start(&program, &["run"])).collect()
    }

    /// Clients of which the host's run has hold.
    fn held_by(&self, host: &Host) -> u64 {
        self.number(&format!(
            "SELECT count(*) FROM claim JOIN run ON claim.run_id = run.run_id WHERE run.host = '{}'",
            host.name()
        ))
    }

    /// Fails unless each client was attempted once since `begin`, and says by whom.
    fn expect_each_once(&self, what: &str, begin: u64) {
        let attempts = self.number(&format!("SELECT count(*) FROM collection WHERE run >= {begin}"));
        let clients =
            self.number(&format!("SELECT count(DISTINCT client_id) FROM collection WHERE run >= {begin}"));
        let shares = self.server.sql(
            &self.database,
            &format!(
                "SELECT run.host, count(*) FROM collection JOIN run ON run.begin = collection.run \
                 AND run.program = 'fleet-collector' WHERE run >= {begin} GROUP BY run.host ORDER BY run.host"
            ),
        );
        tests::tell(&format!(
            "{what}: {attempts} attempts on {clients} clients ({})",
            shares.replace('\n', ", ").replace('|', " ")
        ));
        assert_eq!((attempts, clients), (self.clients as u64, self.clients as u64), "{what}: {shares}");
    }

    /// Both alerters at once; at least one of them finds the way free.
    fn alert(&self) {
        let program = programs::alerter();
        let both: Vec<Running<'_>> = self.alerters.iter().map(|host| host.start(&program, &[])).collect();
        for alerter in both {
            alerter.wait().expect(0);
        }
    }

    /// How often each client's episode was told.
    fn told(&self) -> BTreeMap<String, usize> {
        let mails = self.smtp.mails();
        (0..self.clients)
            .map(|number| {
                let (name, to) = (client(number), receiver(number));
                let count = mails.iter().filter(|mail| mail.to == to && mail.body().contains(&name)).count();
                (name, count)
            })
            .collect()
    }
}

#[test]
fn each_client_is_collected_once_and_each_episode_told_once() {
    let mut fleet = Fleet::start();
    tests::tell(&format!("FLEET_CLIENTS={}, an interval of {:?}", fleet.clients, fleet.every));
    fleet.prepare();

    // Three share the work.
    let begin = fleet.begin_interval(0);
    for collector in fleet.start_collectors() {
        collector.wait().expect(0);
    }
    fleet.expect_each_once("three collectors", begin);
    fleet.alert();

    // One dies, and one is cut off from the database.
    let begin = fleet.begin_interval(1);
    let [dying, cut_off, well]: [Running<'_>; 3] =
        fleet.start_collectors().try_into().unwrap_or_else(|_| panic!("there are three"));
    let (mut held, mut dying) = ([0, 0], Some(dying));
    until("two collectors had hold of clients", || {
        if held[0] == 0 {
            held[0] = fleet.held_by(&fleet.collectors[0]);
            if let Some(dying) = dying.take_if(|_| held[0] > 0) {
                dying.kill();
            }
        }
        if held[1] == 0 {
            held[1] = fleet.held_by(&fleet.collectors[1]);
            if held[1] > 0 {
                fleet.relay.set(Traffic::Stalled);
            }
        }
        held.iter().all(|held| *held > 0)
    });
    tests::tell(&format!("killed one that held {} clients, cut off one that held {}", held[0], held[1]));
    fleet.alert();
    well.wait().expect(0);
    fleet.expect_each_once("one killed, one cut off", begin);
    fleet.relay.heal();
    let late = cut_off.wait().expect(75);
    assert!(late.stderr.contains("taken for dead"), "{}", late.stderr);
    fleet.expect_each_once("after the late one was refused", begin);
    fleet.alert();

    // All are back.
    let begin = fleet.begin_interval(2);
    for collector in fleet.start_collectors() {
        collector.wait().expect(0);
    }
    fleet.expect_each_once("three again", begin);
    fleet.alert();

    let made: u64 =
        spools(&fleet.collectors[0].site().path(DIRECTORY)).iter().map(|spool| newest(spool)).sum();
    let stored = fleet.number("SELECT count(*) FROM report");
    let told = fleet.told();
    let mails = fleet.smtp.mails().len();
    tests::tell(&format!(
        "{made} records made, {stored} stored; {} episodes told in {mails} mails",
        told.len()
    ));
    assert_eq!(stored, made, "each record is stored once");
    let wrong: Vec<_> = told.iter().filter(|(_, count)| **count != 1).collect();
    assert!(wrong.is_empty(), "told not once: {wrong:?}");
    let facts = fleet.number("SELECT count(*) FROM fact WHERE NOT told");
    assert_eq!(facts, 0, "all is told");
}
