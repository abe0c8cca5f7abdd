//! The command line.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use config::Environment;
use model::{ClientName, Exit};

use crate::command::{Context, Stop, complain};
use crate::limits;

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
pub(crate) struct RunArgs {
    /// Print one JSON object about the run to stdout
    #[arg(long)]
    pub(crate) json: bool,

    /// Visit only this client or group; may be given several times
    #[arg(long, value_name = "NAME|@GROUP")]
    pub(crate) only: Vec<String>,

    /// Say who would be visited and how; read no secret, connect to nobody, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Have each client take a new record even if its newest is younger than 10 seconds
    #[arg(long)]
    pub(crate) fresh: bool,
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
    /// Go to clients step by step and say what is found and what is in the way; stores nothing and trusts no new host key
    CheckHost {
        /// A client's name or @group
        #[arg(value_name = "NAME|@GROUP", required_unless_present = "all", conflicts_with = "all")]
        only: Vec<String>,
        /// Every client
        #[arg(long)]
        all: bool,
        /// Print one JSON object to stdout
        #[arg(long)]
        json: bool,
    },
    /// Print the <client> elements for hosts of an ssh_config, as ssh itself reads it
    ImportSshConfig {
        /// Names as one gives them to ssh
        #[arg(value_name = "HOST", required_unless_present = "all", conflicts_with = "all")]
        hosts: Vec<String>,
        /// Every name after Host that is no pattern, in the user's file (or --file) and what that includes
        #[arg(long)]
        all: bool,
        /// The ssh_config [default: the user's and the system's]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Write them to a file, which must not be there yet: config.xml, or with =FILE one to be included by it
        #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "",
              value_parser = |text: &str| Ok::<_, Infallible>(Target::of(text)))]
        write: Option<Target>,
    },
    /// Give a client another name: history, keys, spool and alerts stay its own
    Rename {
        /// Its name in the storage
        old: ClientName,
        /// Its new name
        new: ClientName,
    },
    /// Fetch what a client still has and remove its spool there; its history stays unless --purge
    Remove {
        /// Its name
        name: ClientName,
        /// Remove everything that is stored of it, too; nothing is fetched
        #[arg(long)]
        purge: bool,
        /// Do not go there: its spool is left where it is
        #[arg(long)]
        unreachable: bool,
    },
    /// Give up records at a client whose key pair is not here any more (a restored database); they are set aside
    Discard {
        /// Its name
        name: ClientName,
    },
    /// Have records sealed to a new key pair from the next collection on (happens by itself after 90 days)
    RotateKeys {
        /// A client's name or @group
        #[arg(value_name = "NAME|@GROUP", required_unless_present = "all", conflicts_with = "all")]
        only: Vec<String>,
        /// Every client
        #[arg(long)]
        all: bool,
    },
    /// Bring a PostgreSQL storage up to date, make its days ahead, and remove what is older than keep-raw and evaluated. For
    /// the role that owns the tables; a run of that role does it by itself once a day
    MaintainStorage {
        /// Log in as this role, with PGPASSWORD or by ~/.pgpass [default: as <storage> says]
        #[arg(long, value_name = "ROLE")]
        user: Option<String>,
    },
    /// Move everything from a SQLite file into an empty PostgreSQL database, and compare both sides; said again, it goes on
    /// where it was cut. No run may be under way
    MigrateStorage {
        /// The file: sqlite:///PATH [default: <storage> of config.xml]
        #[arg(long, value_name = "URL")]
        from: Option<String>,
        /// The database: postgres://USER@HOST/DATABASE, without a password: that is PGPASSWORD or in ~/.pgpass [default:
        /// <storage> of config.xml]
        #[arg(long, value_name = "URL")]
        to: Option<String>,
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

/// Where imported clients are written to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// config.xml itself
    Config,
    /// A file to be included by it.
    File(PathBuf),
}

impl Target {
    fn of(text: &str) -> Self {
        if text.is_empty() { Self::Config } else { Self::File(text.into()) }
    }
}

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
            Command::CheckHost { only, json, .. } => context.check_host(&only, json),
            Command::ImportSshConfig { hosts, all, file, write } => {
                context.import(&hosts, all, file.as_deref(), write.as_ref())
            }
            Command::Rename { old, new } => context.clients(|clients, _| clients.rename(&old, &new)),
            Command::Remove { name, purge, unreachable } => context.remove(&name, purge, unreachable),
            Command::MaintainStorage { user } => context.maintain_storage(user),
            Command::MigrateStorage { from, to } => context.migrate_storage(from.as_deref(), to.as_deref()),
            Command::Discard { name } => context.discard(&name),
            Command::RotateKeys { only, .. } => context.rotate_keys(&only),
        };
        done.unwrap_or_else(|Stop(message, exit)| {
            complain(message);
            exit
        })
    }
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
