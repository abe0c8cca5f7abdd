//! Who a record is about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a client as config.xml gives it: 1 to 255 letters, digits and `.:_@-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientName(String);

impl ClientName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".:_@-".contains(c);
        if text.is_empty() || text.len() > 255 {
            return Err("a client's name has 1 to 255 characters".to_owned());
        }
        match text.chars().find(|&c| !allowed(c)) {
            Some(c) => Err(format!("a client's name holds letters, digits and .:_@- only, not {c:?}")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ClientName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ClientName> for String {
    fn from(name: ClientName) -> Self {
        name.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Sixteen random bytes, written as 32 lower-case hexadecimal digits.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let fault = || format!("{text:?} is not 32 hexadecimal digits");
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(fault());
                }
                let mut bytes = [0; 16];
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let pair = std::str::from_utf8(pair).map_err(|_| fault())?;
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| fault())?;
                }
                Ok(Self(bytes))
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

random_id! {
    /// What a client is for ever, whatever it is called: random, made with the client's row.
    ClientUid
}

random_id! {
    /// One life of a client's spool: random, made with the spool's directory and anew after a roll-back.
    SpoolId
}

impl ClientUid {
    /// Stands for the fleet as a whole, where an alert is about no client. No client has it: theirs are random.
    pub const FLEET: Self = Self([0; 16]);
}
