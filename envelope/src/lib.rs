//! Sealing a record to the management host, and opening it there: HPKE (RFC 9180) in base mode with
//! X25519, HKDF-SHA256 and ChaCha20-Poly1305.
//!
//! An envelope is `header | enc (32 bytes) | ciphertext`, where the clear [`Header`] is associated data: a changed bit
//! anywhere is refused. Base mode proves no sender; that a record comes from its client rests on the SSH session.

mod header;
#[cfg(feature = "open")]
mod identity;
#[cfg(feature = "open")]
mod master;
#[cfg(feature = "seal")]
mod seal;

pub use header::{Header, digest, split};
#[cfg(feature = "open")]
pub use identity::{Identity, OpenError, open};
#[cfg(feature = "open")]
pub use master::{MasterKey, MasterKeyError};
#[cfg(feature = "seal")]
pub use seal::seal;
