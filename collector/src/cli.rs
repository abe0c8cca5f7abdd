//! The command line.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use config::{Client, Connection, Environment, Settings, Ssh};
use model::Exit;

use crate::credential::Wallet;
use crate::host_key::Expected;
use crate::prepare::Hosts;
use crate::probe::Probes;
use crate::run::{Order, run};
use crate::selection::select;
use crate::{limits, recipe, trust};

/// Visits every client of config.xml over SSH and stores what it reports.
///
/// Exit status: 0 all went well; 1 some clients failed; 2 wrong usage; 74 the storage failed; 75 another run is under
/// way, or the storage is busy; 78 config.xml is wrong.
#[derive(Debug, Parser)]
#[command(name = "fleet-collector", version, subcommand_value_name = "COMMAND")]
pub struct Cli {
    /// The configuration [default: /etc/fleet-health/config.xml; of an ordinary user
    /// $XDG_CONFIG_HOME/fleet-health/config.xml]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    /// Tell each step
    #[arg(short, long, global = true)]
    verbose: bool,

    /// Tell errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,

    #[command(flatten)]
    run: RunArgs,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Default, PartialEq, Eq, Args)]
struct RunArgs {
    /// Print one JSON object about the run to stdout
    #[arg(long)]
    json: bool,

    /// Visit only this client or group; may be given several times
    #[arg(long, value_name = "NAME|@GROUP")]
    only: Vec<String>,

    /// Say who would be visited and how; read no secret, connect to nobody, change nothing
    #[arg(long)]
    dry_run: bool,

    /// Have each client take a new record even if its newest is younger than 10 seconds
    #[arg(long)]
    fresh: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Collect once (what happens without a command)
    Run(RunArgs),
    /// Read config.xml, tell every fault, and show what it means
    CheckConfig,
    /// Show the host keys of clients, and write them to the known ones after asking
    Trust {
        /// A client's name or @group
        #[arg(value_name = "NAME|@GROUP", required_unless_present = "all", conflicts_with = "all")]
        only: Vec<String>,
        /// Every client
        #[arg(long)]
        all: bool,
        /// Do not ask: you compared the fingerprints, or the network is trusted for now
        #[arg(long)]
        yes: bool,
    },
    /// Write the program for the clients to a file, to install it there by other means
    Probe {
        /// The file
        #[arg(long, value_name = "FILE")]
        write: PathBuf,
        /// For clients whose `uname -m` says this, where not for machines as this one
        #[arg(long)]
        machine: Option<String>,
    },
    /// Say how to install the probe on a client and limit the key to it, and how the client's own cron takes samples
    Recipe {
        /// The client's name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// What ends a command early: a message for stderr, and the exit status.
struct Stop(String, Exit);

impl Cli {
    /// What to log where `RUST_LOG` says nothing.
    pub fn log_filter(&self) -> &'static str {
        match (self.verbose, self.quiet) {
            (true, _) => "info,collector=debug",
            (_, true) => "error",
            _ => "warn",
        }
    }

    /// Does what was asked for.
    pub fn execute(self) -> Exit {
        let command = match (self.command, self.run) {
            (None, run) => Command::Run(run),
            (Some(Command::Run(behind)), before) if before == RunArgs::default() => Command::Run(behind),
            (Some(command), before) if before == RunArgs::default() => command,
            _ => {
                let fault =
                    "--json, --only, --dry-run and --fresh belong behind `run`, or to no command at all";
                Self::command().error(ErrorKind::ArgumentConflict, fault).exit()
            }
        };
        let context =
            Context { config: self.config, verbose: self.verbose, environment: Environment::of_process() };
        if let Err(error) = limits::of_supervisor() {
            log::warn!("a crash could leave secrets in a core dump: {error}");
        }
        let done = match command {
            Command::Run(args) => context.run(&args),
            Command::CheckConfig => context.check_config(),
            Command::Trust { only, yes, .. } => context.trust(&only, yes),
            Command::Probe { write, machine } => context.write_probe(&write, machine.as_deref()),
            Command::Recipe { name } => context.recipe(name),
        };
        done.unwrap_or_else(|Stop(message, exit)| {
            complain(message);
            exit
        })
    }
}

struct Context {
    config: Option<PathBuf>,
    verbose: bool,
    environment: Environment,
}

impl Context {
    fn load(&self) -> Result<Settings, Stop> {
        config::load(self.config.as_deref(), &self.environment)
            .map_err(|faults| Stop(faults.to_string(), Exit::Config))
    }

    fn check_config(&self) -> Result<Exit, Stop> {
        say(config::summary(&self.load()?).trim_end())?;
        Ok(Exit::Ok)
    }

    fn run(&self, args: &RunArgs) -> Result<Exit, Stop> {
        let settings = self.load()?;
        let clients = select(&settings.clients, &args.only).map_err(usage)?;
        let hosts = self.hosts(&settings);
        if args.dry_run {
            return dry_run(&clients, &hosts);
        }
        let wallet = Wallet::new(self.environment.home.clone(), std::env::var("SSH_AUTH_SOCK").ok());
        let whole = args.only.is_empty();
        let probes = probes(&settings);
        let order =
            Order { settings: &settings, clients: &clients, whole, fresh: args.fresh, wallet, hosts, probes };
        let report = run(order).map_err(|failure| Stop(failure.to_string(), failure.exit()))?;
        if let Some(text) = report.not_reached() {
            log::warn!("{text}");
        }
        if args.json {
            say(report.json())?;
        } else if io::stdout().is_terminal() || self.verbose {
            say(report.text().trim_end())?;
        }
        Ok(if report.failed() == 0 { Exit::Ok } else { Exit::Partial })
    }

