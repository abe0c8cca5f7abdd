//! Making text of others safe to show.

/// How many characters of remote text are shown at most.
pub const SHOWN: usize = 200;

/// Whether `c` could change what a person sees of the text around it: controls, and Unicode's bidirectional and
/// invisible formatting characters (UTS #39, Trojan Source).
fn treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` with every control, bidirectional and invisible character escaped and cut to `limit` characters.
pub fn escape_to(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    for (count, c) in text.trim().chars().enumerate() {
        if count == limit {
            shown.push('…');
            break;
        }
        if treacherous(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// [`escape_to`] with [`SHOWN`] characters: for everything that came from a client or a server.
pub fn escape(text: &str) -> String {
    escape_to(text, SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_never_pass() {
        assert_eq!(escape("a\x1b[31mb\r\nc\0\u{202e}d"), "a\\u{1b}[31mb\\r\\nc\\u{0}\\u{202e}d");
        assert_eq!(escape("plain é /var 93%"), "plain é /var 93%");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(escape(&"x".repeat(500)).chars().count(), SHOWN + 1);
    }
}
