use axum::http::{HeaderMap, header};

/// The token of an `Authorization` header with the scheme `Bearer` (RFC 6750, 2.1). None if the
/// header is there more than once.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    // The scheme is case-insensitive (RFC 9110, 11.1).
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_token_of_one_header() {
        let found = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            bearer(&headers).map(|token| String::from_utf8(token.to_vec()).unwrap())
        };
        assert_eq!(found(&["Bearer secret"]).as_deref(), Some("secret"));
        assert_eq!(found(&["bEARER a b"]).as_deref(), Some("a b"));
        for values in
            [&[][..], &["secret"], &["Bearer"], &["Basic secret"], &["Bearer a", "Bearer a"]]
        {
            assert_eq!(found(values), None, "{values:?}");
        }
    }
}
