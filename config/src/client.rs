//! `<client>` and `<defaults>`: what is written, and the client that comes of it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use model::ClientName;

use crate::alert::{self, AlertPart};
use crate::fault::Wrong;
use crate::grammar;
use crate::host_key;
use crate::parent;
use crate::proxy::{self, ProxyPart};
use crate::reading::{At, Reading};
use crate::settings::{Connection, HostKeyPin, HostKeyPolicy, Mode, SecretSource, Ssh};
use crate::source::Span;
use crate::tree::{Attribute, Element};
use crate::value::{self, Value};

/// The port of SSH.
pub(crate) const SSH_PORT: u16 = 22;
/// The default of `remote-dir`: below the login's home.
const REMOTE_DIR: &str = ".fleet-health";
/// The default of `timeout`.
const TIMEOUT: Duration = value::MINUTE;

/// `connection`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// SSH, the default.
    Ssh,
    /// This machine.
    Local,
}

/// A `<client>` or the `<defaults>` as written: each attribute may be absent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClientPart {
    /// The element's name in its start tag.
    pub(crate) at: Span,
    pub(crate) name: Option<At<ClientName>>,
    pub(crate) ip: Option<At<String>>,
    pub(crate) port: Option<At<u16>>,
    pub(crate) username: Option<At<String>>,
    pub(crate) password: Option<At<SecretSource>>,
    pub(crate) identity_files: Option<At<Vec<PathBuf>>>,
    pub(crate) passphrase: Option<At<SecretSource>>,
    pub(crate) identity_agent: Option<At<PathBuf>>,
    pub(crate) host_keys: Option<At<Vec<HostKeyPin>>>,
    pub(crate) host_key_policy: Option<At<HostKeyPolicy>>,
    pub(crate) known_hosts: Option<At<Vec<PathBuf>>>,
    pub(crate) proxy: Option<At<ProxyPart>>,
    pub(crate) way: Option<At<Way>>,
    pub(crate) mode: Option<At<Mode>>,
    pub(crate) remote_dirs: Option<At<Vec<String>>>,
    pub(crate) timeout: Option<At<Duration>>,
    pub(crate) concurrency: Option<At<usize>>,
    pub(crate) groups: Option<At<BTreeSet<String>>>,
    pub(crate) template: Option<At<String>>,
    pub(crate) mail: Option<At<Vec<String>>>,
    /// The inner `None`: none, whatever the defaults say.
    pub(crate) parent: Option<At<Option<ClientName>>>,
    pub(crate) processes: Option<At<Vec<String>>>,
    pub(crate) enabled: Option<At<bool>>,
    pub(crate) alerts: Vec<AlertPart>,
    /// The attributes of SSH that the element itself gives.
    ssh_attributes: Vec<Span>,
}

/// Runs `$do!(field)` for every attribute that a client inherits and that two entries of one client must agree on.
macro_rules! each_inherited {
    ($do:ident) => {
        $do!(port, "port");
        $do!(username, "username");
        $do!(password, "password");
        $do!(identity_files, "identity-file");
        $do!(passphrase, "passphrase");
        $do!(identity_agent, "identity-agent");
        $do!(host_keys, "host-key");
        $do!(host_key_policy, "host-key-policy");
        $do!(known_hosts, "known-hosts");
        $do!(proxy, "proxy-jump` or `proxy-command");
        $do!(way, "connection");
        $do!(mode, "mode");
        $do!(remote_dirs, "remote-dir");
        $do!(timeout, "timeout");
        $do!(template, "template");
        $do!(parent, "parent");
        $do!(processes, "processes");
    };
}

impl ClientPart {
    /// The part of an element that gives nothing.
    pub(crate) fn empty(at: Span) -> Self {
        Self {
            at,
            name: None,
            ip: None,
            port: None,
            username: None,
            password: None,
            identity_files: None,
            passphrase: None,
            identity_agent: None,
            host_keys: None,
            host_key_policy: None,
            known_hosts: None,
            proxy: None,
            way: None,
            mode: None,
            remote_dirs: None,
            timeout: None,
            concurrency: None,
            groups: None,
            template: None,
            mail: None,
            parent: None,
            processes: None,
            enabled: None,
            alerts: Vec::new(),
            ssh_attributes: Vec::new(),
        }
    }

    /// The part of a server that is no client: what the defaults say of SSH, but for the way.
    pub(crate) fn of_host(
        address: &str,
        user: Option<&str>,
        tcp_port: Option<u16>,
        defaults: Option<&Self>,
        span: Span,
    ) -> Self {
        let mut part = Self::empty(span);
        part.ip = Some(At { value: address.to_owned(), span });
        part.username = user.map(|user| At { value: user.to_owned(), span });
        part.port = tcp_port.map(|port| At { value: port, span });
        if let Some(defaults) = defaults {
            part.inherit(defaults);
        }
        part
    }

