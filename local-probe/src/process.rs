//! The edge: streams of this process, its exit status, and its end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::Exit;
use model::wire::{Fault, FaultKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FlockOperation;

use crate::arguments::{Command, HELP, parse};
use crate::machine::Machine;
use crate::sample::{self, Taken};
use crate::serve::{RemoteDir, Served, serve};
use crate::spool::{Directory, Limits, Spool};
use crate::{forced, install, report, show};

/// How long a request may let us wait.
const REQUEST: i64 = 30;

/// How long one sample may take, whatever hangs.
const SAMPLE: Duration = Duration::from_secs(120);

/// Does what the command line asks for.
pub fn run() -> Exit {
    let mut arguments = std::env::args_os();
    let program = arguments.next().map(PathBuf::from).unwrap_or_default();
    let program = std::path::absolute(&program).unwrap_or(program);
    match parse(&program, &arguments.collect::<Vec<_>>()) {
        Ok(Command::Help) => print(HELP),
        Ok(Command::Version) => print(concat!("local-probe ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Show { root, json, processes }) => show_machine(&root, json, &processes),
        Ok(Command::Serve { home }) => {
            run_serve(&RemoteDir { path: &home, limits: Limits::default(), shipped: true })
        }
        Ok(Command::Forced { home }) => run_forced(&home),
        Ok(Command::Sample { home, client }) => run_sample(&home, client),
        Ok(Command::Install { home, digest }) => run_install(&home, &program, &digest),
        Err(error) => {
            complain(&format!("{error}\n\n{HELP}"));
            Exit::Usage
        }
    }
}

/// To stdout; a reader that went away is no fault.
fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Ok,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            complain(&format!("stdout: {error}"));
            Exit::Partial
        }
    }
}

fn complain(text: &str) {
    // There is nowhere else to say that stderr is gone.
    let _ = writeln!(io::stderr(), "local-probe: {text}");
}

fn show_machine(root: &Path, json: bool, processes: &[String]) -> Exit {
    let outcome = report::take(&Machine::this(root), None, &[], processes);
    print(&if json { show::json(&outcome) } else { show::table(&outcome) })
}

fn run_serve(home: &RemoteDir<'_>) -> Exit {
    let (mut input, mut output) = match (PatientInput::new(), unbuffered_output()) {
        (Ok(input), Ok(output)) => (input, output),
        (Err(error), _) | (_, Err(error)) => {
            complain(&format!("stdin and stdout: {error}"));
            return Exit::Partial;
        }
    };
    let machine = Machine::this(Path::new("/"));
    let served = serve(&machine, home, &mut input, &mut output, watch);
    drop(output);
    give_up_streams();
    match served {
        Served::Whole => Exit::Ok,
        Served::Faulty(_) | Served::Cut(_) => Exit::Partial,
    }
}

fn run_forced(home: &Path) -> Exit {
    match forced::check(std::env::var_os("SSH_ORIGINAL_COMMAND").as_deref()) {
        Ok(()) => run_serve(&RemoteDir { path: home, limits: forced::limits(), shipped: false }),
        Err(refusal) => {
            // To stdout: that is what the collector hears.
            print(&format!("{refusal}\n"));
            Exit::Usage
        }
    }
}

fn run_sample(home: &Path, client: model::ClientUid) -> Exit {
    let exit = match take_sample(home, client) {
        Ok(Taken::Written(_) | Taken::Recent) => Exit::Ok,
        Ok(Taken::Refused) => {
            complain(
                "the spool is full: the report is left out, and counted; fleet-collector has to fetch the spool",
            );
            Exit::Partial
        }
        Err(fault) => {
            complain(&fault.detail);
            if fault.kind == FaultKind::Locked { Exit::Busy } else { Exit::Storage }
        }
    };
    give_up_streams();
    exit
}

/// A spool is made by the collector's first visit alone: what it removed does not come back by a forgotten crontab.
fn take_sample(home: &Path, client: model::ClientUid) -> Result<Taken, Fault> {
    let spool = home.join(client.to_string());
    if std::fs::symlink_metadata(&spool).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        let detail = format!(
            "{} is not there: fleet-collector has to come first; if it removed this client, take the line out of the crontab",
            spool.display()
        );
        return Err(Fault { kind: FaultKind::Other, detail });
    }
    let home = Directory::open(home)?;
    let mut spool = Spool::open(&home, client, Limits::default())?;
    watch(spool.lock_handle()?, SAMPLE);
    sample::link(&spool, &home);
    let Some(recipient) = spool.recipient()? else {
        let detail = format!(
            "{}/recipient is not there: fleet-collector has to come first",
            spool.directory().shown()
        );
        return Err(Fault { kind: FaultKind::Other, detail });
    };
    sample::take(&mut spool, &Machine::this(Path::new("/")), &recipient, true)
}

fn run_install(home: &Path, program: &Path, digest: &[u8; 32]) -> Exit {
    let program = std::fs::read_link("/proc/self/exe").unwrap_or_else(|_| program.to_owned());
    let now = model::Timestamp::from(std::time::SystemTime::now()).seconds();
    match install::install(home, &program, digest, now) {
        Ok(()) => print(&format!("{}\n", install::INSTALLED)),
        Err(error) => {
            complain(&error);
            Exit::Storage
        }
    }
}

/// Stdin that does not wait for ever.
struct PatientInput(File);

impl PatientInput {
    fn new() -> io::Result<Self> {
        Ok(Self(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }
}

impl Read for PatientInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let timeout = Timespec { tv_sec: REQUEST, tv_nsec: 0 };
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => self.0.read(buffer),
        }
    }
}

fn unbuffered_output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Ends the process when its time is over: a collector that stops reading must not hold the lock.
fn watch(lock: OwnedFd, time: Duration) {
    let work = move || {
        std::thread::sleep(time);
        let _ = rustix::fs::flock(&lock, FlockOperation::Unlock);
        give_up_streams();
        std::process::exit(i32::from(Exit::Partial as u8));
    };
    // Without a thread to spare there is no watch; the run itself is bounded but for its output.
    let _ = std::thread::Builder::new().stack_size(64 * 1024).spawn(work);
}

/// Lets the other side see the end of our streams. A thread that is stuck in a dead mount keeps a process that has
/// ended, and all its descriptors, alive.
fn give_up_streams() {
    let Ok(nothing) = File::open("/") else { return };
    let _ = rustix::stdio::dup2_stdin(&nothing);
    let _ = rustix::stdio::dup2_stdout(&nothing);
    let _ = rustix::stdio::dup2_stderr(&nothing);
}