    fn trust(&self, only: &[String], yes: bool) -> Result<Exit, Stop> {
        let settings = self.load()?;
        let clients = select(&settings.clients, only).map_err(usage)?;
        if !yes && !io::stdin().is_terminal() {
            return Err(usage(
                "nobody is there to be asked: compare the fingerprints, then give --yes".to_owned(),
            ));
        }
        let seen = trust::see(&clients, settings.concurrency, self.hosts(&settings));
        for line in &seen.lines {
            say(line)?;
        }
        let failed = if seen.failed { Exit::Partial } else { Exit::Ok };
        if seen.new.is_empty() || !(yes || agrees(seen.new.len())) {
            return Ok(if seen.new.is_empty() { failed } else { Exit::Partial });
        }
        let file = settings.storage.state_dir().join("known_hosts");
        trust::write(&file, &seen.new)
            .map_err(|error| Stop(format!("{}: {error}", file.display()), Exit::Storage))?;
        say(format_args!("{} host keys were added to {}", seen.new.len(), file.display()))?;
        Ok(failed)
    }

    fn write_probe(&self, file: &Path, machine: Option<&str>) -> Result<Exit, Stop> {
        // The embedded one needs no configuration.
        let probes = match machine {
            Some(_) => probes(&self.load()?),
            None => Probes::load(&[], &mut |warning| log::warn!("{warning}")),
        };
        let probe = match machine {
            Some(machine) => probes.for_client(&format!("Linux {machine}")),
            None => probes.by_machine().first().map(|(_, probe)| *probe),
        };
        let Some(probe) = probe else {
            return Err(usage(format!(
                "there is no probe for {}: README.md, \"Other architectures\", says how to build it",
                machine.unwrap_or_default()
            )));
        };
        probe.write(file).map_err(|error| Stop(format!("{}: {error}", file.display()), Exit::Partial))?;
        say(format_args!("{}: {} bytes, SHA-256 {}", file.display(), probe.size, probe.sha256))?;
        Ok(Exit::Ok)
    }

    fn recipe(&self, name: String) -> Result<Exit, Stop> {
        let settings = self.load()?;
        let clients = select(&settings.clients, &[name]).map_err(usage)?;
        for client in clients {
            say(recipe::of(&settings, client).trim_end())?;
        }
        Ok(Exit::Ok)
    }

    fn hosts(&self, settings: &Settings) -> Hosts {
        Hosts::new(&settings.storage.state_dir(), self.environment.home.as_deref())
    }
}

fn dry_run(clients: &[&Client], hosts: &Hosts) -> Result<Exit, Stop> {
    say(format_args!("clients that would be visited: {}", clients.len()))?;
    for client in clients {
        match &client.connection {
            Connection::Local => say(format_args!("{}: this machine", client.name))?,
            Connection::Ssh(ssh) => {
                let host_key = key_state(&hosts.expected(client, ssh), client);
                let Ssh { username, address, port, .. } = &**ssh;
                say(format_args!(
                    "{}: ssh {username}@{address} port {port}, by {}; {host_key}",
                    client.name,
                    means(ssh)
                ))?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn key_state(expected: &Expected, client: &Client) -> String {
    let places = expected.keys.iter().map(|(_, at)| at).chain(expected.fingerprints.iter().map(|(_, at)| at));
    match places.into_iter().next() {
        Some(place) => format!("host key: {place}"),
        None => format!("host key: NOT KNOWN, run: fleet-collector trust {}", client.name),
    }
}

fn means(ssh: &Ssh) -> String {
    let keys = ssh.identity_files.iter().map(|file| format!("key {}", file.display()));
    let agent = ssh.identity_agent.iter().map(|path| format!("agent {}", path.display()));
    let password = ssh.password.iter().map(|_| "password".to_owned());
    let means: Vec<_> = keys.chain(agent).chain(password).collect();
    if means.is_empty() { "agent or default keys".to_owned() } else { means.join(", ") }
}

/// The programs for the clients; what is wrong with one of them is told.
fn probes(settings: &Settings) -> Probes {
    let directories = Probes::directories(&settings.storage.state_dir());
    Probes::load(&directories, &mut |warning| log::warn!("{warning}"))
}

/// Asks the person at the terminal.
fn agrees(count: usize) -> bool {
    let mut to = io::stderr();
    let _ =
        write!(to, "Are these {count} host keys the machines' own? They will be trusted from now on [y/N] ");
    let _ = to.flush();
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok()
        && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

fn usage(message: String) -> Stop {
    Stop(message, Exit::Usage)
}

/// Prints what was asked for. A reader that is gone wants no more of it.
fn say(text: impl Display) -> Result<(), Stop> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Stop(
            format!("stdout: {error}: what was asked for could not be printed whole"),
            Exit::Partial,
        )),
        _ => Ok(()),
    }
}

fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", text.to_string().trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_what_happens_without_a_command() {
        let bare = Cli::try_parse_from(["fleet-collector", "--json", "--config", "c.xml"]).unwrap();
        assert!(bare.run.json && bare.command.is_none());
        let named =
            Cli::try_parse_from(["fleet-collector", "run", "--json", "--config", "c.xml", "-v"]).unwrap();
        assert_eq!((named.config, named.verbose), (Some("c.xml".into()), true));
        assert!(Cli::try_parse_from(["fleet-collector", "trust"]).is_err());
        assert!(Cli::try_parse_from(["fleet-collector", "-v", "-q"]).is_err());
    }
}
