//! How the same entries are split into runs, and where a run is killed, changes no episode and no fact; and each fact is
//! told once, whatever mail does.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use alerter::transport::{Answer, Fault, Scope, Stage, Transport};
use common::{Fleet, at, settings};
use config::Settings;
use model::{Labels, Outcome, Phase, Reason, Sample, Silence};
use proptest::prelude::*;
use storage::conformance::server::Server;
use storage::{MemoryStore, Message, PostgresAccess, PostgresStore, Program, Store};

const CLIENTS: [&str; 5] = ["gw", "web1", "web2", "db1", "db2"];

/// Rules of every kind of hold, a window, a parent, and who hears of criticals only.
fn fleet() -> Settings {
    settings(
        r#"<mail transport="directory" path="/nonexistent" admin="admin@x.org" text-only="true"/>
        <receiver mail="boss@x.org" min-severity="critical"/>
        <window name="night" daily="03:00-04:30" time-zone="UTC"/>
        <defaults mail="ops@x.org, boss@x.org" group="all">
          <alert type="disk" warning="80%" critical="90%" for="10m" clear="75%"/>
          <alert type="cpu" limit="90%" samples="2 of 3" keep-firing-for="10m" severity="warning"/>
          <alert type="memory" limit="90%" for="15m" aggregate="avg" mute="night"/>
          <alert type="stale" limit="20m"/>
          <alert type="reboot" severity="warning"/>
        </defaults>
        <client name="gw" ip="127.0.0.1" connection="local"/>
        <client name="web1" ip="127.0.0.2" connection="local" parent="gw"/>
        <client name="web2" ip="127.0.0.3" connection="local" parent="gw"/>
        <client name="db1" ip="127.0.0.4" connection="local"/>
        <client name="db2" ip="127.0.0.5" connection="local"/>"#,
    )
}

/// What one run of the collector finds at a client.
#[derive(Debug, Clone)]
enum Finding {
    Report {
        disk: f64,
        cpu: f64,
        memory: f64,
        boots: bool,
    },
    Nothing,
    Timeout,
    HostKeyChanged,
    NotReached,
    /// The client is not asked at all: `--only` others.
    NotAsked,
}

#[derive(Debug, Clone)]
struct Tick {
    findings: Vec<Finding>,
    /// Nobody answers.
    cut: bool,
    silence: Option<usize>,
}

fn finding() -> impl Strategy<Value = Finding> {
    let value = || prop_oneof![3 => Just(50.0), 1 => Just(78.0), 2 => Just(85.0), 3 => Just(95.0)];
    prop_oneof![
        12 => (value(), value(), value(), proptest::bool::weighted(0.1))
            .prop_map(|(disk, cpu, memory, boots)| Finding::Report { disk, cpu, memory, boots }),
        1 => Just(Finding::Nothing),
        4 => Just(Finding::Timeout),
        1 => Just(Finding::HostKeyChanged),
        1 => Just(Finding::NotReached),
        1 => Just(Finding::NotAsked),
    ]
}

prop_compose! {
    /// Each finding lasts for a while, as things do.
    fn ticks()(
        lives in proptest::collection::vec(
            proptest::collection::vec((finding(), 1_usize..6), 20), CLIENTS.len()),
        cuts in proptest::collection::vec(proptest::bool::weighted(0.1), 40),
        silences in proptest::collection::vec(proptest::option::weighted(0.05, 0..CLIENTS.len()), 40),
        count in 5_usize..40,
    ) -> Vec<Tick> {
        let lives: Vec<Vec<Finding>> = lives
            .into_iter()
            .map(|life| life.into_iter().flat_map(|(finding, ticks)| vec![finding; ticks]).collect())
            .collect();
        (0..count)
            .map(|i| Tick {
                findings: lives.iter().map(|life: &Vec<Finding>| life[i % life.len()].clone()).collect(),
                cut: cuts[i],
                silence: silences[i],
            })
            .collect()
    }
}

