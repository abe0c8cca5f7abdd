//! Where things are stored.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where things are stored. It holds no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageUrl {
    /// `sqlite:///path`
    Sqlite(PathBuf),
    /// `postgres://user@host/database`
    Postgres(Box<PostgresUrl>),
}

/// A database of PostgreSQL, or of what speaks its protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// Its servers, at least one: they are tried in this order, and the first that takes writes is used.
    pub servers: Vec<PgServer>,
    /// The database; `None`: as libpq goes on, `PGDATABASE`, else what the user is called.
    pub database: Option<String>,
    /// The role that logs in; `None`: as libpq goes on, `PGUSER`, else what the running user is called.
    pub user: Option<String>,
    /// How connections by TCP are protected.
    pub tls: PgTls,
    /// The certificates (PEM) to trust; `None`: the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate (PEM) to show, with those between it and its root.
    pub client_certificate: Option<PathBuf>,
    /// Its private key (PEM); there where the certificate is.
    pub client_key: Option<PathBuf>,
    /// How long each server is tried.
    pub connect_timeout: Duration,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgServer {
    /// Where it is.
    pub host: PgHost,
    /// Its port, which names the socket too.
    pub port: u16,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PgHost {
    /// A name, or an address (IPv6 without brackets).
    Name(String),
    /// The directory of its Unix domain socket.
    Socket(PathBuf),
}

/// How connections by TCP are protected; by Unix domain sockets none is. The words are those of libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PgTls {
    /// `disable`: in the clear.
    Disable,
    /// `require`: encrypted, with whoever answers.
    Require,
    /// `verify-ca`: with who has a certificate of a root that is trusted, for whatever name.
    VerifyCa,
    /// `verify-full`: with who has one for the name that was dialled.
    #[default]
    VerifyFull,
}

impl PgTls {
    /// As `sslmode` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// `db1:5432`, `[::1]:5432`, `/run/postgresql:5432`
impl fmt::Display for PgServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            PgHost::Name(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            PgHost::Name(name) => write!(f, "{name}:{}", self.port),
            PgHost::Socket(directory) => write!(f, "{}:{}", directory.display(), self.port),
        }
    }
}

/// For people: the servers, the database and the user, as far as they are said.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(ToString::to_string).collect();
        f.write_str(&servers.join(", "))?;
        for (word, name) in [("database", &self.database), ("user", &self.user)] {
            if let Some(name) = name {
                write!(f, ", {word} {}", crate::text::escape(name))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_where_it_is() {
        let server = |host, port| PgServer { host, port };
        let url = PostgresUrl {
            servers: vec![
                server(PgHost::Name("db1.example.org".to_owned()), 5432),
                server(PgHost::Name("::1".to_owned()), 5433),
                server(PgHost::Socket("/run/postgresql".into()), 5432),
            ],
            database: Some("fleet".to_owned()),
            user: None,
            tls: PgTls::default(),
            ca_file: None,
            client_certificate: None,
            client_key: None,
            connect_timeout: Duration::from_secs(10),
        };
        let shown = "db1.example.org:5432, [::1]:5433, /run/postgresql:5432, database fleet";
        assert_eq!(url.to_string(), shown);
    }
}
