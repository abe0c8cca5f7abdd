//! The heartbeat after a good run, in a process of its own: bytes from a server are read by none that holds credentials.

use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use config::Secret;
use heartbeat::PATIENCE;
use model::text::escape_to;

use crate::limits;
use crate::process::Group;

/// The most bytes of a URL, as config.xml allows, and of what the process may say.
const MAX: usize = 2000;

/// What the process needs of our environment: authorities, and the way out.
const ENVIRONMENT: [&str; 12] = [
    "HOME",
    "PATH",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// Has a process ask for `url`. What went wrong, for people.
pub(crate) fn beat(url: &Secret) -> Result<(), String> {
    let said = exchange(url).map_err(|error| format!("its process failed: {error}"))?;
    if said.is_empty() { Ok(()) } else { Err(escape_to(&said, 300)) }
}

fn exchange(url: &Secret) -> io::Result<String> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg("heartbeat").env_clear();
    command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(OwnedFd::from(theirs.try_clone()?)).stdout(OwnedFd::from(theirs)).stderr(Stdio::null());
    let group = Group::spawn(&mut command)?;
    // Our copies of its end would keep it open.
    drop(command);
    ours.write_all(url.reveal().as_bytes())?;
    ours.shutdown(std::net::Shutdown::Write)?;
    ours.set_read_timeout(Some(PATIENCE + Duration::from_secs(5)))?;
    let mut said = [0; MAX];
    // It says all at once, or nothing and ends.
    let count = ours.read(&mut said)?;
    let status = group.reap()?;
    let text = String::from_utf8_lossy(&said[..count]).trim().to_owned();
    if text.is_empty() && !status.success() {
        return Err(io::Error::other(status.to_string()));
    }
    Ok(text)
}

/// What is started for it: the URL comes on stdin, and what went wrong goes to stdout.
pub fn main() -> ExitCode {
    if limits::of_worker().is_err() {
        return ExitCode::from(70);
    }
    let mut url = String::new();
    if io::stdin().take(MAX as u64 + 1).read_to_string(&mut url).is_err() || url.len() > MAX {
        return ExitCode::from(65);
    }
    match heartbeat::beat(&url, PATIENCE) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            let _ = writeln!(io::stdout(), "{fault}");
            ExitCode::FAILURE
        }
    }
}
