use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// Keys of one set that are used. Providers have a handful.
const MAX_KEYS: usize = 100;

/// Smallest modulus of an RSA key, in bytes: 2048 bits (RFC 7518, 3.3).
const MIN_MODULUS: usize = 256;

/// The keys of a JWK set (RFC 7517) that sign with an accepted algorithm.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

/// A key and the one algorithm it is for: that of the token only has to agree.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// A document that is not a JWK set, or has no usable key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeySetError {
    #[error("the answer is not a JWK set: {0}")]
    NotASet(#[from] serde_json::Error),
    #[error(
        "none of its {0} keys can be used; RS256 (from 2048 bits), ES256 and EdDSA with Ed25519 are \
         accepted"
    )]
    NoKeys(usize),
}

#[derive(Deserialize)]
struct Document {
    /// Not read as keys at once, since one of an unknown kind would hide the others.
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set. Keys of other kinds are left out.
    pub(super) fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let Document { keys: found } = serde_json::from_slice(json)?;
        let number = found.len();
        let keys: Vec<Key> = found.into_iter().filter_map(Key::read).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(KeySetError::NoKeys(number)) } else { Ok(Self { keys }) }
    }

    /// The key of a token: the one that it names. A token without `kid`, or a key without one, is
    /// accepted if there is only one key with the algorithm.
    pub(super) fn find(&self, header: &Header) -> Option<&Key> {
        let fits = |key: &&Key| key.algorithm == header.alg;
        if let Some(id) = &header.kid {
            let named = |key: &&Key| key.id.as_ref() == Some(id);
            if let Some(key) = self.keys.iter().filter(fits).find(named) {
                return Some(key);
            }
        }
        let is_nameless = |key: &&Key| header.kid.is_none() || key.id.is_none();
        let mut candidates = self.keys.iter().filter(fits).filter(is_nameless);
        candidates.next().filter(|_| candidates.next().is_none())
    }
}

impl Key {
    fn read(json: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(json).ok()?;
        let signs = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
            (Some(PublicKeyUse::Signature) | None, None) => true,
            (Some(PublicKeyUse::Signature) | None, Some(operations)) => {
                operations.contains(&KeyOperations::Verify)
            }
            _ => false,
        };
        let (algorithm, named) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                (Algorithm::ES256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
            }
            _ => return None,
        };
        if !signs || jwk.common.key_algorithm.is_some_and(|it| it != named) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok().filter(has_right_length)?;
        Some(Self { id: jwk.common.key_id, algorithm, key })
    }
}

fn has_right_length(key: &DecodingKey) -> bool {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, .. } => n.len() >= MIN_MODULUS,
        // Uncompressed points of P-256, and keys of Ed25519.
        DecodingKeyKind::SecretOrDer(point) => matches!(point.len(), 65 | 32),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Two coordinates or a key of 32 bytes.
    const POINT: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn ec(id: Option<&str>) -> Value {
        let mut key = json!({ "kty": "EC", "crv": "P-256", "x": POINT, "y": POINT });
        if let Some(id) = id {
            key["kid"] = id.into();
        }
        key
    }

    fn rsa(bytes: usize) -> Value {
        // A multiple of three bytes, four letters each.
        json!({ "kty": "RSA", "e": "AQAB", "n": "AQAB".repeat(bytes / 3) })
    }

    fn set(keys: &[Value]) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn with(key: &Value, name: &str, value: Value) -> Value {
        let mut key = key.clone();
        key[name] = value;
        key
    }

    #[test]
    fn only_keys_of_the_accepted_kinds_are_used() {
        let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": POINT });
        for (key, algorithm) in [
            (rsa(258), Algorithm::RS256),
            (with(&rsa(258), "alg", json!("RS256")), Algorithm::RS256),
            (ec(None), Algorithm::ES256),
            (with(&ec(None), "use", json!("sig")), Algorithm::ES256),
            (with(&ec(None), "key_ops", json!(["verify"])), Algorithm::ES256),
            (with(&ed, "alg", json!("EdDSA")), Algorithm::EdDSA),
        ] {
            let found = set(&[json!({ "kty": "new" }), key.clone()]).unwrap();
            assert_eq!(found.keys.len(), 1, "{key}");
            assert_eq!(found.keys[0].algorithm, algorithm, "{key}");
        }
        for key in [
            json!({ "kty": "oct", "k": "c2VjcmV0" }),
            json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
            json!({ "kty": "EC", "crv": "P-384", "x": POINT, "y": POINT }),
            json!({ "kty": "EC", "crv": "P-256", "x": "AAAA", "y": POINT }),
            json!({ "kty": "OKP", "crv": "X25519", "x": POINT }),
            rsa(126),
            with(&rsa(258), "alg", json!("RS512")),
            with(&rsa(258), "alg", json!("HS256")),
            with(&rsa(258), "use", json!("enc")),
            with(&ec(None), "key_ops", json!(["sign"])),
            with(&ec(None), "alg", json!("none")),
            json!("text"),
            json!({}),
        ] {
            assert!(
                matches!(set(std::slice::from_ref(&key)), Err(KeySetError::NoKeys(1))),
                "{key}"
            );
        }
        for json in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
            assert!(matches!(KeySet::parse(json.as_bytes()), Err(KeySetError::NotASet(_))));
        }
    }

    #[test]
    fn a_token_gets_the_key_that_it_names_or_the_only_one() {
        let found = |keys: &[Value], kid: Option<&str>, alg| {
            let header = Header { kid: kid.map(str::to_owned), ..Header::new(alg) };
            let set = set(keys).unwrap();
            let key = set.find(&header).map(|key| key.id.clone().unwrap_or_default());
            key.unwrap_or_else(|| "none".to_owned())
        };
        let two = [ec(Some("a")), ec(Some("b")), rsa(258)];
        assert_eq!(found(&two, Some("b"), Algorithm::ES256), "b");
        assert_eq!(found(&two, Some("c"), Algorithm::ES256), "none");
        assert_eq!(found(&two, None, Algorithm::ES256), "none");
        assert_eq!(found(&two, Some("a"), Algorithm::HS256), "none");
        assert_eq!(found(&two, Some("x"), Algorithm::RS256), "", "a key without a name");
        assert_eq!(found(&[ec(Some("a"))], None, Algorithm::ES256), "a");
        assert_eq!(found(&[ec(None), ec(None)], Some("a"), Algorithm::ES256), "none");
    }
}
