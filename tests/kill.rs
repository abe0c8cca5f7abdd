//! `kill -9` of the collector and of its workers at random moments: every record that a probe reported is stored once.
//!
//! A probe counts its records from 1 and never starts again, and the newest stays in the spool until a newer one is
//! there. So what is to be stored of a client is exactly 1 to the newest sequence of its spool.
//!
//! `FLEET_SEED=N` repeats a run's random choices, `FLEET_KILLS=N` sets how many kills there are.

use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use tests::child;
use tests::machines::let_time_pass;
use tests::programs;
use tests::server::Server;
use tests::site::{Site, newest, spools};
use tests::sshd::Sshd;

/// Machines that are collected.
const CLIENTS: usize = 8;

/// Random numbers that a seed repeats (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Starts `fleet-collector` itself, without a wrapper that would outlive it.
fn start(site: &Site) -> Child {
    let mut command = std::process::Command::new(programs::collector());
    command.args(["run", "--fresh"]);
    site.prepare(&mut command);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("fleet-collector runs")
}

/// The processes whose parent is `parent`.
fn children(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task");
    let Ok(tasks) = std::fs::read_dir(path) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

fn kill(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Where the site keeps what it collects.
enum Backend {
    Sqlite,
    Postgres(&'static Server, String),
}

impl Backend {
    fn postgres() -> Self {
        let server = Server::shared();
        Self::Postgres(server, server.database())
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(..) => "PostgreSQL",
        }
    }

    fn configure(&self, site: &Site, elements: &str) {
        match self {
            Self::Sqlite => site.configure(elements),
            Self::Postgres(server, database) => {
                let url = format!("{}?sslmode=disable", server.url(database));
                site.configure_shared(&format!("url=\"{url}\" lease=\"10s\""), elements);
            }
        }
    }

    /// Makes each client due: where hosts share a storage, none is taken twice in an interval.
    fn let_time_pass(&self) {
        if let Self::Postgres(server, database) = self {
            // The first run makes the tables.
            if server.sql(database, "SELECT to_regclass('claim')") == "claim" {
                let_time_pass(server, database);
            }
        }
    }
}

#[test]
fn every_record_is_stored_once_whatever_is_killed() {
    kill_and_count(&Backend::Sqlite);
}

#[test]
fn every_record_is_stored_once_in_postgresql_whatever_is_killed() {
    kill_and_count(&Backend::postgres());
}

fn kill_and_count(backend: &Backend) {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
    let seed = number("FLEET_SEED").unwrap_or(clock.as_nanos() as u64 | 1);
    let kills = number("FLEET_KILLS").unwrap_or(60);
    tests::tell(&format!("{}: FLEET_SEED={seed} FLEET_KILLS={kills}", backend.name()));
    let mut random = Random(seed.max(1));

    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    let names: Vec<String> = (0..CLIENTS).map(|index| format!("host{index}")).collect();
    backend.configure(&site, &names.iter().map(|name| site.client(&sshd, name, "", "")).collect::<String>());

    let (mut collectors, mut workers) = (0, 0);
    for _ in 0..kills {
        backend.let_time_pass();
        let mut run = start(&site);
        std::thread::sleep(Duration::from_millis(random.below(400)));
        if random.below(3) == 0 {
            kill(run.id());
            collectors += 1;
        } else {
            let living = children(run.id());
            if let Some(worker) = living.get(random.below(living.len().max(1) as u64) as usize) {
                kill(*worker);
                workers += 1;
            }
        }
        let _ = run.wait();
        // Workers of a killed collector end by themselves: their pipes are closed.
    }
    child::until("a run gets the lock and collects all", || {
        backend.let_time_pass();
        let run = site.collector(&["run", "--fresh"]);
        assert!(matches!(run.code, Some(0 | 1 | 75)), "{run:?}");
        run.code == Some(0)
    });
    backend.let_time_pass();
    site.collect_with(&["--fresh"]).expect_all();

    let mut reported = 0;
    for name in &names {
        let spools = spools(&site.remote_dir(name));
        assert_eq!(spools.len(), 1, "{name} has one uid for ever: {spools:?}");
        reported += newest(&spools[0]);
    }
    let stored = site.status()["counts"]["reports"].as_u64().expect("status counts reports");
    tests::tell(&format!(
        "{}: killed {collectors} collectors and {workers} workers; {reported} records reported, {stored} stored",
        backend.name()
    ));
    assert!(reported > CLIENTS as u64, "the kills left nothing to check");
    assert_eq!(stored, reported, "FLEET_SEED={seed}");
}
