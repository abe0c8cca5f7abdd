//! Each role can do all that its program does, and nothing else.

use std::sync::OnceLock;
use std::time::Duration;

use model::{
    Acknowledgement, AlertKey, AlertState, ClientMemory, ClientName, ClientUid, Episode, EpisodeId, Fact,
    FactId, Labels, Sample, Silence, Timestamp,
};

use super::{PostgresStore, access, copied, database, open, open_with, url};
use crate::conformance::server::Server;
use crate::{
    AlertStore, Attempt, Backoff, Claimed, ClientRow, Counts, Delivery, History, Latest, Message, Program,
    ReportStore, Run, RunLog, SealedKey, Step, StoreError, Telling, Unevaluated,
};

mod conform {
    crate::conformance!(((), super::Separated::new()));
}

/// Each program's part of the store, by its own role.
struct Separated {
    collector: PostgresStore,
    alerter: PostgresStore,
}

/// A database of the shipped schema, with the roles' rights.
fn granted() -> String {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    copied(&TEMPLATE, |database| {
        let server = Server::shared();
        // Twice, as after an upgrade.
        for _ in 0..2 {
            server.sql(database, include_str!("../../../../sql/postgres/roles.sql"));
            open(&url(server.address(), server.port(), database))
                .maintain(Timestamp(0), None)
                .expect("by its owner");
        }
    })
}

fn open_as(role: &str, database: &str) -> PostgresStore {
    let server = Server::shared();
    let mut url = url(server.address(), server.port(), database);
    url.user = Some(role.to_owned());
    open_with(&url, &access()).expect("the role opens the store")
}

impl Separated {
    fn new() -> Self {
        let database = granted();
        let [collector, alerter] = ["fleet_collector", "fleet_alerter"].map(|role| open_as(role, &database));
        Self { collector, alerter }
    }

    fn of(&mut self, program: Program) -> &mut PostgresStore {
        match program {
            Program::Collector => &mut self.collector,
            Program::Alerter => &mut self.alerter,
        }
    }
}

impl RunLog for Separated {
    fn now(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.alerter.now()
    }

    fn begin_run(&mut self, run: &Run) -> Result<Run, StoreError> {
        self.of(run.program).begin_run(run)
    }

    fn end_run(&mut self, run: &Run) -> Result<(), StoreError> {
        self.of(run.program).end_run(run)
    }

    fn runs(&mut self, program: Program, limit: usize) -> Result<Vec<Run>, StoreError> {
        self.of(program).runs(program, limit)
    }
}

/// Methods that a part does.
macro_rules! by {
    ($part:ident: $($name:ident($($argument:ident: $of:ty),*) -> $gives:ty;)*) => {$(
        fn $name(&mut self, $($argument: $of),*) -> Result<$gives, StoreError> {
            self.$part.$name($($argument),*)
        }
    )*};
}

impl ReportStore for Separated {
    by! { collector:
        clients(names: &[ClientName], new_uid: &mut dyn FnMut() -> ClientUid) -> Vec<ClientRow>;
        add_key(client: ClientUid, key: &SealedKey) -> ();
        store(attempts: &[Attempt]) -> Vec<usize>;
        find(name: &ClientName) -> Option<ClientRow>;
        rename(client: ClientUid, name: &ClientName) -> ();
        forget_keys(client: ClientUid, below: u32) -> ();
        purge(client: ClientUid) -> ();
        oldest_unevaluated_run() -> Option<Timestamp>;
        claim(wanted: &[ClientUid], rest: Duration, limit: usize) -> Claimed;
    }
}

impl AlertStore for Separated {
    by! { alerter:
        installation() -> String;
        backlog(limit: usize) -> Vec<Unevaluated>;
        alerts(clients: &[ClientUid]) -> Vec<(AlertKey, AlertState)>;
        memories(clients: &[ClientUid]) -> Vec<(ClientUid, ClientMemory)>;
        silences(at: Timestamp) -> Vec<Silence>;
        add_silence(silence: &Silence) -> i64;
        end_silence(id: i64, at: Timestamp) -> bool;
        acknowledgements(episodes: &[EpisodeId]) -> Vec<Acknowledgement>;
        acknowledge(acknowledgement: &Acknowledgement) -> ();
        firing() -> Vec<(AlertKey, AlertState)>;
        episodes(ids: &[EpisodeId]) -> Vec<Episode>;
        commit(step: &Step) -> ();
        untold() -> Vec<(FactId, Fact)>;
        told(episodes: &[EpisodeId]) -> Vec<Fact>;
        tellings(episodes: &[EpisodeId]) -> Vec<Telling>;
        messages_since(since: Timestamp) -> Vec<(String, Timestamp)>;
        drop_facts(facts: &[FactId]) -> ();
        freeze(message: &Message) -> ();
        has_message(id: &str) -> bool;
        outbox() -> Vec<Message>;
        note_delivery(message_id: &str, at: Timestamp, delivery: &Delivery) -> ();
        backoffs() -> Vec<Backoff>;
        set_backoff(backoff: &Backoff) -> ();
    }
}

