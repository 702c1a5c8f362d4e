//! A value that must not be seen: it prints nothing of itself and is wiped when dropped.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use zeroize::Zeroize;

use crate::hex;

/// 32 secret bytes. Written as 64 hexadecimal digits in an invoke payload, and nowhere else.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// These bytes as a secret.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = hex::encode(&self.0);
        let written = serializer.serialize_str(&text);
        text.zeroize();
        written
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::deserialize(deserializer)?;
        let bytes = hex::decode(text.as_bytes());
        text.zeroize();
        // The text itself is not repeated in the error: it might be a secret with one digit wrong.
        bytes.map(Self).ok_or_else(|| D::Error::custom("a token is 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_travels_as_hex_and_is_never_printed() {
        let secret = Secret::from_bytes([0xab; 32]);
        let text = serde_json::to_string(&secret).unwrap();
        assert_eq!(text, format!("\"{}\"", "ab".repeat(32)));
        let back: Secret = serde_json::from_str(&text).unwrap();
        assert_eq!(back.as_bytes(), secret.as_bytes());
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn a_wrong_secret_is_refused_without_being_repeated() {
        let error = serde_json::from_str::<Secret>("\"abc123\"").unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits") && !error.contains("abc123"), "{error}");
    }
}
