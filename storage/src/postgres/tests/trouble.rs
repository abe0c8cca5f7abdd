//! A server, or the way to it, that fails in the middle: what is done is done once, and what is not is told.

use std::thread;
use std::time::Duration;

use model::{Exit, Labels};

use super::super::values::params;
use super::{access, database, open, open_with, url};
use crate::conformance::relay::{Relay, Traffic, Trap};
use crate::conformance::server::{Ending, Server};
use crate::conformance::{at, attempt, enrol, named, received, run};
use crate::postgres::PostgresStore;
use crate::{
    AlertStore as _, Attempt, History as _, Program, ReportStore as _, Run, RunLog as _, SealedKey,
    StoreError,
};

const REST: Duration = Duration::from_secs(30);

/// A store behind a relay, and one past it.
fn behind_a_relay() -> (Relay, PostgresStore, PostgresStore) {
    let (server, database) = (Server::shared(), database());
    let relay = Relay::to((server.address(), server.port()));
    let behind = open(&url("127.0.0.1", relay.port(), &database));
    (relay, behind, open(&url(server.address(), server.port(), &database)))
}

/// All that a collector does in a run; each thing with a trap of that kind.
fn a_run(relay: &Relay, store: &mut PostgresStore, trap: Trap) -> Result<(), StoreError> {
    relay.set_trap(trap);
    let web = enrol(store, "web")?;
    relay.set_trap(trap);
    let key = SealedKey { key_id: 1, public_key: [1; 32], sealed: vec![2], created: at(1) };
    store.add_key(web, &key)?;
    relay.set_trap(trap);
    let run = store.begin_run(&run(Program::Collector, 10))?;
    relay.set_trap(trap);
    assert_eq!(store.claim(&[web], REST, 9)?.taken.len(), 1);
    relay.set_trap(trap);
    let records = vec![received(1, 1, 5), received(1, 2, 6)];
    assert_eq!(store.store(&[Attempt { run: run.begin, ..attempt(web, 12, records) }])?, [2]);
    relay.set_trap(trap);
    store.end_run(&Run { end: Some(at(20)), done: 1, ..run })?;
    relay.set_trap(trap);
    assert_eq!(store.runs(Program::Collector, 9)?.len(), 1, "a read is done again");
    Ok(())
}

#[test]
fn a_lost_commit_is_neither_lost_nor_done_twice() {
    for trap in [Trap::AfterCommit, Trap::BeforeCommit] {
        let (relay, mut store, mut past) = behind_a_relay();
        a_run(&relay, &mut store, trap).unwrap();
        // The clients of an enrolment are first looked for.
        assert!(relay.sprung() >= 7, "{} of {trap:?}", relay.sprung());
        let counts = past.counts().unwrap();
        assert_eq!((counts.reports, counts.unevaluated), (2, 3), "{trap:?}");
        let runs = past.runs(Program::Collector, 9).unwrap();
        assert_eq!(runs, [Run { end: Some(at(20)), done: 1, ..run(Program::Collector, 10) }]);
        let row = past.find(&named("web")).unwrap().unwrap();
        // What the lost transaction had numbered is numbered anew.
        let series = past.series(row.uid, "load1", &Labels::none(), at(0), at(9)).unwrap();
        assert_eq!(series, [(at(5), 1.0), (at(6), 2.0)], "{trap:?}");
        assert_eq!((row.keys.len(), row.stored.map(|stored| stored.sequence)), (1, Some(2)));
    }
}

/// What would do harm where it is done twice is not done again, and the error says so.
#[test]
fn what_must_not_be_done_twice_says_that_nobody_knows() {
    let (relay, mut store, mut past) = behind_a_relay();
    let silence = model::Silence {
        id: 0,
        target: "web".to_owned(),
        metric: None,
        from: at(1),
        until: at(9),
        why: "test".to_owned(),
    };
    relay.set_trap(Trap::AfterCommit);
    let said = store.add_silence(&silence).unwrap_err().to_string();
    assert!(said.contains("see whether it was done"), "{said}");
    assert_eq!(past.silences(at(2)).unwrap().len(), 1);
}

/// By a serialization failure, a deadlock, a shutdown, a server that was primary, one that is full of connections.
#[test]
fn a_transaction_is_done_again_where_that_helps() {
    let mut store = open(&url_of_new());
    for code in ["40001", "40P01", "57P01", "57P02", "25006", "08006", "53300", "40003", "55P03"] {
        let mut tries = 0;
        let raise = format!("DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'; END $$");
        let done = store.write(|tx, _| {
            tries += 1;
            tx.execute("INSERT INTO counter (name, value) VALUES ($1, 1)", params![code])?;
            if tries < 3 { tx.batch(&raise) } else { Ok(()) }
        });
        done.unwrap_or_else(|error| panic!("{code}: {error}"));
        assert_eq!(tries, 3, "{code}");
    }
    let counted =
        store.read(|tx, _| tx.row("SELECT count(*) FROM counter", params![])?.unwrap().get::<i64>(0));
    assert_eq!(counted.unwrap(), 10);
}

