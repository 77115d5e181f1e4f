use std::{fmt, io, str::FromStr};

use tokio::net::TcpListener;

use super::error::Error;

/// Address and port, or host name and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListenAddress(String);

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let valid = text.rsplit_once(':').is_some_and(|(host, port)| {
            // A colon in an address is within brackets.
            let host_is_valid = match host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
                None => !host.is_empty() && !host.contains([':', '/', '[', ']', ' ']),
            };
            host_is_valid && port.parse::<u16>().is_ok()
        });
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err("write it as ADDRESS:PORT, such as 127.0.0.1:3000, [::1]:3000 or localhost:3000")
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ListenAddress {
    /// Listens on the first address of the name that can be used.
    pub(super) async fn bind(&self) -> Result<TcpListener, Error> {
        let failed = |source: io::Error| Error::Listen { address: self.0.clone(), source };
        TcpListener::bind(&self.0).await.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_addresses_and_names_with_a_port() {
        for text in ["127.0.0.1:0", "0.0.0.0:65535", "[::1]:3000", "[::]:80", "localhost:3000"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "nowhere",
            ":3000",
            "localhost:",
            "localhost:http",
            "localhost:70000",
            "::1:3000",
            "[::1]",
            "[localhost]:1",
            "http://localhost:1",
            "a b:1",
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(error.contains("localhost:3000"), "{text}");
        }
    }

    #[tokio::test]
    async fn listens_on_an_address_of_a_name() {
        let listener = "localhost:0".parse::<ListenAddress>().unwrap().bind().await.unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
    }
}
