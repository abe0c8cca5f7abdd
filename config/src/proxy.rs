//! `proxy-jump` and `proxy-command`: the way to a client that is not reached directly.

use std::collections::HashSet;

use crate::client::ClientPart;
use crate::fault::Wrong;
use crate::file::shell_word;
use crate::fleet::Fleet;
use crate::reading::{At, Reading};
use crate::settings::{Hop, Proxy, Ssh};
use crate::source::Span;
use crate::tree::Attribute;
use crate::value::{self, Value, quoted};

/// A way has at most so many hops.
const HOPS: usize = 8;
/// What switches an inherited way off, as in ssh_config(5).
pub(crate) const NONE: &str = "none";

/// A way as it is written: what each name means shows when all clients are known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ProxyPart {
    /// `none`: the direct one, whatever the defaults say.
    Direct,
    /// Hops, the one that is dialled first.
    Jump(Vec<String>),
    /// A command with its `%` still in it.
    Command(String),
}

/// Reads `proxy-jump` or `proxy-command` into `slot`; the second of the two is a fault.
pub(crate) fn read(reading: &mut Reading<'_>, attribute: &Attribute<'_>, slot: &mut Option<At<ProxyPart>>) {
    let part = reading.take(attribute, |text| match attribute.name {
        _ if text.trim() == NONE => Ok(ProxyPart::Direct),
        "proxy-jump" => value::list(text, |item| Ok(item.to_owned())).and_then(|hops| {
            if hops.len() > HOPS {
                return Err(too_long());
            }
            Ok(ProxyPart::Jump(hops))
        }),
        _ => command(text).map(ProxyPart::Command),
    });
    if slot.is_some() {
        let wrong = Wrong::new("`proxy-jump` and `proxy-command` stand beside each other");
        reading.report(attribute.at, wrong.help("keep one of the two"));
    } else {
        *slot = part;
    }
}

fn too_long() -> Wrong {
    Wrong::new(format!("the way has more than {HOPS} hops")).help("dial a bastion that is nearer")
}

/// A command whose every `%` is known.
fn command(text: &str) -> Value<String> {
    let text = value::text(text)?;
    fill(&text, |_| Some(String::new())).map(|_| text)
}

/// `text` with `%%` as `%`, and the others of ssh_config(5) that are known here as `meaning` says.
fn fill(text: &str, meaning: impl Fn(char) -> Option<String>) -> Value<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            filled.push(c);
            continue;
        }
        let token = rest.next();
        match token {
            Some('%') => filled.push('%'),
            Some('h' | 'p' | 'r') => filled += &token.and_then(&meaning).unwrap_or_default(),
            other => {
                let shown = quoted(&format!("%{}", other.map(String::from).unwrap_or_default()));
                let wrong = Wrong::new(format!("{shown} is not known in a proxy-command"));
                return Err(wrong.expected("%h (host), %p (port), %r (login), or %% for a `%`"));
            }
        }
    }
    Ok(filled)
}

/// `command` for the server `ssh`, each value quoted for the shell.
fn filled(command: &str, ssh: &Ssh) -> Proxy {
    let meaning = |token| {
        Some(match token {
            'h' => shell_word(&ssh.address),
            'p' => ssh.port.to_string(),
            _ => shell_word(&ssh.username),
        })
    };
    // Every `%` was looked at when the command was read.
    Proxy::Command(fill(command, meaning).unwrap_or_default())
}

/// A server that is no client: `[user@]host[:port]`, an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    user: Option<String>,
    address: String,
    port: Option<u16>,
}

/// What is not the name of a client. A bare word is no host: a name that is misspelt would be asked of the DNS, and
/// whoever answered be trusted with the way.
fn host(text: &str) -> Value<Host> {
    let wrong = |cause: &str| {
        Wrong::new(format!("{} is no hop: {cause}", quoted(text)))
            .expected("the name of a client, or [user@]host[:port]")
    };
    let (user, place) = match text.rsplit_once('@') {
        Some(("", _)) => return Err(wrong("the login before `@` is missing")),
        Some((user, place)) => (Some(user.to_owned()), place),
        None => (None, text),
    };
    let (name, port) = if let Some(rest) = place.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or_else(|| wrong("the closing `]` is missing"))?;
        if !address.contains(':') {
            return Err(wrong("brackets are for IPv6 addresses"));
        }
        match rest.strip_prefix(':') {
            Some(port) => (address, Some(port)),
            None if rest.is_empty() => (address, None),
            None => return Err(wrong("only `:` and a port may stand behind `]`")),
        }
    } else if place.matches(':').count() > 1 {
        return Err(wrong("an IPv6 address stands in brackets").help(format!("write [{place}]")));
    } else {
        place.split_once(':').map_or((place, None), |(name, port)| (name, Some(port)))
    };
    if user.is_none() && port.is_none() && !place.contains(['.', '[']) {
        let help = format!("for a host that is no client, write its port too: {place}:22");
        return Err(Wrong::new(format!("there is no client {}", quoted(text))).help(help));
    }
    let port = port.map(value::port).transpose()?;
    Ok(Host { user, address: value::host(name)?, port })
}