/// One that others are in the way of for longer than anybody waits is the next run's.
#[test]
fn what_others_are_in_the_way_of_for_long_is_busy() {
    let short = super::PostgresAccess { patience: Duration::from_millis(50), ..access() };
    let mut store = open_with(&url_of_new(), &short).unwrap();
    let raise = "DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '40001'; END $$";
    let error = store.write(|tx, _| tx.batch(raise)).unwrap_err();
    assert_eq!(error.exit(), Exit::Busy, "{error}");
}

/// What the server says for good is told at once, by what a person can do.
#[test]
fn what_does_not_help_is_told_at_once() {
    let mut store = open(&url_of_new());
    for (code, exit, word) in [
        ("42501", Exit::Storage, "refuses"),
        ("53100", Exit::Storage, "no space"),
        ("XX001", Exit::Storage, "damaged"),
        ("28P01", Exit::Storage, "cannot be used"),
        ("22012", Exit::Storage, "SQLSTATE 22012"),
    ] {
        let mut tries = 0;
        let raise = format!("DO $$ BEGIN RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'; END $$");
        let error = store.write(|tx, _| {
            tries += 1;
            tx.batch(&raise)
        });
        let error = error.unwrap_err();
        assert_eq!((tries, error.exit()), (1, exit), "{code}");
        assert!(error.to_string().contains(word), "{code}: {error}");
    }
    assert!(store.counts().is_ok(), "and the store goes on");
}

#[test]
fn a_deadlock_is_gone_through() {
    let (server, database) = (Server::shared(), database());
    let mut store = open(&url(server.address(), server.port(), &database));
    enrol(&mut store, "a").unwrap();
    enrol(&mut store, "b").unwrap();
    let lock = |name: &str| format!("UPDATE client SET host = NULL WHERE name = '{name}'");
    // The other side does not look for deadlocks: it is this store's transaction that the server ends.
    let other = format!(
        "SET deadlock_timeout = '1h'; BEGIN; {}; SELECT pg_sleep(0.5); {}; COMMIT",
        lock("b"),
        lock("a")
    );
    thread::scope(|scope| {
        let other = scope.spawn(|| server.sql(&database, &other));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = ";
        server.await_answer(&format!("{waiting}'{database}'"), "1");
        let mut tries = 0;
        let done = store.write(|tx, _| {
            tries += 1;
            tx.batch(&lock("a"))?;
            tx.batch(&lock("b"))
        });
        done.unwrap();
        assert_eq!(tries, 2);
        other.join().unwrap();
    });
}

#[test]
fn a_session_that_is_ended_is_no_end() {
    let (server, database) = (Server::shared(), database());
    let mut store = open(&url(server.address(), server.port(), &database));
    let end =
        format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{database}'");
    let mut tries = 0;
    let done = store.write(|tx, _| {
        tries += 1;
        tx.execute("UPDATE counter SET value = value + 1", params![])?;
        if tries == 1 {
            server.sql("postgres", &end);
        }
        Ok(())
    });
    done.unwrap();
    let value = server.sql(&database, "SELECT value FROM counter");
    assert_eq!((tries, value.as_str()), (2, "1"));
}

#[test]
fn a_restart_is_waited_for_and_a_dead_server_is_told() {
    let mut server = Server::start();
    let database = server.database();
    let url = url(server.address(), server.port(), &database);
    let mut store = open(&url);
    server.stop(Ending::Immediate);
    thread::scope(|scope| {
        let asking = scope.spawn(|| store.counts().map(|counts| counts.reports));
        server.resume();
        assert_eq!(asking.join().unwrap().unwrap(), 0);
    });
    server.stop(Ending::Fast);
    let short = super::PostgresAccess { patience: Duration::from_millis(200), ..access() };
    let error = open_with(&url, &short).unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("refused") && !said.contains(&database), "{said}");
}

/// It hears nothing and is not heard for longer than its lease, and then it comes back.
#[test]
fn a_collector_that_was_cut_off_is_refused() {
    let (server, database) = (Server::shared(), database());
    let relay = Relay::to((server.address(), server.port()));
    let short = super::PostgresAccess { lease: Duration::from_millis(600), ..access() };
    let mut a = open_with(&url("127.0.0.1", relay.port(), &database), &short).unwrap();
    let mut b = open(&url(server.address(), server.port(), &database));
    let web = enrol(&mut a, "web").unwrap();
    let run_a = a.begin_run(&Run { host: "a".to_owned(), ..run(Program::Collector, 10) }).unwrap();
    assert_eq!(a.claim(&[web], REST, 9).unwrap().taken.len(), 1);
    relay.set(Traffic::Stalled);
    let run_b = b.begin_run(&Run { host: "b".to_owned(), ..run(Program::Collector, 11) }).unwrap();
    while b.claim(&[web], REST, 9).unwrap().taken.is_empty() {
        thread::sleep(Duration::from_millis(50));
    }
    relay.heal();
    let brought = |run: &Run| [Attempt { run: run.begin, ..attempt(web, 12, vec![received(1, 1, 5)]) }];
    let late = a.store(&brought(&run_a));
    assert!(matches!(late, Err(StoreError::Superseded)), "{late:?}");
    assert_eq!(b.store(&brought(&run_b)).unwrap(), [1]);
    assert_eq!(b.counts().unwrap().unevaluated, 2);
}

