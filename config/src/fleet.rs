//! From parts to clients: inheritance, names, and entries that are the same client.

use std::collections::HashMap;

use model::ClientName;

use crate::alert;
use crate::client::{self, ClientPart, SSH_PORT};
use crate::fault::Wrong;
use crate::reading::{At, Reading};
use crate::settings::{Client, Mode};
use crate::template::{SHIPPED, Templates};
use crate::tree::Element;
use crate::value::quoted;

/// A file has at most so many clients.
const CLIENTS: usize = 100_000;

/// What makes two entries without names one client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Identity {
    /// Address, port and user.
    Ssh(String, u16, String),
    /// This machine, by the address that it was given.
    Local(String),
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
    elements: &[&Element<'_>],
    defaults: Option<&ClientPart>,
    unbalanced: bool,
) -> Fleet {
    let mut fleet = Fleet::default();
    if let Some(extra) = elements.get(CLIENTS) {
        let wrong = Wrong::new(format!("the file has more than {CLIENTS} clients"));
        reading.report(extra.at, wrong.help("split the fleet over several hosts that collect"));
    }
    for element in elements.iter().take(CLIENTS) {
        let mut part = client::read(reading, element, unbalanced);
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
        let line = reading.sink.source.line(self.parts[first].1.at.start);
        let wrong = Wrong::new(format!("the client in line {line} is called \"{name}\" too"));
        let span = part.name.as_ref().map_or(part.at, |name| name.span);
        reading.report(span, wrong.help("give one of the two another name"));
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
        admin: &[String],
    ) -> Vec<Client> {
        let default_alerts = defaults.map_or(&[][..], |defaults| defaults.alerts.as_slice());
        let enabled = self.parts.into_iter().filter(|(_, part)| part.is_enabled());
        let client = |(name, part): (Option<ClientName>, ClientPart)| {
            let name = name?;
            let connection = part.connection(&reading.environment.user)?;
            let template = part.template.as_ref().map(|template| template.value.as_str());
            let has_rules = default_alerts.iter().chain(&part.alerts).any(alert::AlertPart::watches);
            // The shipped template is the lowest level, below the defaults; a template of the client's lies above them.
            let mut levels =
                if has_rules || template.is_some() { Vec::new() } else { templates.levels(SHIPPED) };
            levels.push(default_alerts);
            levels.extend(template.map_or_else(Vec::new, |template| templates.levels(template)));
            levels.push(&part.alerts);
            let mail = part.mail.as_ref().map_or(admin, |mail| mail.value.as_slice());
            Some(Client {
                rules: alert::rules(&levels, mail),
                source: reading.sink.source.mark(part.at.start),
                connection,
                remote_dirs: part.remote_dirs(),
                timeout: part.timeout(),
                groups: part.groups.map(|groups| groups.value).unwrap_or_default(),
                mode: Mode::Ship,
                parent: None,
                processes: Vec::new(),
                name,
            })
        };
        enabled.filter_map(client).collect()
    }
}