fn happen<S: Store>(fleet: &mut Fleet<S>, i: usize, tick: &Tick) {
    let minute = i as i64 * 5;
    if let Some(client) = tick.silence {
        let (from, until, target) = (at(minute), at(minute + 30), CLIENTS[client].to_owned());
        let silence = Silence { id: 0, target, metric: None, from, until, why: String::new() };
        fleet.store.add_silence(&silence).unwrap();
    }
    for (client, finding) in CLIENTS.iter().zip(&tick.findings) {
        let finding = if tick.cut { &Finding::Timeout } else { finding };
        match finding {
            Finding::Report { disk, cpu, memory, boots } => {
                let one = |metric: &str, labels, value| Sample { metric: metric.to_owned(), labels, value };
                let uptime = if *boots { 60.0 } else { 1e6 + minute as f64 * 60.0 };
                let samples = vec![
                    one("disk", Labels::one("mount", "/var"), *disk),
                    one("cpu", Labels::none(), *cpu),
                    one("memory", Labels::none(), *memory),
                    one("uptime", Labels::none(), uptime),
                ];
                fleet.collected(client, at(minute), samples);
            }
            Finding::Nothing => fleet.failed(client, minute, Outcome::Collected),
            Finding::Timeout => fleet.failed(client, minute, Outcome::Timeout { phase: Phase::Connect }),
            Finding::HostKeyChanged => {
                let (offered, expected) = ("a".to_owned(), "b".to_owned());
                let by = model::Objection::Line;
                fleet.failed(client, minute, Outcome::HostKeyChanged { offered, expected, by });
            }
            Finding::NotReached => fleet.failed(client, minute, Outcome::NotReached),
            Finding::NotAsked => {}
        }
    }
}

/// All episodes and facts after these ticks, with a run after each of which `runs` says so, and one at the end.
fn contents<S: Store>(store: S, ticks: &[Tick], runs: &[bool]) -> (Vec<String>, BTreeSet<String>) {
    let settings = fleet();
    let mut fleet = Fleet::with(store);
    for (i, tick) in ticks.iter().enumerate() {
        happen(&mut fleet, i, tick);
        if runs.get(i) == Some(&true) {
            fleet.run(&settings, i as i64 * 5, None);
        }
    }
    fleet.run(&settings, ticks.len() as i64 * 5, None);
    let untold = fleet.store.untold().unwrap();
    let facts: BTreeSet<String> = untold.iter().map(|(_, fact)| format!("{fact:?}")).collect();
    assert_eq!(facts.len(), untold.len(), "a fact is there twice");
    let mut episodes = fleet.store.episodes_between(at(-1), at(10_000), usize::MAX).unwrap();
    episodes.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(fleet.store.counts().unwrap().unevaluated, 0);
    let open = fleet.store.firing().unwrap().len();
    assert_eq!(episodes.iter().filter(|episode| episode.end.is_none()).count(), open);
    (episodes.iter().map(|episode| format!("{episode:?}")).collect(), facts)
}

/// A way out that does what it is told to, and keeps what it took.
#[derive(Default)]
struct Post {
    weather: Vec<Weather>,
    taken: Vec<Message>,
    /// What was handed over for certain or perhaps, by Message-ID.
    seen: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone, Copy)]
enum Weather {
    Fair,
    Down,
    /// Taken, but the answer is lost.
    Doubt,
    /// The alerter is killed before it learns that the message was taken.
    Killed,
}

impl Transport for Post {
    fn deliver(&mut self, message: &Message) -> Answer {
        let fault = || Fault {
            stage: Stage::Connect,
            scope: Scope::All,
            detail: "the way out is down".to_owned(),
            remedy: "",
        };
        let weather = self.weather.pop().unwrap_or(Weather::Fair);
        if matches!(weather, Weather::Down) {
            return Answer::NotTaken(fault());
        }
        let before = self.seen.insert(message.id.clone(), message.bytes.clone());
        assert!(before.is_none_or(|before| before == message.bytes), "a retry has other bytes");
        self.taken.push(message.clone());
        match weather {
            Weather::Doubt => Answer::InDoubt(fault()),
            Weather::Killed => panic!("killed"),
            _ => Answer::Accepted { said: "250".to_owned() },
        }
    }

    fn name(&self) -> String {
        "post".to_owned()
    }
}

