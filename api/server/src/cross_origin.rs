//! Requests that a page of another origin makes a browser send.
//!
//! A browser sends what it has for a host – a session's cookie, or the mere access to a server on
//! the user's own machine – also when a page of another origin asks for it. Such a page cannot read
//! the answer, but the request would have its effect. So browsers say where a request comes from
//! (`Sec-Fetch-Site`, and `Origin` before it), and a request that may change something is refused
//! unless it comes from the same origin, from no page, or from an origin that is allowed.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::{problem::Problem, target::same};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request changes nothing (RFC 9110, 9.2.1). The handshake of a WebSocket, on which
/// anything may follow, is a `GET` with an upgrade; one to HTTP/2 only changes the version.
pub(crate) fn changes_nothing(method: &Method, headers: &HeaderMap) -> bool {
    let mut upgrades = headers.get_all(header::UPGRADE).iter();
    method.is_safe() && upgrades.all(|it| it.as_bytes().eq_ignore_ascii_case(b"h2c"))
}

/// Refuses a request of another origin that may change something. `host` is the request's host,
/// `is_allowed` says whether pages of an origin may send the request.
pub(crate) fn check(
    method: &Method,
    headers: &HeaderMap,
    host: &str,
    is_allowed: impl Fn(&HeaderValue) -> bool,
) -> Result<(), Problem> {
    if changes_nothing(method, headers) {
        return Ok(());
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = origins.next();
    let is_ambiguous = origins.next().is_some();
    let sites = headers.get_all(FETCH_SITE);
    let is_own = match (origin, sites.iter().next()) {
        _ if is_ambiguous => false,
        (Some(origin), _) if is_allowed(origin) => true,
        (_, Some(_)) => sites.iter().all(|site| site == "same-origin" || site == "none"),
        (Some(origin), None) => is_of_host(origin, host),
        // No browser, or no page.
        (None, None) => true,
    };
    if is_own { Ok(()) } else { Err(Problem::cross_origin()) }
}

/// Whether an origin is that of this host, by `http` or `https`: a proxy may end TLS.
fn is_of_host(origin: &HeaderValue, host: &str) -> bool {
    let Some((scheme, name)) = origin.to_str().ok().and_then(|text| text.split_once("://")) else {
        return false;
    };
    match scheme {
        "http" => same(name, host, "80"),
        "https" => same(name, host, "443"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(method: &Method, headers: &[(&str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let allowed = |origin: &HeaderValue| origin == "https://app.test";
        check(method, &map, "city.test:3000", allowed).is_ok()
    }

    #[test]
    fn what_may_change_something_comes_from_the_same_origin_or_an_allowed_one() {
        for (headers, wanted) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "")], false),
            (&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://app.test")], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://app.test")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://city.test:3000")], false),
            (&[("origin", "http://city.test:3000")], true),
            (&[("origin", "https://CITY.test.:3000")], true),
            (&[("origin", "http://city.test")], false),
            (&[("origin", "http://evil.test")], false),
            (&[("origin", "http://evil.test"), ("origin", "http://city.test:3000")], false),
            (&[("origin", "https://app.test"), ("origin", "http://evil.test")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("origin", "city.test:3000")], false),
        ] {
            for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(passes(&method, headers), wanted, "{method} {headers:?}");
            }
        }
        let foreign = ("origin", "http://evil.test");
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(passes(&method, &[("sec-fetch-site", "cross-site"), foreign]), "{method}");
        }
        for (upgrade, wanted) in [("websocket", false), ("h2c, websocket", false), ("h2c", true)] {
            assert_eq!(passes(&Method::GET, &[("upgrade", upgrade), foreign]), wanted, "{upgrade}");
        }
        let custom = Method::from_bytes(b"PURGE").unwrap();
        assert!(!passes(&custom, &[foreign]));
    }
}
