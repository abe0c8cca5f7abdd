//! The probe's half.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeS, Serializable as _};
use model::wire::Recipient;

use crate::header::Header;

/// What both halves agree on beside the algorithms (RFC 9180, `info`).
pub(crate) const INFO: &[u8] = b"fleet-health record 1";

type Key = <X25519HkdfSha256 as Kem>::PublicKey;

/// The envelope of `plaintext` for `recipient`. Fails only where `recipient` holds no valid X25519 key.
///
/// # Panics
/// Where the system gives no random numbers.
pub fn seal(recipient: &Recipient, header: &Header, plaintext: &[u8]) -> Result<Vec<u8>, String> {
    let fault = |error| format!("the recipient's public key does not serve: {error}");
    let key = Key::from_bytes(&recipient.public_key).map_err(fault)?;
    let head = header.to_bytes();
    let (enc, ciphertext) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeS::Base,
        &key,
        INFO,
        plaintext,
        &head,
    )
    .map_err(fault)?;
    Ok([&head[..], &enc.to_bytes(), &ciphertext].concat())
}
