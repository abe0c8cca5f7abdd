#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use super::*;

#[test]
fn what_is_committed_survives_every_end() {
    let mut server = Server::start();
    let database = server.database();
    server.sql(&database, "CREATE TABLE kept (value bigint)");
    for (number, ending) in [Ending::Fast, Ending::Immediate, Ending::Killed].into_iter().enumerate() {
        server.sql(&database, &format!("INSERT INTO kept VALUES ({number})"));
        server.stop(ending);
        assert!(!server.is_running());
        assert!(server.sql_as("postgres", &database, "SELECT 1").is_err());
        server.resume();
    }
    assert_eq!(server.sql(&database, "SELECT value FROM kept ORDER BY value"), "0\n1\n2");
}

#[test]
fn a_promoted_standby_has_what_was_committed() {
    let mut first = Server::start();
    let database = first.database();
    let second = first.standby();
    first.sql(&database, "CREATE TABLE kept AS SELECT 7 AS value");
    first.stop(Ending::Killed);
    assert!(second.sql_as("postgres", &database, "CREATE TABLE more (value bigint)").is_err());
    second.promote();
    assert_eq!(second.sql(&database, "SELECT value FROM kept"), "7");
    second.sql(&database, "CREATE TABLE more (value bigint)");
}

#[test]
fn a_server_ends_with_its_directory() {
    let server = Server::with(Setup { tls: true, ..Setup::default() });
    let directory = server.directory.clone();
    assert!(server.certificates().client("somebody").key.exists());
    assert!(std::net::TcpStream::connect((server.address(), server.port())).is_ok());
    drop(server);
    assert!(!directory.exists());
}
