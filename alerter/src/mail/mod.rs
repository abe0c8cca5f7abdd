//! Drafts become mails: a text part that is complete by itself, an HTML part, and pictures.

mod account;
mod compose;
mod evidence;
mod headers;
mod html;
pub(crate) mod letter;
mod matter;
mod mime;
mod page;
mod sparkline;
mod subject;
mod surroundings;
mod text;
mod trend;
mod why;

use config::Settings;
use model::Timestamp;
use storage::Message;

use self::compose::Extent;
use self::letter::Letter;
pub(crate) use self::matter::{client, present, series};
pub use self::surroundings::{Disk, Surroundings};
use crate::digest;
use crate::mailings::Mailings;
use crate::notify::{Draft, Line};
use crate::zone::Zone;

/// The right side of every Message-ID, and the list's id. Not a host's name: an id stays the same wherever it is sent from.
const DOMAIN: &str = "fleet-health";

/// Beyond so many bytes a message says less: some servers refuse what is larger than a few megabytes, and nobody reads it.
const LARGEST: usize = 500_000;

/// What messages say of the place that they come from.
#[derive(Debug, Clone, Copy)]
pub struct Letterhead<'a> {
    /// This product's version.
    pub version: &'a str,
    /// This machine's name.
    pub hostname: &'a str,
    /// The time zone of receivers that name none.
    pub zone: Zone,
}

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

/// How a receiver wants its mails.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    /// The address.
    pub receiver: &'a str,
    /// Whose clock the times go by.
    pub zone: Zone,
    /// How much mail it wants.
    pub mailings: &'a Mailings,
}

impl<'a> Manner<'a> {
    /// What `settings` say of an address; `zone` is that of those who name none.
    pub fn of(settings: &Settings, mailings: &'a Mailings, receiver: &'a str, zone: Zone) -> Self {
        let own = settings.receivers.iter().find(|own| own.mail.eq_ignore_ascii_case(receiver));
        Self { receiver, zone: own.and_then(|own| own.time_zone).map_or(zone, Zone::Named), mailings }
    }

    /// Whether HTML and pictures are left out.
    pub(crate) fn text_only(self) -> bool {
        self.mailings.text_only(self.receiver)
    }
}

/// Composes a draft; `around` is asked for what the storage knows of an episode. Fails only where an address is none.
pub fn message(
    draft: &Draft,
    sender: Sender,
    manner: Manner,
    around: &mut dyn FnMut(&Line) -> Surroundings,
) -> Result<Message, String> {
    let id = message_id(draft, sender.installation);
    let subject = subject::subject(draft);
    let mut headers = headers::headers(sender, draft.receiver, &subject, &id)?;
    if let [line] = draft.lines.as_slice() {
        headers = headers::single(headers, line, sender.installation);
    }
    let mut bytes = Vec::new();
    for extent in Extent::ALL {
        let letter = compose::letter(draft, sender.letterhead, manner, (sender.now, extent), around);
        bytes = mime::bytes(headers.clone(), &id, &subject, &letter, manner.text_only())?;
        if bytes.len() <= LARGEST {
            break;
        }
    }
    let (receiver, facts) = (draft.receiver.to_owned(), draft.facts.clone());
    Ok(Message { id, receiver, subject, created: sender.now, bytes, facts })
}

/// A message that only says that mail works.
pub fn test_message(sender: Sender, manner: Manner) -> Result<Message, String> {
    let receiver = manner.receiver;
    let created = sender.now.millis().to_be_bytes();
    let digest = digest::hex([sender.installation.as_bytes(), receiver.as_bytes(), &created], 32);
    let id = format!("test-{digest}@{DOMAIN}");
    let subject = format!("[TEST] fleet-health on {} can send mail", sender.letterhead.hostname);
    let letter = compose::test(sender, manner);
    let headers = headers::headers(sender, receiver, &subject, &id)?;
    let bytes = mime::bytes(headers, &id, &subject, &letter, manner.text_only())?;
    Ok(Message { id, receiver: receiver.to_owned(), subject, created: sender.now, bytes, facts: Vec::new() })
}

/// A summary that `write` writes. Its Message-ID follows from the installation, the receiver and `name` alone, so that the
/// same report has the same id. Fails only where an address is none.
pub(crate) fn report(
    sender: Sender,
    manner: Manner,
    name: &str,
    subject: &str,
    write: impl FnOnce(&mut Letter),
) -> Result<Message, String> {
    let receiver = manner.receiver;
    let parts = [sender.installation, receiver, name].map(str::as_bytes);
    let id = format!("report-{}@{DOMAIN}", digest::hex(parts, 32));
    let mut letter = compose::sheet(sender.letterhead);
    write(&mut letter);
    let headers = headers::headers(sender, receiver, subject, &id)?;
    let bytes = mime::bytes(headers, &id, subject, &letter, manner.text_only())?;
    let (receiver, subject) = (receiver.to_owned(), subject.to_owned());
    Ok(Message { id, receiver, subject, created: sender.now, bytes, facts: Vec::new() })
}

/// Follows from the installation, the receiver and the facts alone, so that the same news has the same id.
fn message_id(draft: &Draft, installation: &str) -> String {
    let names: Vec<String> =
        draft.names.iter().map(|(episode, ordinal)| format!("{episode} {ordinal}")).collect();
    let parts = [installation, draft.receiver].into_iter().chain(names.iter().map(String::as_str));
    format!("{}@{DOMAIN}", digest::hex(parts.map(str::as_bytes), 32))
}
