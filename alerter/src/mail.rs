//! RFC 5322 messages: the headers that mail programs and people's filters go by.

use lettre::Address;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, SinglePart};
use model::text::escape_to;
use model::{EpisodeId, Timestamp};
use storage::Message;

use crate::compose::{self, Companion, Letterhead};
use crate::digest;
use crate::notify::{Draft, Line};

/// The right side of every Message-ID, and the list's id. Not a host's name: an id stays the same wherever it is sent from.
const DOMAIN: &str = "fleet-health";

/// What every message of a run shares.
#[derive(Clone, Copy)]
pub struct Sender<'a> {
    /// The sender's address.
    pub from: &'a str,
    /// The store's random name: tells the Message-IDs of two installations apart.
    pub installation: &'a str,
    /// When the run composes, by its clock.
    pub now: Timestamp,
    /// What the text says of this place.
    pub letterhead: Letterhead<'a>,
}

/// Composes a draft. Fails only where an address is none.
pub fn message(draft: &Draft, sender: Sender, companion: &mut Companion) -> Result<Message, String> {
    let id = message_id(draft, sender.installation);
    let subject = compose::subject(draft);
    let text = compose::text(draft, sender.letterhead, companion);
    let mut headers = headers(sender, draft.receiver, &subject, &id)?;
    if let [line] = draft.lines.as_slice() {
        headers = single(headers, line, sender.installation);
    }
    let (receiver, facts) = (draft.receiver.to_owned(), draft.facts.clone());
    let bytes = body(headers, &text)?;
    Ok(Message { id, receiver, subject, created: sender.now, bytes, facts })
}

/// A message that only says that mail works.
pub fn test_message(receiver: &str, sender: Sender) -> Result<Message, String> {
    let created = sender.now.millis().to_be_bytes();
    let digest = digest::hex([sender.installation.as_bytes(), receiver.as_bytes(), &created], 32);
    let id = format!("test-{digest}@{DOMAIN}");
    let letterhead = sender.letterhead;
    let subject = format!("[TEST] fleet-health on {} can send mail", letterhead.hostname);
    let text = format!(
        "This is a test. Alerts of {} will reach {receiver} this way.\n\nSent {}.\n\n-- \nfleet-health {} on {}\n",
        letterhead.hostname,
        (letterhead.time)(sender.now),
        letterhead.version,
        letterhead.hostname
    );
    let bytes = body(headers(sender, receiver, &subject, &id)?, &text)?;
    Ok(Message { id, receiver: receiver.to_owned(), subject, created: sender.now, bytes, facts: Vec::new() })
}

/// Follows from the installation, the receiver and the facts alone, so that the same news has the same id.
fn message_id(draft: &Draft, installation: &str) -> String {
    let names: Vec<String> =
        draft.names.iter().map(|(episode, ordinal)| format!("{episode} {ordinal}")).collect();
    let parts = [installation, draft.receiver].into_iter().chain(names.iter().map(String::as_str));
    format!("{}@{DOMAIN}", digest::hex(parts.map(str::as_bytes), 32))
}

/// The id that all messages about one episode refer to; no message has it itself.
fn root_id(installation: &str, episode: &EpisodeId) -> String {
    let digest = digest::hex([installation.as_bytes(), episode.0.as_bytes()], 32);
    format!("<episode-{digest}@{DOMAIN}>")
}

fn headers(sender: Sender, receiver: &str, subject: &str, id: &str) -> Result<MessageBuilder, String> {
    // Subjects are bounded so that no server refuses them; the text says it all.
    let builder = lettre::Message::builder()
        .message_id(Some(format!("<{id}>")))
        .date(date(sender.now))
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
fn single(builder: MessageBuilder, line: &Line, installation: &str) -> MessageBuilder {
    let root = root_id(installation, &line.episode.id);
    let state = match line.kind {
        kind if kind.is_over() => "resolved",
        _ => "firing",
    };
    let builder = builder.in_reply_to(root.clone()).references(root);
    [
        (HeaderName::new_from_ascii_str("X-Fleet-Health-Client"), line.episode.client_name.as_str()),
        (HeaderName::new_from_ascii_str("X-Fleet-Health-Alert"), line.episode.metric.as_str()),
        (HeaderName::new_from_ascii_str("X-Fleet-Health-Severity"), line.severity.to_string().as_str()),
        (HeaderName::new_from_ascii_str("X-Fleet-Health-State"), state),
    ]
    .into_iter()
    .fold(builder, |builder, (name, value)| raw(builder, name, value))
}

fn body(builder: MessageBuilder, text: &str) -> Result<Vec<u8>, String> {
    let part = SinglePart::builder()
        .header(ContentType::TEXT_PLAIN)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(text.to_owned());
    let message =
        builder.singlepart(part).map_err(|error| format!("the message cannot be composed: {error}"))?;
    let mut bytes = message.formatted();
    if !bytes.ends_with(b"\r\n") {
        bytes.extend_from_slice(b"\r\n");
    }
    Ok(bytes)
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

fn date(at: Timestamp) -> std::time::SystemTime {
    // Whole seconds, and nothing before 1970: what the header can say.
    std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(at.seconds()).unwrap_or(0))
}
