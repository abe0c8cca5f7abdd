//! A fleet of one rule each, a store in memory, and runs over it.
#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod golden;

use std::path::Path;

use alerter::mail::Letterhead;
use alerter::run::{Job, run};
use alerter::transport::Transport;
use alerter::zone::Zone;
use chrono_tz::Tz;
use config::{Environment, Settings};
use model::{
    Acknowledgement, Body, ClientName, ClientUid, Clock, Evidence, Exit, Host, Labels, Outcome, Process,
    ReaderOutcome, Record, Report, Sample, Silence, SpoolId, Timestamp,
};
use storage::{Attempt, Content, MemoryStore, Program, Received, Run, Store};

/// 2026-07-28 02:00:00 UTC.
pub(crate) const T0: Timestamp = Timestamp(1_785_204_000_000);

/// `minutes` after [`T0`].
pub(crate) fn at(minutes: i64) -> Timestamp {
    T0.plus(minutes * 60_000)
}

pub(crate) const OPS: &str = "ops@example.org";

/// What config.xml says with `content` in `<config>`.
pub(crate) fn settings(content: &str) -> Settings {
    let environment =
        Environment { user: "ops".to_owned(), hostname: "mgmt1".to_owned(), ..Environment::default() };
    let text = format!("<config>\n<storage url=\"sqlite:///nonexistent/fleet.db\"/>\n{content}\n</config>\n");
    config::parse(&text, Path::new("/etc/fleet-health/config.xml"), &environment)
        .unwrap_or_else(|faults| panic!("{faults}"))
}

/// A client with one rule over disks, told to `receivers`.
pub(crate) fn client(name: &str, receivers: &str) -> String {
    let alert = r#"<alert type="disk" warning="80%" critical="90%"/>"#;
    format!(
        "<client name=\"{name}\" ip=\"127.0.0.1\" connection=\"local\" mail=\"{receivers}\">{alert}</client>\n"
    )
}

/// That client, called web1.
pub(crate) fn web1(receivers: &str) -> Settings {
    settings(&client("web1", receivers))
}

/// Stores what a fleet reports.
pub(crate) struct Fleet<S> {
    pub(crate) store: S,
    sequence: u64,
    /// How the probe's readers fare.
    pub(crate) readers: Vec<ReaderOutcome>,
    /// What every report says beside its values.
    pub(crate) evidence: Evidence,
}

impl Fleet<MemoryStore> {
    pub(crate) fn new() -> Self {
        Self::with(MemoryStore::new())
    }
}

impl<S: Store> Fleet<S> {
    pub(crate) fn with(store: S) -> Self {
        let process =
            Process { pid: 812, name: "postgres".to_owned(), uid: 26, cpu: Some(180.5), memory: 2 << 30 };
        let evidence = Evidence { top_cpu: vec![process.clone()], top_memory: vec![process] };
        Self { store, sequence: 0, readers: Vec::new(), evidence }
    }

    pub(crate) fn uid(&mut self, client: &str) -> ClientUid {
        let name: ClientName = client.parse().unwrap();
        let mut new_uid = || {
            let mut bytes = [0; 16];
            let length = client.len().min(16);
            bytes[..length].copy_from_slice(&client.as_bytes()[..length]);
            ClientUid(bytes)
        };
        self.store.clients(&[name], &mut new_uid).unwrap()[0].uid
    }

    /// A collection at `time` that brought `samples` of that time.
    pub(crate) fn collected(&mut self, client: &str, time: Timestamp, samples: Vec<Sample>) {
        self.sequence += 1;
        let clock = Clock { wall: time, boottime_ms: 0, boot_id: String::new() };
        let (readers, evidence) = (self.readers.clone(), self.evidence.clone());
        let report = Report { host: Host::default(), samples, readers, evidence };
        let record = Record { version: 1, clock, body: Body::Report(report) };
        let received = Received {
            spool: SpoolId([9; 16]),
            sequence: self.sequence,
            digest: [self.sequence as u8; 32],
            receipt: time,
            event_time: time,
            content: Content::Record(Box::new(record)),
        };
        self.attempted(client, time, Outcome::Collected, vec![received]);
    }

    pub(crate) fn disk(&mut self, client: &str, minute: i64, value: f64) {
        self.collected(
            client,
            at(minute),
            vec![sample("disk", "/var", value), sample("disk-free", "/var", 5e9)],
        );
    }

    pub(crate) fn failed(&mut self, client: &str, minute: i64, outcome: Outcome) {
        self.attempted(client, at(minute), outcome, Vec::new());
    }

    fn attempted(&mut self, client: &str, at: Timestamp, outcome: Outcome, records: Vec<Received>) {
        let client = self.uid(client);
        let attempt = Attempt { client, at, run: at, outcome, seconds: 1.0, uploaded: false, records };
        self.store.store(&[attempt]).unwrap();
        let (program, end) = (Program::Collector, Some(at));
        let run = Run { program, host: String::new(), begin: at, end, done: 1, failed: 0, whole: true };
        if self.store.end_run(&run).is_err() {
            self.store.begin_run(&run).unwrap();
            self.store.end_run(&run).unwrap();
        }
    }

    /// Somebody works on what is open at `/srv`, and nobody is to hear of the load of `@web` for two hours.
    pub(crate) fn taken_on_and_silenced(&mut self) {
        let open = self.store.open_episodes().unwrap();
        let episode = open.iter().find(|open| open.key.labels.object() == "/srv").unwrap().id.clone();
        let (from, until, why) = (at(2), Some(at(600)), "Ann swaps the disk".to_owned());
        self.store.acknowledge(&Acknowledgement { episode, from, until, why }).unwrap();
        let (target, metric) = ("@web".to_owned(), Some("load".to_owned()));
        let (until, why) = (at(122), "a load test".to_owned());
        self.store.add_silence(&Silence { id: 0, target, metric, from, until, why }).unwrap();
    }

    pub(crate) fn run(
        &mut self,
        settings: &Settings,
        minute: i64,
        transport: Option<&mut dyn Transport>,
    ) -> Exit {
        self.at_work(settings, minute, |store, job| run(store, job, transport).unwrap())
    }

    /// What `work` does with the store at that minute, in Berlin.
    pub(crate) fn at_work<T>(
        &mut self,
        settings: &Settings,
        minute: i64,
        work: impl FnOnce(&mut S, Job) -> T,
    ) -> T {
        let letterhead =
            Letterhead { version: "0.1.0", hostname: "mgmt1", zone: Zone::Named(Tz::Europe__Berlin) };
        let now = at(minute);
        let job = Job { settings, from: "fleet@example.org", letterhead, now, booted: None, clock: &|| now };
        work(&mut self.store, job)
    }
}

pub(crate) fn sample(metric: &str, mount: &str, value: f64) -> Sample {
    Sample { metric: metric.to_owned(), labels: Labels::one("mount", mount), value }
}

/// The text part of a mail.
pub(crate) fn text(mail: &storage::Message) -> String {
    alerter::dry_run::text(mail)
}
