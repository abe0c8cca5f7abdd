//! What each command does: config.xml is read, the work is done by the module of its name, the answer is printed.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::{Client, Connection, Environment, HostKeyPolicy, Settings, Ssh};
use envelope::MasterKey;
use model::{ClientName, Exit};
use storage::StoreError;

use crate::check_host::Subject;
use crate::cli::{RunArgs, Target};
use crate::clients::{Clients, Refusal};
use crate::credential::Wallet;
use crate::prepare::{Hosts, Preparer};
use crate::probe::Probes;
use crate::route::Server;
use crate::run::{self, Order, run};
use crate::selection::select;
use crate::{check_host, heartbeat, keys, recipe, route, ssh_config, store, storekeeping, trust};

/// What ends a command early: a message for stderr, and the exit status.
pub(crate) struct Stop(pub(crate) String, pub(crate) Exit);

/// What every command needs of the command line and of this process.
pub(crate) struct Context {
    pub(crate) config: Option<PathBuf>,
    pub(crate) verbose: bool,
    pub(crate) environment: Environment,
}

impl Context {
    fn load(&self) -> Result<Settings, Stop> {
        config::load(self.config.as_deref(), &self.environment)
            .map_err(|faults| Stop(faults.to_string(), Exit::Config))
    }

    pub(crate) fn check_config(&self) -> Result<Exit, Stop> {
        say(config::summary(&self.load()?).trim_end())?;
        Ok(Exit::Ok)
    }

    pub(crate) fn run(&self, args: &RunArgs) -> Result<Exit, Stop> {
        let settings = self.load()?;
        let clients = select(&settings.clients, &args.only).map_err(usage)?;
        let hosts = self.hosts(&settings);
        if args.dry_run {
            return dry_run(&clients, &hosts);
        }
        let wallet = self.wallet();
        let whole = args.only.is_empty();
        let probes = probes(&settings);
        // What is logged, and the line, would write over each other.
        let progress = !args.json && log::max_level() == log::LevelFilter::Warn;
        let fresh = args.fresh;
        let order = Order {
            settings: &settings,
            clients: &clients,
            whole,
            host: host(),
            fresh,
            wallet,
            hosts,
            probes,
            progress,
        };
        let report = run(order).map_err(|failure| Stop(failure.to_string(), failure.exit()))?;
        for text in [report.not_reached(), report.elsewhere()].into_iter().flatten() {
            log::warn!("{text}");
        }
        if args.json {
            say(report.json())?;
        } else if io::stdout().is_terminal() || self.verbose {
            say(report.text().trim_end())?;
        }
        if let Some(text) = &report.overdue_alerter {
            log::error!("{text}");
        }
        // Of clients that failed the alerter tells; if it does not run, nobody does.
        let is_good = report.overdue_alerter.is_none();
        if let Some(url) = settings.heartbeat.collector_url.as_ref().filter(|_| whole && is_good)
            && let Err(fault) = heartbeat::beat(url)
        {
            log::warn!("the heartbeat did not arrive: {fault}");
        }
        Ok(if is_good && report.failed() == 0 { Exit::Ok } else { Exit::Partial })
    }

    pub(crate) fn trust(&self, only: &[String], yes: bool) -> Result<Exit, Stop> {
        let settings = self.load()?;
        let clients = select(&settings.clients, only).map_err(usage)?;
        if !yes && !io::stdin().is_terminal() {
            return Err(usage(
                "nobody is there to be asked: compare the fingerprints, then give --yes".to_owned(),
            ));
        }
        let preparer = Arc::new(Preparer::new(self.wallet(), self.hosts(&settings), Probes::default()));
        let file = settings.storage.state_dir.join("known_hosts");
        let (mut asked, mut failed) = (clients, false);
        // What lies behind a hop whose key is new is asked when that is trusted.
        while !asked.is_empty() {
            let seen = trust::see(&asked, settings.concurrency, &preparer);
            seen.lines.iter().try_for_each(say)?;
            failed |= seen.failed;
            if seen.new.is_empty() {
                break;
            }
            if !(yes || agrees(seen.new.len())) {
                return Ok(Exit::Partial);
            }
            trust::write(&file, &seen.new)
                .map_err(|error| Stop(format!("{}: {error}", file.display()), Exit::Storage))?;
            say(format_args!("{} host keys were added to {}", seen.new.len(), file.display()))?;
            preparer.hosts().read_again();
            asked = seen.behind;
        }
        Ok(if failed { Exit::Partial } else { Exit::Ok })
    }

