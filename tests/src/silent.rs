//! Servers that never answer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::child;

/// An address where connections are accepted, and nothing is ever said.
#[derive(Debug)]
pub struct Silent(TcpListener);

impl Silent {
    /// Listens on a free port of 127.0.0.1; the kernel accepts, nobody speaks.
    pub fn start() -> Self {
        Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
    }

    /// Waits until somebody has connected. The connection stays open as long as what is returned.
    pub fn await_connection(&self) -> TcpStream {
        self.0.set_nonblocking(true).expect("a listener of ours");
        let mut connected = None;
        child::until("somebody connects", || {
            connected = self.0.accept().ok();
            connected.is_some()
        });
        connected.expect("it was just there").0
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("it is bound").port()
    }
}

/// An address where a connection is neither accepted nor refused: the listener's backlog is full.
#[derive(Debug)]
pub struct BlackHole {
    silent: Silent,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    /// Fills a listener's backlog until a further connection hangs.
    pub fn start() -> Self {
        let silent = Silent::start();
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), silent.port());
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            waiting.push(stream);
            assert!(waiting.len() < 10_000, "the backlog of a listener never fills here");
        }
        Self { silent, _waiting: waiting }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.silent.port()
    }
}

/// A port of 127.0.0.1 where nothing listens.
pub fn refused_port() -> u16 {
    Silent::start().port()
}
