//! An open connection on its way from one process to another: it travels beside one byte over a UNIX socket (unix(7),
//! SCM_RIGHTS). The socket is the worker's stdin, so that nothing has to be done between fork and exec.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// The byte that a connection travels with.
const BYTE: [u8; 1] = [1];

/// Hands `connection` to whoever reads from the other end of `to`; nothing of it stays here.
pub(crate) fn give(to: &UnixStream, connection: OwnedFd) -> io::Result<()> {
    let handed = [connection.as_fd()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&handed)) {
        return Err(io::Error::other("there is no room for a descriptor"));
    }
    sendmsg(to, &[IoSlice::new(&BYTE)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
    drop(connection);
    Ok(())
}

/// Waits for the next connection; `None` where the other end is closed.
pub(crate) fn take(from: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut handed = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    match handed.next().and_then(|mut descriptors| descriptors.next()) {
        Some(connection) => Ok(Some(connection)),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "a byte came without a connection")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn a_connection_arrives_behind_what_was_written_before() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"job").unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        give(&ours, near.into()).unwrap();
        let mut job = [0; 3];
        theirs.read_exact(&mut job).unwrap();
        let near = take(&theirs).unwrap().unwrap();
        UnixStream::from(near).write_all(b"hello").unwrap();
        let mut said = String::new();
        (&far).read_to_string(&mut said).unwrap();
        assert_eq!(said, "hello", "and no copy of it stayed open");
        ours.write_all(b"x").unwrap();
        assert!(take(&theirs).is_err(), "a byte is no connection");
        drop(ours);
        assert!(take(&theirs).unwrap().is_none());
    }
}
