//! What every backend does, on a real server; and what only a server can do wrong.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use model::storage_url::{PgHost, PgServer, PgTls, PostgresUrl};

use super::{Link, PostgresAccess, PostgresStore};
use crate::conformance::server::Server;
use crate::{Program, Store, StoreError};

mod login;
mod order;
mod roles;
mod schema;
mod trips;
mod trouble;

mod copies;

mod conform {
    crate::conformance!(super::fresh());
}

mod share {
    crate::sharing!(super::shared());
}

/// What opens stores over one new database.
fn shared() -> ((), impl Fn(Duration) -> Box<dyn Store + Send> + Sync) {
    let server = Server::shared();
    let url = url(server.address(), server.port(), &database());
    let open = move |lease| -> Box<dyn Store + Send> {
        let access = PostgresAccess { lease, ..PostgresAccess::new(Program::Collector) };
        Box::new(PostgresStore::open(&url, &access).expect("the store opens"))
    };
    ((), open)
}

/// A new store in a database of its own; both end with the process.
fn fresh() -> ((), PostgresStore) {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    let server = Server::shared();
    let of = |database: &str| open(&url(server.address(), server.port(), database));
    let database = copied(&TEMPLATE, |database| drop(of(database)));
    ((), of(&database))
}

fn url(host: &str, port: u16, database: &str) -> PostgresUrl {
    PostgresUrl {
        servers: vec![PgServer { host: PgHost::Name(host.to_owned()), port }],
        database: Some(database.to_owned()),
        user: Some("postgres".to_owned()),
        tls: PgTls::Disable,
        ca_file: None,
        client_certificate: None,
        client_key: None,
        connect_timeout: Duration::from_secs(10),
    }
}

/// An empty database.
fn database() -> String {
    Server::shared().database()
}

/// A copy of a database that `fill` fills once: quicker than filling each.
fn copied(template: &OnceLock<String>, fill: impl FnOnce(&str)) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = Server::shared();
    let template = template.get_or_init(|| {
        let made = database();
        fill(&made);
        made
    });
    let name = format!("copy_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    server.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template}"));
    name
}

fn access() -> PostgresAccess {
    PostgresAccess::new(Program::Collector)
}

fn open_with(url: &PostgresUrl, access: &PostgresAccess) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(url, access)
}

fn open(url: &PostgresUrl) -> PostgresStore {
    open_with(url, &access()).expect("the store opens")
}
