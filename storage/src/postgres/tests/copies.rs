//! What is tried out on a copy.

use crate::conformance::server::Server;
use crate::conformance::{at, attempt, enrol, episode, fact, received, run};
use crate::postgres::{PostgresAccess, PostgresStore};
use crate::{AlertStore as _, Counts, History as _, Program, ReportStore as _, Run, RunLog as _, Step};

/// It sees what it did, and nobody else does, then or later; whoever collects goes on.
#[test]
fn what_is_done_to_a_copy_is_seen_there_alone() {
    let server = Server::shared();
    let url = server.storage(&server.database());
    let access = PostgresAccess::new(Program::Alerter);
    let mut store = PostgresStore::open(&url, &access).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    store.store(&[attempt(web, 10, vec![received(1, 1, 9)])]).unwrap();
    let (backlog, counts) = (store.backlog(9).unwrap(), store.counts().unwrap());

    let mut copy = PostgresStore::open_copy(&url, &access).unwrap();
    let tried = copy.begin_run(&run(Program::Alerter, 20)).unwrap();
    assert_eq!(copy.backlog(9).unwrap(), backlog);
    let marks: Vec<_> = backlog.iter().map(|entry| entry.mark).collect();
    let problem = episode(web, "/", 9);
    let facts = vec![fact(&problem, "a@x", 0)];
    let step = Step { marks, episodes: vec![problem.clone()], facts, ..Step::default() };
    copy.commit(&step).unwrap();
    assert!(copy.commit(&step).is_err(), "its marks are spent");
    copy.end_run(&Run { end: Some(at(21)), ..tried }).unwrap();
    assert_eq!((copy.backlog(9).unwrap(), copy.untold().unwrap().len()), (vec![], 1));
    assert_eq!(copy.open_episodes().unwrap(), [problem]);

    let mut collector = PostgresStore::open(&url, &PostgresAccess::new(Program::Collector)).unwrap();
    let collecting = collector.begin_run(&run(Program::Collector, 30)).unwrap();
    collector.claim(&[web], std::time::Duration::ZERO, 1).unwrap();
    let new = crate::Attempt { run: collecting.begin, ..attempt(web, 30, vec![received(1, 2, 29)]) };
    assert_eq!(collector.store(&[new]).unwrap(), [1]);
    collector.end_run(&Run { end: Some(at(31)), ..collecting }).unwrap();
    assert_eq!(copy.backlog(9).unwrap(), [], "it is of the moment at which it was made");
    assert_eq!(store.begin_run(&run(Program::Alerter, 40)).unwrap().begin, at(40), "it holds no lease");
    drop(copy);

    assert_eq!(store.backlog(9).unwrap()[..2], backlog);
    assert_eq!(store.counts().unwrap(), Counts { reports: 2, unevaluated: 4, ..counts });
    assert_eq!((store.untold().unwrap(), store.open_episodes().unwrap()), (vec![], vec![]));
    let runs = store.runs(Program::Alerter, 9).unwrap();
    assert_eq!(runs.iter().map(|run| run.begin).collect::<Vec<_>>(), [at(40)]);
}
