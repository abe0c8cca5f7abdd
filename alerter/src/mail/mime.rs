//! The bytes of a message: RFC 5322 and MIME. The same content has the same bytes.

use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Attachment, MessageBuilder, MultiPart, MultiPartKind, SinglePart};

use super::html::html;
use super::letter::Letter;
use super::text::text;

/// Where the pictures of a message are found in it (RFC 2392), by its id.
fn cid(id: &str, number: usize) -> String {
    format!("plot{}.{id}", number + 1)
}

/// A message with `letter` as text alone, or as text and HTML with its pictures.
pub(crate) fn bytes(
    headers: MessageBuilder,
    id: &str,
    subject: &str,
    letter: &Letter,
    is_text_only: bool,
) -> Result<Vec<u8>, String> {
    let plain = part(ContentType::TEXT_PLAIN, text(letter));
    let message = if is_text_only {
        headers.singlepart(plain)
    } else {
        let rich = part(ContentType::TEXT_HTML, html(letter, subject, &|number| cid(id, number)));
        let pictures = letter.pictures.iter().enumerate().map(|(number, picture)| {
            let name = format!("plot{}.png", number + 1);
            let png = ContentType::parse("image/png").expect("it is a type");
            Attachment::new_inline_with_name(cid(id, number), name).body(picture.png.clone(), png)
        });
        let both = multipart(MultiPartKind::Alternative, id).singlepart(plain);
        headers.multipart(if letter.pictures.is_empty() {
            both.singlepart(rich)
        } else {
            let related = multipart(MultiPartKind::Related, id).singlepart(rich);
            both.multipart(pictures.fold(related, MultiPart::singlepart))
        })
    };
    let message = message.map_err(|error| format!("the message cannot be composed: {error}"))?;
    let mut bytes = message.formatted();
    if !bytes.ends_with(b"\r\n") {
        bytes.extend_from_slice(b"\r\n");
    }
    Ok(bytes)
}

/// A boundary that follows from the message's id. "=_" stands nowhere in quoted-printable or Base64 (RFC 2045, 6.7).
fn multipart(kind: MultiPartKind, id: &str) -> MultiPart {
    let name = match kind {
        MultiPartKind::Related => "related",
        _ => "alternative",
    };
    let id: String = id.chars().take_while(|c| *c != '@').take(48).collect();
    MultiPart::builder().kind(kind).boundary(format!("=_{name}_{id}")).build()
}

fn part(content: ContentType, text: String) -> SinglePart {
    SinglePart::builder().header(content).header(ContentTransferEncoding::QuotedPrintable).body(text)
}
