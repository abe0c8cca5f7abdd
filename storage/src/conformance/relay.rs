//! A relay between a program and its server that can make every kind of trouble that a network makes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

/// How often a relay looks whether it is to do something else by now.
const LOOK: Duration = Duration::from_millis(5);

/// What a relay does with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Forwards it, each piece so much later.
    After(Duration),
    /// Keeps it, and all connections open: nobody hears of anybody.
    Stalled,
    /// Ends all connections, and each new one.
    Cut,
}

/// Where in what a program says its connection is ended, once. It has to say it in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// When so many more bytes of it were forwarded.
    Bytes(usize),
    /// At its next COMMIT, which the server never hears.
    BeforeCommit,
    /// At its next COMMIT, which the server does; its answer goes nowhere.
    AfterCommit,
}

#[derive(Debug)]
struct State {
    traffic: Traffic,
    trap: Option<Trap>,
    sprung: usize,
    ended: bool,
    target: SocketAddr,
}

/// A running relay; ends with its drop, and so do its connections.
#[derive(Debug)]
pub struct Relay {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
}

impl Relay {
    /// Starts one on a free port of 127.0.0.1, before `target`.
    pub fn to(target: impl ToSocketAddrs) -> Self {
        let target = target.to_socket_addrs().ok().and_then(|mut found| found.next()).expect("an address");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        listener.set_nonblocking(true).expect("a listener of ours");
        let traffic = Traffic::After(Duration::ZERO);
        let state = State { traffic, trap: None, sprung: 0, ended: false, target };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || accept(&listener, &shared));
        Self { state, address }
    }

    /// The port that programs are to be told.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Does that from now on.
    pub fn set(&self, traffic: Traffic) {
        look(&self.state).traffic = traffic;
    }

    /// Forwards everything at once from now on.
    pub fn heal(&self) {
        self.set(Traffic::After(Duration::ZERO));
    }

    /// New connections go there from now on.
    pub fn redirect(&self, target: SocketAddr) {
        look(&self.state).target = target;
    }

    /// Ends one connection there, once.
    pub fn set_trap(&self, trap: Trap) {
        look(&self.state).trap = Some(trap);
    }

    /// Connections that traps ended so far.
    pub fn sprung(&self) -> usize {
        look(&self.state).sprung
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        look(&self.state).ended = true;
    }
}

fn look(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, state: &Arc<Mutex<State>>) {
    while !look(state).ended {
        let Ok((client, _)) = listener.accept() else {
            sleep(LOOK);
            continue;
        };
        let target = look(state).target;
        let state = Arc::clone(state);
        std::thread::spawn(move || serve(client, target, state));
    }
}

/// Two connections that are forwarded into each other.
struct Line {
    client: TcpStream,
    server: TcpStream,
    state: Arc<Mutex<State>>,
    /// Whether the server is about to do a COMMIT of which the client hears nothing.
    awaits_commit: AtomicBool,
}

/// Forwards both ways until one side ends, or is ended.
fn serve(client: TcpStream, target: SocketAddr, state: Arc<Mutex<State>>) {
    if !wait_for_turn(&state, false) {
        return;
    }
    let Ok(server) = TcpStream::connect(target) else { return };
    for stream in [&client, &server] {
        // Both are open: nothing of this can be refused.
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(LOOK));
    }
    let line = Arc::new(Line { client, server, state, awaits_commit: AtomicBool::new(false) });
    let back = Arc::clone(&line);
    std::thread::spawn(move || {
        let mut heard = Vec::new();
        forward(&back, &back.server, &back.client, |said| {
            let done = hears_commit(&mut heard, said) && back.awaits_commit.load(Ordering::SeqCst);
            done.then_some(0)
        });
        back.end();
    });
    let mut heard = Vec::new();
    forward(&line, &line.client, &line.server, |said| {
        let commits = hears_commit(&mut heard, said);
        line.spring(said.len(), commits)
    });
    line.end();
}

impl Line {
    fn end(&self) {
        // It may have ended already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// How much of `length` bytes still passes, where a trap springs in them.
    fn spring(&self, length: usize, commits: bool) -> Option<usize> {
        let mut state = look(&self.state);
        let passes = match state.trap? {
            Trap::Bytes(left) if left > length => {
                state.trap = Some(Trap::Bytes(left - length));
                return None;
            }
            Trap::Bytes(left) => Some(left),
            Trap::BeforeCommit if commits => Some(0),
            Trap::AfterCommit if commits => {
                self.awaits_commit.store(true, Ordering::SeqCst);
                None
            }
            Trap::BeforeCommit | Trap::AfterCommit => return None,
        };
        state.trap = None;
        state.sprung += 1;
        passes
    }
}

/// Forwards one way, until `stop` says how many of these bytes are the last.
fn forward(
    line: &Line,
    mut from: &TcpStream,
    mut to: &TcpStream,
    mut stop: impl FnMut(&[u8]) -> Option<usize>,
) {
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => 0,
            Err(_) => return,
        };
        if !wait_for_turn(&line.state, count > 0) {
            return;
        }
        let said = &buffer[..count];
        let last = if count == 0 { None } else { stop(said) };
        if to.write_all(&said[..last.unwrap_or(count)]).is_err() || last.is_some() {
            return;
        }
    }
}

