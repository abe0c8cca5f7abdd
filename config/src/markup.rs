//! The small parts of XML: names and values of attributes, references, and what is wrong with them.

use std::borrow::Cow;

use quick_xml::errors::{IllFormedError, SyntaxError};
use quick_xml::events::attributes::AttrError;

use crate::fault::Wrong;
use crate::source::Span;

/// A value has at most so many bytes.
const VALUE: usize = 8192;

/// What is wrong with the shape of an attribute's name. The name is not repeated: behind a quote that was not escaped
/// it may be the rest of a password.
pub(crate) fn misshapen(text: &str, at: Span, name: &str) -> Option<Wrong> {
    if name.starts_with('<') {
        return Some(Wrong::new("a tag starts inside of a tag").help("end the one before by `>` or `/>`"));
    }
    let begins = |c: char| c.is_alphabetic() || c == '_';
    let goes_on = |c: char| c.is_alphanumeric() || "_-.:".contains(c);
    let shaped = name.starts_with(begins) && name.chars().all(goes_on);
    let apart = text[..at.start].ends_with([' ', '\t', '\r', '\n']);
    (!shaped || !apart).then(|| {
        Wrong::new("this is not an attribute")
            .expected("blank name=\"value\"")
            .help("a `\"` inside of a value is written &quot;")
    })
}

/// The value that `raw` means (XML 1.0, 3.3.3), or what is wrong with it and from where to where.
pub(crate) fn value(raw: &str) -> Result<Cow<'_, str>, (usize, usize, Wrong)> {
    if raw.len() > VALUE {
        return Err((0, 1, Wrong::new(format!("a value has at most {VALUE} bytes"))));
    }
    if let Some(at) = raw.find('<') {
        return Err((at, at + 1, Wrong::new("`<` cannot stand in a value").help("write &lt;")));
    }
    if !raw.contains(['&', '\t', '\r', '\n']) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let at = raw.len() - rest.len();
        if c != '&' {
            value.push(if matches!(c, '\t' | '\r' | '\n') { ' ' } else { c });
            rest = rest.strip_prefix("\r\n").unwrap_or(&rest[c.len_utf8()..]);
            continue;
        }
        let reference = rest.find(';').filter(|&length| length <= 10).map(|length| &rest[1..length]);
        let Some(c) = reference.and_then(referred) else {
            let wrong = Wrong::new("`&` starts no reference that is known here")
                .expected("&amp; &lt; &gt; &quot; &apos; or a character's number, as in &#233;")
                .help("write &amp; where `&` itself is meant");
            return Err((at, at + reference.map_or(1, |name| name.len() + 2), wrong));
        };
        value.push(c);
        rest = &rest[reference.map_or(0, str::len) + 2..];
    }
    Ok(Cow::Owned(value))
}

/// Whether XML 1.0 has no place for `c`, not even as a reference (2.2).
pub(crate) fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

/// The character that `&reference;` stands for.
fn referred(reference: &str) -> Option<char> {
    let number = |digits: &str, radix| {
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let c = plain.then(|| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32))??;
        (!is_forbidden(c)).then_some(c)
    };
    match reference {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match reference.strip_prefix("#x") {
            Some(digits) => number(digits, 16),
            None => number(reference.strip_prefix('#')?, 10),
        },
    }
}

/// What is wrong with an attribute, and where in its tag.
pub(crate) fn attribute_syntax(error: &AttrError) -> (usize, Wrong) {
    match *error {
        AttrError::ExpectedEq(at) => (
            at,
            Wrong::new("an attribute has no value here")
                .expected("name=\"value\"")
                .help("perhaps a quote is missing before, or a `\"` inside of a value is not written &quot;"),
        ),
        AttrError::ExpectedValue(at) => {
            (at, Wrong::new("there is no value behind `=`").expected("name=\"value\""))
        }
        AttrError::UnquotedValue(at) => {
            (at, Wrong::new("a value must stand in quotes").expected("name=\"value\""))
        }
        AttrError::ExpectedQuote(at, quote) => {
            (at, Wrong::new(format!("the closing {} of a value is missing", char::from(quote))))
        }
        AttrError::Duplicated(at, _) => (at, Wrong::new("an attribute stands here twice")),
    }
}

/// What is wrong with a part of the file that is no XML.
pub(crate) fn syntax(error: &quick_xml::Error) -> Wrong {
    use quick_xml::Error;
    let unended = |what: &str, end: &str| {
        Wrong::new(format!("{what} that starts here is never ended")).expected(format!("`{end}`"))
    };
    match error {
        Error::Syntax(SyntaxError::UnclosedComment) => unended("the comment", "-->"),
        Error::Syntax(SyntaxError::UnclosedCData) => unended("the CDATA section", "]]>"),
        Error::Syntax(SyntaxError::UnclosedDoctype) => unended("the DOCTYPE", ">"),
        Error::Syntax(SyntaxError::UnclosedPI | SyntaxError::UnclosedXmlDecl) => unended("the `<?`", "?>"),
        Error::Syntax(SyntaxError::UnclosedTag) => unended("the tag", ">"),
        Error::Syntax(SyntaxError::UnclosedSingleQuotedAttributeValue) => {
            unended("a value in the tag", "'").help("look for a quote that is missing in this tag")
        }
        Error::Syntax(SyntaxError::UnclosedDoubleQuotedAttributeValue) => {
            unended("a value in the tag", "\"").help("look for a quote that is missing in this tag")
        }
        Error::IllFormed(IllFormedError::UnclosedReference) => Wrong::new("a lone `&` cannot stand here"),
        other => Wrong::new(format!("this is not XML: {}", model::text::escape(&other.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references() {
        for (raw, meant) in [
            ("a&amp;b", Some("a&b")),
            ("&lt;&gt;&quot;&apos;", Some("<>\"'")),
            ("&#233;&#xe9;", Some("éé")),
            ("a\r\nb\tc", Some("a b c")),
            ("&#10;", Some("\n")),
            ("&#0;", None),
            ("&#+5;", None),
            ("&lol;", None),
            ("a & b", None),
            ("&amp", None),
            ("a<b", None),
        ] {
            assert_eq!(value(raw).ok().as_deref(), meant, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn any_text_in_a_value_round_trips(text in "[^\\x00-\\x1f\\u{fffe}\\u{ffff}]{0,40}") {
            let escaped = quick_xml::escape::escape(text.as_str());
            prop_assert_eq!(value(&escaped).unwrap(), text.as_str());
        }
    }
}