    /// Takes what it does not give from `defaults`; alerts are levelled elsewhere.
    pub(crate) fn inherit(&mut self, defaults: &Self) {
        macro_rules! inherit {
            ($field:ident, $_name:literal) => {
                if self.$field.is_none() {
                    self.$field.clone_from(&defaults.$field);
                }
            };
        }
        each_inherited!(inherit);
        inherit!(groups, "group");
        inherit!(mail, "mail");
        inherit!(enabled, "enabled");
    }

    /// Takes in another entry of the same client. What one of the two lacks, the other gives; alerts and groups add up,
    /// and each alert tells the receivers of its own entry.
    pub(crate) fn merge(&mut self, mut other: Self, reading: &mut Reading<'_>) {
        macro_rules! merge {
            ($field:ident, $name:literal) => {
                match (&self.$field, &other.$field) {
                    (Some(mine), Some(theirs)) if mine.value != theirs.value => {
                        let line = reading.line(self.at, theirs.span);
                        let wrong = Wrong::new(format!("the same client has another `{}` in {line}", $name));
                        let help = "keep one of the two, or give one of the clients a name of its own";
                        reading.report(theirs.span, wrong.help(help));
                    }
                    (None, Some(_)) => self.$field = other.$field.take(),
                    _ => {}
                }
            };
        }
        each_inherited!(merge);
        for entry in [&mut *self, &mut other] {
            for alert in &mut entry.alerts {
                alert.mail = alert.mail.take().or_else(|| entry.mail.as_ref().map(|mail| mail.value.clone()));
            }
        }
        self.alerts.append(&mut other.alerts);
        alert::bound(reading, other.at, &mut self.alerts);
        if let Some(groups) = other.groups {
            let span = groups.span;
            self.groups.get_or_insert(At { value: BTreeSet::new(), span }).value.extend(groups.value);
        }
        if let Some(mail) = other.mail {
            let mine = &mut self.mail.get_or_insert(At { value: Vec::new(), span: mail.span }).value;
            for address in mail.value {
                if !mine.contains(&address) {
                    mine.push(address);
                }
            }
        }
    }

    /// Address, port and user: what makes two entries without names one client.
    pub(crate) fn address(&self, user: &str) -> Option<(String, u16, String)> {
        let ip = self.ip.as_ref()?.value.to_ascii_lowercase();
        let port = self.port.as_ref().map_or(SSH_PORT, |port| port.value);
        Some((ip, port, self.username.as_ref().map_or(user, |user| user.value.as_str()).to_owned()))
    }

    pub(crate) fn is_local(&self) -> bool {
        self.way.as_ref().is_some_and(|way| way.value == Way::Local)
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.as_ref().is_none_or(|enabled| enabled.value)
    }

    /// How to reach it.
    pub(crate) fn connection(&self, user: &str) -> Connection {
        if self.is_local() {
            Connection::Local
        } else {
            self.ssh(user).map_or(Connection::Unsaid, |ssh| Connection::Ssh(Box::new(ssh)))
        }
    }

    /// How to log in, the way there left out; `None` where it has no address.
    pub(crate) fn ssh(&self, user: &str) -> Option<Ssh> {
        let list =
            |paths: &Option<At<Vec<PathBuf>>>| paths.as_ref().map_or_else(Vec::new, |at| at.value.clone());
        let (_, port, username) = self.address(user)?;
        Some(Ssh {
            address: self.ip.as_ref()?.value.clone(),
            port,
            username,
            password: self.password.as_ref().map(|at| at.value.clone()),
            identity_files: list(&self.identity_files),
            passphrase: self.passphrase.as_ref().map(|at| at.value.clone()),
            identity_agent: self.identity_agent.as_ref().map(|at| at.value.clone()),
            host_keys: self.host_keys.as_ref().map_or_else(Vec::new, |at| at.value.clone()),
            known_hosts: list(&self.known_hosts),
            host_key_policy: self.host_key_policy.as_ref().map_or(HostKeyPolicy::Strict, |at| at.value),
            proxy: None,
        })
    }

    pub(crate) fn remote_dirs(&self) -> Vec<String> {
        self.remote_dirs.as_ref().map_or_else(|| vec![REMOTE_DIR.to_owned()], |at| at.value.clone())
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.as_ref().map_or(TIMEOUT, |at| at.value)
    }
}

/// Reads a `<client>` or the `<defaults>`.
pub(crate) fn read(reading: &mut Reading<'_>, element: &Element<'_>) -> ClientPart {
    let mut part = ClientPart::empty(element.at);
    for attribute in grammar::known(&mut reading.sink, element) {
        read_attribute(reading, attribute, &mut part);
    }
    for child in &element.children {
        if grammar::admits(&mut reading.sink, element, child) {
            part.alerts.extend(alert::read(reading, child));
        }
    }
    alert::bound(reading, element.at, &mut part.alerts);
    part
}

