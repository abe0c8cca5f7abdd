//! Who gets in, over what.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use model::storage_url::{PgHost, PgServer, PgTls, PostgresUrl};

use super::{PostgresAccess, access, open_with, url};
use crate::StoreError;
use crate::conformance::server::{Server, Setup};

const SECRET: &str = "not for everybody";

/// A server that lets in by TLS only: one role by its password, one by its certificate. It is reached by an address too
/// that its certificate does not name.
fn guarded() -> &'static (Server, String) {
    static SERVER: OnceLock<(Server, String)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let hba = "hostnossl all all all reject\nhostssl all worded all scram-sha-256\nhostssl all certified all cert";
        let settings = vec!["listen_addresses=127.0.0.1,127.0.0.2".to_owned()];
        let server = Server::with(Setup { tls: true, hba: hba.to_owned(), settings, ..Setup::default() });
        server.sql("postgres", &format!("CREATE ROLE worded SUPERUSER LOGIN PASSWORD '{SECRET}'"));
        server.sql("postgres", "CREATE ROLE certified SUPERUSER LOGIN");
        let database = server.database();
        (server, database)
    })
}

fn by(host: &str, tls: PgTls, ca: bool) -> PostgresUrl {
    let (server, database) = guarded();
    let ca_file = ca.then(|| server.certificates().authority().to_owned());
    PostgresUrl { tls, ca_file, user: Some("worded".to_owned()), ..url(host, server.port(), database) }
}

/// Tries it, with a password; says why it does not work.
fn tried(url: &PostgresUrl, password: &str) -> Result<(), String> {
    let patience = Duration::from_millis(100);
    let access = PostgresAccess { password: Some(password.to_owned()), patience, ..access() };
    match open_with(url, &access) {
        Ok(_) => Ok(()),
        Err(StoreError::Unreachable(why)) => Err(why),
        Err(other) => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(url: &PostgresUrl, password: &str, word: &str) {
    let why = tried(url, password).expect_err("it is refused");
    assert!(why.contains(word), "{why}");
    assert!(!why.contains(password), "{why}");
}

#[test]
fn a_certificate_is_looked_at_as_the_mode_says() {
    for (host, tls, ca) in [
        ("localhost", PgTls::VerifyFull, true),
        ("127.0.0.1", PgTls::VerifyFull, true),
        ("127.0.0.2", PgTls::VerifyCa, true),
        ("127.0.0.2", PgTls::Require, false),
        ("127.0.0.2", PgTls::Require, true),
    ] {
        tried(&by(host, tls, ca), SECRET).unwrap_or_else(|why| panic!("{host} {tls:?} {ca}: {why}"));
    }
    refused(&by("127.0.0.2", PgTls::VerifyFull, true), SECRET, "not valid for name");
    refused(&by("localhost", PgTls::VerifyFull, false), SECRET, "UnknownIssuer");
    let stranger = guarded().0.certificates().stranger("root");
    for tls in [PgTls::Require, PgTls::VerifyCa, PgTls::VerifyFull] {
        let url = PostgresUrl { ca_file: Some(stranger.certificate.clone()), ..by("localhost", tls, true) };
        refused(&url, SECRET, "invalid peer certificate");
    }
    refused(&by("localhost", PgTls::Disable, false), SECRET, "SQLSTATE 28000");
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    refused(&by("localhost", PgTls::VerifyFull, true), "wrong one", "SQLSTATE 28P01");
    let nowhere =
        PostgresUrl { database: Some("nowhere".to_owned()), ..by("localhost", PgTls::VerifyFull, true) };
    refused(&nowhere, SECRET, "SQLSTATE 3D000");
}

#[test]
fn a_certificate_of_the_role_lets_in() {
    let (server, _) = guarded();
    let with = |certificate: &Path, key: &Path| PostgresUrl {
        user: Some("certified".to_owned()),
        client_certificate: Some(certificate.to_owned()),
        client_key: Some(key.to_owned()),
        ..by("localhost", PgTls::VerifyFull, true)
    };
    let own = server.certificates().client("certified");
    tried(&with(&own.certificate, &own.key), "none").unwrap();
    let other = server.certificates().client("another");
    refused(&with(&other.certificate, &other.key), "none", "SQLSTATE 28000");
    let without =
        PostgresUrl { user: Some("certified".to_owned()), ..by("localhost", PgTls::VerifyFull, true) };
    refused(&without, "none", "SQLSTATE 28000");
    fs::set_permissions(&own.key, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&with(&own.certificate, &own.key), "none", "others may read it");
    refused(&with(&other.key, &other.key), "none", "no certificate");
}

/// A socket of the machine needs no TLS, whatever the mode.
#[test]
fn a_socket_lets_in() {
    let (server, _) = guarded();
    let directory = server.data().parent().unwrap().to_owned();
    let door = PgServer { host: PgHost::Socket(directory), port: server.port() };
    let url = PostgresUrl { servers: vec![door], ..by("localhost", PgTls::VerifyFull, false) };
    tried(&url, SECRET).unwrap();
}

/// Of several servers the first that takes writes; one that repeats what another does takes none.
#[test]
fn the_first_server_that_takes_writes_is_used() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let first = Server::start();
    let database = first.database();
    let second = first.standby();
    let door = |port| PgServer { host: PgHost::Name("127.0.0.1".to_owned()), port };
    let with = |ports: &[u16]| PostgresUrl {
        servers: ports.iter().map(|port| door(*port)).collect(),
        ..url("127.0.0.1", 0, &database)
    };
    tried(&with(&[nobody, second.port(), first.port()]), "none").unwrap();
    let why = tried(&with(&[nobody, second.port()]), "none").unwrap_err();
    assert!(why.contains(&format!("127.0.0.1:{nobody}")) && why.contains("refused"), "{why}");
    drop(first);
    second.promote();
    tried(&with(&[nobody, second.port()]), "none").unwrap();
}
