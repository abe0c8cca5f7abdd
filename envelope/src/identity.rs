//! The collector's half.

use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeR, Serializable as _};
use model::wire::Recipient;
use zeroize::Zeroizing;

use crate::header::{Header, LENGTH, split};
use crate::seal::INFO;

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type EncappedKey = <X25519HkdfSha256 as Kem>::EncappedKey;

/// The length of an encapsulated key (RFC 9180, section 7.1: Nenc of X25519).
const ENC: usize = 32;

/// A private key that opens what was sealed to its [`Recipient`].
#[derive(Clone)]
pub struct Identity {
    key_id: u32,
    private_key: PrivateKey,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.key_id)
    }
}

/// Why an envelope does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// It is no envelope.
    Malformed(String),
    /// None of the identities has its key id.
    UnknownKey(u32),
    /// It was changed, or sealed to another key of that id.
    Refused,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(detail) => f.write_str(detail),
            Self::UnknownKey(key_id) => write!(f, "key {key_id} is not here"),
            Self::Refused => f.write_str("the envelope was changed, or sealed to another key"),
        }
    }
}

impl std::error::Error for OpenError {}

impl Identity {
    /// A new random key pair, to be called `key_id`.
    ///
    /// # Panics
    /// Where the system gives no random numbers.
    pub fn generate(key_id: u32) -> Self {
        let (private_key, _) = X25519HkdfSha256::gen_keypair();
        Self { key_id, private_key }
    }

    /// From what [`Self::to_bytes`] gave.
    pub fn from_bytes(key_id: u32, bytes: &[u8; 32]) -> Result<Self, String> {
        let private_key = PrivateKey::from_bytes(bytes).map_err(|error| error.to_string())?;
        Ok(Self { key_id, private_key })
    }

    /// The private key; wiped when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.private_key.to_bytes().into())
    }

    /// What the key pair is called.
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The public half.
    pub fn recipient(&self) -> Recipient {
        let public_key = X25519HkdfSha256::sk_to_pk(&self.private_key).to_bytes().into();
        Recipient { key_id: self.key_id, public_key }
    }
}

/// Opens an envelope with that one of `identities` that its header names.
pub fn open(identities: &[Identity], envelope: &[u8]) -> Result<(Header, Vec<u8>), OpenError> {
    let (header, rest) = split(envelope).map_err(OpenError::Malformed)?;
    let Some((enc, ciphertext)) = rest.split_first_chunk::<ENC>() else {
        return Err(OpenError::Malformed("an envelope without its encapsulated key".to_owned()));
    };
    let identity = identities
        .iter()
        .find(|identity| identity.key_id == header.key_id)
        .ok_or(OpenError::UnknownKey(header.key_id))?;
    let plaintext = open_base(&identity.private_key, enc, INFO, &envelope[..LENGTH], ciphertext)?;
    Ok((header, plaintext))
}

fn open_base(
    key: &PrivateKey,
    enc: &[u8; ENC],
    info: &[u8],
    associated: &[u8],
    ciphertext: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let enc = EncappedKey::from_bytes(enc).map_err(|_| OpenError::Refused)?;
    hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        key,
        &enc,
        info,
        ciphertext,
        associated,
    )
    .map_err(|_| OpenError::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hpke::OpModeS;
    use model::{ClientUid, SpoolId};
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    /// RFC 9180, appendix A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode, sequence 0.
    mod rfc9180_a_2_1 {
        pub(super) const INFO: &str = "4f6465206f6e2061204772656369616e2055726e";
        pub(super) const IKM_E: &str = "909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b";
        pub(super) const IKM_R: &str = "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df";
        pub(super) const SK_R: &str = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb";
        pub(super) const PK_R: &str = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";
        pub(super) const ENC: &str = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
        pub(super) const PT: &str = "4265617574792069732074727574682c20747275746820626561757479";
        pub(super) const AAD: &str = "436f756e742d30";
        pub(super) const CT: &str = "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db\
                                     21993c62ce81883d2dd1b51a28";
    }
    use rfc9180_a_2_1 as vector;

    #[test]
    fn opening_agrees_with_rfc_9180() {
        let key = PrivateKey::from_bytes(&hex(vector::SK_R)).unwrap();
        let enc = hex(vector::ENC).try_into().unwrap();
        let opened = open_base(&key, &enc, &hex(vector::INFO), &hex(vector::AAD), &hex(vector::CT)).unwrap();
        assert_eq!(opened, hex(vector::PT));
    }

    #[test]
    fn key_derivation_agrees_with_rfc_9180() {
        let (_, public) = X25519HkdfSha256::derive_keypair(&hex(vector::IKM_R));
        assert_eq!(public.to_bytes().to_vec(), hex(vector::PK_R));
        let identity = Identity::from_bytes(1, &hex(vector::SK_R).try_into().unwrap()).unwrap();
        assert_eq!(identity.recipient().public_key.to_vec(), hex(vector::PK_R));
    }

    /// Gives the vector's key material where the library asks for random bytes.
    struct Fixed(Vec<u8>);

    impl rand_core::TryRng for Fixed {
        type Error = std::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            unreachable!("key material is asked for as bytes")
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            unreachable!("key material is asked for as bytes")
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.copy_from_slice(&self.0);
            Ok(())
        }
    }

    impl rand_core::TryCryptoRng for Fixed {}

    #[test]
    fn sealing_agrees_with_rfc_9180() {
        let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&hex(vector::PK_R)).unwrap();
        let (enc, ciphertext) =
            hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
                &OpModeS::Base,
                &key,
                &hex(vector::INFO),
                &hex(vector::PT),
                &hex(vector::AAD),
                &mut Fixed(hex(vector::IKM_E)),
            )
            .unwrap();
        assert_eq!(enc.to_bytes().to_vec(), hex(vector::ENC));
        assert_eq!(ciphertext, hex(vector::CT));
    }

    fn header(key_id: u32) -> Header {
        Header { key_id, client: ClientUid([1; 16]), spool: SpoolId([2; 16]), sequence: 3 }
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_alone() {
        let (mine, other) = (Identity::generate(7), Identity::generate(7));
        let envelope = crate::seal(&mine.recipient(), &header(7), b"text").unwrap();
        assert_eq!(open(std::slice::from_ref(&mine), &envelope), Ok((header(7), b"text".to_vec())));
        assert_eq!(open(&[other], &envelope), Err(OpenError::Refused));
        assert_eq!(open(&[Identity::generate(8)], &envelope), Err(OpenError::UnknownKey(7)));
        assert_eq!(format!("{mine:?}"), "Identity(7)");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_changed_or_missing_bit_is_refused(position in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let identity = Identity::generate(7);
            let envelope = crate::seal(&identity.recipient(), &header(7), b"a record").unwrap();
            let position = position.index(envelope.len());
            prop_assert!(open(std::slice::from_ref(&identity), &envelope[..position]).is_err());
            let mut changed = envelope;
            changed[position] ^= 1 << bit;
            prop_assert!(open(&[identity], &changed).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&[Identity::generate(1)], &bytes).is_err());
        }
    }
}
