//! Keeping the storage in order: days as partitions, and what is removed of them.

use std::time::Duration;

use super::{PostgresStore, database, open, url};
use crate::conformance::server::Server;
use crate::conformance::{at, attempt, enrol, received};
use crate::{AlertStore as _, History as _, Maintained, Program, ReportStore as _, Run, RunLog as _, Step};

const DAY: i64 = 86_400;

fn store() -> (PostgresStore, String) {
    let (server, database) = (Server::shared(), database());
    (open(&url(server.address(), server.port(), &database)), database)
}

/// Marks everything as evaluated.
fn evaluate(store: &mut PostgresStore) {
    let marks = store.backlog(999).unwrap().iter().map(|entry| entry.mark).collect();
    store.commit(&Step { marks, ..Step::default() }).unwrap();
}

/// What is kept.
const KEEP: Option<Duration> = Some(Duration::from_secs(31 * DAY as u64));

/// The partitions of a table with the number of their rows.
fn rows(database: &str, table: &str) -> Vec<String> {
    let sql = format!("SELECT tableoid::regclass, count(*) FROM {table} GROUP BY 1");
    let mut rows: Vec<String> = Server::shared().sql(database, &sql).lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

fn made(database: &str) -> String {
    Server::shared().sql(database, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'report'::regclass")
}

#[test]
fn what_waits_in_the_default_partition_goes_to_its_day() {
    let (mut store, database) = store();
    let web = enrol(&mut store, "web").unwrap();
    let records = vec![received(1, 1, -DAY), received(1, 2, 5), received(1, 3, 6), received(1, 4, 99 * DAY)];
    store.store(&[attempt(web, 10, records)]).unwrap();
    assert_eq!(rows(&database, "report"), ["report_default|4"]);
    let before = store.backlog(9).unwrap();
    let done = store.maintain(at(20), None).unwrap();
    // Today and a week for both tables, and yesterday of reports.
    assert_eq!(done, Maintained { made: 8 + 8 + 1, moved: 3 + 1, ..Maintained::default() });
    assert_eq!(rows(&database, "report"), ["report_20260727|1", "report_20260728|2", "report_default|1"]);
    assert_eq!(store.backlog(9).unwrap(), before, "all is where it was");
    assert_eq!(store.maintain(at(30), None).unwrap(), Maintained::default(), "nothing is left to do");
    assert_eq!(store.maintain(at(30 + DAY), None).unwrap().made, 2);
    // What comes afterwards goes where it belongs.
    store.store(&[attempt(web, 40, vec![received(1, 5, 7)])]).unwrap();
    assert_eq!(rows(&database, "report")[1], "report_20260728|3");
}

#[test]
fn old_days_go_and_nobody_misses_them() {
    let (mut store, database) = store();
    let web = enrol(&mut store, "web").unwrap();
    store.maintain(at(0), None).unwrap();
    store.store(&[attempt(web, 10, vec![received(1, 1, 5), received(1, 2, -40 * DAY)])]).unwrap();
    let later = at(33 * DAY);
    // What nobody evaluated stays, however old it is.
    let done = store.maintain(later, KEEP).unwrap();
    assert_eq!((done.dropped, done.deleted), (2, 0), "the second day, which is empty, of both tables");
    assert_eq!(store.backlog(9).unwrap().len(), 3);
    let shown = store.latest().unwrap();
    evaluate(&mut store);
    let done = store.maintain(later, KEEP).unwrap();
    assert_eq!((done.dropped, done.deleted), (2, 1));
    assert_eq!(rows(&database, "report"), Vec::<String>::new());
    assert_eq!(store.latest().unwrap(), shown, "status shows what it showed");
    // The same again is known still, and something old that is new is taken.
    let again = vec![received(1, 1, 5), received(1, 2, -40 * DAY), received(1, 3, 6)];
    assert_eq!(store.store(&[attempt(web, 50, again)]).unwrap(), [1]);
}

#[test]
fn without_partitions_rows_are_deleted() {
    let (server, database) = (Server::shared(), database());
    let url = url(server.address(), server.port(), &database);
    drop(open(&url));
    let whole = include_str!("../../../../sql/postgres/0001_whole.sql");
    server.sql(&database, &format!("DROP TABLE report, collection; {whole}"));
    let mut store = open(&url);
    let web = enrol(&mut store, "web").unwrap();
    store.store(&[attempt(web, 10, vec![received(1, 1, 5), received(1, 2, 6)])]).unwrap();
    evaluate(&mut store);
    store.store(&[attempt(web, 20, vec![received(1, 3, 7)])]).unwrap();
    let done = store.maintain(at(40 * DAY), KEEP).unwrap();
    assert_eq!(done, Maintained { deleted: 3, ..Maintained::default() });
    assert_eq!(store.backlog(9).unwrap().len(), 2);
}

#[test]
fn it_is_done_once_a_day() {
    let (mut store, _) = store();
    assert!(store.maintain_daily(at(0), None).unwrap().is_some());
    assert_eq!(store.maintain_daily(at(DAY - 1), None).unwrap(), None);
    assert!(store.maintain_daily(at(DAY), None).unwrap().is_some());
    assert!(store.maintain_daily(at(0), None).unwrap().is_some(), "a clock was set back");
}

/// The latest of each host stay, and so does what somebody still names.
#[test]
fn old_runs_are_forgotten() {
    let (mut store, database) = store();
    let of = |host: &str, begin: i64| Run {
        program: Program::Collector,
        host: host.to_owned(),
        begin: at(begin),
        end: None,
        done: 0,
        failed: 0,
        whole: true,
    };
    store.begin_run(&of("a", 0)).unwrap();
    let web = enrol(&mut store, "web").unwrap();
    store.claim(&[web], Duration::ZERO, 9).unwrap();
    store.begin_run(&of("a", 1)).unwrap();
    Server::shared().sql(
        &database,
        &format!(
            "INSERT INTO run (run_id, program, begin, finish, done, failed, whole, host, began, until)
             SELECT -n, 'fleet-collector', {} + n, 0, 0, 0, true, 'a', 0, 0 FROM generate_series(1, 1005) AS n",
            at(1).millis()
        ),
    );
    // Of the seven oldest a claim names the first, and the second goes on.
    let done = store.maintain(at(40 * DAY), KEEP).unwrap();
    assert_eq!(done.deleted, 5);
    assert_eq!(made(&database), "9");
}
