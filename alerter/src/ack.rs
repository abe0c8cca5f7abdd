//! `ack`: somebody works on an alert, so that nobody is reminded of it and it is told to nobody else.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use config::Settings;
use model::text::escape_to;
use model::{Acknowledgement, Episode, Timestamp};
use storage::History;

use crate::explain::command::Failure;
use crate::silence::{after, span, why};
use crate::store::existing;
use crate::wording;

/// So many alerts are listed where several are meant.
const LISTED: usize = 5;

/// What `ack` is told.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The alert's id as `status` shows it, or enough of its beginning
    #[arg(value_name = "ID")]
    id: String,
    /// For how long: 30m, 4h, 1d [default: until it ends]
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    span: Option<Duration>,
    /// Who works on it, or why
    #[arg(long, value_name = "TEXT", value_parser = why)]
    why: Option<String>,
}

/// Does what `arguments` say with the configured storage; what to print.
pub fn ack(
    arguments: &Arguments,
    settings: &Settings,
    now: Timestamp,
    time: &dyn Fn(Timestamp) -> String,
) -> Result<String, Failure> {
    let (mut store, skew) = existing(settings)?;
    let episode = find(&mut *store, &arguments.id, time)?;
    let from = skew.there(now);
    let until = arguments.span.map(|span| after(from, span));
    let why = arguments.why.clone().unwrap_or_default();
    store.acknowledge(&Acknowledgement { episode: episode.id.clone(), from, until, why })?;
    let lasts = match until {
        None => "until it ends".to_owned(),
        Some(until) => format!("until {}, and told again then if it still fires", time(until)),
    };
    Ok(format!("acknowledged {lasts}: {}\n", named(&episode)))
}

/// The open alert whose id begins so.
fn find(store: &mut dyn History, id: &str, time: &dyn Fn(Timestamp) -> String) -> Result<Episode, Failure> {
    let mut open = store.open_episodes()?;
    open.retain(|episode| !id.is_empty() && episode.id.0.starts_with(id));
    let shown = escape_to(id, 60);
    let text = match open.as_slice() {
        [_] => return Ok(open.remove(0)),
        [] => match store.episodes_named(id, 1)?.first().and_then(|found| found.end.zip(Some(found))) {
            Some((end, over)) if !id.is_empty() => {
                format!("{} is over since {}: there is nothing to acknowledge", named(over), time(end.at))
            }
            _ => {
                format!("no alert has the id {shown}: fleet-alerter status shows the ids of those that fire")
            }
        },
        several => {
            let mut text =
                format!("{} alerts have an id that begins with {shown}: give more of it", several.len());
            for episode in several.iter().take(LISTED) {
                let _ = write!(text, "\n  {} {}", episode.id, named(episode));
            }
            text
        }
    };
    Err(Failure::Unknown(text))
}

/// `web1: disk /var`
fn named(episode: &Episode) -> String {
    let what = wording::subject(&episode.metric, &episode.key.labels.object());
    match episode.client_name.as_str() {
        "" => format!("the fleet: {what}"),
        client => format!("{}: {what}", escape_to(client, 60)),
    }
}