fn read_attribute(reading: &mut Reading<'_>, attribute: &Attribute<'_>, part: &mut ClientPart) {
    let is_ssh = [
        "port",
        "username",
        "password",
        "password-file",
        "password-command",
        "identity-file",
        "passphrase-file",
        "passphrase-command",
        "identity-agent",
        "host-key",
        "host-key-policy",
        "known-hosts",
        "proxy-jump",
        "proxy-command",
    ];
    if is_ssh.contains(&attribute.name) {
        part.ssh_attributes.push(attribute.at);
    }
    match attribute.name {
        "name" => part.name = reading.take(attribute, value::client_name),
        "ip" => part.ip = reading.take(attribute, value::host),
        "port" => part.port = reading.take(attribute, value::port),
        "username" => part.username = reading.take(attribute, value::text),
        "password" | "password-file" | "password-command" => reading.secret(attribute, &mut part.password),
        "identity-file" => part.identity_files = reading.paths(attribute),
        "passphrase-file" | "passphrase-command" => reading.secret(attribute, &mut part.passphrase),
        "identity-agent" => part.identity_agent = reading.path(attribute),
        "host-key" => part.host_keys = reading.take(attribute, host_key::pins),
        "host-key-policy" => {
            let names = [("strict", HostKeyPolicy::Strict), ("accept-new", HostKeyPolicy::AcceptNew)];
            part.host_key_policy = reading.take(attribute, |text| value::one_of(text, &names));
        }
        "known-hosts" => part.known_hosts = reading.paths(attribute),
        "proxy-jump" | "proxy-command" => proxy::read(reading, attribute, &mut part.proxy),
        "connection" => {
            part.way = reading
                .take(attribute, |text| value::one_of(text, &[("ssh", Way::Ssh), ("local", Way::Local)]));
        }
        "mode" => {
            let names = [("ship", Mode::Ship), ("installed", Mode::Installed)];
            part.mode = reading.take(attribute, |text| value::one_of(text, &names));
        }
        "remote-dir" => part.remote_dirs = reading.take(attribute, |text| value::list(text, remote_dir)),
        "timeout" => part.timeout = reading.take(attribute, timeout),
        "concurrency" => part.concurrency = reading.take(attribute, |text| value::count(text, 1, 1000)),
        "group" => part.groups = reading.take(attribute, value::groups),
        "template" => part.template = reading.take(attribute, value::plain_name),
        "mail" => part.mail = reading.take(attribute, value::mail_addresses),
        "parent" => part.parent = reading.take(attribute, parent::read),
        "processes" => part.processes = reading.take(attribute, value::processes),
        _ => part.enabled = reading.take(attribute, value::boolean),
    }
}

fn timeout(text: &str) -> Value<Duration> {
    value::duration(text, Duration::from_secs(1), value::HOUR)
}

/// A directory on a client. Its characters need no quoting in any login shell.
fn remote_dir(text: &str) -> Value<String> {
    let wrong =
        |cause: &str| Err(Wrong::new(format!("{} is no directory to use: {cause}", value::quoted(text))));
    let expected = "a path below the login's home, as in .fleet-health, or an absolute one";
    let below = text.strip_prefix("~/").unwrap_or(text).trim_end_matches('/');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._/~+-".contains(&byte);
    if !text.bytes().all(allowed) || below.len() > 200 {
        return wrong("it may hold letters, digits and ._/~+- only")
            .map_err(|wrong: Wrong| wrong.expected(expected));
    }
    if below.is_empty()
        || below == "."
        || below.starts_with(['~', '-'])
        || below.split('/').any(|part| part == "..")
    {
        return wrong("the program needs a directory of its own")
            .map_err(|wrong: Wrong| wrong.expected(expected));
    }
    Ok(below.to_owned())
}

/// Judges a client as a whole, once it has inherited: an address, a name, no SSH where there is none.
pub(crate) fn check(reading: &mut Reading<'_>, element: &Element<'_>, part: &ClientPart) {
    if part.is_local() {
        check_local(reading, element, part);
    } else if reading.reaches {
        let example = "the client's name or address, as in ip=\"192.168.1.90\"; or connection=\"local\"";
        return reading.missing(element, "ip", example);
    }
    if part.ip.is_none() {
        reading.missing(element, "name", "name=\"...\", since there is no ip to call the client by");
    }
}

fn check_local(reading: &mut Reading<'_>, element: &Element<'_>, part: &ClientPart) {
    for span in &part.ssh_attributes {
        let wrong = Wrong::new("connection=\"local\" goes without SSH: this attribute has no meaning here");
        reading.report(*span, wrong.help("remove it, or the connection"));
    }
    if let Some(mode) = part.mode.as_ref().filter(|mode| mode.value == Mode::Installed)
        && element.attributes.iter().any(|attribute| attribute.name == "mode")
    {
        let wrong = Wrong::new("connection=\"local\" starts the probe that is built in: none is installed");
        reading.report(mode.span, wrong.help("remove it, or the connection"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_directories_need_no_quotes() {
        assert_eq!(remote_dir("~/.cache/fleet/").as_deref(), Ok(".cache/fleet"));
        assert_eq!(remote_dir("/var/lib/fleet").as_deref(), Ok("/var/lib/fleet"));
        for bad in ["", "/", "~", "~bob/x", ".", "a/../b", "-x", "a;b", "$HOME", "a'b", "a*"] {
            assert!(remote_dir(bad).is_err(), "{bad}");
        }
    }
}
