//! Names that follow from what they name.

use std::fmt::Write as _;

use ring::digest::{Context, SHA256};

/// SHA-256 over `parts`, each preceded by its length so that no two lists of parts run together, as `digits` (at most
/// 64) hexadecimal digits.
pub(crate) fn hex<'a>(parts: impl IntoIterator<Item = &'a [u8]>, digits: usize) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    let mut text = String::with_capacity(64);
    for byte in digest.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(hex([b"ab".as_slice(), b"c"], 64), hex([b"a".as_slice(), b"bc"], 64));
        assert_eq!(hex([b"ab".as_slice()], 16).len(), 16);
    }
}
