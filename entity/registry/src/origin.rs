use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{Hostname, NameError};

/// The origin of a web page (RFC 6454) as browsers send it: scheme, host and port, such as
/// `https://app.example.org` or `http://localhost:5173`.
///
/// The scheme is `http` or `https`. The scheme's usual port is left out, letters are in lower case.
/// Neither `*` nor `null` is an origin, since both stand for pages that are not known.
///
/// ```
/// use tenantry_registry::Origin;
/// assert_eq!("HTTPS://App.Example.org:443".parse::<Origin>()?.as_str(), "https://app.example.org");
/// assert!("*".parse::<Origin>().is_err());
/// assert!("https://app.example.org/path".parse::<Origin>().is_err());
/// # Ok::<(), tenantry_registry::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(String);

impl Origin {
    /// The origin as browsers send it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| NameError::new("origin", text, rule);
        if matches!(text, "*" | "null") {
            return Err(refuse("name each origin, such as https://app.example.org"));
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| refuse("it must begin with https:// or http://"))?;
        let scheme = scheme.to_ascii_lowercase();
        let usual_port = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(refuse("the scheme must be https or http")),
        };
        if rest.contains(['/', '?', '#', '@']) {
            return Err(refuse("it must end after the host or the port: no path, no user"));
        }
        let (host, port) = match rest.rsplit_once(':') {
            // A colon within brackets belongs to the address.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let host = canonical_host(host)
            .ok_or_else(|| refuse("the host must be a host name or an address"))?;
        let port = port.map(|port| parse_port(port).ok_or_else(|| refuse("the port is not valid")));
        Ok(Self(match port.transpose()?.filter(|port| *port != usual_port) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }))
    }
}

/// A host as browsers write it.
fn canonical_host(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().ok().map(|address| format!("[{address}]"));
    }
    if host.parse::<Ipv4Addr>().is_ok() {
        return Some(host.to_owned());
    }
    // In contrast to a host name of a tenant it may have a single label, as localhost has. Browsers
    // read a name with a number at its end as an address.
    let top = host.rsplit('.').next().unwrap_or_default();
    let below: Hostname = format!("{host}.x").parse().ok()?;
    let name = below.as_str().strip_suffix(".x")?;
    (!top.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.to_owned())
}

fn parse_port(text: &str) -> Option<u16> {
    let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_canonical)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_browsers_write_it() {
        for (text, origin) in [
            ("https://app.example.org", "https://app.example.org"),
            ("HTTPS://App.Example.ORG", "https://app.example.org"),
            ("https://app.example.org:443", "https://app.example.org"),
            ("https://app.example.org:80", "https://app.example.org:80"),
            ("http://app.example.org:80", "http://app.example.org"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]", "http://[::1]"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().as_str(), origin, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "*",
            "null",
            "app.example.org",
            "//app.example.org",
            "https://",
            "https://*",
            "https://*.example.org",
            "https://app.example.org/",
            "https://app.example.org?x",
            "https://app.example.org#x",
            "https://me@app.example.org",
            "https://app.example.org.",
            "https://app..example.org",
            "https://app example.org",
            "https://app.example.org, https://b.example.org",
            "https://app.example.org:",
            "https://app.example.org:0",
            "https://app.example.org:080",
            "https://app.example.org:65536",
            "https://app.example.org:+1",
            "https://1.2.3",
            "https://256.0.0.1",
            "https://[::1",
            "https://[app]",
            "https://\u{e4}.example.org",
            "https://app.example.org\n",
            "ftp://app.example.org",
            "file:///tmp",
            "javascript:alert(1)",
        ] {
            text.parse::<Origin>().unwrap_err();
        }
    }
}
