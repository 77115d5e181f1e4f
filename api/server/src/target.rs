//! The host that a request is for (RFC 9112, 3.2; RFC 9113, 8.3.1).
//!
//! A request may name its host twice: in its target (always in HTTP/2, as `:authority`) and in the
//! `Host` header. If a proxy used one and this server the other, a client could reach a tenant that
//! the proxy protects. So both must agree, and ambiguous requests are rejected.

use axum::http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header, request::Parts};

use crate::problem::Problem;

/// The part of a request that names its host.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
}

impl<'a, B> From<&'a Request<B>> for Target<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
        }
    }
}

impl<'a> From<&'a Parts> for Target<'a> {
    fn from(parts: &'a Parts) -> Self {
        let Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version: *version, headers }
    }
}

impl<'a> Target<'a> {
    /// The host, with the port if there is one, as written by the client.
    ///
    /// # Errors
    /// 400 if the request names no host, more than one, or an invalid one.
    pub(crate) fn host(self) -> Result<&'a str, Problem> {
        self.named()?.ok_or_else(no_host)
    }

    /// As [`host`](Self::host), but `None` if the request names no host, as HTTP/1.0 allows.
    ///
    /// # Errors
    /// As for [`host`](Self::host), except for HTTP/1.0.
    pub(crate) fn named(self) -> Result<Option<&'a str>, Problem> {
        let header = self.header()?;
        let Some(authority) = self.uri.authority() else {
            return match header {
                None if self.version != Version::HTTP_10 => Err(no_host()),
                header => Ok(header),
            };
        };
        let default_port = match self.uri.scheme_str() {
            Some("http") => "80",
            Some("https") => "443",
            Some(scheme) => {
                return Err(Problem::malformed(format!(
                    "the target's scheme is {scheme:?}; use http or https"
                )));
            }
            // Only CONNECT has a bare authority as its target, and no route matches that.
            None if self.method == Method::CONNECT => "",
            None => {
                return Err(Problem::malformed(
                    "the target is a host without a scheme; send a path, or a whole URL",
                ));
            }
        };
        let authority = authority.as_str();
        if !is_host(authority) {
            return Err(Problem::malformed(format!(
                "the target names no host: {authority:?}; send one host name, without a user"
            )));
        }
        match header {
            Some(header) if same(header, authority, default_port) => Ok(Some(authority)),
            Some(header) => Err(Problem::malformed(format!(
                "the target names the host {authority:?}, the Host header {header:?}; send the \
                 same host in both"
            ))),
            // In HTTP/2 and later the authority replaces the header.
            None if self.version >= Version::HTTP_2 => Ok(Some(authority)),
            None => Err(no_host()),
        }
    }

    /// The `Host` header: at most one, and a host.
    fn header(self) -> Result<Option<&'a str>, Problem> {
        let mut hosts = self.headers.get_all(header::HOST).iter();
        let Some(host) = hosts.next() else { return Ok(None) };
        if hosts.next().is_some() {
            return Err(Problem::malformed("the request has more than one Host header; send one"));
        }
        // An empty one is well-formed, but belongs to no tenant.
        let text = host.to_str().ok().filter(|text| text.is_empty() || is_host(text));
        text.map(Some).ok_or_else(|| not_a_host(host))
    }
}

fn no_host() -> Problem {
    Problem::malformed(
        "the request has no Host header; send one, the host name determines the tenant",
    )
}

fn not_a_host(value: &HeaderValue) -> Problem {
    Problem::malformed(format!(
        "the Host header {:?} is not a host name; send one name in ASCII, and the port if it is \
         not the usual one",
        String::from_utf8_lossy(value.as_bytes())
    ))
}

/// Whether `text` can be a host and a port (RFC 3986, 3.2). Without a user, and without commas,
/// which a name may contain but which a list of hosts contains as well.
fn is_host(text: &str) -> bool {
    let name_and_port = |text: &str| {
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:".contains(&byte);
        !text.is_empty() && text.bytes().all(allowed)
    };
    let Some(literal) = text.strip_prefix('[') else { return name_and_port(text) };
    let Some((address, port)) = literal.split_once(']') else { return false };
    address.parse::<std::net::Ipv6Addr>().is_ok()
        && (port.is_empty()
            || port
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())))
}

/// Whether both are the same host and port, however they are written.
pub(crate) fn same(one: &str, other: &str, default_port: &str) -> bool {
    let [one, other] = [one, other].map(|text| split(text, default_port));
    one.0.eq_ignore_ascii_case(other.0) && one.1 == other.1
}

