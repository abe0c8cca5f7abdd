//! A bastion's work: its server opens connections to the next one, and bytes are carried between these and what the
//! supervisor hands over. None of them is looked at: they are another worker's, encrypted.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use model::{Outcome, Phase};
use rustix::event::{PollFd, PollFlags, poll};
use ssh2::{BlockDirections, Channel, Session};

use super::Link;
use super::ssh::{Verified, code, lost};
use crate::job::Up;

/// The most bytes that are under way in each direction, beside what the SSH window allows.
const PIECE: usize = 32 * 1024;

/// Serves until the supervisor wants no more connections; returns how that ended.
pub(super) fn forward(server: &Verified, address: &str, port: u16, link: &mut Link) -> Outcome {
    link.send(&Up::Ready, &[]);
    loop {
        let near = match link.connection() {
            Ok(Some(near)) => UnixStream::from(near),
            Ok(None) => return Outcome::Collected,
            Err(error) => return Outcome::WorkerFailed { detail: error.to_string() },
        };
        if let Err(outcome) = serve(server, (address, port), near, link) {
            return outcome;
        }
    }
}

/// Opens one connection and carries its bytes until either end closes.
fn serve(
    server: &Verified,
    (address, port): (&str, u16),
    near: UnixStream,
    link: &mut Link,
) -> Result<(), Outcome> {
    let session = server.session();
    let far = match session.channel_direct_tcpip(address, port, None) {
        Ok(far) => far,
        Err(error) if code(&error) != libssh2_sys::LIBSSH2_ERROR_CHANNEL_FAILURE => {
            return Err(lost(Phase::Connect, &error));
        }
        Err(error) if error.message().contains("connect failed") => {
            link.send(&Up::Unreachable { detail: error.message().to_owned() }, &[]);
            return Ok(());
        }
        Err(error) => {
            let detail = format!("to {address}, port {port}: {}", error.message());
            return Err(Outcome::ForwardingRefused { detail });
        }
    };
    link.send(&Up::Open, &[]);
    session.set_blocking(false);
    let carried = near.set_nonblocking(true).and_then(|()| {
        Tunnel { near, far, up: Piece::default(), down: Piece::default(), closed: false }.carry(server, link)
    });
    session.set_blocking(true);
    let broke = |error: io::Error| Outcome::Disconnected { phase: Phase::Exec, detail: error.to_string() };
    carried.map_err(broke)
}

/// Bytes on their way in one direction.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    sent: usize,
}

impl Piece {
    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Takes what there is, where all of the last piece has gone; `None` where that is nothing yet.
    fn take(&mut self, from: &mut impl Read) -> io::Result<Option<usize>> {
        self.bytes.resize(PIECE, 0);
        let count = ready(from.read(&mut self.bytes));
        self.bytes.truncate(count.as_ref().map_or(0, |count| count.unwrap_or(0)));
        self.sent = 0;
        count
    }

    /// Sends what can be sent; whether that was something.
    fn send(&mut self, to: &mut impl Write) -> io::Result<bool> {
        match ready(to.write(&self.bytes[self.sent..]))? {
            Some(0) => Err(ErrorKind::WriteZero.into()),
            Some(count) => {
                self.sent += count;
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

/// Tells what would have to wait from what failed.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Both ends of a connection.
struct Tunnel {
    /// The next worker's.
    near: UnixStream,
    /// The server's.
    far: Channel,
    up: Piece,
    down: Piece,
    /// The next worker says no more.
    closed: bool,
}

impl Tunnel {
    /// Ends well where either end closes, or the supervisor has something new to say.
    fn carry(&mut self, server: &Verified, link: &Link) -> io::Result<()> {
        loop {
            let mut sending = false;
            loop {
                let mut moved = false;
                if self.down.is_empty() {
                    match self.down.take(&mut self.far)? {
                        Some(0) => return Ok(()),
                        count => moved |= count.is_some(),
                    }
                    sending |= wants_to_send(server.session());
                }
                if !self.down.is_empty() {
                    match self.down.send(&mut self.near) {
                        Ok(sent) => moved |= sent,
                        // The next worker is gone.
                        Err(_) => return Ok(()),
                    }
                }
                if self.up.is_empty() && !self.closed {
                    match self.up.take(&mut self.near) {
                        Ok(Some(0)) | Err(_) => self.closed = true,
                        Ok(count) => moved |= count.is_some(),
                    }
                }
                if !self.up.is_empty() {
                    moved |= self.up.send(&mut self.far)?;
                    sending |= wants_to_send(server.session());
                }
                if self.closed && self.up.is_empty() {
                    return Ok(());
                }
                if !moved {
                    break;
                }
                sending = false;
            }
            if self.sleep(server, link, sending)? {
                return Ok(());
            }
        }
    }

    /// Sleeps until something can be moved; whether the supervisor has something to say. A descriptor of which nothing
    /// is wanted is left out: that it was closed would be told again and again.
    fn sleep(&self, server: &Verified, link: &Link, sending: bool) -> io::Result<bool> {
        let pick = |wanted, flag| if wanted { flag } else { PollFlags::empty() };
        let far =
            pick(self.down.is_empty() || !self.up.is_empty(), PollFlags::IN) | pick(sending, PollFlags::OUT);
        let near = pick(!self.down.is_empty(), PollFlags::OUT)
            | pick(self.up.is_empty() && !self.closed, PollFlags::IN);
        let mut fds = vec![PollFd::from_borrowed_fd(link.input(), PollFlags::IN)];
        let ends = [(server.socket(), far), (self.near.as_fd(), near)];
        fds.extend(
            ends.into_iter()
                .filter(|(_, flags)| !flags.is_empty())
                .map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)),
        );
        match poll(&mut fds, None) {
            Ok(_) => Ok(!fds[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the session's last call waits to send.
fn wants_to_send(session: &Session) -> bool {
    matches!(session.block_directions(), BlockDirections::Outbound | BlockDirections::Both)
}
