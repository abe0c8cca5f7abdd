//! A way to run commands at a client.

use model::Outcome;

/// What takes a command's output, piece by piece; `Ok(true)`: it has heard enough.
pub(super) type Hear<'a> = dyn FnMut(&[u8]) -> Result<bool, Outcome> + 'a;

/// A way to run commands at a client.
pub(super) trait Transport {
    /// Has the login shell run `command` with `input` on its stdin, and hands out its stdout until that ends or `hear`
    /// has heard enough; then the beginning of its stderr, where a login says why it runs nothing. A command that does not read its input is no error.
    fn exec(&mut self, command: &str, input: &[u8], hear: &mut Hear<'_>) -> Result<(), Outcome>;

    /// Says good-bye; nothing depends on it.
    fn finish(self: Box<Self>);
}
