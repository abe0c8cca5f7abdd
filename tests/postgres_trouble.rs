//! Trouble with a PostgreSQL in the middle of a run: nothing is lost, nothing is stored twice, and who cannot go on says so in
//! one line.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Child, Stdio};
use std::time::Duration;

use tests::child::until;
use tests::host::Host;
use tests::machines::{Machines, count, let_time_pass, stored};
use tests::pooler::Pooler;
use tests::programs;
use tests::relay::{Relay, Traffic};
use tests::server::{Ending, Server};
use tests::site::Site;

/// A run that waits so long for each answer goes on for seconds.
const SLOW: Traffic = Traffic::After(Duration::from_millis(40));

/// Enough that they are taken and stored in several pieces.
const MACHINES: usize = 24;

fn storage(servers: &str, database: &str) -> String {
    format!("url=\"postgres://postgres@{servers}/{database}?sslmode=disable\" lease=\"10s\"")
}

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn start(site: &Site) -> Child {
    let mut command = site.command(&programs::collector(), &["run"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn expect_success(run: Child) {
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// Waits until a run is under way and has collected some, but not all.
fn await_the_middle(server: &Server, database: &str, attempts_before: u64) {
    until("a run has collected some", || {
        server
            .sql_as("postgres", database, "SELECT count(*) FROM claim WHERE run_id IS NOT NULL")
            .is_ok_and(|held| held != "0")
            && attempts_before <= count(server, database, "SELECT count(*) FROM collection")
    });
}

#[track_caller]
fn expect_nothing_lost(server: &Server, database: &str, machines: &Machines<'_>, attempts: u64) {
    assert_eq!(stored(server, database), machines.made(), "each record is stored once");
    assert_eq!(
        count(server, database, "SELECT count(*) FROM collection"),
        attempts,
        "each client was had once a run"
    );
}

#[test]
fn a_server_that_restarts_during_a_run_is_not_noticed() {
    let mut server = Server::start();
    let (site, database) = (Site::new(), server.database());
    let relay = Relay::to((server.address(), server.port()));
    let machines = Machines::new(&site, MACHINES);
    site.configure_shared(&storage(&at(relay.port()), &database), &machines.elements(""));
    site.collector(&["run"]).expect(0);
    for (runs, ending) in [(1, Ending::Fast), (2, Ending::Immediate), (3, Ending::Killed)] {
        let_time_pass(&server, &database);
        relay.set(SLOW);
        let run = start(&site);
        await_the_middle(&server, &database, runs * machines.count());
        server.restart(ending);
        relay.heal();
        expect_success(run);
        expect_nothing_lost(&server, &database, &machines, (runs + 1) * machines.count());
    }
}

#[test]
fn a_standby_that_is_promoted_during_a_run_takes_over() {
    let mut first = Server::start();
    let (site, database) = (Site::new(), first.database());
    let second = first.standby();
    let relay = Relay::to((first.address(), first.port()));
    let machines = Machines::new(&site, MACHINES);
    let servers = format!("{},{}", at(relay.port()), at(second.port()));
    site.configure_shared(&storage(&servers, &database), &machines.elements(""));
    site.collector(&["run"]).expect(0);

    let_time_pass(&first, &database);
    relay.set(SLOW);
    let run = start(&site);
    await_the_middle(&first, &database, machines.count());
    first.stop(Ending::Killed);
    second.promote();
    expect_success(run);
    expect_nothing_lost(&second, &database, &machines, 2 * machines.count());
}

#[test]
fn a_pooler_may_stand_between() {
    let server = Server::start();
    let (site, database) = (Site::new(), server.database());
    let pooler = Pooler::before(&server, 2);
    let machines = Machines::new(&site, MACHINES);
    let mail = format!("<mail transport=\"directory\" path=\"{}\"/>\n", site.text("mails"));
    let elements = mail + &machines.elements("<alert type=\"memory\" limit=\"1%\"/>");
    site.configure_shared(&storage(&at(pooler.port()), &database), &elements);
    for runs in 1..=3 {
        site.collector(&["run"]).expect(0);
        site.alerter(&[]).expect(0);
        expect_nothing_lost(&server, &database, &machines, runs * machines.count());
        let_time_pass(&server, &database);
    }
    assert_eq!(site.mails("mails").len(), 1, "one problem per machine, told once");
}

#[test]
fn a_server_that_is_away_is_one_line_and_nothing_is_lost() {
    let mut server = Server::start();
    let (site, database) = (Site::new(), server.database());
    let machines = Machines::new(&site, 3);
    site.configure_shared(&storage(&at(server.port()), &database), &machines.elements(""));
    site.collector(&["run"]).expect(0);
    server.stop(Ending::Fast);
    let (collector, alerter) = std::thread::scope(|scope| {
        let alerter = scope.spawn(|| site.alerter(&[]));
        (site.collector(&["run"]), alerter.join().unwrap())
    });
    for run in [collector, alerter] {
        let run = run.expect(74);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains("see that the server runs"), "{}", run.stderr);
    }
    server.resume();
    let_time_pass(&server, &database);
    site.collector(&["run"]).expect(0);
    expect_nothing_lost(&server, &database, &machines, 2 * machines.count());
}

#[test]
fn a_host_whose_clock_is_wrong_goes_by_the_database() {
    let server = Server::start();
    let database = server.database();
    let hosts = [Host::new("right"), Host::new("wrong")];
    let machines = Machines::new(hosts[0].site(), 3);
    for host in &hosts {
        let elements = format!("<schedule collector-every=\"1h\"/>\n{}", machines.elements(""));
        host.configure(&storage(&at(server.port()), &database), &elements);
    }
    let [right, wrong] = &hosts;
    right.collector(&["run"]).expect(0);
    std::fs::create_dir_all(wrong.site().path("state")).unwrap();
    std::fs::copy(right.site().path("state/master.key"), wrong.site().path("state/master.key")).unwrap();
    let attempts = || count(&server, &database, "SELECT count(*) FROM collection");
    let run_late = || {
        let mut command = wrong.command(
            std::path::Path::new("/usr/bin/faketime"),
            &["-f", "+2h", &programs::collector().display().to_string(), "run"],
        );
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {said}", output.status);
        said
    };

    // By its own clock an interval has passed; by the database's not.
    let said = run_late();
    assert!(said.contains("clock"), "it says that its clock is off: {said}");
    assert_eq!(attempts(), machines.count());

    let_time_pass(&server, &database);
    run_late();
    expect_nothing_lost(&server, &database, &machines, 2 * machines.count());
    let future = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint) + 60000";
    for (table, column) in
        [("report", "event_time"), ("report", "receipt"), ("collection", "at"), ("run", "begin")]
    {
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} > {future}");
        assert_eq!(count(&server, &database, &sql), 0, "{table}.{column}");
    }
}