/// A hop, found.
#[derive(Debug, Clone)]
enum Found {
    Client(usize),
    Host(Box<Host>, Span),
}

/// The ways of all clients.
pub(crate) struct Ways<'f> {
    fleet: &'f Fleet,
    defaults: Option<&'f ClientPart>,
    /// The faults that were told, by place: what is inherited is wrong for many.
    told: HashSet<(Span, String)>,
    /// The circles that were told, each by its members in order.
    circles: HashSet<Vec<usize>>,
}

/// The way to one client.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// What the client's `proxy` is.
    pub(crate) proxy: Option<Proxy>,
    /// The hops that are clients, by their number, in the order of dialling.
    pub(crate) clients: Vec<usize>,
}

impl<'f> Ways<'f> {
    pub(crate) fn new(fleet: &'f Fleet, defaults: Option<&'f ClientPart>) -> Self {
        Self { fleet, defaults, told: HashSet::new(), circles: HashSet::new() }
    }

    /// The way to every client of the fleet, in its order; what is wrong with one is told where it is written.
    pub(crate) fn resolve(mut self, reading: &mut Reading<'_>) -> Vec<Way> {
        if let Some(At { value: ProxyPart::Jump(hops), span }) =
            self.defaults.and_then(|part| part.proxy.as_ref())
        {
            for hop in hops {
                if let Err(wrong) = self.find(hop, *span) {
                    self.tell_name(reading, *span, wrong, hop);
                }
            }
        }
        (0..self.fleet.len()).map(|client| self.way(reading, client)).collect()
    }

    fn tell(&mut self, reading: &mut Reading<'_>, span: Span, wrong: Wrong) {
        if self.told.insert((span, wrong.message().to_owned())) {
            reading.report(span, wrong);
        }
    }

    /// Tells what is wrong with the hop `name`, and which client may be meant.
    fn tell_name(&mut self, reading: &mut Reading<'_>, span: Span, wrong: Wrong, name: &str) {
        if self.told.contains(&(span, wrong.message().to_owned())) {
            return;
        }
        let near = if self.fleet.find(name).is_none() { self.fleet.nearest(reading, name) } else { None };
        self.tell(reading, span, wrong.maybe_help(near));
    }

    /// What `text` names: a client, whether or not it is enabled, or else a host.
    fn find(&self, text: &str, span: Span) -> Value<Found> {
        let Some(index) = self.fleet.find(text) else {
            return Ok(Found::Host(Box::new(host(text)?), span));
        };
        if self.fleet.part(index).is_local() {
            let wrong = Wrong::new(format!("the client {} is this host itself: it is no hop", quoted(text)));
            return Err(wrong.help("name a client that is reached by SSH"));
        }
        Ok(Found::Client(index))
    }

    /// What is written for `client`, without the hops that an inherited list has from the client itself on: the defaults
    /// may name a bastion that inherits them.
    fn written(&self, client: usize) -> Option<(ProxyPart, Span)> {
        let part = self.fleet.part(client);
        let At { value, span } = part.proxy.as_ref().filter(|_| !part.is_local())?;
        let inherited =
            self.defaults.and_then(|defaults| defaults.proxy.as_ref()).is_some_and(|at| at.span == *span);
        match value {
            ProxyPart::Jump(hops) if inherited => {
                let own = hops.iter().position(|hop| self.fleet.find(hop) == Some(client));
                let before = &hops[..own.unwrap_or(hops.len())];
                let part =
                    if before.is_empty() { ProxyPart::Direct } else { ProxyPart::Jump(before.to_vec()) };
                Some((part, *span))
            }
            other => Some((other.clone(), *span)),
        }
    }

    /// The way to `client`. As with ssh -J, the first hop is reached by its own way, each further one from the hop
    /// before it. What is wrong on the way to a hop is that hop's fault, and told there.
    fn way(&mut self, reading: &mut Reading<'_>, client: usize) -> Way {
        let mut hops: Vec<Found> = Vec::new();
        let mut trail = vec![client];
        let mut command = None;
        while let Some((part, span)) = self.written(trail[trail.len() - 1]) {
            let is_own = trail.len() == 1;
            let names = match part {
                ProxyPart::Direct => break,
                ProxyPart::Command(text) => {
                    command = Some(text);
                    break;
                }
                ProxyPart::Jump(names) => names,
            };
            let mut found = Vec::with_capacity(names.len());
            for name in &names {
                match self.find(name, span) {
                    Ok(hop) => found.push(hop),
                    Err(wrong) if is_own => self.tell_name(reading, span, wrong, name),
                    Err(_) => return Way::default(),
                }
            }
            if found.len() < names.len() {
                return Way::default();
            }
            let first = found.first().cloned();
            let fits = hops.len() + found.len() <= HOPS;
            hops.splice(0..0, found);
            let circle = hops.iter().any(|hop| matches!(hop, Found::Client(hop) if *hop == client));
            if circle || !fits {
                self.refuse(reading, client, &trail, circle);
                return Way::default();
            }
            let Some(Found::Client(next)) = first else { break };
            if trail.contains(&next) {
                // A circle further on: told at its members.
                return Way::default();
            }
            trail.push(next);
        }
        self.built(reading, client, &hops, command.as_deref())
    }

