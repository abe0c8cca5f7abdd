//! How the same entries are split into runs changes no episode and no fact.
#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod common;

use std::collections::BTreeSet;

use common::{Fleet, at, client, sample, settings};
use model::{Outcome, Phase};
use proptest::prelude::*;
use storage::{AlertStore as _, History as _, MemoryStore};

/// What one collection of a client brought.
#[derive(Debug, Clone)]
enum Happening {
    Report { root: f64, var: f64 },
    Timeout,
    HostKeyChanged,
    NotReached,
}

fn happening() -> impl Strategy<Value = Happening> {
    let value = || prop_oneof![Just(50.0), Just(85.0), Just(95.0)];
    prop_oneof![
        5 => (value(), value()).prop_map(|(root, var)| Happening::Report { root, var }),
        2 => Just(Happening::Timeout),
        1 => Just(Happening::HostKeyChanged),
        1 => Just(Happening::NotReached),
    ]
}

fn happen(fleet: &mut Fleet<MemoryStore>, client: &str, minute: i64, happening: &Happening) {
    match *happening {
        Happening::Report { root, var } => {
            fleet.collected(client, at(minute), vec![sample("disk", "/", root), sample("disk", "/var", var)]);
        }
        Happening::Timeout => fleet.failed(client, minute, Outcome::Timeout { phase: Phase::Connect }),
        Happening::HostKeyChanged => {
            let (offered, expected) = ("a".to_owned(), "b".to_owned());
            fleet.failed(
                client,
                minute,
                Outcome::HostKeyChanged { offered, expected, by: model::Objection::Line },
            );
        }
        Happening::NotReached => fleet.failed(client, minute, Outcome::NotReached),
    }
}

/// All episodes and facts after these happenings, with a run after each of which `runs` says so, and one at the end.
fn contents(happenings: &[(bool, Happening)], runs: &[bool]) -> (Vec<String>, BTreeSet<String>) {
    let receivers = "ops@example.org, dev@example.org";
    let settings = settings(&[client("web1", receivers), client("db2", "ops@example.org")].concat());
    let mut fleet = Fleet::new();
    for (i, (is_web, happening)) in happenings.iter().enumerate() {
        happen(&mut fleet, if *is_web { "web1" } else { "db2" }, i as i64, happening);
        if runs.get(i) == Some(&true) {
            fleet.run(&settings, i as i64, None);
        }
    }
    fleet.run(&settings, 1000, None);
    let untold = fleet.store.untold().unwrap();
    let facts: BTreeSet<String> = untold.iter().map(|(_, fact)| format!("{fact:?}")).collect();
    assert_eq!(facts.len(), untold.len(), "a fact is there twice");
    let ids: BTreeSet<_> = untold.iter().map(|(_, fact)| fact.episode.clone()).collect();
    let mut episodes = fleet.store.episodes(&ids.into_iter().collect::<Vec<_>>()).unwrap();
    episodes.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(fleet.store.counts().unwrap().unevaluated, 0);
    let open = fleet.store.firing().unwrap().len();
    assert_eq!(episodes.iter().filter(|episode| episode.end.is_none()).count(), open);
    (episodes.iter().map(|episode| format!("{episode:?}")).collect(), facts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_split_into_runs_gives_the_same(
        happenings in proptest::collection::vec((any::<bool>(), happening()), 1..50),
        runs in proptest::collection::vec(any::<bool>(), 50),
    ) {
        prop_assert_eq!(contents(&happenings, &[]), contents(&happenings, &runs));
    }
}
