//! The local mail system, by its sendmail program.

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use model::text::escape;
use storage::Message;

use super::{Answer, Fault, Scope, Stage, Transport};

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the program may say on stderr, in bytes.
const SAID: u64 = 4096;

/// The program, run once per message as `sendmail -i -f FROM -- RECEIVER`.
#[derive(Debug)]
pub struct Sendmail {
    /// Its path.
    pub program: PathBuf,
    /// The envelope's sender.
    pub from: String,
}

impl Transport for Sendmail {
    fn deliver(&mut self, message: &Message) -> Answer {
        let mut command = Command::new(&self.program);
        command.args(["-i", "-f", &self.from, "--", &message.receiver]);
        match command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
            Ok(child) => attend(child, &message.bytes, PATIENCE),
            Err(error) => Answer::NotTaken(fault(
                Scope::All,
                &format!("{}: {error}", self.program.display()),
                "install a mail system, or name a mail server: <mail transport=\"smtp\" host=\"...\"/>",
            )),
        }
    }

    fn name(&self) -> String {
        self.program.display().to_string()
    }
}

fn fault(scope: Scope, detail: &str, remedy: &'static str) -> Fault {
    Fault { stage: Stage::Local, scope, detail: escape(detail), remedy }
}

/// Feeds the program and waits for it, but not for ever.
fn attend(mut child: Child, bytes: &[u8], patience: Duration) -> Answer {
    let (mut stdin, mut stderr) = (child.stdin.take(), child.stderr.take());
    // A program of this machine takes lines that end as lines do here.
    let text: Vec<u8> = bytes.iter().copied().filter(|&byte| byte != b'\r').collect();
    let (said_to, said) = mpsc::channel();
    // Both threads end with the program, or with whatever it left holding its pipes; nobody waits for them.
    thread::spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(&text)));
    thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stderr) = stderr.as_mut() {
            let _ = stderr.take(SAID).read_to_end(&mut text);
            let _ = std::io::copy(stderr, &mut std::io::sink());
        }
        let _ = said_to.send(String::from_utf8_lossy(&text).into_owned());
    });
    let Some(status) = wait(&mut child, patience) else {
        let detail = format!("it did not end within {} s and was killed", patience.as_secs());
        return Answer::InDoubt(fault(Scope::All, &detail, "see the mail system's log"));
    };
    judge(status, &said.recv_timeout(Duration::from_secs(1)).unwrap_or_default())
}

/// `None`: it took too long and was killed.
fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

/// By the exit statuses of BSD's sysexits.h, which sendmail and its replacements use.
fn judge(status: ExitStatus, said: &str) -> Answer {
    const EX_DATAERR: i32 = 65;
    const EX_NOUSER: i32 = 67;
    const EX_NOHOST: i32 = 68;
    let detail = if said.trim().is_empty() { status.to_string() } else { format!("{status}: {said}") };
    match status.code() {
        Some(0) => Answer::Accepted { said: "exit status 0".to_owned() },
        Some(EX_DATAERR | EX_NOUSER | EX_NOHOST) => {
            Answer::Refused(fault(Scope::Message, &detail, "check the receiver's address in config.xml"))
        }
        Some(_) => Answer::NotTaken(fault(Scope::Message, &detail, "see the mail system's log")),
        None => {
            let signal =
                status.signal().map(|signal| format!("killed by signal {signal}")).unwrap_or_default();
            Answer::InDoubt(fault(Scope::Message, &format!("{signal} {said}"), "see the mail system's log"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program of that shell text answers.
    fn answer(script: &str, bytes: &[u8], patience: Duration) -> Answer {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        attend(child, bytes, patience)
    }

    fn outcome(script: &str) -> &'static str {
        match answer(script, b"text\r\n", PATIENCE) {
            Answer::Accepted { .. } => "accepted",
            Answer::NotTaken(_) => "not taken",
            Answer::Refused(_) => "refused",
            Answer::InDoubt(_) => "in doubt",
        }
    }

    #[test]
    fn exit_statuses_are_told_apart() {
        for (script, expected) in [
            ("cat >/dev/null", "accepted"),
            ("exit 67", "refused"),
            ("exit 75", "not taken"),
            ("exit 78", "not taken"),
            ("kill -9 $$", "in doubt"),
        ] {
            assert_eq!(outcome(script), expected, "{script}");
        }
    }

    #[test]
    fn a_program_that_never_ends_is_killed() {
        let answer = answer("exec sleep 600", b"text\r\n", Duration::from_millis(50));
        assert!(matches!(answer, Answer::InDoubt(_)), "{answer:?}");
    }

    #[test]
    fn a_program_that_reads_nothing_does_not_block() {
        let answer = answer("exit 75", &vec![b'x'; 1 << 20], PATIENCE);
        assert!(matches!(answer, Answer::NotTaken(_)), "{answer:?}");
    }

    #[test]
    fn what_it_says_is_shown() {
        let Answer::NotTaken(fault) = answer("echo 'queue is full' >&2; exit 75", b"", PATIENCE) else {
            panic!()
        };
        assert!(fault.detail.contains("queue is full"), "{fault}");
    }
}
