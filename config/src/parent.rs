//! `parent`: the client while whose silence another one's is no news.

use model::ClientName;

use crate::client::ClientPart;
use crate::fault::Wrong;
use crate::fleet::Fleet;
use crate::proxy::{NONE, Way};
use crate::reading::{At, Reading};
use crate::value::{Value, client_name, quoted};

/// So many clients may stand above one another.
const DEPTH: usize = 32;

/// A `parent` as written; `None` says that there is none, whatever the defaults say.
pub(crate) fn read(text: &str) -> Value<Option<ClientName>> {
    if text == NONE { Ok(None) } else { client_name(text).map(Some) }
}

/// The parent of every client, by numbers: what is written, else the last enabled client on the way. That is left out
/// where it would close a circle.
pub(crate) fn resolve(
    reading: &mut Reading<'_>,
    fleet: &Fleet,
    defaults: Option<&ClientPart>,
    ways: &[Way],
) -> Vec<Option<usize>> {
    let inherited = defaults.and_then(|defaults| defaults.parent.as_ref()).map(|parent| parent.span);
    let mut told = None;
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(fleet.len());
    for client in 0..fleet.len() {
        let written = fleet.part(client).parent.as_ref();
        let Some(At { value: Some(name), span }) = written else {
            parents.push(None);
            continue;
        };
        let is_inherited = inherited == Some(*span);
        let parent = fleet.find(name.as_str());
        if parent == Some(client) && !is_inherited {
            let wrong = Wrong::new("a client cannot be its own parent");
            reading.report(*span, wrong.help("name another client, or leave the attribute out"));
        }
        if parent.is_none() && !(is_inherited && told == inherited) {
            told = told.or(inherited.filter(|_| is_inherited));
            let near = fleet.nearest(reading, name.as_str());
            let wrong = Wrong::new(format!("there is no client {}", quoted(name.as_str())));
            reading
                .report(*span, wrong.expected("the name of a client of this configuration").maybe_help(near));
        }
        parents.push(parent.filter(|parent| *parent != client));
    }
    check(reading, fleet, &mut parents);
    for (client, way) in ways.iter().enumerate() {
        let hop = way.clients.iter().rev().copied().find(|&hop| fleet.part(hop).is_enabled());
        if fleet.part(client).parent.is_none()
            && let Some(hop) = hop
        {
            let above = chain(&parents, hop);
            let fits = above.len() < DEPTH && !above.contains(&client);
            parents[client] = Some(hop).filter(|_| fits);
        }
    }
    parents
}

/// The clients from `client` up, each once; no more than one beyond the bound.
fn chain(parents: &[Option<usize>], client: usize) -> Vec<usize> {
    let mut chain = vec![client];
    let mut next = parents[client];
    while let Some(parent) = next.filter(|parent| chain.len() <= DEPTH && !chain.contains(parent)) {
        chain.push(parent);
        next = parents[parent];
    }
    chain
}

/// Tells circles, each at its first client, and chains that are too long; both are cut.
fn check(reading: &mut Reading<'_>, fleet: &Fleet, parents: &mut [Option<usize>]) {
    let mut wrong = Vec::new();
    for client in 0..parents.len() {
        let chain = chain(parents, client);
        let closes = chain.last().is_some_and(|&last| parents[last] == Some(client));
        let name = |index: &usize| fleet.name(*index).unwrap_or_default().to_owned();
        if chain.len() > DEPTH {
            let cause = format!("more than {DEPTH} clients are parents of one another");
            wrong.push((client, Wrong::new(cause).help("name a client that is nearer to this host")));
        } else if closes && chain.iter().all(|&other| other >= client) {
            let path: Vec<_> = chain.iter().chain([&client]).map(name).collect();
            let cause = format!("parents form a circle: {}", path.join(" -> "));
            wrong.push((client, Wrong::new(cause).help("remove one `parent` of the circle")));
        }
    }
    for (client, wrong) in wrong {
        if let Some(parent) = &fleet.part(client).parent {
            reading.report(parent.span, wrong);
        }
        parents[client] = None;
    }
}
