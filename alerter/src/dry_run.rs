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

/// The text of a message that [`crate::mail`] composed: its body is quoted-printable (RFC 2045 section 6.7).
pub fn text(message: &Message) -> String {
    let bytes = &message.bytes;
    let body = bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(&[][..], |end| &bytes[end + 4..]);
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
