//! An issuer of JSON Web Tokens, with its keys at a URL of this machine.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    http::{StatusCode, header},
    routing::get,
};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RsaKeyPair, RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// The claim `iss` of its tokens.
pub const ISSUER: &str = "https://id.example.org";

/// The audience of its tokens.
pub const AUDIENCE: &str = "guards";

/// A key of 2048 bits that is used nowhere else.
const RSA_KEY: &[u8] = include_bytes!("../http/jwt/rsa.pk8");

/// A key pair with a name.
pub enum SigningKey {
    Es256(&'static str, EcdsaKeyPair),
    EdDsa(&'static str, Ed25519KeyPair),
    Rs256(&'static str, RsaKeyPair),
}

impl SigningKey {
    pub fn es256(id: &'static str) -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self::Es256(id, EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap())
    }

    pub fn eddsa(id: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::EdDsa(id, Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    pub fn rs256(id: &'static str) -> Self {
        Self::Rs256(id, RsaKeyPair::from_pkcs8(RSA_KEY).unwrap())
    }

    /// The public key as a JWK.
    pub fn public(&self) -> Value {
        match self {
            Self::Es256(id, key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "use": "sig",
                    "x": base64url(x), "y": base64url(y) })
            }
            Self::EdDsa(id, key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "alg": "EdDSA",
                    "x": base64url(key.public_key().as_ref()) })
            }
            Self::Rs256(id, key) => {
                let key: RsaPublicKeyComponents<Vec<u8>> = key.public().into();
                json!({ "kty": "RSA", "kid": id, "alg": "RS256", "n": base64url(&key.n),
                    "e": base64url(&key.e) })
            }
        }
    }

    /// A token with the header of the key.
    pub fn sign(&self, claims: &Value) -> String {
        let (alg, id) = match self {
            Self::Es256(id, _) => ("ES256", id),
            Self::EdDsa(id, _) => ("EdDSA", id),
            Self::Rs256(id, _) => ("RS256", id),
        };
        self.sign_with(&json!({ "alg": alg, "kid": id, "typ": "JWT" }), claims)
    }

    /// A token with any header.
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let random = SystemRandom::new();
        let signature = match self {
            Self::Es256(_, key) => key.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::EdDsa(_, key) => key.sign(message.as_bytes()).as_ref().to_vec(),
            Self::Rs256(_, key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let (kind, text) = (&RSA_PKCS1_SHA256, message.as_bytes());
                key.sign(kind, &random, text, &mut signature).unwrap();
                signature
            }
        };
        format!("{message}.{}", base64url(&signature))
    }
}

/// A token of which the secret is a text that everyone knows, such as a public key.
pub fn signed_with_secret(secret: &str, header: &Value, claims: &Value) -> String {
    let message = message(header, claims);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = base64url(hmac::sign(&key, message.as_bytes()).as_ref());
    format!("{message}.{signature}")
}

fn message(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| base64url(part.to_string().as_bytes()));
    format!("{header}.{claims}")
}

/// The claims of a token for a tenant, valid for a minute.
pub fn claims(tenant: &str, scope: &str) -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "exp": now() + 60, "sub": "abu", "tenant": tenant,
        "scope": scope })
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// base64url without padding (RFC 4648, 5).
pub fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            let index = bits >> (18 - 6 * digit) & 63;
            text.push(char::from(DIGITS[index as usize]));
        }
    }
    text
}

/// The server of an issuer's keys.
pub struct JwksServer {
    address: SocketAddr,
    answer: Arc<Mutex<(StatusCode, String)>>,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl JwksServer {
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let answer = Arc::new(Mutex::new((StatusCode::OK, String::new())));
        let requests = Arc::new(AtomicUsize::new(0));
        let (shown, counter) = (Arc::clone(&answer), Arc::clone(&requests));
        let show = move || {
            counter.fetch_add(1, Ordering::SeqCst);
            let (status, body) = shown.lock().unwrap().clone();
            async move { (status, [(header::CACHE_CONTROL, "max-age=3600")], body) }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app: Router = Router::new().route("/jwks", get(show));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let server = Self { address, answer, requests, task };
        server.publish(keys);
        server
    }

    /// Replaces the keys.
    pub fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.public()).collect();
        *self.answer.lock().unwrap() = (StatusCode::OK, json!({ "keys": keys }).to_string());
    }

    /// Answers with an error from now on.
    pub fn fail(&self) {
        self.answer.lock().unwrap().0 = StatusCode::BAD_GATEWAY;
    }

    pub fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    /// Number of requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for JwksServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
