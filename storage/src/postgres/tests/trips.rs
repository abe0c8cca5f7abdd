//! What a batch costs: a round trip per table, not per row.

use std::time::Duration;

use model::ClientUid;

use super::{PostgresStore, open, url};
use crate::conformance::server::{Server, Setup};
use crate::conformance::{attempt, enrol, received, run};
use crate::{Attempt, Program, ReportStore as _, Run, RunLog as _};

/// The statements that the server was told meanwhile.
fn told(server: &Server, work: impl FnOnce()) -> Vec<String> {
    let before = server.log().len();
    work();
    let log = server.log();
    let lines = log[before..].lines().filter(|line| line.contains(" LOG:  "));
    lines
        .filter(|line| line.contains("statement: ") || line.contains("execute "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_batch_costs_the_same_however_many_attempts_it_has() {
    let server = Server::with(Setup { settings: vec!["log_statement=all".to_owned()], ..Setup::default() });
    let mut store = open(&url(server.address(), server.port(), &server.database()));
    let clients: Vec<ClientUid> =
        (0..64).map(|number| enrol(&mut store, &format!("c{number}")).unwrap()).collect();
    let mut costs = Vec::new();
    for (interval, count) in [(1_u64, 64), (2, 2), (3, 64)] {
        let run = store.begin_run(&run(Program::Collector, 60 * interval as i64)).unwrap();
        store.claim(&clients, Duration::ZERO, count).unwrap();
        let batch = batch(&clients[..count], &run, interval);
        costs.push(told(&server, || assert_eq!(stored(&mut store, &batch), count)));
    }
    // The first brings spools and series that are new.
    assert_eq!(costs[1].len(), 12, "{:#?}", costs[1]);
    assert_eq!(costs[2].len(), 12, "{:#?}", costs[2]);
    assert!(costs[0].len() <= 16, "{:#?}", costs[0]);
}

/// A new record of each client.
fn batch(clients: &[ClientUid], run: &Run, sequence: u64) -> Vec<Attempt> {
    let seconds = 60 * sequence as i64;
    let brought = |(number, client): (usize, &ClientUid)| {
        let records = vec![received(number as u8 + 1, sequence, seconds)];
        Attempt { run: run.begin, ..attempt(*client, seconds + 1, records) }
    };
    clients.iter().enumerate().map(brought).collect()
}

fn stored(store: &mut PostgresStore, batch: &[Attempt]) -> usize {
    store.store(batch).unwrap().into_iter().sum()
}
