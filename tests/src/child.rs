//! A child process that ends with its test.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Runs the rest of its arguments until its standard input is closed, which happens whenever the test ends.
const GUARD: &str = r#"
exec 3<&0
"$@" 3<&- &
child=$!
{ read -r _ <&3; kill "$child"; } 2>/dev/null &
wait "$child"
kill $! 2>/dev/null
"#;

/// A program that runs beside the test.
#[derive(Debug)]
pub struct Guarded(Child);

impl Guarded {
    /// Starts `program`; what it prints is thrown away, so it should log to a file.
    pub fn start<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> Self {
        let child = Command::new("/bin/sh")
            .args(["-c", GUARD, "guard"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("/bin/sh runs");
        Self(child)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("a child can be waited for").is_none()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What `program` prints; it has to succeed.
pub fn output(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap_or_else(|error| {
            panic!("{program} does not run ({error}): sh tests/test.sh installs what is needed")
        });
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks `ready` until it says yes; gives up with `what` after a minute.
pub fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !ready() {
        assert!(begin.elapsed() < Duration::from_secs(60), "a minute went by, and still not: {what}");
        sleep(Duration::from_millis(20));
    }
}
