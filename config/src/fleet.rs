//! From parts to clients: inheritance, names, and entries that are the same client.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use model::wire::MAX_PROCESSES;
use model::{ClientName, Rule};

use crate::alert::{self, AlertPart};
use crate::client::{self, ClientPart, SSH_PORT};
use crate::fault::Wrong;
use crate::nearest::nearest;
use crate::parent;
use crate::proxy::{Way, Ways};
use crate::reading::{At, Reading};
use crate::settings::{Client, Connection, HostKeyPolicy, Mode};
use crate::source::Span;
use crate::template::{SHIPPED, Templates};
use crate::tree::Element;
use crate::value::quoted;

/// There are at most so many clients in all files together.
const CLIENTS: usize = 100_000;

/// What makes two entries without names one client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Identity {
    /// Address, port and user.
    Ssh(String, u16, String),
    /// This machine, by the address that it was given.
    Local(String),
}

/// What is known of each client once all are, in their order.
pub(crate) struct Resolved {
    ways: Vec<Way>,
    parents: Vec<Option<usize>>,
}

/// Every client of the file, its entries merged.
#[derive(Default)]
pub(crate) struct Fleet {
    /// A client without a name is one whose name was reported.
    parts: Vec<(Option<ClientName>, ClientPart)>,
    /// The clients without a written name, by what makes two entries one.
    unnamed: HashMap<Identity, usize>,
    /// The clients by their names in lower case: names that differ in case only are one to people.
    names: HashMap<String, usize>,
}

/// Reads every `<client>`, lets it inherit and gives it its name.
pub(crate) fn read(
    reading: &mut Reading<'_>,
    elements: &[Element<'_>],
    defaults: Option<&ClientPart>,
) -> Fleet {
    let mut fleet = Fleet::default();
    if let Some(extra) = elements.get(CLIENTS) {
        let wrong = Wrong::new(format!("there are more than {CLIENTS} clients"));
        reading.report(extra.at, wrong.help("split the fleet over several hosts that collect"));
    }
    for element in elements.iter().take(CLIENTS) {
        let mut part = client::read(reading, element);
        if let Some(defaults) = defaults {
            part.inherit(defaults);
        }
        client::check(reading, element, &part);
        fleet.add(reading, part);
    }
    fleet
}

impl Fleet {
    fn add(&mut self, reading: &mut Reading<'_>, part: ClientPart) {
        let name = if let Some(name) = &part.name {
            Some(name.value.clone())
        } else if let Some((host, tcp_port, user)) = part.address(&reading.environment.user) {
            let identity = if part.is_local() {
                Identity::Local(host)
            } else {
                Identity::Ssh(host, tcp_port, user.clone())
            };
            if let Some(&index) = self.unnamed.get(&identity) {
                let first = &mut self.parts[index].1;
                // A disabled entry adds nothing, and is not switched on by its twin.
                match (first.is_enabled(), part.is_enabled()) {
                    (true, true) => first.merge(part, reading),
                    (false, true) => *first = part,
                    (_, false) => {}
                }
                return;
            }
            self.unnamed.insert(identity, self.parts.len());
            self.default_name(reading, &part, tcp_port, &user)
        } else {
            None
        };
        if let Some(name) = &name {
            self.check_unique(reading, name, &part);
        }
        self.parts.push((name, part));
    }

    /// The name of a client that has none written; `None` where its address and user cannot be one.
    fn default_name(
        &self,
        reading: &mut Reading<'_>,
        part: &ClientPart,
        tcp_port: u16,
        user: &str,
    ) -> Option<ClientName> {
        let host = part.ip.as_ref().map_or("", |ip| ip.value.as_str());
        let plain = tcp_port == SSH_PORT || part.is_local();
        let place = if plain { host.to_owned() } else { format!("{host}:{tcp_port}") };
        // The first user at an address has the plain name, as it was when there was but one.
        let first = self.names.get(&place.to_ascii_lowercase()).map(|&index| &self.parts[index].1);
        let is_other_user = first.is_some_and(|first| first.name.is_none() && !part.is_local());
        let name = if is_other_user { format!("{user}@{place}") } else { place };
        let parsed = name.parse().ok();
        if parsed.is_none() {
            let cause = format!("the client has no name, and {} cannot be one", quoted(&name));
            reading.report(part.at, Wrong::new(cause).expected("name=\"...\" of letters, digits and .:_@-"));
        }
        parsed
    }

    /// Two clients of one name are a fault.
    fn check_unique(&mut self, reading: &mut Reading<'_>, name: &ClientName, part: &ClientPart) {
        let folded = name.as_str().to_ascii_lowercase();
        let Some(&first) = self.names.get(&folded) else {
            self.names.insert(folded, self.parts.len());
            return;
        };
        let span = part.name.as_ref().map_or(part.at, |name| name.span);
        let line = reading.line(self.parts[first].1.at, span);
        let wrong = Wrong::new(format!("the client in {line} is called \"{name}\" too"));
        reading.report(span, wrong.help("give one of the two another name"));
    }

    /// How many clients there are, the disabled ones among them.
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(crate) fn part(&self, client: usize) -> &ClientPart {
        &self.parts[client].1
    }

    /// `None` where the name was wrong.
    pub(crate) fn name(&self, client: usize) -> Option<&str> {
        self.parts[client].0.as_ref().map(ClientName::as_str)
    }

    /// The client of that name, in whatever case.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.names.get(&name.to_ascii_lowercase()).copied()
    }

    /// The client that was probably meant by `name`, as help.
    pub(crate) fn nearest(&self, reading: &Reading<'_>, name: &str) -> Option<String> {
        if reading.sink.is_full() {
            return None;
        }
        let names = (0..self.len()).filter_map(|client| self.name(client));
        nearest(name, names).map(|near| format!("did you mean \"{near}\"?"))
    }

    /// Judges what needs all clients or their templates: the ways to them, parents, how many processes they count, and that
    /// nobody's new host key is trusted with a password.
    pub(crate) fn resolve(
        &self,
        reading: &mut Reading<'_>,
        templates: &Templates,
        defaults: Option<&ClientPart>,
    ) -> Resolved {
        let mut told = HashSet::new();
        for part in defaults.into_iter().chain(self.parts.iter().map(|(_, part)| part)) {
            check_policy(reading, part, defaults, &mut told);
        }
        let default_alerts = defaults.map_or(&[][..], |defaults| defaults.alerts.as_slice());
        for (_, part) in &self.parts {
            check_processes(reading, part, templates, default_alerts);
        }
        let ways = Ways::new(self, defaults).resolve(reading);
        let parents = parent::resolve(reading, self, defaults, &ways);
        Resolved { ways, parents }
    }

    /// The templates that clients name, each place once: what is inherited names the place of the defaults.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &At<String>> {
        self.parts.iter().filter_map(|(_, part)| part.template.as_ref())
    }

    /// The clients that are enabled, with their rules.
    pub(crate) fn clients(
        self,
        reading: &Reading<'_>,
        templates: &Templates,
        defaults: Option<&ClientPart>,
        resolved: Resolved,
        admin: &[String],
        collector_every: Option<Duration>,
    ) -> Vec<Client> {
        let default_alerts = defaults.map_or(&[][..], |defaults| defaults.alerts.as_slice());
        // A client that is disabled is never collected: nobody can wait for it.
        let parent = |parent: &usize| {
            let (name, part) = &self.parts[*parent];
            name.clone().filter(|_| part.is_enabled())
        };
        let parents: Vec<_> =
            resolved.parents.iter().map(|number| number.as_ref().and_then(parent)).collect();
        let resolved = resolved.ways.into_iter().zip(parents);
        let enabled = self.parts.into_iter().zip(resolved).filter(|((_, part), _)| part.is_enabled());
        let client = |((name, part), (way, parent)): ((Option<ClientName>, ClientPart), (Way, _))| {
            let name = name?;
            let mut connection = part.connection(&reading.environment.user);
            if let Connection::Ssh(ssh) = &mut connection {
                ssh.proxy = way.proxy;
            }
            let levels = levels(&part, templates, default_alerts);
            let mail = part.mail.as_ref().map_or(admin, |mail| mail.value.as_slice());
            let rules = alert::rules(&levels, mail, collector_every);
            Some(Client {
                processes: processes(&part, &rules),
                rules,
                source: reading.mark(part.at),
                connection,
                remote_dirs: part.remote_dirs(),
                timeout: part.timeout(),
                groups: part.groups.map(|groups| groups.value).unwrap_or_default(),
                mode: part.mode.map_or(Mode::Ship, |mode| mode.value),
                parent,
                name,
            })
        };
        enabled.filter_map(client).collect()
    }
}