/// A frozen server, or a pooler that is stuck, acknowledges what arrives and never answers.
#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let (server, database) = (Server::shared(), database());
    let relay = Relay::to((server.address(), server.port()));
    let second = Duration::from_secs(1);
    let hasty = super::PostgresAccess { patience: second, answer: second, ..access() };
    let mut store = open_with(&url("127.0.0.1", relay.port(), &database), &hasty).unwrap();
    enrol(&mut store, "web").unwrap();
    relay.set(Traffic::Stalled);
    let error = store.counts().unwrap_err();
    assert!(matches!(&error, StoreError::Unreachable(said) if said.contains("does not answer")), "{error:?}");
    relay.heal();
    assert_eq!(store.counts().unwrap().reports, 0, "the next one is over another connection");
}

/// Another server has taken over, whose clock is behind that of the one before.
#[test]
fn what_a_clock_that_was_ahead_has_noted_hides_nobody() {
    let (server, database) = (Server::shared(), database());
    let mut store = open(&url(server.address(), server.port(), &database));
    let web = enrol(&mut store, "web").unwrap();
    let day = "(extract(epoch FROM now()) * 1000)::bigint + 86400000";
    server.sql(&database, &format!("UPDATE claim SET turn = {day}"));
    store.begin_run(&run(Program::Collector, 10)).unwrap();
    assert_eq!(store.claim(&[web], REST, 9).unwrap().taken.len(), 1, "its turn is no time to come");
    let mut elsewhere = open(&url(server.address(), server.port(), &database));
    elsewhere.begin_run(&Run { host: "gone".to_owned(), ..run(Program::Alerter, 10) }).unwrap();
    drop(elsewhere);
    server.sql(&database, &format!("UPDATE run SET until = {day} WHERE program = 'fleet-alerter'"));
    store.begin_run(&run(Program::Alerter, 11)).unwrap();
}

/// A row that another collector works on is passed over; nobody waits for it.
#[test]
fn a_claim_waits_for_nobody() {
    let (server, database) = (Server::shared(), database());
    let mut store = open(&url(server.address(), server.port(), &database));
    let clients: Vec<_> = ["a", "b", "c"].map(|name| enrol(&mut store, name).unwrap()).to_vec();
    store.begin_run(&run(Program::Collector, 10)).unwrap();
    // There is a row of each from here on.
    store.claim(&clients, REST, 0).unwrap();
    let hold =
        "BEGIN; SELECT 1 FROM claim JOIN client USING (client_id) WHERE name = 'a' FOR UPDATE OF claim;
                SELECT pg_sleep(60)";
    thread::scope(|scope| {
        scope.spawn(|| server.sql_as("postgres", &database, hold));
        let asleep = format!("FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = '{database}'");
        server.await_answer(&format!("SELECT count(*) {asleep}"), "1");
        let taken = store.claim(&clients, REST, 9).unwrap().taken;
        server.sql("postgres", &format!("SELECT pg_terminate_backend(pid) {asleep}"));
        assert_eq!(taken.iter().map(|row| row.uid).collect::<Vec<_>>(), clients[1..]);
    });
}

/// A transaction whose program is gone without a word keeps nobody waiting for ever.
#[test]
fn nothing_is_kept_in_the_session() {
    let (server, database) = (Server::shared(), database());
    let mut store = open(&url(server.address(), server.port(), &database));
    let limit = |store: &mut PostgresStore| {
        store.read(|tx, _| {
            let limit = "SELECT current_setting('idle_in_transaction_session_timeout')";
            tx.row(limit, params![])?.unwrap().get::<String>(0)
        })
    };
    assert_eq!(limit(&mut store).unwrap(), "20s");
    let kept = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'NAME' AND state LIKE 'idle in%'";
    assert_eq!(server.sql("postgres", &kept.replace("NAME", &database)), "0");
    let named = store.read(|tx, _| {
        tx.row("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''", params![])?
            .unwrap()
            .get::<i64>(0)
    });
    assert_eq!(named.unwrap(), 0);
}

fn url_of_new() -> model::storage_url::PostgresUrl {
    let server = Server::shared();
    url(server.address(), server.port(), &database())
}
