//! Sends a message that only says that mail works, and tells what the other side answered.

use std::io::{self, Write};

use config::Settings;
use model::Exit;

use crate::mail::{Manner, Sender, test_message};
use crate::mailings::Mailings;
use crate::rulebook::Rulebook;
use crate::transport::{Answer, Transport};

/// Who gets a test: `address`, else the admins of `<mail>`, else everybody whom a rule tells.
pub fn receivers(settings: &Settings, address: Option<&str>) -> Vec<String> {
    let admins = settings.mail.as_ref().map(|mail| mail.admin.as_slice()).unwrap_or_default();
    match address {
        Some(address) => vec![address.to_owned()],
        None if !admins.is_empty() => admins.to_vec(),
        None => Rulebook::of(settings).receivers().into_iter().map(str::to_owned).collect(),
    }
}

/// Sends a test to each of `receivers`, and writes a line about each to `out`.
pub fn send(
    receivers: &[String],
    settings: &Settings,
    sender: Sender,
    transport: &mut dyn Transport,
    out: &mut dyn Write,
) -> io::Result<Exit> {
    let mut exit = Exit::Ok;
    let mailings = Mailings::of(settings);
    for receiver in receivers {
        let manner = Manner::of(settings, &mailings, receiver, sender.letterhead.zone);
        let line = match test_message(sender, manner).map(|message| transport.deliver(&message)) {
            Ok(Answer::Accepted { said }) => format!("accepted by {}: {said}", transport.name()),
            Ok(Answer::NotTaken(fault)) => format!("NOT SENT by {}: {fault}", transport.name()),
            Ok(Answer::Refused(fault)) => format!("REFUSED by {}: {fault}", transport.name()),
            Ok(Answer::InDoubt(fault)) => format!("PERHAPS SENT by {}: {fault}", transport.name()),
            Err(fault) => format!("NOT SENT: {fault}"),
        };
        if !line.starts_with("accepted") {
            exit = Exit::Partial;
        }
        writeln!(out, "{receiver}: {line}")?;
    }
    Ok(exit)
}
