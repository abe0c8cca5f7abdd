//! The command line.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use config::{Environment, Settings};
use model::{Exit, Timestamp};
use storage::{Program, RunLock, StoreError};

use crate::backtest::command as backtest;
use crate::check::{self, Verdict};
use crate::dry_run::Printer;
use crate::explain::command::Question;
use crate::mail::{Letterhead, Sender};
use crate::report::{self, span::Period};
use crate::run::{Job, run};
use crate::status::Status;
use crate::table::table;
use crate::transport::Transport;
use crate::zone::Zone;
use crate::{ack, explain, silence, store, test_mail, way_out};

/// Tells people what the collected reports say.
#[derive(Debug, Parser)]
#[command(name = "fleet-alerter", version)]
#[command(after_help = "Exit status: 0 all well, 1 some mail failed or waits, 2 usage, 74 storage failed, \
                        75 already running or storage busy, 78 config.xml is wrong.")]
pub struct Cli {
    #[command(subcommand)]
    asked: Option<Asked>,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// Read this file [default: the user's fleet-health/config.xml, root's /etc/fleet-health/config.xml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Say what is done; twice: in detail
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Debug, Args, Clone, Copy)]
struct RunArguments {
    /// Print the mails that would be sent, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Subcommand)]
enum Asked {
    #[command(flatten)]
    Command(Command),
    /// Say on one line how a client or the fleet is, as a plugin of Nagios
    #[command(
        after_help = "Exit status: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, which is also what is wrong with the \
                            command line, config.xml or the storage."
    )]
    Check {
        /// The client's name [default: the whole fleet]
        client: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Evaluate what is new and send what there is to tell (the default)
    Run(RunArguments),
    /// Check config.xml and say what it means
    CheckConfig,
    /// Send a test mail, and say what the server answered
    TestMail {
        /// Where to [default: the admins of <mail>, else every receiver]
        address: Option<String>,
    },
    /// Say what the rules would have told of a history, and how many mails that makes
    Backtest(backtest::Arguments),
    /// Say of each rule of a client how its values stand, and why it did or did not fire
    Explain {
        /// The client's name
        client: String,
        /// Only the rules of this type
        #[arg(value_name = "TYPE")]
        kind: Option<String>,
    },
    /// Tell nobody of what a client or a group does, for a while
    Silence(silence::Arguments),
    /// Say that somebody works on an alert: no reminders and no escalation until it ends
    Ack(ack::Arguments),
    /// Mail what happened in the last day or week
    Report {
        /// How far back
        period: Period,
        /// Send it to this address alone, about all clients [default: the admins of <mail>, and each receiver about its
        /// clients]
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
    },
    /// Show clients, open alerts and mails that wait
    Status {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As a program does.
    Program(Exit),
    /// As a plugin of Nagios does.
    Plugin(Verdict),
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Program(exit) => exit.into(),
            Ended::Plugin(verdict) => Self::from(verdict as u8),
        }
    }
}

/// What a command ended in other than an exit status: said on stderr by `main`.
#[derive(Debug)]
pub enum Failure {
    /// config.xml.
    Config(config::Faults),
    /// The storage.
    Storage(StoreError),
    /// A history, or a rule to try.
    Backtest(String),
    /// A client that is not there, or a type that no rule of it has.
    Unknown(String),
    /// Standard output.
    Output(io::Error),
    /// There is no way to send mail.
    NoWayOut,
    /// There is nobody to send a test to.
    NoReceiver,
    /// There is nobody to send a report to.
    NoReader,
    /// `--dry-run` with a command that sends nothing anyway, or that is to send.
    NoDryRun,
}

