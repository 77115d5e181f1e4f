use std::{net::Ipv6Addr, str::FromStr};

use crate::target;

/// A host that is served though it belongs to no tenant: a host name or an address, without a port.
///
/// ```
/// use tenantry_axum::AllowedHost;
///
/// for host in ["gateway", "Gateway.internal", "127.0.0.1", "[::1]"] {
///     host.parse::<AllowedHost>()?;
/// }
/// for other in ["", "127.0.0.1:3000", "http://gateway", "*.internal", "gateway/"] {
///     assert!(other.parse::<AllowedHost>().is_err());
/// }
/// # Ok::<(), tenantry_axum::AllowedHostError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost(String);

/// A text that is not an [`AllowedHost`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("host {0:?} is refused: write a host name or an address, without a port")]
pub struct AllowedHostError(String);

impl AllowedHost {
    /// Whether the `Host` of a request names this host, with any port.
    pub(crate) fn is_named_by(&self, host: &str) -> bool {
        target::name(host).eq_ignore_ascii_case(&self.0)
    }
}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, AllowedHostError> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<Ipv6Addr>() {
            return Ok(Self(format!("[{address}]")));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            (1..=63).contains(&label.len()) && label.bytes().all(is_allowed)
        };
        match name.len() <= 253 && name.split('.').all(is_label) {
            true => Ok(Self(name.to_ascii_lowercase())),
            false => Err(AllowedHostError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_with_any_port_and_in_any_case() {
        for (allowed, named) in [
            ("Gateway.internal", "gateway.INTERNAL.:3000"),
            ("gateway.internal.", "gateway.internal"),
            ("127.0.0.1", "127.0.0.1:80"),
            ("::1", "[::1]:3000"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
        ] {
            let host: AllowedHost = allowed.parse().unwrap();
            assert!(host.is_named_by(named), "{allowed} {named}");
            assert!(!host.is_named_by("x.gateway.internal"), "{allowed}");
        }
        for text in ["[::1]:80", "a b", "a..b", "[gateway]", &"a.".repeat(130)] {
            text.parse::<AllowedHost>().unwrap_err();
        }
    }
}
