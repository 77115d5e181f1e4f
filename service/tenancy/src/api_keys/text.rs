use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::hex::encode;

/// Begins every key, so that scanners of secrets find it.
const BRAND: &str = "tnt_";

/// Bytes of the part by which a key is found.
const PREFIX_BYTES: usize = 8;

/// Bytes of the secret.
const SECRET_BYTES: usize = 32;

/// Bytes of the checksum.
const SUM_BYTES: usize = 4;

/// Length of [`Prefix`], in characters.
const PREFIX_LEN: usize = BRAND.len() + 2 * PREFIX_BYTES;

/// Length of a key, in characters.
const KEY_LEN: usize = PREFIX_LEN + 1 + 2 * (SECRET_BYTES + SUM_BYTES);

/// A whole key with its secret: `tnt_PREFIX_SECRET`, in lower-case hexadecimal digits. The last eight
/// are a checksum: the first four bytes of the SHA-256 of everything before.
pub(super) struct KeyText {
    pub(super) prefix: Prefix,
    secret: [u8; SECRET_BYTES],
}

/// The part of a key that may be shown: `tnt_` and sixteen digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Prefix(String);

impl Prefix {
    /// With or without `tnt_`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(BRAND).unwrap_or(text);
        decode::<PREFIX_BYTES>(digits).map(|_| Self(format!("{BRAND}{digits}")))
    }

    /// The prefix in a text, alone or as the beginning of a whole or cut key.
    pub(super) fn named(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix(BRAND).unwrap_or(text.trim());
        Self::parse(digits.split('_').next()?)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// As much of a text that names no key as contains no whole secret.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(PREFIX_LEN).collect()
}

impl KeyText {
    /// A new key, from random numbers of the operating system.
    pub(super) fn generate() -> Result<Self, getrandom::Error> {
        let (mut prefix, mut secret) = ([0; PREFIX_BYTES], [0; SECRET_BYTES]);
        getrandom::fill(&mut prefix)?;
        getrandom::fill(&mut secret)?;
        Ok(Self { prefix: Prefix(format!("{BRAND}{}", encode(&prefix))), secret })
    }

    /// The key in a text, if it is well-formed and its checksum is right.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() != KEY_LEN || !text.is_ascii() {
            return None;
        }
        let (body, sum) = text.split_at(KEY_LEN - 2 * SUM_BYTES);
        if decode::<SUM_BYTES>(sum)? != checksum(body) {
            return None;
        }
        let (prefix, secret) = body.split_at(PREFIX_LEN);
        let prefix = Prefix::parse(prefix).filter(|it| it.as_str() == prefix)?;
        Some(Self { prefix, secret: decode(secret.strip_prefix('_')?)? })
    }

    /// The text, which contains the secret.
    pub(super) fn expose(&self) -> String {
        let body = format!("{}_{}", self.prefix.as_str(), encode(&self.secret));
        let sum = encode(&checksum(&body));
        body + &sum
    }

    /// SHA-256 of the secret. As the secret has 256 random bits, no slower hash is needed.
    pub(super) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }

    /// Compares the hash of the secret in constant time.
    pub(super) fn matches(&self, hash: &[u8]) -> bool {
        self.hash().ct_eq(hash).into()
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_…", self.prefix.as_str())
    }
}

/// A fuzz target: a key that is accepted is written in one way only.
#[cfg(fuzzing)]
pub fn fuzz_key(text: &str) {
    if let Some(key) = KeyText::parse(text) {
        assert_eq!(key.expose(), text);
        assert!(key.matches(&key.hash()));
    }
}

fn checksum(text: &str) -> [u8; SUM_BYTES] {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(text));
    [a, b, c, d]
}

/// The bytes of lower-case hexadecimal digits.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(prefix: [u8; PREFIX_BYTES], secret: [u8; SECRET_BYTES]) -> KeyText {
        KeyText { prefix: Prefix(format!("{BRAND}{}", encode(&prefix))), secret }
    }

    #[test]
    fn a_key_is_written_as_documented() {
        let text = key([0x0a; 8], [0xff; 32]).expose();
        let digits = "f".repeat(64);
        assert!(text.starts_with(&format!("tnt_0a0a0a0a0a0a0a0a_{digits}")), "{text}");
        assert_eq!(text.len(), KEY_LEN);
        let one = KeyText::generate().unwrap();
        assert_ne!(one.expose(), KeyText::generate().unwrap().expose());
        assert!(!format!("{one:?}").contains(&encode(&one.secret)));
    }

    #[test]
    fn a_prefix_is_read_with_and_without_its_beginning() {
        for text in ["tnt_0123456789abcdef", "0123456789abcdef"] {
            assert_eq!(Prefix::parse(text).unwrap().as_str(), "tnt_0123456789abcdef");
        }
        for text in ["", "tnt_", "tnt_0123456789ABCDEF", "tnt_0123", "tnt_tnt_0123456789abcdef"] {
            assert_eq!(Prefix::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_whole_or_cut_key_names_its_prefix_and_other_texts_are_shown_in_part() {
        let whole = key([0x0a; 8], [0xff; 32]).expose();
        for text in [&whole, &whole[..40], &whole[..21], &whole[..20], &whole[4..], &whole[4..20]] {
            let found = Prefix::named(&format!(" {text}\n"));
            assert_eq!(found.unwrap().as_str(), &whole[..PREFIX_LEN], "{text}");
        }
        for text in ["", "_", "tnt__", "tnt_tnt_0a0a0a0a0a0a0a0a", &whole[1..], &whole[21..]] {
            assert_eq!(Prefix::named(text), None, "{text}");
        }
        assert_eq!(shown(&whole), whole[..PREFIX_LEN]);
    }

    proptest! {
        #[test]
        fn every_key_is_read_as_it_was_written(prefix: [u8; 8], secret: [u8; 32]) {
            let written = key(prefix, secret);
            let read = KeyText::parse(&written.expose()).unwrap();
            prop_assert_eq!(read.prefix, written.prefix.clone());
            prop_assert_eq!(read.secret, secret);
            prop_assert!(written.matches(&written.hash()));
        }

        /// Also the digits of the checksum itself.
        #[test]
        fn a_key_with_another_character_is_refused(
            prefix: [u8; 8], secret: [u8; 32], at in 0..KEY_LEN, character: char
        ) {
            let text = key(prefix, secret).expose();
            let mut changed: Vec<char> = text.chars().collect();
            prop_assume!(changed[at] != character);
            changed[at] = character;
            let changed: String = changed.into_iter().collect();
            prop_assert!(KeyText::parse(&changed).is_none(), "{}", changed);
        }

        #[test]
        fn no_other_text_is_a_key(text in ".*") {
            prop_assert!(KeyText::parse(&text).is_none());
        }

        #[test]
        fn another_secret_does_not_match(one: [u8; 32], other: [u8; 32]) {
            prop_assume!(one != other);
            prop_assert!(!key([0; 8], one).matches(&key([0; 8], other).hash()));
        }
    }
}