/// Waits as long as the traffic says; `false` where it is cut meanwhile.
fn wait_for_turn(state: &Mutex<State>, something: bool) -> bool {
    let traffic = look(state).traffic;
    if let (Traffic::After(delay), true) = (traffic, something) {
        sleep(delay);
    }
    loop {
        match look(state) {
            now if now.ended || now.traffic == Traffic::Cut => return false,
            now if now.traffic != Traffic::Stalled => return true,
            _ => {}
        }
        sleep(LOOK);
    }
}

/// Whether the word is in `said`, or ends there; `heard` keeps what may be its begin.
fn hears_commit(heard: &mut Vec<u8>, said: &[u8]) -> bool {
    const COMMIT: &[u8] = b"COMMIT";
    heard.extend(said);
    let commits = heard.windows(COMMIT.len()).enumerate().any(|(at, word)| {
        // Not the READ COMMITTED that transactions begin with.
        let after = heard.get(at + COMMIT.len());
        word.eq_ignore_ascii_case(COMMIT) && after.is_none_or(|byte| !byte.is_ascii_alphabetic())
    });
    heard.drain(..heard.len() - heard.len().min(COMMIT.len() - 1));
    commits
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    /// A server that answers each line it is told with the same line, and counts the commits that it heard.
    fn echo() -> (SocketAddr, Arc<Mutex<usize>>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let commits = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&commits);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(count @ 1..) = stream.read(&mut buffer) {
                        *counted.lock().unwrap() += usize::from(&buffer[..count] == b"commit");
                        stream.write_all(&buffer[..count]).unwrap();
                    }
                });
            }
        });
        (address, commits)
    }

    fn connect(relay: &Relay) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream
    }

    /// What comes back of `word`: `None` where nothing does, empty where the connection is over.
    fn say(stream: &mut TcpStream, word: &str) -> Option<String> {
        let mut buffer = [0; 64];
        // Where the connection is over, reading says so.
        let _ = stream.write_all(word.as_bytes());
        match stream.read(&mut buffer) {
            Ok(count) => Some(String::from_utf8_lossy(&buffer[..count]).into_owned()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Some(String::new()),
            Err(_) => None,
        }
    }

    #[test]
    fn it_forwards_stalls_and_cuts() {
        let relay = Relay::to(echo().0);
        let mut stream = connect(&relay);
        assert_eq!(say(&mut stream, "one").as_deref(), Some("one"));
        relay.set(Traffic::Stalled);
        assert_eq!(say(&mut stream, "two"), None);
        relay.heal();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(say(&mut stream, "").as_deref(), Some("two"));
        relay.set(Traffic::Cut);
        assert_eq!(say(&mut stream, "three").as_deref(), Some(""));
        assert_eq!(say(&mut connect(&relay), "four").as_deref(), Some(""));
    }

    #[test]
    fn a_commit_is_lost_on_either_way() {
        let (address, commits) = echo();
        let relay = Relay::to(address);
        for (trap, heard) in [(Trap::BeforeCommit, 0), (Trap::AfterCommit, 1)] {
            let mut stream = connect(&relay);
            relay.set_trap(trap);
            assert_eq!(say(&mut stream, "begin").as_deref(), Some("begin"));
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            assert_eq!(say(&mut stream, "commit").as_deref(), Some(""));
            assert_eq!(*commits.lock().unwrap(), heard);
        }
        assert_eq!(relay.sprung(), 2);
        assert_eq!(say(&mut connect(&relay), "commit").as_deref(), Some("commit"), "a trap springs once");
    }

    #[test]
    fn bytes_are_counted() {
        let relay = Relay::to(echo().0);
        let mut stream = connect(&relay);
        relay.set_trap(Trap::Bytes(5));
        assert_eq!(say(&mut stream, "one").as_deref(), Some("one"));
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let rest = say(&mut stream, "two").unwrap();
        assert!(["", "t", "tw"].contains(&rest.as_str()), "{rest}");
        assert_eq!(relay.sprung(), 1);
    }
}
