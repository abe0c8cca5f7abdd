//! A SQLite file beside a PostgreSQL server on the same disk, both with every commit on the disk: what a run of 1,000 clients
//! costs to store, what people and the alerter wait for, and how many bytes a report takes.
//!
//! `cargo bench -p storage --features conformance --bench storage`; docs/performance.md has the table.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![allow(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::time::{Duration, Instant};

use model::{ClientMemory, ClientName, ClientUid, Labels, Outcome, Record, Sample, SpoolId, Timestamp};
use storage::conformance::server::{Server, Setup};
use storage::{
    Attempt, Content, Mark, PostgresAccess, PostgresStore, Program, Received, Run, SqliteStore, Step, Store,
};

const CLIENTS: usize = 1_000;
const SAMPLES: usize = 60;

/// Runs that are stored, ten minutes apart: a day. Of the times of all the median counts.
const RUNS: usize = 144;

/// Attempts that the collector stores at once, and entries that the alerter evaluates at once.
const BATCH: usize = 64;
const ENTRIES: usize = 2_000;

/// How often each question is asked.
const QUESTIONS: usize = 15;

const BEGIN: i64 = 1_785_204_000_000;
const TEN_MINUTES: i64 = 600_000;

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.db");
    let server = Server::with(Setup { durable: true, ..Setup::default() });
    let database = server.database();
    let access = PostgresAccess::new(Program::Collector);
    let mut file = Side::new(Box::new(SqliteStore::open(&path).unwrap()));
    let mut postgres = Side::new(Box::new(PostgresStore::open(&server.storage(&database), &access).unwrap()));
    let empty = server.bytes(&database);
    for run in 0..RUNS {
        file.run(run);
        postgres.run(run);
    }
    let bytes = [
        std::fs::metadata(&path).unwrap().len() as f64,
        server.bytes(&database).saturating_sub(empty) as f64,
    ];
    let sides = [&mut file, &mut postgres];
    let [file, postgres] = sides.map(Side::measure);
    let reports = (RUNS * CLIENTS) as f64;
    println!("{:46} {:>10} {:>12} {:>7}", "", "SQLite", "PostgreSQL", "ratio");
    for (row, (file, postgres)) in ROWS.iter().zip(file.into_iter().zip(postgres)) {
        println!("{row:46} {file:10.1} {postgres:12.1} {:7.2}", postgres / file);
    }
    let [file, postgres] = bytes.map(|bytes| bytes / reports);
    println!(
        "{:46} {file:10.0} {postgres:12.0} {:7.2}",
        "bytes per report, attempt included",
        postgres / file
    );
}

const ROWS: [&str; 6] = [
    "to take 1,000 clients for a run, ms",
    "to store a run of 1,000 reports, ms",
    "the latest of 1,000 clients, ms",
    "a day of a metric of a client, ms",
    "to read 2,000 entries of the backlog, ms",
    "to commit 2,000 marks and 1,000 memories, ms",
];

/// A store, and how long it took for what, in milliseconds.
struct Side {
    store: Box<dyn Store>,
    clients: Vec<ClientUid>,
    claims: Vec<f64>,
    runs: Vec<f64>,
}

impl Side {
    fn new(mut store: Box<dyn Store>) -> Self {
        let names: Vec<ClientName> = (0..CLIENTS).map(|n| format!("client{n}").parse().unwrap()).collect();
        let mut next = 0_u128;
        let mut uid = || {
            next += 1;
            ClientUid(next.to_be_bytes())
        };
        let clients = store.clients(&names, &mut uid).unwrap().into_iter().map(|row| row.uid).collect();
        Self { store, clients, claims: Vec::new(), runs: Vec::new() }
    }

    /// Stores a run as the collector does: a batch at a time.
    fn run(&mut self, number: usize) {
        let begin = Timestamp(BEGIN + number as i64 * TEN_MINUTES);
        let (program, host) = (Program::Collector, "here".to_owned());
        let run = Run { program, host, begin, end: None, done: 0, failed: 0, whole: true };
        let run = self.store.begin_run(&run).unwrap();
        let Self { store, clients, claims, runs } = self;
        let claimed = timed(claims, || store.claim(clients, Duration::ZERO, CLIENTS).unwrap());
        assert_eq!(claimed.taken.len(), CLIENTS);
        let attempts: Vec<Attempt> = clients
            .iter()
            .enumerate()
            .map(|(client, uid)| attempt(*uid, client, number, run.begin))
            .collect();
        timed(runs, || {
            for batch in attempts.chunks(BATCH) {
                assert_eq!(store.store(batch).unwrap(), vec![1; batch.len()]);
            }
        });
        store.end_run(&Run { end: Some(begin.plus(60_000)), ..run }).unwrap();
    }

    /// The median of each of [`ROWS`].
    fn measure(&mut self) -> [f64; 6] {
        let Self { store, clients, claims, runs } = self;
        let [mut latest, mut day, mut reads, mut commits] = [const { Vec::new() }; 4];
        for question in 0..QUESTIONS {
            let found = timed(&mut latest, || store.latest().unwrap());
            assert!(found.iter().all(|client| client.report.as_ref().unwrap().2.len() == SAMPLES));
            let (client, labels) = (clients[question * 7], Labels::none());
            let (from, to) = (Timestamp(0), Timestamp(i64::MAX));
            let found = timed(&mut day, || store.series(client, "metric3", &labels, from, to).unwrap());
            assert_eq!(found.len(), RUNS);
        }
        loop {
            let entries = timed(&mut reads, || store.backlog(ENTRIES).unwrap());
            if entries.is_empty() {
                reads.pop();
                break;
            }
            let marks: Vec<Mark> = entries.iter().map(|entry| entry.mark).collect();
            let memory = |reported| ClientMemory { reported: Some(reported), ..ClientMemory::default() };
            let memories = clients.iter().map(|uid| (*uid, memory(entries[0].event_time))).collect();
            let step = Step { marks, memories, ..Step::default() };
            timed(&mut commits, || store.commit(&step).unwrap());
        }
        [claims, runs, &mut latest, &mut day, &mut reads, &mut commits].map(|times| median(times))
    }
}

fn timed<T>(times: &mut Vec<f64>, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let value = work();
    times.push(begin.elapsed().as_secs_f64() * 1000.0);
    value
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn attempt(uid: ClientUid, client: usize, run: usize, begin: Timestamp) -> Attempt {
    let at = begin.plus(client as i64 * 10);
    let sequence = run as u64 + 1;
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&(sequence << 20 | client as u64).to_be_bytes());
    let spool = SpoolId((client as u128 + 1).to_be_bytes());
    let content = Content::Record(Box::new(record(client, run)));
    let received = Received { spool, sequence, digest, receipt: at, event_time: at, content };
    let outcome = Outcome::Collected;
    Attempt { client: uid, run: begin, at, outcome, seconds: 0.25, uploaded: false, records: vec![received] }
}

/// Values of 60 series: whole numbers, percents, and some with all their digits, as counters and rates are.
fn record(client: usize, run: usize) -> Record {
    let sample = |number: usize| {
        let noise = (client * 31 + run * 17 + number * 7) % 1009;
        let value = match number % 3 {
            0 => noise as f64 * 1024.0,
            1 => noise as f64 / 100.0,
            _ => noise as f64 / 7.0,
        };
        let labels = if number < 30 { Labels::none() } else { Labels::one("device", &format!("d{number}")) };
        Sample { metric: format!("metric{}", number % 30), labels, value }
    };
    storage::conformance::record((0..SAMPLES).map(sample).collect())
}