/// The name of a host, without the port and the dot at its end.
pub(crate) fn name(host: &str) -> &str {
    split(host, "").0
}

/// The name without the dot at its end, and the port unless it is the usual one.
fn split<'a>(text: &'a str, default_port: &str) -> (&'a str, Option<&'a str>) {
    // A colon within brackets belongs to the address.
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    };
    let port = port.filter(|port| !port.is_empty() && *port != default_port);
    (name.strip_suffix('.').unwrap_or(name), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host of a request, or `None` when it is refused.
    fn host(version: Version, target: &str, hosts: &[&str]) -> Option<String> {
        let mut request = Request::get(target).version(version);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let request = request.body(()).unwrap();
        Target::from(&request).host().ok().map(str::to_owned)
    }

    #[test]
    fn accepts_one_host_however_often_it_is_named() {
        for (version, target, hosts, wanted) in [
            (Version::HTTP_11, "/", &["a.test"][..], "a.test"),
            (Version::HTTP_11, "/", &["A.test.:3000"], "A.test.:3000"),
            (Version::HTTP_11, "/", &["[::1]:3000"], "[::1]:3000"),
            (Version::HTTP_11, "http://a.test/", &["a.test"], "a.test"),
            (Version::HTTP_11, "http://a.test:80/", &["A.TEST."], "a.test:80"),
            (Version::HTTP_11, "http://a.test/", &["a.test:80"], "a.test"),
            (Version::HTTP_11, "https://a.test:443/", &["a.test"], "a.test:443"),
            (Version::HTTP_11, "http://a.test:3000/", &["a.test:3000"], "a.test:3000"),
            (Version::HTTP_11, "http://[::1]:80/", &["[::1]"], "[::1]:80"),
            (Version::HTTP_2, "http://a.test/", &[], "a.test"),
            (Version::HTTP_2, "http://a.test/", &["A.test:80"], "a.test"),
            (Version::HTTP_2, "/", &["a.test"], "a.test"),
            (Version::HTTP_10, "/", &["a.test"], "a.test"),
        ] {
            let found = host(version, target, hosts);
            assert_eq!(found.as_deref(), Some(wanted), "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn refuses_a_request_whose_host_is_missing_or_ambiguous() {
        for (version, target, hosts) in [
            (Version::HTTP_11, "/", &[][..]),
            (Version::HTTP_11, "/", &["a.test", "b.test"]),
            (Version::HTTP_11, "/", &["a.test", "a.test"]),
            (Version::HTTP_11, "/", &["a.test, b.test"]),
            (Version::HTTP_11, "/", &["a.test,b.test"]),
            (Version::HTTP_11, "/", &["user@a.test"]),
            (Version::HTTP_11, "/", &["a.test/b"]),
            (Version::HTTP_11, "/", &["http://a.test"]),
            (Version::HTTP_11, "/", &["a.test b.test"]),
            (Version::HTTP_11, "/", &["[::1"]),
            (Version::HTTP_11, "/", &["[a.test]"]),
            (Version::HTTP_11, "/", &["[::1]a.test"]),
            (Version::HTTP_11, "/", &["[::1]:80@a.test"]),
            (Version::HTTP_11, "http://a.test/", &[]),
            (Version::HTTP_11, "http://a.test/", &["b.test"]),
            (Version::HTTP_11, "http://a.test/", &["a.test", "a.test"]),
            (Version::HTTP_11, "http://a.test/", &[""]),
            (Version::HTTP_11, "http://a.test:3000/", &["a.test"]),
            (Version::HTTP_11, "http://a.test:443/", &["a.test"]),
            (Version::HTTP_11, "http://user@a.test/", &["a.test"]),
            (Version::HTTP_11, "http://user@a.test/", &["user@a.test"]),
            (Version::HTTP_11, "http://a.test,b.test/", &["a.test,b.test"]),
            (Version::HTTP_11, "ftp://a.test/", &["a.test"]),
            (Version::HTTP_11, "a.test:80", &["a.test"]),
            (Version::HTTP_10, "/", &[]),
            (Version::HTTP_10, "http://a.test/", &["b.test"]),
            (Version::HTTP_2, "/", &[]),
            (Version::HTTP_2, "http://a.test/", &["b.test"]),
            (Version::HTTP_2, "http://a.test/", &["a.test", "b.test"]),
            (Version::HTTP_2, "http://user@a.test/", &[]),
            (Version::HTTP_2, "ws://a.test/", &[]),
        ] {
            let found = host(version, target, hosts);
            assert_eq!(found, None, "{version:?} {target} {hosts:?}");
        }
    }
}
