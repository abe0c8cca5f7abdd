//! The headers that mail programs and people's filters go by.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use model::EpisodeId;
use model::text::escape_to;

use super::{DOMAIN, Sender, matter};
use crate::digest;
use crate::notify::Line;

/// The id that all messages about one episode refer to; no message has it itself.
fn root_id(installation: &str, episode: &EpisodeId) -> String {
    let digest = digest::hex([installation.as_bytes(), episode.0.as_bytes()], 32);
    format!("<episode-{digest}@{DOMAIN}>")
}

/// Those that every message has.
pub(crate) fn headers(
    sender: Sender,
    receiver: &str,
    subject: &str,
    id: &str,
) -> Result<MessageBuilder, String> {
    // Whole seconds, and nothing before 1970: what the header can say.
    let seconds = u64::try_from(sender.now.seconds()).unwrap_or(0);
    // Subjects are bounded so that no server refuses them; the text says it all.
    let builder = lettre::Message::builder()
        .message_id(Some(format!("<{id}>")))
        .date(UNIX_EPOCH + Duration::from_secs(seconds))
        .from(mailbox(sender.from, Some("Fleet Health"))?)
        .to(mailbox(receiver, None)?)
        .subject(escape_to(subject, 200));
    // RFC 3834: no vacation answers. The second header says the same to Microsoft Exchange.
    let builder = raw(builder, HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated");
    let builder = raw(builder, HeaderName::new_from_ascii_str("X-Auto-Response-Suppress"), "All");
    // RFC 2919.
    Ok(raw(builder, HeaderName::new_from_ascii_str("List-Id"), &format!("<alerts.{DOMAIN}>")))
}

/// What only a message about one episode has: its thread, and fields for filters.
pub(crate) fn single(builder: MessageBuilder, line: &Line, installation: &str) -> MessageBuilder {
    let root = root_id(installation, &line.episode.id);
    let state = if line.kind.is_over() { "resolved" } else { "firing" };
    let builder = builder.in_reply_to(root.clone()).references(root);
    [
        (HeaderName::new_from_ascii_str("X-Fleet-Health-Client"), matter::client(line.episode).as_str()),
        (HeaderName::new_from_ascii_str("X-Fleet-Health-Alert"), line.episode.metric.as_str()),
        (HeaderName::new_from_ascii_str("X-Fleet-Health-Severity"), line.severity.to_string().as_str()),
        (HeaderName::new_from_ascii_str("X-Fleet-Health-State"), state),
    ]
    .into_iter()
    .fold(builder, |builder, (name, value)| raw(builder, name, value))
}

fn raw(builder: MessageBuilder, name: HeaderName, value: &str) -> MessageBuilder {
    builder.raw_header(HeaderValue::new(name, escape_to(value, 255)))
}

fn mailbox(address: &str, name: Option<&str>) -> Result<Mailbox, String> {
    let address: Address = address
        .parse()
        .map_err(|error| format!("{} is no mail address: {error}", escape_to(address, 255)))?;
    Ok(Mailbox::new(name.map(str::to_owned), address))
}