    /// Tells that the way is too long, or comes back to its client: once for the ways that it joins.
    fn refuse(&mut self, reading: &mut Reading<'_>, client: usize, trail: &[usize], circle: bool) {
        let Some((_, span)) = self.written(client) else { return };
        let mut members = trail.to_vec();
        members.sort_unstable();
        if !circle {
            self.tell(reading, span, too_long());
        } else if self.circles.insert(members) {
            let name = |&index: &usize| self.fleet.name(index).unwrap_or_default().to_owned();
            let path: Vec<_> = trail.iter().chain([&client]).map(name).collect();
            let wrong =
                Wrong::new(format!("the way to a client leads through itself: {}", path.join(" -> ")));
            let help = "remove a hop, or write proxy-jump=\"none\" where the defaults name one";
            self.tell(reading, span, wrong.help(help));
        }
    }

    fn built(&self, reading: &Reading<'_>, client: usize, hops: &[Found], command: Option<&str>) -> Way {
        let mut built: Vec<Hop> = hops.iter().filter_map(|hop| self.hop(reading, hop)).collect();
        let own = self.fleet.part(client).ssh(&reading.environment.user);
        let proxy = match (built.first_mut(), command) {
            (Some(first), Some(command)) => {
                first.ssh.proxy = Some(filled(command, &first.ssh));
                Some(Proxy::Jump(built))
            }
            (Some(_), None) => Some(Proxy::Jump(built)),
            (None, command) => command.zip(own).map(|(command, ssh)| filled(command, &ssh)),
        };
        let client_of = |hop: &Found| if let Found::Client(index) = hop { Some(*index) } else { None };
        Way { proxy, clients: hops.iter().filter_map(client_of).collect() }
    }

    /// How to log in on a hop; `None` where its client is wrong, which was told.
    fn hop(&self, reading: &Reading<'_>, hop: &Found) -> Option<Hop> {
        let user = &reading.environment.user;
        match hop {
            Found::Client(index) => {
                let part = self.fleet.part(*index);
                let name = self.fleet.name(*index)?.to_owned();
                Some(Hop { name, source: reading.mark(part.at), ssh: part.ssh(user)? })
            }
            Found::Host(host, span) => {
                let ssh =
                    ClientPart::of_host(&host.address, host.user.as_deref(), host.port, self.defaults, *span)
                        .ssh(user)?;
                Some(Hop { name: ssh.place(), source: reading.mark(*span), ssh })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_beside_clients() {
        let host =
            |text| host(text).ok().map(|host| (host.user.unwrap_or_default(), host.address, host.port));
        let some = |user: &str, host: &str, port| Some((user.to_owned(), host.to_owned(), port));
        assert_eq!(host("gate.example.org"), some("", "gate.example.org", None));
        assert_eq!(host("gate:22"), some("", "gate", Some(22)));
        assert_eq!(host("ops@gate"), some("ops", "gate", None));
        assert_eq!(host("ops@[fe80::1%eth0]:2222"), some("ops", "fe80::1%eth0", Some(2222)));
        assert_eq!(host("[::1]"), some("", "::1", None));
        assert_eq!(host("a@b@gate"), some("a@b", "gate", None));
        for bad in [
            "gate",
            "@gate",
            "ops@",
            "gate:",
            "gate:0",
            "gate:ssh",
            "fe80::1",
            "[::1",
            "[gate]:22",
            "[::1]22",
            "-x:22",
        ] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }

    #[test]
    fn commands_are_filled_for_the_shell() {
        let part = ClientPart::of_host("gate", Some("o'ps x"), None, None, Span::new(0, 0, 0));
        let ssh = part.ssh("ann").unwrap();
        let text = command("nc -x 100%% %h %p # %r").unwrap();
        assert_eq!(filled(&text, &ssh), Proxy::Command(r"nc -x 100% gate 22 # 'o'\''ps x'".to_owned()));
        for bad in ["", "nc %n", "nc %", "nc %é"] {
            assert!(command(bad).is_err(), "{bad}");
        }
    }
}
