//! Who logs in where, and with what. What nobody says is found as libpq finds it:
//! <https://www.postgresql.org/docs/15/libpq-connect.html>, <https://www.postgresql.org/docs/15/libpq-envars.html>.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::storage_url::{PgHost, PgServer, PgTls, PostgresUrl};
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};

use super::fault::Fault;
use super::link::Door;
use super::passfile;
use crate::{Program, StoreError};

/// How a program comes to a database, beside where that is.
#[derive(Clone)]
pub struct PostgresAccess {
    /// The program; the server shows it as the connection's name.
    pub program: Program,
    /// The role's password, where config.xml says where it is kept. `None`: as libpq finds it, `PGPASSWORD`, else the line of
    /// the server in the file `PGPASSFILE`, else in `~/.pgpass`.
    pub password: Option<String>,
    /// How long a run is taken for alive of which nothing is heard.
    pub lease: Duration,
    /// How long a transaction is tried again that others were in the way of, or whose connection was lost.
    pub patience: Duration,
    /// How long the server may take to answer; then the connection counts as lost.
    pub answer: Duration,
}

impl PostgresAccess {
    /// The usual for `program`: a lease of a minute, half of that for trying again, and longer for an answer than the server
    /// lets any statement take.
    pub fn new(program: Program) -> Self {
        let (lease, patience, answer) =
            (Duration::from_secs(60), Duration::from_secs(30), Duration::from_secs(75));
        Self { program, password: None, lease, patience, answer }
    }

    /// What the driver is to know of each server, in their order.
    pub(super) fn doors(&self, url: &PostgresUrl) -> Result<Vec<Door>, Fault> {
        self.doors_in(url, &Surroundings::of_process())
    }

    fn doors_in(&self, url: &PostgresUrl, around: &Surroundings) -> Result<Vec<Door>, Fault> {
        let user = match url.user.clone().or_else(|| around.variable("PGUSER")) {
            Some(user) => user,
            None => around.user.clone().map_err(StoreError::Unreachable)?,
        };
        let database = url.database.clone().or_else(|| around.variable("PGDATABASE"));
        let login = Login { database: database.unwrap_or_else(|| user.clone()), user };
        let said = self.password.clone().or_else(|| around.variable("PGPASSWORD"));
        let file = if said.is_some() { String::new() } else { around.passfile() };
        Ok(url
            .servers
            .iter()
            .map(|server| {
                let password = said.clone().or_else(|| passfile::find(&file, server, &login));
                Door { name: server.to_string(), config: self.config(url, server, &login, password) }
            })
            .collect())
    }

    fn config(
        &self,
        url: &PostgresUrl,
        server: &PgServer,
        login: &Login,
        password: Option<String>,
    ) -> Config {
        let mut config = Config::new();
        let tls = match &server.host {
            PgHost::Name(name) => {
                config.host(name);
                url.tls != PgTls::Disable
            }
            PgHost::Socket(directory) => {
                config.host_path(directory);
                false
            }
        };
        if let Some(password) = password {
            config.password(password);
        }
        config
            .port(server.port)
            .user(&login.user)
            .dbname(&login.database)
            .application_name(self.program.name())
            .ssl_mode(if tls { SslMode::Require } else { SslMode::Disable })
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(url.connect_timeout)
            // A server that is gone without a word is noticed within half a minute.
            .tcp_user_timeout(Duration::from_secs(25))
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        config
    }
}

impl std::fmt::Debug for PostgresAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresAccess").field("program", &self.program).finish_non_exhaustive()
    }
}

/// Who logs in to what.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) database: String,
}

/// What a process finds around it.
struct Surroundings {
    /// The variables of its environment that libpq looks at.
    variables: Vec<(String, String)>,
    /// What the user is called that it runs as.
    user: Result<String, String>,
    home: Option<PathBuf>,
}

impl Surroundings {
    fn of_process() -> Self {
        let names = ["PGUSER", "PGDATABASE", "PGPASSWORD", "PGPASSFILE"];
        let variable = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
        Self {
            variables: names.into_iter().filter_map(variable).collect(),
            user: whoami::username().map_err(|error| {
                format!("the running user has no name ({error}): say which role logs in, postgres://role@...")
            }),
            home: std::env::home_dir(),
        }
    }

    /// The value of a variable; libpq takes an empty one for none.
    fn variable(&self, name: &str) -> Option<String> {
        let found = self.variables.iter().find(|(of, value)| of == name && !value.is_empty());
        found.map(|(_, value)| value.clone())
    }

    /// What the password file says; nothing where there is none.
    fn passfile(&self) -> String {
        let named = self.variable("PGPASSFILE").map(PathBuf::from);
        let path = named.or_else(|| Some(self.home.as_deref()?.join(".pgpass")));
        path.as_deref().map(Path::new).map(passfile::read).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn around(home: &Path, variables: &[(&str, &str)]) -> Surroundings {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Surroundings {
            variables: variables.iter().map(owned).collect(),
            user: Ok("me".to_owned()),
            home: Some(home.to_owned()),
        }
    }

    fn url(user: Option<&str>, database: Option<&str>) -> PostgresUrl {
        let server = |name: &str| PgServer { host: PgHost::Name(name.to_owned()), port: 5432 };
        PostgresUrl {
            servers: vec![server("db1"), server("db2")],
            database: database.map(str::to_owned),
            user: user.map(str::to_owned),
            tls: PgTls::VerifyFull,
            ca_file: None,
            client_certificate: None,
            client_key: None,
            connect_timeout: Duration::from_secs(3),
        }
    }

    /// User, database and password of each server.
    fn found(access: &PostgresAccess, url: &PostgresUrl, around: &Surroundings) -> Vec<[String; 3]> {
        let doors = access.doors_in(url, around).unwrap();
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"-")).into_owned();
        let shown = |config: &Config| {
            let [user, database] =
                [config.get_user(), config.get_dbname()].map(|name| name.unwrap().to_owned());
            [user, database, text(config.get_password())]
        };
        doors.iter().map(|door| shown(&door.config)).collect()
    }

    #[test]
    fn what_nobody_says_is_found_as_libpq_finds_it() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".pgpass");
        fs::write(&file, "db1:5432:*:me:of the file\n*:*:fleet:*:of all\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let access = PostgresAccess::new(Program::Collector);
        let alone = around(home.path(), &[]);
        let expected = [["me", "me", "of the file"], ["me", "me", "-"]];
        assert_eq!(found(&access, &url(None, None), &alone), expected);
        let expected = [["you", "fleet", "of all"], ["you", "fleet", "of all"]];
        assert_eq!(found(&access, &url(Some("you"), Some("fleet")), &alone), expected);
        let said = around(home.path(), &[("PGUSER", "env"), ("PGDATABASE", "base"), ("PGPASSWORD", "word")]);
        assert_eq!(
            found(&access, &url(None, None), &said),
            [["env", "base", "word"], ["env", "base", "word"]]
        );
        let given = PostgresAccess { password: Some("given".to_owned()), ..access.clone() };
        assert_eq!(found(&given, &url(Some("you"), None), &said)[0], ["you", "base", "given"]);
        let elsewhere = home.path().join("other");
        fs::write(&elsewhere, "db2:*:*:*:of another").unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
        let named = around(home.path(), &[("PGPASSFILE", elsewhere.to_str().unwrap()), ("PGPASSWORD", "")]);
        assert_eq!(found(&access, &url(None, None), &named)[1][2], "of another");
        assert!(!format!("{given:?}").contains("given"));
    }
}
