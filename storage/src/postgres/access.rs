//! Who logs in, and with what.

use std::time::Duration;

use model::storage_url::{PgHost, PgTls, PostgresUrl};
use postgres::Config;
use postgres::config::{SslMode, TargetSessionAttrs};

use super::fault::Fault;
use crate::Program;

/// How a program comes to a database, beside where that is.
#[derive(Clone)]
pub struct PostgresAccess {
    /// The program; the server shows it as the connection's name.
    pub program: Program,
    /// The role's password, where config.xml says where it is kept. `None`: as libpq finds it.
    pub password: Option<String>,
    /// How long a run is taken for alive of which nothing is heard.
    pub lease: Duration,
    /// How long a transaction is tried again that others were in the way of, or whose connection was lost.
    pub patience: Duration,
}

impl PostgresAccess {
    /// The usual for `program`: a lease of a minute, and half of that for trying again.
    pub fn new(program: Program) -> Self {
        Self { program, password: None, lease: Duration::from_secs(60), patience: Duration::from_secs(30) }
    }

    /// What the driver is to know.
    pub(super) fn config(&self, url: &PostgresUrl) -> Result<Config, Fault> {
        let mut config = Config::new();
        for server in &url.servers {
            match &server.host {
                PgHost::Name(name) => config.host(name),
                PgHost::Socket(directory) => config.host_path(directory),
            };
            config.port(server.port);
        }
        if let Some(user) = &url.user {
            config.user(user);
        }
        if let Some(database) = &url.database {
            config.dbname(database);
        }
        if let Some(password) = &self.password {
            config.password(password);
        }
        config
            .application_name(self.program.name())
            .ssl_mode(if url.tls == PgTls::Disable { SslMode::Disable } else { SslMode::Require })
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(url.connect_timeout)
            // A server that is gone without a word is noticed within half a minute.
            .tcp_user_timeout(Duration::from_secs(30))
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        Ok(config)
    }
}

impl std::fmt::Debug for PostgresAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresAccess").field("program", &self.program).finish_non_exhaustive()
    }
}
