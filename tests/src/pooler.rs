//! A real pgbouncer before a PostgreSQL, which gives each transaction whatever connection is free.

use std::net::TcpStream;
use std::path::Path;

use crate::child::{self, Guarded};
use crate::server::Server;
use crate::silent::refused_port;

/// Where Debian keeps it.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A running pooler that lets everybody in.
#[derive(Debug)]
pub struct Pooler {
    port: u16,
    _process: Guarded,
    _directory: tempfile::TempDir,
}

impl Pooler {
    /// Starts one on 127.0.0.1 with at most `connections` to the server.
    pub fn before(server: &Server, connections: u32) -> Self {
        assert!(
            Path::new(PROGRAM).exists(),
            "pgbouncer is needed: apt-get install -y --no-install-recommends pgbouncer"
        );
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (config, log) = (directory.path().join("config"), directory.path().join("log"));
        let port = refused_port();
        let text = format!(
            "[databases]\n* = user=postgres host={} port={}\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\n\
             unix_socket_dir=\nauth_type=any\nauth_file=\npool_mode=transaction\ndefault_pool_size={connections}\n\
             max_client_conn=100\nlogfile={}\n",
            server.address(),
            server.port(),
            log.display()
        );

        std::fs::write(&config, text).expect("a file of ours");
        let config = config.display().to_string();
        let mut arguments = vec![config.as_str()];
        if crate::is_root() {
            // It does not run as root.
            child::output("chown", &["-R", "postgres:", &directory.path().display().to_string()]);
            arguments = vec!["-u", "postgres", config.as_str()];
        }
        let mut process = Guarded::start(Path::new(PROGRAM), &arguments);
        child::until("pgbouncer listens or gives up", || {
            !process.is_running() || TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let said = std::fs::read_to_string(log).unwrap_or_default();
        assert!(process.is_running(), "pgbouncer does not start: {said}");
        Self { port, _process: process, _directory: directory }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}
