//! Collector and alerter on different servers, with a PostgreSQL between: how they log in there, and what neither has of the
//! other.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tests::machines::{Machines, count};
use tests::programs;
use tests::server::{Server, Setup};
use tests::site::{Run, Site};
use tests::smtp::Smtp;
use tests::sshd::Sshd;

/// A password with what a URL, a shell and a pgpass file treat in their own ways.
const PASSWORD: &str = "se:cr@t/ 100%";

/// The same in a URL.
const IN_A_URL: &str = "se%3Acr%40t%2F%20100%25";

/// A server that takes TLS only, with a password and a certificate for the role.
struct Guarded {
    server: Server,
    database: String,
}

impl Guarded {
    fn start() -> Self {
        let server = Server::with(Setup {
            tls: true,
            hba: "hostssl all fleet all scram-sha-256 clientcert=verify-full\nhostnossl all fleet all reject"
                .to_owned(),
            settings: vec!["listen_addresses=127.0.0.1,127.0.0.2".to_owned()],
            ..Setup::default()
        });
        let database = server.database();
        server.sql(&database, &format!("CREATE ROLE fleet LOGIN PASSWORD '{PASSWORD}'"));
        server.sql(&database, &format!("ALTER DATABASE {database} OWNER TO fleet"));
        server.sql(&database, "ALTER SCHEMA public OWNER TO fleet");
        Self { server, database }
    }

    /// `url` and the files of certificates; `login` stands before the host.
    fn storage(&self, login: &str, host: &str, more: &str) -> String {
        let certificates = self.server.certificates();
        format!(
            "url=\"postgres://{login}@{host}:{}/{}\" ca-file=\"{}\" {more}",
            self.server.port(),
            self.database,
            certificates.authority().display()
        )
    }
}

/// A site with one machine, which shows that certificate.
struct Place {
    site: Site,
    certificate: String,
}

impl Place {
    fn new(guarded: &Guarded) -> Self {
        let client = guarded.server.certificates().client("fleet");
        let certificate = format!(
            "client-cert=\"{}\" client-key=\"{}\"",
            client.certificate.display(),
            client.key.display()
        );
        Self { site: Site::new(), certificate }
    }

    fn configure(&self, storage: &str) {
        self.site.configure_shared(storage, &Machines::new(&self.site, 1).elements(""));
    }

    fn collect(&self, variables: &[(&str, &str)]) -> Run {
        let mut command = self.site.command(&programs::collector(), &["run"]);
        command.envs(variables.iter().copied());
        Run::of(&command.output().unwrap())
    }

