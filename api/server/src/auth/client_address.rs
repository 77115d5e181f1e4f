use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::ConnectInfo,
    http::{HeaderName, request::Parts},
};

/// The address of a request's client: the last one in a header that a trusted proxy sets, else that
/// of the connection. `None` if the server does not say.
pub(super) fn client_address(parts: &Parts, header: Option<&HeaderName>) -> Option<IpAddr> {
    let forwarded = header.and_then(|name| {
        let value = parts.headers.get_all(name).iter().next_back()?.to_str().ok()?;
        // Those before were sent by the client or by proxies further away.
        parse(value.rsplit(',').next()?.trim())
    });
    let peer =
        || parts.extensions.get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
    forwarded.or_else(peer)
}

/// An address, with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.unwrap_or(text).parse().ok().or_else(port)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn the_last_address_of_the_trusted_header_counts() {
        const NAME: HeaderName = HeaderName::from_static("x-forwarded-for");
        let found = |values: &[&str], trusted: bool| {
            let mut request = Request::get("/");
            for value in values {
                request = request.header(NAME, *value);
            }
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            parts.extensions.insert(ConnectInfo("192.0.2.9:80".parse::<SocketAddr>().unwrap()));
            client_address(&parts, trusted.then_some(&NAME)).unwrap().to_string()
        };
        for (values, wanted) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["10.0.0.1, 192.0.2.1"], "192.0.2.1"),
            (&["10.0.0.1", "10.0.0.2,192.0.2.1:4000"], "192.0.2.1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:80"], "2001:db8::1"),
            (&["unknown"], "192.0.2.9"),
            (&["192.0.2.1,"], "192.0.2.9"),
            (&[], "192.0.2.9"),
        ] {
            assert_eq!(found(values, true), wanted, "{values:?}");
            assert_eq!(found(values, false), "192.0.2.9", "{values:?}");
        }
    }
}
