//! Shows what would be sent.

use std::io::Write;

use storage::Message;

use crate::transport::{Answer, Transport};

/// Prints messages instead of sending them.
#[derive(Debug)]
pub struct Printer<W>(pub W);

impl<W: Write> Transport for Printer<W> {
    fn deliver(&mut self, message: &Message) -> Answer {
        let rule = "=".repeat(72);
        // A pipe that was closed (`| head`) is no failure of a mail.
        let _ = writeln!(
            self.0,
            "{rule}\nTo: {}\nSubject: {}\n\n{}",
            message.receiver,
            message.subject,
            text(message)
        );
        Answer::Accepted { said: "printed".to_owned() }
    }

    fn name(&self) -> String {
        "standard output".to_owned()
    }
}

/// The text part of a message that [`crate::mail`] composed, which is quoted-printable (RFC 2045 section 6.7).
pub fn text(message: &Message) -> String {
    decoded(part(&message.bytes, b"\r\nContent-Type: text/plain"))
}

/// The HTML part, where there is one.
pub fn html(message: &Message) -> Option<String> {
    let html = decoded(part(&message.bytes, b"\r\nContent-Type: text/html"));
    (!html.is_empty()).then_some(html)
}

/// What stands between the header of a part and its end.
fn part<'a>(bytes: &'a [u8], content: &[u8]) -> &'a [u8] {
    let after = |bytes: &'a [u8], what: &[u8]| {
        bytes.windows(what.len()).position(|at| at == what).map(|at| bytes.split_at(at + what.len()))
    };
    let body = after(bytes, content).and_then(|(_, rest)| after(rest, b"\r\n\r\n"));
    let body = body.map_or(&[][..], |(_, body)| body);
    // Only a boundary begins so.
    after(body, b"\r\n--=_").map_or(body, |(part, _)| &part[..part.len() - 6])
}

fn decoded(body: &[u8]) -> String {
    let mut text = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'=', [b'\r', b'\n', after @ ..]) | (b'\r', after) => after,
            (b'=', [high, low, after @ ..]) => {
                text.extend(hexadecimal(*high).zip(hexadecimal(*low)).map(|(high, low)| high << 4 | low));
                after
            }
            (byte, after) => {
                text.push(byte);
                after
            }
        };
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