    pub(crate) fn write_probe(&self, file: &Path, machine: Option<&str>) -> Result<Exit, Stop> {
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

    pub(crate) fn recipe(&self, name: String) -> Result<Exit, Stop> {
        let settings = self.load()?;
        let clients = select(&settings.clients, &[name]).map_err(usage)?;
        for client in clients {
            say(recipe::of(&settings, client).trim_end())?;
        }
        Ok(Exit::Ok)
    }

    fn wallet(&self) -> Wallet {
        Wallet::new(self.environment.home.clone(), std::env::var("SSH_AUTH_SOCK").ok())
    }

    pub(crate) fn check_host(&self, only: &[String], json: bool) -> Result<Exit, Stop> {
        let settings = self.load()?;
        let chosen = select(&settings.clients, only).map_err(usage)?;
        let subjects = subjects(&settings, &chosen).map_err(|failure| {
            let exit = failure.exit();
            Stop(failure.to_string(), exit)
        })?;
        let preparer = self.preparer(&settings);
        let checked = check_host::check(&subjects, settings.concurrency, &preparer);
        if json {
            say(check_host::json(&checked))?;
        } else {
            checked.iter().try_for_each(|client| say(client.text()))?;
        }
        let ok = checked.iter().all(check_host::Checked::is_ok);
        Ok(if ok { Exit::Ok } else { Exit::Partial })
    }

    pub(crate) fn import(
        &self,
        hosts: &[String],
        all: bool,
        file: Option<&Path>,
        write: Option<&Target>,
    ) -> Result<Exit, Stop> {
        let home = self.environment.home.as_deref();
        let hosts = if all {
            let usual = || home.map(|home| home.join(".ssh/config")).unwrap_or_default();
            let file = file.map_or_else(usual, Path::to_owned);
            let names = ssh_config::names(&file, home);
            let (names, remarks) = names.map_err(|error| {
                usage(format!("{}: {error}: name the ssh_config by --file, or the hosts", file.display()))
            })?;
            remarks.iter().for_each(complain);
            if names.is_empty() {
                return Err(usage(format!(
                    "{}: it names no host but patterns: give their names",
                    file.display()
                )));
            }
            names
        } else {
            hosts.to_vec()
        };
        let imported = ssh_config::import(file, &hosts, &self.environment)
            .map_err(|fault| Stop(fault, Exit::Partial))?;
        imported.remarks.iter().for_each(complain);
        let exit = if imported.count == hosts.len() { Exit::Ok } else { Exit::Partial };
        let Some(write) = write else {
            say(imported.elements.trim_end())?;
            return Ok(exit);
        };
        let config = self.config.clone().unwrap_or_else(|| self.environment.default_config());
        let to = match write {
            Target::Config => &config,
            Target::File(file) => file,
        };
        ssh_config::write(to, &imported.elements)
            .map_err(|error| Stop(format!("{}: {error}", to.display()), Exit::Partial))?;
        say(format_args!("{} clients are in {}", imported.count, to.display()))?;
        say(match write {
            Target::File(file) => format!("in config.xml: <include file=\"{}\"/>", file.display()),
            Target::Config => "next: fleet-collector trust --all".to_owned(),
        })?;
        Ok(exit)
    }

    pub(crate) fn clients(
        &self,
        act: impl FnOnce(&mut Clients<'_>, &Settings) -> Result<String, Refusal>,
    ) -> Result<Exit, Stop> {
        let settings = self.load()?;
        let done = Clients::open(&settings).and_then(|mut clients| act(&mut clients, &settings));
        say(done.map_err(|Refusal(text, exit)| Stop(text, exit))?)?;
        Ok(Exit::Ok)
    }

    pub(crate) fn remove(&self, name: &ClientName, purge: bool, unreachable: bool) -> Result<Exit, Stop> {
        self.clients(|clients, settings| {
            let preparer = self.preparer(settings);
            clients.remove(name, purge, (!unreachable).then_some(&preparer))
        })
    }

    pub(crate) fn discard(&self, name: &ClientName) -> Result<Exit, Stop> {
        self.clients(|clients, settings| {
            let refusal = |fault| Refusal(fault, Exit::Usage);
            let chosen = select(&settings.clients, &[name.to_string()]).map_err(refusal)?;
            let [client] = chosen[..] else {
                return Err(refusal(format!("{name} is the name of more than one client")));
            };
            clients.discard(client, &self.preparer(settings))
        })
    }

    fn preparer(&self, settings: &Settings) -> Arc<Preparer> {
        Arc::new(Preparer::new(self.wallet(), self.hosts(settings), probes(settings)))
    }

    pub(crate) fn rotate_keys(&self, only: &[String]) -> Result<Exit, Stop> {
        let settings = self.load()?;
        let chosen = select(&settings.clients, only).map_err(usage)?;
        self.clients(|clients, _| clients.rotate(&chosen))
    }

    pub(crate) fn maintain_storage(&self, user: Option<String>) -> Result<Exit, Stop> {
        let said = storekeeping::maintain(&self.load()?, user);
        say(said.map_err(|Refusal(text, exit)| Stop(text, exit))?)?;
        Ok(Exit::Ok)
    }

    pub(crate) fn migrate_storage(&self, from: Option<&str>, to: Option<&str>) -> Result<Exit, Stop> {
        let said = storekeeping::migrate(&self.load()?, &self.environment, from, to);
        say(said.map_err(|Refusal(text, exit)| Stop(text, exit))?)?;
        Ok(Exit::Ok)
    }

    fn hosts(&self, settings: &Settings) -> Hosts {
        Hosts::new(&settings.storage.state_dir, self.environment.home.as_deref())
    }
}

/// This host's name, as the run log has it.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whom to check, as what is stored knows them: nothing is made for that.
fn subjects<'a>(settings: &Settings, chosen: &[&'a Client]) -> Result<Vec<Subject<'a>>, run::Failure> {
    let mut store = match store::open(settings, storage::open_existing) {
        Ok((store, _)) => Some(store),
        Err(StoreError::Absent(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let file = run::master_key_file(&settings.storage.state_dir);
    let master = MasterKey::load(&file).map_err(|fault| run::Failure::MasterKey(fault.to_string()))?;
    if store.is_some() && master.is_none() {
        log::warn!("{}: it is not there: clients are visited as if they were new", file.display());
    }
    let mut subjects = Vec::with_capacity(chosen.len());
    for client in chosen {
        let row = store.as_mut().map(|store| store.find(&client.name)).transpose()?.flatten();
        let known = row.zip(master.as_ref()).and_then(|(row, master)| {
            let identities = keys::open(&row, master, &mut |warning| log::warn!("{warning}"));
            (!identities.is_empty()).then_some((row, identities))
        });
        subjects.push(Subject { client, known });
    }
    Ok(subjects)
}

fn dry_run(clients: &[&Client], hosts: &Hosts) -> Result<Exit, Stop> {
    say(format_args!("clients that would be visited: {}", clients.len()))?;
    for client in clients {
        match &client.connection {
            Connection::Unsaid => say(format_args!("{}: no way there is said", client.name))?,
            Connection::Local => say(format_args!("{}: this machine", client.name))?,
            Connection::Ssh(ssh) => {
                let servers = route::servers(client);
                let keys: Vec<_> = servers.iter().map(|server| key_state(hosts, server, client)).collect();
                let Ssh { username, address, port, .. } = &**ssh;
                say(format_args!(
                    "{}: ssh {username}@{address} port {port}, by {}; {}",
                    client.name,
                    means(ssh),
                    keys.join("; ")
                ))?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn key_state(hosts: &Hosts, server: &Server<'_>, client: &Client) -> String {
    let of = server.hop.map_or_else(String::new, |hop| format!(" of {hop}"));
    let expected = match hosts.expected(server.source, server.ssh) {
        Ok(expected) => expected,
        Err(outcome) => return format!("host key{of}: {}", outcome.message()),
    };
    let places = expected.keys.iter().map(|(_, at)| at).chain(expected.fingerprints.iter().map(|(_, at)| at));
    match places.into_iter().next() {
        Some(place) => format!("host key{of}: {place}"),
        None if server.ssh.host_key_policy == HostKeyPolicy::AcceptNew
            && expected.is_nothing()
            && expected.doubts.is_empty() =>
        {
            format!("host key{of}: not known yet, the first is accepted")
        }
        None => format!("host key{of}: NOT KNOWN, run: fleet-collector trust {}", client.name),
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
    let directories = Probes::directories(&settings.storage.state_dir);
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

pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", text.to_string().trim_end());
}