impl History for Separated {
    by! { alerter:
        latest() -> Vec<Latest>;
        series(client: ClientUid, metric: &str, labels: &Labels, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, f64)>;
        reports(client: ClientUid, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Vec<Sample>)>;
        open_episodes() -> Vec<Episode>;
        episodes_between(from: Timestamp, to: Timestamp, limit: usize) -> Vec<Episode>;
        episodes_named(prefix: &str, limit: usize) -> Vec<Episode>;
        unsent() -> Vec<(Message, Delivery)>;
        latest_runs(program: Program, limit: usize) -> Vec<Run>;
        last_run(program: Program) -> Option<Run>;
        counts() -> Counts;
    }
}

/// What each role may do with each table, beside nothing: `s`elect, `i`nsert, `u`pdate, `d`elete, of all columns in capitals.
#[test]
fn rights_are_the_least() {
    let database = granted();
    let of = |role: &str| {
        let kind = |letter: &str, right: &str| {
            format!(
                "CASE WHEN has_table_privilege('{role}', oid, '{right}') THEN upper('{letter}')
                      WHEN has_any_column_privilege('{role}', oid, '{right}') THEN '{letter}' ELSE '' END"
            )
        };
        let rights =
            [("s", "SELECT"), ("i", "INSERT"), ("u", "UPDATE")].map(|(letter, right)| kind(letter, right));
        let other = |right: &str| format!("has_table_privilege('{role}', oid, '{right}')");
        let sql = format!(
            "SELECT relname || ' ' || {} || CASE WHEN {} THEN 'D' ELSE '' END || CASE WHEN {} THEN '!' ELSE '' END
             FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                   AND NOT relispartition ORDER BY relname COLLATE \"C\"",
            rights.join(" || "),
            other("DELETE"),
            ["TRUNCATE", "REFERENCES", "TRIGGER"].map(other).join(" OR ")
        );
        let all = Server::shared().sql(&database, &sql);
        all.lines().filter(|line| !line.ends_with(' ')).map(str::to_owned).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        of("fleet_collector"),
        "acknowledgement sD, alert sD, claim SIuD, client SIuD, client_key SID, collection SID, counter Su, \
         episode suD, fact sD, latest SIUD, memory sD, meta S, program Su, quarantine SID, report SID, run SIu, \
         series SI, silence suD, spool SIuD, unevaluated SID, unevaluated_attempt SID"
    );
    assert_eq!(
        of("fleet_alerter"),
        "acknowledgement SIU, alert SIUD, backoff SIUD, client S, collection S, counter S, episode SIU, fact SIU, \
         latest S, memory SIUD, message SIUD, meta S, program Su, report S, run SIu, series S, silence SIU, \
         unevaluated SD, unevaluated_attempt SD"
    );
}

/// Tried, not only asked.
#[test]
fn what_is_not_granted_is_refused() {
    let (server, database) = (Server::shared(), granted());
    for (role, statement) in [
        ("fleet_collector", "SELECT * FROM message"),
        ("fleet_collector", "SELECT receiver FROM fact"),
        ("fleet_collector", "SELECT * FROM backoff"),
        ("fleet_collector", "UPDATE meta SET value = '9' WHERE key = 'version'"),
        ("fleet_collector", "DELETE FROM run"),
        ("fleet_alerter", "SELECT * FROM client_key"),
        ("fleet_alerter", "SELECT * FROM quarantine"),
        ("fleet_alerter", "SELECT * FROM claim"),
        ("fleet_alerter", "UPDATE client SET name = 'x'"),
        ("fleet_alerter", "DELETE FROM report"),
        ("fleet_alerter", "SELECT nextval('report_number')"),
        ("fleet_alerter", "SELECT * FROM report_default"),
        ("fleet_collector", "DELETE FROM report_19700101"),
    ] {
        let refused = server.sql_as(role, &database, statement).unwrap_err();
        assert!(refused.contains("permission denied"), "{role}: {statement}: {refused}");
    }
    for role in ["fleet_collector", "fleet_alerter"] {
        for statement in
            ["DROP TABLE report", "ALTER TABLE run ADD COLUMN x text", "CREATE TABLE mine (x text)"]
        {
            let refused = server.sql_as(role, &database, statement).unwrap_err();
            let word = ["permission denied", "must be owner"].iter().any(|word| refused.contains(word));
            assert!(word, "{role}: {statement}: {refused}");
        }
        let mut store = open_as(role, &database);
        assert_eq!(store.maintain_daily(Timestamp(0), None).unwrap(), None, "nor does it try");
        let denied = store.maintain(Timestamp(0), None).unwrap_err();
        assert!(matches!(denied, StoreError::Denied(_)), "{denied:?}");
    }
}

/// Who opens an empty database with a role that may make nothing is told what to do.
#[test]
fn an_empty_database_is_its_owners_to_fill() {
    let (server, database) = (Server::shared(), database());
    granted();
    let mut url = url(server.address(), server.port(), &database);
    url.user = Some("fleet_collector".to_owned());
    let denied = open_with(&url, &access()).unwrap_err();
    assert!(matches!(denied, StoreError::Denied(_)), "{denied:?}");
    assert!(denied.remedy().contains("maintain-storage"));
    assert!(matches!(PostgresStore::open_existing(&url, &access()), Err(StoreError::OlderSchema { .. })));
}
