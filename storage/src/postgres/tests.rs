//! What every backend does, on a real server; and what only a server can do wrong.

use std::time::Duration;

use model::storage_url::{PgHost, PgServer, PgTls, PostgresUrl};

use super::{PostgresAccess, PostgresStore};
use crate::conformance::server::Server;
use crate::{Program, Store, StoreError};

mod login;
mod order;
mod roles;
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
    let server = Server::shared();
    ((), open(&url(server.address(), server.port(), &database())))
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

fn database() -> String {
    Server::shared().database()
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