    /// Fails unless the run ends with one line that names `cause`, and no password.
    #[track_caller]
    fn expect_refusal(&self, code: i32, cause: &str) {
        let run = self.collect(&[]).expect(code);
        assert!(run.stderr.contains(cause), "{cause}: {}", run.stderr);
        for secret in [PASSWORD, IN_A_URL, "wrong-one"] {
            assert!(!run.stderr.contains(secret) && !run.stdout.contains(secret), "{}", run.stderr);
        }
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_password_is_found_wherever_it_is_kept() {
    let guarded = Guarded::start();
    let place = Place::new(&guarded);
    let storage = |login: &str, more: &str| {
        guarded.storage(login, "127.0.0.1", &format!("{} {more}", place.certificate))
    };

    place.configure(&storage(&format!("fleet:{IN_A_URL}"), ""));
    place.collect(&[]).expect(0);
    write(&place.site.path("password"), &format!("{PASSWORD}\n"));
    place.configure(&storage("fleet", "password-file=\"password\""));
    place.collect(&[]).expect(0);
    place.configure(&storage("fleet", "password-command=\"cat password\""));
    place.collect(&[]).expect(0);

    place.configure(&storage("fleet", ""));
    place.expect_refusal(74, "password");
    place.collect(&[("PGPASSWORD", PASSWORD)]).expect(0);
    let line = format!("127.0.0.1:{}:*:fleet:{}\n", guarded.server.port(), PASSWORD.replace(':', "\\:"));
    write(&place.site.path("home/.pgpass"), &line);
    place.collect(&[]).expect(0);
    place.collect(&[("PGPASSFILE", "/nonexistent")]).expect(74);

    write(&place.site.path("password"), "wrong-one\n");
    place.configure(&storage("fleet", "password-file=\"password\""));
    place.expect_refusal(74, "password authentication failed");
    place.configure(&storage("fleet:wrong-one", ""));
    place.expect_refusal(74, "password authentication failed");
}

#[test]
fn both_sides_show_who_they_are() {
    let guarded = Guarded::start();
    let place = Place::new(&guarded);
    let login = format!("fleet:{IN_A_URL}");
    let certificates = guarded.server.certificates();

    place.configure(&guarded.storage(&login, "localhost", &place.certificate));
    place.collect(&[]).expect(0);

    // Whoever it is, it has not the name that was dialled.
    place.configure(&guarded.storage(&login, "127.0.0.2", &place.certificate));
    place.expect_refusal(74, "certificate");
    // Nobody known signed it.
    let other = certificates.stranger("localhost");
    let storage = guarded.storage(&login, "localhost", &place.certificate);
    let authority = certificates.authority().display().to_string();
    place.configure(&storage.replace(&authority, &other.certificate.display().to_string()));
    place.expect_refusal(74, "certificate");
    // The server wants to see a certificate, and one of its authority.
    place.configure(&guarded.storage(&login, "localhost", ""));
    place.expect_refusal(74, "certificate");
    let stranger = certificates.stranger("fleet");
    let shown = format!(
        "client-cert=\"{}\" client-key=\"{}\"",
        stranger.certificate.display(),
        stranger.key.display()
    );
    place.configure(&guarded.storage(&login, "localhost", &shown));
    place.expect_refusal(74, "UnknownCA");
    // In the clear the server takes nobody.
    let clear = guarded.storage(&login, "127.0.0.1", "").replace("\" ca-file", "?sslmode=disable\" data-x");
    let clear = clear.split(" data-x").next().unwrap().to_owned();
    place.configure(&clear);
    place.expect_refusal(74, "pg_hba.conf");
}

#[test]
fn the_alerters_server_has_nothing_of_the_collectors() {
    let server = Server::start();
    let database = server.database();
    server.sql(&database, "CREATE ROLE fleet_owner LOGIN");
    server.sql(&database, &format!("ALTER DATABASE {database} OWNER TO fleet_owner"));
    let roles = std::fs::read_to_string(programs::root().join("sql/postgres/roles.sql")).unwrap();
    server.sql(&database, &roles);
    let storage = |role: &str| format!("url=\"{}?sslmode=disable\"", server.url_of(role, &database));

    let (collectors, sshd) = (Site::new(), Sshd::start());
    collectors.know(&sshd);
    let client = collectors.client(&sshd, "web", "", "<alert type=\"memory\" limit=\"1%\"/>");
    collectors.configure_shared(&storage("fleet_collector"), &client);
    let early = collectors.collector(&["run"]).expect(74);
    assert!(early.stderr.contains("maintain-storage"), "{}", early.stderr);
    collectors.collector(&["maintain-storage", "--user", "fleet_owner"]).expect(0);
    collectors.collector(&["run"]).expect(0);

    // What the alerter's server is told names no way to a client; and the collector's files are not there.
    drop(sshd);
    let smtp = Smtp::start();
    let alerters = Site::new();
    alerters.configure_shared(
        &storage("fleet_alerter"),
        &format!(
            "<mail host=\"127.0.0.1\" port=\"{}\" tls=\"none\" from=\"fleet@example.org\"/>\n\
             <client name=\"web\" mail=\"ops@example.org\"><alert type=\"memory\" limit=\"1%\"/></client>",
            smtp.port()
        ),
    );
    let here = collectors.path("");
    let away = here.with_file_name(format!("{}-away", here.file_name().unwrap().to_string_lossy()));
    std::fs::rename(&here, &away).unwrap();
    let run = alerters.alerter(&[]);
    let status = alerters.alerter(&["status"]);
    std::fs::rename(&away, &here).unwrap();
    run.expect(0);
    assert!(status.expect(0).stdout.contains("web"));
    let mails = smtp.mails();
    assert_eq!(mails.len(), 1, "{mails:#?}");
    assert!(mails[0].body().contains("web") && mails[0].body().contains("memory"), "{}", mails[0].text);
    assert_eq!(count(&server, &database, "SELECT count(*) FROM message"), 1);
    assert_eq!(count(&server, &database, "SELECT count(*) FROM client_key"), 1);

    // Each role may do what its program needs, and nothing more.
    let refused = |role: &str, sql: &str| {
        let said = server.sql_as(role, &database, sql).expect_err(&format!("{role} may {sql}"));
        assert!(
            said.contains("permission denied") || said.contains("must be owner"),
            "{role}: {sql}: {said}"
        );
    };
    refused("fleet_collector", "SELECT count(*) FROM message");
    refused("fleet_collector", "SELECT receiver FROM fact");
    refused("fleet_alerter", "SELECT count(*) FROM client_key");
    refused("fleet_alerter", "INSERT INTO report SELECT * FROM report");
    for role in ["fleet_collector", "fleet_alerter"] {
        for sql in [
            "DROP TABLE client",
            "DROP TABLE report",
            "ALTER TABLE run ADD COLUMN more bigint",
            "TRUNCATE collection",
            "CREATE TABLE more (value bigint)",
            "DELETE FROM meta",
        ] {
            refused(role, sql);
        }
    }
    // The other way round, the program says what is missing.
    alerters.configure_shared(
        &storage("fleet_collector"),
        "<mail transport=\"directory\" path=\"mails\"/>\n<client name=\"web\" mail=\"ops@example.org\"/>",
    );
    let run = alerters.alerter(&[]).expect(74);
    assert!(
        run.stderr.contains("permission denied") && run.stderr.contains("maintain-storage"),
        "{}",
        run.stderr
    );
}