impl Failure {
    /// The exit status that says it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Config,
            Self::Storage(error) => error.exit(),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Output(_) | Self::NoWayOut => Exit::Partial,
            Self::NoReceiver | Self::NoReader | Self::NoDryRun | Self::Backtest(_) | Self::Unknown(_) => {
                Exit::Usage
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(faults) => write!(f, "{faults}"),
            Self::Storage(error) => write!(f, "{error}: {}", error.remedy()),
            Self::Output(error) => write!(f, "standard output cannot be written: {error}"),
            Self::Backtest(fault) | Self::Unknown(fault) => write!(f, "{fault}"),
            Self::NoWayOut => write!(
                f,
                "there is no way to send mail: add to config.xml \
                 <mail transport=\"smtp\" host=\"mail.example.org\" from=\"fleet@example.org\"/>"
            ),
            Self::NoDryRun => write!(f, "--dry-run goes with a run only: say fleet-alerter --dry-run"),
            Self::NoReader => {
                write!(f, "config.xml names no receiver: say fleet-alerter report daily --to ADDRESS")
            }
            Self::NoReceiver => {
                write!(f, "config.xml names no receiver: say fleet-alerter test-mail ADDRESS")
            }
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Storage(error)
    }
}

impl From<backtest::Failure> for Failure {
    fn from(failure: backtest::Failure) -> Self {
        match failure {
            backtest::Failure::File(fault) => Self::Backtest(fault),
            backtest::Failure::Rule(faults) => Self::Backtest(faults.to_string()),
            backtest::Failure::Storage(error) => Self::Storage(error),
            backtest::Failure::Output(error) => Self::Output(error),
        }
    }
}

