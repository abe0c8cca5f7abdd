//! Getting a secret from where config.xml says it is.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use crate::file::shell_word;
use crate::settings::{Secret, SecretSource};

/// A secret, and what stands behind it, has at most so many bytes.
const SIZE: usize = 64 << 10;
/// A command has so long to print its secret and end.
const TIME: Duration = Duration::from_secs(10);

impl SecretSource {
    /// The secret. A file must be a regular one that others cannot read, and its first line counts; so does the first
    /// line that a command prints, which has 10 seconds and must end with status 0. The error names the place, the
    /// cause and the remedy, and never the secret.
    pub fn resolve(&self) -> Result<Secret, String> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(path) => of_file(path),
            Self::Command(command) => of_command(command, TIME),
        }
    }
}

fn of_file(path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("the secret file {shown} cannot be read: {error}");
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(nonblock).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("the secret file {shown} is not a regular file"));
    }
    if metadata.mode() & 0o007 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(format!(
            "others may read the secret file {shown} (mode {mode:04o}): chmod 600 {}",
            shell_word(&path.display().to_string())
        ));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(SIZE + 1));
    file.take(SIZE as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    first_line(&bytes).map_err(|cause| format!("the secret file {shown} {cause}"))
}

fn first_line(bytes: &[u8]) -> Result<Secret, &'static str> {
    if bytes.len() > SIZE {
        return Err("has more than 64 KiB");
    }
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Err("has nothing in its first line"),
        Ok(line) => Ok(Secret::new(line.to_owned())),
        Err(_) => Err("is not UTF-8 in its first line"),
    }
}

/// A command that is running, with everything that it started: killed together, so that nothing outlives the wait.
struct Running {
    child: Child,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
                // It may have ended since: then there is nothing left to kill.
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = self.child.wait();
        }
    }
}

fn of_command(command: &str, time: Duration) -> Result<Secret, String> {
    let shown = model::text::escape(command);
    let failed = |cause: &str| format!("the secret command `{shown}` {cause}");
    let deadline = Instant::now() + time;
    let late =
        || failed(&format!("took more than {} s: run it by hand to see what it waits for", time.as_secs()));
    // Its standard error stays the caller's: what gpg or pass have to say is for the person.
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| failed(&format!("cannot be started: {error}")))?;
    let output = child.stdout.take();
    let mut running = Running { child, ended: false };
    let bytes = match output {
        Some(output) => {
            read_until(output, deadline).map_err(|error| failed(&format!("cannot be read: {error}")))?
        }
        None => None,
    };
    let bytes = bytes.ok_or_else(late)?;
    if bytes.len() > SIZE {
        return Err(failed("prints more than 64 KiB"));
    }
    let status = loop {
        match running.child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => return Err(late()),
            Err(error) => return Err(failed(&format!("cannot be waited for: {error}"))),
        }
    };
    running.ended = true;
    if !status.success() {
        return Err(failed(&format!("ended with {status}")));
    }
    first_line(&bytes).map_err(failed)
}

/// What `output` holds up to its end, or a little more than [`SIZE`]; `None` when the deadline came first.
fn read_until(mut output: ChildStdout, deadline: Instant) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(SIZE + 4096));
    let mut buffer = Zeroizing::new([0; 4096]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let length = output.read(&mut *buffer)?;
        bytes.extend_from_slice(&buffer[..length]);
        if length == 0 || bytes.len() > SIZE {
            return Ok(Some(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn revealed(result: Result<Secret, String>) -> Result<String, String> {
        result.map(|secret| secret.reveal().to_owned())
    }

    #[test]
    fn the_first_line_of_a_private_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let resolve = |content: &[u8], mode| {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            revealed(SecretSource::File(path.clone()).resolve())
        };
        assert_eq!(resolve(b"s3 cret \r\nrest", 0o600).as_deref(), Ok("s3 cret "));
        assert_eq!(resolve(b"plain", 0o640).as_deref(), Ok("plain"));
        assert!(resolve(b"plain", 0o644).unwrap_err().contains("chmod 600"));
        assert!(resolve(b"\nplain", 0o600).unwrap_err().contains("nothing in its first line"));
        assert!(resolve(b"\xff", 0o600).unwrap_err().contains("UTF-8"));
        assert!(resolve(&b"x".repeat(SIZE + 1), 0o600).unwrap_err().contains("64 KiB"));
        assert!(
            revealed(SecretSource::File(directory.path().into()).resolve()).unwrap_err().contains("regular")
        );
    }

    #[test]
    fn the_first_line_of_a_command() {
        let resolve = |command: &str| revealed(SecretSource::Command(command.to_owned()).resolve());
        assert_eq!(resolve("printf 'a b\\nc\\n'").as_deref(), Ok("a b"));
        assert!(resolve("echo hush; exit 3").unwrap_err().contains("exit status: 3"));
        assert!(
            !resolve("printf hush; exit 3")
                .unwrap_err()
                .replace("`printf hush; exit 3`", "")
                .contains("hush")
        );
        assert!(resolve("true").unwrap_err().contains("nothing"));
        assert!(resolve("yes").unwrap_err().contains("64 KiB"));
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_all_that_it_started() {
        let error = of_command("sleep 600 & echo $$; sleep 600", Duration::from_millis(200)).unwrap_err();
        assert!(error.contains("took more than"), "{error}");
    }
}
