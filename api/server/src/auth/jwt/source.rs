use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use axum::http::{HeaderMap, Uri, header};
use tokio::time::timeout;

/// Longest JWK set, in bytes.
const MAX_LENGTH: u64 = 256 * 1024;

/// How long an answer may take, with all redirects.
const TIMEOUT: Duration = Duration::from_secs(5);

const MAX_REDIRECTS: u32 = 3;

/// Where the public keys of a token issuer are: a URL or a file with a JWK set (RFC 7517, 5).
///
/// The URL is one of HTTPS. Plain HTTP is accepted for this machine only, such as for a proxy beside
/// the program. The answer may have 256 KiB, and takes five seconds at most.
///
/// ```
/// use tenantry_axum::JwksSource;
///
/// let source: JwksSource = "https://id.example.org/.well-known/jwks.json".parse()?;
/// let file: JwksSource = "/etc/tenantry/jwks.json".parse()?;
/// assert!("http://id.example.org/jwks".parse::<JwksSource>().is_err());
/// # Ok::<(), tenantry_axum::JwksSourceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksSource(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Url { url: String, is_local: bool },
    File(PathBuf),
}

/// A text that is not a [`JwksSource`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("JWKS source {text:?} is refused: {rule}")]
pub struct JwksSourceError {
    text: String,
    rule: &'static str,
}

impl FromStr for JwksSource {
    type Err = JwksSourceError;

    fn from_str(text: &str) -> Result<Self, JwksSourceError> {
        let refuse = |rule| {
            // What is before an @ may be a password.
            let text = text.rsplit('@').next().unwrap_or_default().to_owned();
            JwksSourceError { text, rule }
        };
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if !text.contains("://") {
            return Ok(Self(Kind::File(text.into())));
        }
        let uri: Uri = text.parse().map_err(|_| refuse("it is not a valid URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(refuse("it is not a valid URL"));
        };
        if authority.as_str().contains('@') {
            return Err(refuse("a user in the URL is not supported; the keys are public"));
        }
        let is_local = is_loopback(authority.host());
        match scheme {
            "https" => {}
            "http" if is_local => {}
            "http" => return Err(refuse("use https; http is for addresses of this machine only")),
            _ => return Err(refuse("use an https URL or a file")),
        }
        Ok(Self(Kind::Url { url: text.to_owned(), is_local: scheme == "http" }))
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<Ipv4Addr>().map(IpAddr::from).is_ok_and(|ip| ip.is_loopback())
        || host.parse::<Ipv6Addr>().map(IpAddr::from).is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Display for JwksSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Url { url, .. } => f.write_str(url),
            Kind::File(path) => path.display().fmt(f),
        }
    }
}

/// A document and how long it may be used, if its source says so.
pub(super) struct Fetched {
    pub(super) body: Vec<u8>,
    pub(super) max_age: Option<Duration>,
}

/// Why no document was received.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Http(#[from] Box<ureq::Error>),
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("the file is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("no answer within {} seconds", TIMEOUT.as_secs())]
    Timeout,
    #[error("the program is stopping")]
    Stopping,
}

impl JwksSource {
    pub(super) fn is_url(&self) -> bool {
        matches!(self.0, Kind::Url { .. })
    }

    /// Fetches the document. Bounded in time and length.
    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        let source = self.0.clone();
        let fetching = tokio::task::spawn_blocking(move || match source {
            Kind::Url { url, is_local } => get(&url, is_local),
            Kind::File(path) => read(&path),
        });
        // The client has the same timeout; a file may be on a network.
        let fetched = timeout(TIMEOUT + Duration::from_secs(1), fetching).await;
        fetched.map_err(|_| FetchError::Timeout)?.map_err(|_| FetchError::Stopping)?
    }
}

fn read(path: &std::path::Path) -> Result<Fetched, FetchError> {
    let mut body = Vec::new();
    let file = std::fs::File::open(path)?;
    io::Read::read_to_end(&mut io::Read::take(file, MAX_LENGTH + 1), &mut body)?;
    if body.len() as u64 > MAX_LENGTH {
        return Err(FetchError::TooLong);
    }
    Ok(Fetched { body, max_age: Some(Duration::ZERO) })
}

fn get(url: &str, is_local: bool) -> Result<Fetched, FetchError> {
    let config = ureq::Agent::config_builder()
        .https_only(!is_local)
        .max_redirects(if is_local { 0 } else { MAX_REDIRECTS })
        .max_redirects_will_error(true)
        .timeout_global(Some(TIMEOUT))
        .user_agent(concat!("tenantry/", env!("CARGO_PKG_VERSION")))
        .accept("application/jwk-set+json, application/json");
    // A proxy of the environment cannot reach this machine.
    let config = if is_local { config.proxy(None) } else { config };
    let agent = config.build().new_agent();
    let mut response = agent.get(url).call().map_err(Box::new)?;
    if response.status().is_redirection() {
        return Err(Box::new(ureq::Error::TooManyRedirects).into());
    }
    let max_age = max_age(response.headers());
    let body = response.body_mut().with_config().limit(MAX_LENGTH).read_to_vec();
    Ok(Fetched { body: body.map_err(Box::new)?, max_age })
}

/// The `max-age` of `Cache-Control` (RFC 9111, 5.2.2), 0 if the answer must not be stored.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let mut directives =
        values.filter_map(|value| value.to_str().ok()).flat_map(|it| it.split(','));
    directives.find_map(|directive| {
        let directive = directive.trim().to_ascii_lowercase();
        if directive == "no-store" || directive == "no-cache" {
            return Some(Duration::ZERO);
        }
        let seconds = directive.strip_prefix("max-age=")?.trim_matches('"');
        seconds.parse().ok().map(Duration::from_secs)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_for_this_machine_only() {
        for text in [
            "https://id.example.org/jwks",
            "https://10.0.0.1/jwks",
            "http://localhost:8080/jwks",
            "http://id.localhost/jwks",
            "http://127.1.2.3/jwks",
            "http://[::1]:1/jwks",
            "/etc/jwks.json",
            "jwks.json",
        ] {
            assert_eq!(text.parse::<JwksSource>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "http://id.example.org/jwks",
            "http://localhost.example.org/jwks",
            "http://127.0.0.1.example.org/",
            "http://10.0.0.1/jwks",
            "https://me:hunter2@id.example.org/jwks",
            "file:///etc/jwks.json",
            "ftp://id.example.org/jwks",
            "https://",
            "://",
        ] {
            let error = text.parse::<JwksSource>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_lifetime_is_that_of_cache_control() {
        for (value, wanted) in [
            ("max-age=300", Some(300)),
            ("public, Max-Age=60, must-revalidate", Some(60)),
            ("no-store", Some(0)),
            ("public", None),
            ("max-age=many", None),
            ("s-maxage=10", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, value.parse().unwrap());
            assert_eq!(max_age(&headers), wanted.map(Duration::from_secs), "{value}");
        }
    }
}