impl From<explain::command::Failure> for Failure {
    fn from(failure: explain::command::Failure) -> Self {
        match failure {
            explain::command::Failure::Unknown(what) => Self::Unknown(what),
            explain::command::Failure::Storage(error) => Self::Storage(error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Cli {
    /// The level of messages on stderr.
    pub fn level(&self) -> log::LevelFilter {
        match (self.common.quiet, self.common.verbose) {
            (true, _) => log::LevelFilter::Error,
            (false, 0) => log::LevelFilter::Warn,
            (false, 1) => log::LevelFilter::Debug,
            (false, _) => log::LevelFilter::Trace,
        }
    }

    /// Does what was asked for. `clock` is asked at the begin and at the end; `sendmail` serves where config.xml has no
    /// `<mail>`, if it is there.
    pub fn execute(
        self,
        clock: &dyn Fn() -> Timestamp,
        sendmail: &Path,
        out: &mut dyn Write,
    ) -> Result<Ended, Failure> {
        let now = clock();
        let dry_run = self.run.dry_run;
        let command = match self.asked {
            None => Command::Run(self.run),
            Some(Asked::Command(command)) => command,
            Some(Asked::Check { .. }) if dry_run => return Err(Failure::NoDryRun),
            Some(Asked::Check { client }) => {
                let answer = check::command::answer(self.common.config.as_deref(), client.as_deref(), now);
                writeln!(out, "{}", answer.line)?;
                return Ok(Ended::Plugin(answer.verdict));
            }
        };
        let environment = Environment::of_process();
        let settings =
            config::load_to_alert(self.common.config.as_deref(), &environment).map_err(Failure::Config)?;
        let hostname = if environment.hostname.is_empty() { "localhost" } else { &environment.hostname };
        let letterhead = Letterhead { version: env!("CARGO_PKG_VERSION"), hostname, zone: Zone::Host };
        let from = way_out::sender(&settings, hostname);
        let booted = Some(storage::booted(now));
        let job = Job { settings: &settings, from: &from, letterhead, now, booted, clock };
        let exit = match command {
            Command::Run(RunArguments { dry_run: of_run }) if of_run || dry_run => dry_run_of(job, out),
            Command::Run(_) => whole_run(job, sendmail),
            _ if dry_run => Err(Failure::NoDryRun),
            Command::CheckConfig => {
                write!(out, "{}", config::summary(&settings))?;
                Ok(Exit::Ok)
            }
            Command::TestMail { address } => send_test(job, address.as_deref(), sendmail, out),
            Command::Backtest(arguments) => {
                Ok(backtest::backtest(&arguments, &settings, now, &|at| Zone::Host.show(at), out)?)
            }
            Command::Explain { client, kind } => {
                let question = Question { client: &client, kind: kind.as_deref(), now };
                write!(out, "{}", explain::command::answer(&settings, question, &|at| Zone::Host.show(at))?)?;
                Ok(Exit::Ok)
            }
            Command::Silence(arguments) => {
                write!(out, "{}", silence::silence(&arguments, &settings, now, &|at| Zone::Host.show(at))?)?;
                Ok(Exit::Ok)
            }
            Command::Ack(arguments) => {
                write!(out, "{}", ack::ack(&arguments, &settings, now, &|at| Zone::Host.show(at))?)?;
                Ok(Exit::Ok)
            }
            Command::Report { period, to } => send_report(job, period, to.as_deref(), sendmail),
            Command::Status { json } => status(&settings, now, json, out),
        };
        exit.map(Ended::Program)
    }
}

fn whole_run(job: Job, sendmail: &Path) -> Result<Exit, Failure> {
    let settings = job.settings;
    let _lock = RunLock::take(&settings.storage.state_dir, Program::Alerter)?;
    let (mut store, skew) = store::open(settings, storage::open)?;
    let clock = || skew.there((job.clock)());
    let job = Job { clock: &clock, ..job.by(skew) };
    let mut transport = way_out::transport(settings, job.letterhead.hostname, sendmail);
    let transport = transport.as_mut().map(|transport| transport.as_mut() as &mut dyn Transport);
    let exit = match run(&mut *store, job, transport) {
        // As it is meant to be where two hosts stand by for each other.
        Err(elsewhere @ StoreError::Elsewhere(..)) => {
            log::info!("all: {elsewhere}: nothing to do here");
            return Ok(Exit::Ok);
        }
        exit => exit?,
    };
    if let Some(url) = settings.heartbeat.alerter_url.as_ref().filter(|_| exit == Exit::Ok)
        && let Err(fault) = heartbeat::beat(url.reveal(), heartbeat::PATIENCE)
    {
        log::warn!("all: heartbeat: it did not arrive: {fault}");
    }
    Ok(exit)
}

/// Works on a private copy of the storage, and prints what it would send.
fn dry_run_of(job: Job, out: &mut dyn Write) -> Result<Exit, Failure> {
    let (mut copy, skew) = store::open(job.settings, storage::open_copy)?;
    Ok(run(&mut *copy, job.by(skew), Some(&mut Printer(out)))?)
}

fn send_report(job: Job, period: Period, to: Option<&str>, sendmail: &Path) -> Result<Exit, Failure> {
    let settings = job.settings;
    if !report::has_readers(job, to) {
        return Err(Failure::NoReader);
    }
    let transport = way_out::transport(settings, job.letterhead.hostname, sendmail);
    let mut transport = transport.ok_or(Failure::NoWayOut)?;
    // A report comes once a day or week: it waits for a run that happens to go on, here or on another host.
    let _lock = patiently(|| RunLock::take(&settings.storage.state_dir, Program::Alerter))?;
    let (mut store, skew) = store::open(settings, storage::open)?;
    Ok(patiently(|| report::report(&mut *store, job.by(skew), period, to, transport.as_mut()))?)
}

/// Tries again, every second for two minutes, what another run is in the way of.
fn patiently<T>(mut work: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 0..120 {
        match work() {
            Err(StoreError::AlreadyRunning(_) | StoreError::Elsewhere(..)) => {
                thread::sleep(Duration::from_secs(1));
            }
            other => return other,
        }
    }
    work()
}

fn send_test(job: Job, address: Option<&str>, sendmail: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let Job { settings, from, letterhead, now, .. } = job;
    let receivers = test_mail::receivers(settings, address);
    if receivers.is_empty() {
        return Err(Failure::NoReceiver);
    }
    let transport = way_out::transport(settings, letterhead.hostname, sendmail);
    let mut transport = transport.ok_or(Failure::NoWayOut)?;
    let sender = Sender { from, installation: letterhead.hostname, now, letterhead };
    Ok(test_mail::send(&receivers, settings, sender, transport.as_mut(), out)?)
}

fn status(settings: &Settings, now: Timestamp, json: bool, out: &mut dyn Write) -> Result<Exit, Failure> {
    let (mut store, skew) = store::open(settings, storage::open_existing)?;
    let now = skew.there(now);
    let status = Status::read(&mut *store, settings, now)?;
    if json {
        serde_json::to_writer(&mut *out, &status).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", table(&status, now))?;
    }
    Ok(Exit::Ok)
}