/// What everybody was told of each episode in the end, by mails whose ids are counted once.
fn told<S: Store>(
    store: S,
    ticks: &[Tick],
    weather: Vec<Weather>,
) -> BTreeMap<(String, String), Vec<Reason>> {
    let settings = fleet();
    let mut fleet = Fleet::with(store);
    let mut post = Post { weather, ..Post::default() };
    for (i, tick) in ticks.iter().enumerate() {
        happen(&mut fleet, i, tick);
        let run = || fleet.run(&settings, i as i64 * 5, Some(&mut post));
        // A kill is a panic; what it leaves in the store is what was committed before.
        let _ = catch_unwind(AssertUnwindSafe(run));
    }
    post.weather.clear();
    let end = ticks.len() as i64 * 5;
    for hour in 1..=3 {
        fleet.run(&settings, end + hour * 61, Some(&mut post));
    }
    let waiting: Vec<_> = fleet.store.untold().unwrap();
    assert!(waiting.iter().all(|(_, fact)| fact.after > at(end + 183)), "{waiting:?}");
    assert!(fleet.store.outbox().unwrap().is_empty());
    let ids: Vec<_> = fleet
        .store
        .episodes_between(at(-1), at(10_000), usize::MAX)
        .unwrap()
        .into_iter()
        .map(|e| e.id)
        .collect();
    let mut told: BTreeMap<(String, String), Vec<Reason>> = BTreeMap::new();
    let taken: BTreeSet<&str> = post.taken.iter().map(|message| message.receiver.as_str()).collect();
    for telling in fleet.store.tellings(&ids).unwrap() {
        let fact = telling.fact;
        // What nobody wants to hear of is dropped, but never a problem.
        assert!(telling.composed.is_some() || fact.reason != Reason::First, "dropped: {fact:?}");
        assert!(taken.contains(fact.receiver.as_str()), "no mail ever went to {}", fact.receiver);
        if telling.composed.is_none() {
            continue;
        }
        told.entry((fact.episode.0, fact.receiver)).or_default().push(fact.reason);
    }
    told
}

fn weather() -> impl Strategy<Value = Vec<Weather>> {
    let kinds = prop_oneof![
        4 => Just(Weather::Fair),
        3 => Just(Weather::Down),
        1 => Just(Weather::Doubt),
        1 => Just(Weather::Killed),
    ];
    proptest::collection::vec(kinds, 60)
}

/// Whether each problem of these ticks is told once, and its end once.
fn told_once<S: Store>(store: S, ticks: &[Tick], weather: Vec<Weather>) -> Result<(), TestCaseError> {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let told = catch_unwind(AssertUnwindSafe(|| told(store, ticks, weather)));
    std::panic::set_hook(quiet);
    let told = told.map_err(|panic| TestCaseError::fail(format!("{:?}", panic.downcast_ref::<String>())))?;
    for ((episode, receiver), reasons) in told {
        for once in [Reason::First, Reason::Resolved] {
            let count = reasons.iter().filter(|reason| **reason == once).count();
            prop_assert!(count <= 1, "{} to {}: {:?}", episode, receiver, reasons);
        }
        let begun = [Reason::First, Reason::Worse, Reason::Flapping].iter().any(|r| reasons.contains(r));
        prop_assert!(begun, "an end without a problem: {episode} {receiver} {reasons:?}");
    }
    Ok(())
}

/// A store in a new database of a real PostgreSQL.
fn postgres() -> PostgresStore {
    let server = Server::shared();
    let url = server.storage(&server.database());
    PostgresStore::open(&url, &PostgresAccess::new(Program::Alerter)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_split_into_runs_gives_the_same(
        ticks in ticks(),
        runs in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let memory = MemoryStore::new;
        prop_assert_eq!(contents(memory(), &ticks, &[]), contents(memory(), &ticks, &runs));
    }

    #[test]
    fn a_problem_is_told_once_and_its_end_once(ticks in ticks(), weather in weather()) {
        told_once(MemoryStore::new(), &ticks, weather)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]
    #[test]
    fn postgresql_gives_the_same_for_every_split(
        ticks in ticks(),
        runs in proptest::collection::vec(any::<bool>(), 40),
        weather in weather(),
    ) {
        let memory = contents(MemoryStore::new(), &ticks, &[]);
        prop_assert_eq!(memory, contents(postgres(), &ticks, &runs));
        told_once(postgres(), &ticks, weather)?;
    }
}
