//! `<storage>` of PostgreSQL, and config.xml on a server that collects nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use config::{Connection, Environment, SecretSource, Settings, StorageUrl};
use model::PgTls;

fn environment() -> Environment {
    Environment { home: Some("/home/ann".into()), user: "ann".into(), ..Environment::default() }
}

fn settings(inner: &str) -> Settings {
    let text = format!("<config>\n{inner}\n</config>");
    config::parse(&text, Path::new("/etc/fleet/config.xml"), &environment())
        .unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn a_database_that_several_hosts_share() {
    let inner = r#"<storage url="postgres://fleet:hunter2@db1,[::1]:5433/fleet?sslmode=verify-ca" ca-file="ca.pem"
        client-cert="c.pem" client-key="~/c.key" lease="30s"/>"#;
    let storage = settings(inner).storage;
    let StorageUrl::Postgres(url) = storage.url else { panic!("no database") };
    assert_eq!(url.to_string(), "db1:5432, [::1]:5433, database fleet, user fleet");
    assert_eq!((url.tls, url.connect_timeout), (PgTls::VerifyCa, Duration::from_secs(10)));
    assert!(url.ca_file.is_some_and(|path| path.ends_with("ca.pem")));
    assert_eq!(url.client_key, Some("/home/ann/c.key".into()));
    assert!(matches!(storage.password, Some(SecretSource::Inline(word)) if word.reveal() == "hunter2"));
    assert_eq!(storage.lease, Duration::from_secs(30));
    assert_eq!(storage.state_dir, Path::new("/home/ann/.local/state/fleet-health"));

    let other =
        settings(r#"<storage url="postgres:///fleet" password-file="/x" state-dir="/var/lib/f"/>"#).storage;
    assert_eq!(other.password, Some(SecretSource::File("/x".into())));
    assert_eq!((other.lease, other.state_dir), (Duration::from_secs(60), "/var/lib/f".into()));
    let rooted =
        settings(r#"<storage url="postgres://db/x?sslmode=require&amp;sslrootcert=/ca.pem"/>"#).storage;
    assert!(matches!(rooted.url, StorageUrl::Postgres(url) if url.tls == PgTls::VerifyCa), "as libpq has it");
}

#[test]
fn a_password_in_a_url_makes_the_file_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.xml");
    for (url, is_secret) in [
        ("postgres://me:hunter2@db/x", true),
        ("postgres://db/x?password=hunter2", true),
        ("postgres://me@db/x", false),
    ] {
        fs::write(&path, format!("<config><storage url=\"{url}\"/></config>")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let told = config::load(Some(&path), &environment()).err().map(|faults| faults.to_string());
        assert_eq!(told.as_ref().is_some_and(|told| told.contains("holds passwords")), is_secret, "{told:?}");
        assert!(!told.unwrap_or_default().contains("hunter2"));
    }
}

#[test]
fn the_summary_says_how_the_database_is_reached() {
    let head = |storage: &str| {
        let text = config::summary(&settings(storage));
        let shown = text.lines().filter(|line| {
            ["storage", "state", "read,", "warning: the storage"].iter().any(|start| line.starts_with(start))
        });
        shown.collect::<Vec<_>>().join("\n")
    };
    let clear = r#"<storage url="postgres://fleet:hunter2@db/fleet?sslmode=disable" keep-raw="31d"/>"#;
    insta::assert_snapshot!(head(clear), @r"
    storage   PostgreSQL, db:5432, database fleet, user fleet, in the clear, password in this file
    state     in /home/ann/.local/state/fleet-health, runs have a lease of 1 min
    warning: the storage at db:5432: what goes to it goes in the clear; say sslmode=verify-full, and ca-file for a root of your own
    ");
    let socket = r#"<storage url="postgres:///fleet" lease="10m" keep-history="1y"/>"#;
    insta::assert_snapshot!(head(socket), @r"
    storage   PostgreSQL, /var/run/postgresql:5432, database fleet
    state     in /home/ann/.local/state/fleet-health, runs have a lease of 10 min
    read, and without effect in this version: keep-history
    ");
    let certified =
        r#"<storage url="postgres://db/fleet" client-cert="/c" client-key="/k" password-command="pass db"/>"#;
    insta::assert_snapshot!(head(certified), @r"
    storage   PostgreSQL, db:5432, database fleet, TLS, certificate /c, password by a command
    state     in /home/ann/.local/state/fleet-health, runs have a lease of 1 min
    ");
    assert!(
        !head(r#"<storage url="postgres://[::1]/x?sslmode=disable"/>"#).contains("warning"),
        "this machine"
    );
}

#[test]
fn who_only_alerts_needs_names_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.xml");
    let text = r#"<config>
        <client name="web1" mail="a@example.org"/>
        <client name="web2" parent="web1" proxy-jump="web1" password-file="/nowhere"/>
        <client name="web3" ip="10.0.0.1"/>
        </config>"#;
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let settings =
        config::load_to_alert(Some(&path), &environment()).unwrap_or_else(|faults| panic!("{faults}"));
    let ways: Vec<_> =
        settings.clients.iter().map(|client| client.connection == Connection::Unsaid).collect();
    assert_eq!(ways, [true, true, false]);
    assert!(!settings.clients[0].rules.is_empty() && settings.clients[1].parent.is_some());
    assert!(config::summary(&settings).contains("web1    not said"), "{}", config::summary(&settings));

    let told = config::load(Some(&path), &environment()).unwrap_err().to_string();
    assert!(told.contains("config.xml:2:10: error: <client> lacks the attribute `ip`"), "{told}");
    assert!(told.ends_with("2 faults: nothing was tried"), "{told}");
    fs::write(&path, "<config><client mail='a@example.org'/></config>").unwrap();
    let told = config::load_to_alert(Some(&path), &environment()).unwrap_err().to_string();
    assert!(told.contains("lacks the attribute `name`"), "{told}");
}
