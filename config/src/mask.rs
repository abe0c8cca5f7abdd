//! The secrets in a file's text, which no excerpt shows.

use std::ops::Range;

use crate::nearest::nearest;

/// So many bytes of a URL are searched for a login.
const URL: usize = 512;

/// The secret that holds the byte `at`.
pub(crate) fn secret_at(secrets: &[Range<usize>], at: usize) -> Option<&Range<usize>> {
    let after = secrets.partition_point(|secret| secret.start <= at);
    after.checked_sub(1).map(|index| &secrets[index]).filter(|secret| secret.contains(&at))
}

/// The values in `text` that must not be shown, found without regard to whether the text is well-formed: those of
/// attributes that are called, or nearly called, `password`; and addresses that hold a login.
pub(crate) fn secrets(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find('=').map(|at| from + at) {
        let value = at + 1 + text[at + 1..].bytes().take_while(u8::is_ascii_whitespace).count();
        from = at + 1;
        let before = text[..at].trim_end();
        // Names are ASCII, and no name of interest is longer than this.
        let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        let length = before.as_bytes().iter().rev().take(40).take_while(is_name).count();
        let name = before[before.len() - length..].to_ascii_lowercase();
        // What a heartbeat asks for is known to two only, whatever of the URL makes it so.
        let is_heartbeat = ["collector-url", "alerter-url"].contains(&name.as_str());
        let is_url = name.ends_with("url") && !is_heartbeat;
        if !is_url && !is_heartbeat && !is_secret(&name) {
            continue;
        }
        // Only the beginning of a URL is looked at: every `=` of a long line may be before one.
        let near = &bytes[..bytes.len().min(value + URL)];
        let url = near.get(value..value_end(near, value)).unwrap_or_default();
        // A parameter of a database's URL may be a password.
        let is_database =
            [&b"postgres"[..], b"\"postgres", b"'postgres"].iter().any(|start| url.starts_with(start));
        if is_url && !is_database && !url.contains(&b'@') {
            continue;
        }
        let end = value_end(bytes, value);
        let start = value + usize::from(matches!(bytes.get(value), Some(b'"' | b'\'')));
        if start < end {
            found.push(start..end);
        }
        from = end;
    }
    found
}

/// Where the value that starts at `start` ends. What follows a closing quote without a blank may still be a part of a
/// password whose quote was not escaped: then nothing more of the line is shown.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let line_end = |from: usize| {
        bytes[from..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| from + length)
    };
    let start = start.min(bytes.len());
    let Some(&quote @ (b'"' | b'\'')) = bytes.get(start) else {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'>';
        return bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length);
    };
    match bytes[start + 1..].iter().position(|&byte| byte == quote) {
        None => bytes.len(),
        Some(length) => {
            let close = start + 1 + length;
            match bytes.get(close + 1) {
                None | Some(b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>') => close,
                Some(_) => line_end(close),
            }
        }
    }
}

fn is_secret(name: &str) -> bool {
    let names_a_place = name.ends_with("-file") || name.ends_with("-command");
    let sounds_secret = ["pass", "secret", "pwd"].iter().any(|word| name.contains(word));
    name.len() >= 3
        && !names_a_place
        && (sounds_secret || nearest(name, ["password", "passphrase"]).is_some())
}