/// The alerts that hold for a client, by level, the lowest first.
fn levels<'p>(
    part: &'p ClientPart,
    templates: &'p Templates,
    defaults: &'p [AlertPart],
) -> Vec<&'p [AlertPart]> {
    let template = part.template.as_ref().map(|template| template.value.as_str());
    let has_rules = defaults.iter().chain(&part.alerts).any(AlertPart::watches);
    // The shipped template is the lowest level, below the defaults; a template of the client's lies above them.
    let mut levels = if has_rules || template.is_some() { Vec::new() } else { templates.levels(SHIPPED) };
    levels.push(defaults);
    levels.extend(template.map_or_else(Vec::new, |template| templates.levels(template)));
    levels.push(&part.alerts);
    levels
}

/// The processes that are asked for: those that the client names, and those that its rules match by name.
fn processes(part: &ClientPart, rules: &[Rule]) -> Vec<String> {
    let mut names = part.processes.as_ref().map(|processes| processes.value.clone()).unwrap_or_default();
    for name in alert::processes(rules) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// A client's alerts may ask for no more processes than a request has room for.
fn check_processes(
    reading: &mut Reading<'_>,
    part: &ClientPart,
    templates: &Templates,
    defaults: &[AlertPart],
) {
    let levels = levels(part, templates, defaults);
    if !levels.iter().copied().flatten().any(AlertPart::counts_processes) {
        return;
    }
    let (most, _) = MAX_PROCESSES;
    let count = processes(part, &alert::rules(&levels, &[], None)).len();
    if count > most {
        let cause = format!("{count} processes are counted by name, those of its alerts among them");
        reading.report(part.at, Wrong::new(cause).expected(format!("at most {most} for a client")));
    }
}

/// `accept-new` beside a password is a fault: whoever answers first would be given it.
fn check_policy(
    reading: &mut Reading<'_>,
    part: &ClientPart,
    defaults: Option<&ClientPart>,
    told: &mut HashSet<Span>,
) {
    let (Some(policy), Some(password)) = (&part.host_key_policy, &part.password) else { return };
    if policy.value != HostKeyPolicy::AcceptNew || part.is_local() {
        return;
    }
    // Told at what the client itself says, rather than at what it inherits.
    let inherited = defaults.and_then(|defaults| defaults.host_key_policy.as_ref()).map(|at| at.span);
    let span = if inherited == Some(policy.span) { password.span } else { policy.span };
    if told.insert(span) {
        let cause =
            "host-key-policy=\"accept-new\" beside a password: whoever answers first would be given it";
        let help =
            "log in by a key (identity-file); or leave the policy strict, and type `fleet-collector trust`";
        reading.report(span, Wrong::new(cause).help(help));
    }
}
