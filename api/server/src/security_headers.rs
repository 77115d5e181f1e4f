//! Headers that make browsers careful with every answer.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// `Cross-Origin-Resource-Policy` (Fetch, 3.7): pages of other origins cannot embed the answer.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// The headers that are added to every answer, unless its handler has set them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SecurityHeaders {
    /// `Strict-Transport-Security`.
    hsts: Option<HeaderValue>,
}

impl SecurityHeaders {
    /// With `Strict-Transport-Security` for so long, if that is given.
    pub(crate) fn new(hsts: Option<Duration>) -> Self {
        let value = |age: Duration| HeaderValue::try_from(format!("max-age={}", age.as_secs()));
        Self { hsts: hsts.and_then(|age| value(age).ok()) }
    }

    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in [
            (header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, NO_REFERRER),
            (RESOURCE_POLICY, SAME_ORIGIN),
            (header::CACHE_CONTROL, NO_STORE),
        ] {
            headers.entry(name).or_insert(value);
        }
        if let Some(hsts) = &self.hsts {
            headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_handler_are_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        SecurityHeaders::new(Some(Duration::from_secs(3600))).add_to(&mut headers);
        assert_eq!(headers[header::CACHE_CONTROL], "max-age=60");
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::STRICT_TRANSPORT_SECURITY], "max-age=3600");
        let mut headers = HeaderMap::new();
        SecurityHeaders::default().add_to(&mut headers);
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }
}
