use std::{fmt::Write, os::unix::ffi::OsStrExt, path::Path};

/// A URL that `sqlx` and libpq read alike: a `host` that begins with a slash is a socket folder
/// (sqlx-postgres `options/parse.rs`; PostgreSQL manual, 34.1.1). The host before the path is not
/// used, but URL parsers require one. Without `sslmode`, a `PGSSLMODE` in the environment could
/// ask for TLS, which sockets do not have.
pub(super) fn socket_url(socket_dir: &Path, database: &str) -> String {
    let database = percent_encoded(database.as_bytes());
    let host = percent_encoded(socket_dir.as_os_str().as_bytes());
    format!("postgres://postgres@localhost:5432/{database}?host={host}&sslmode=disable")
}

/// Encodes all but RFC 3986's unreserved characters.
fn percent_encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::socket_url;
    use std::path::Path;

    #[test]
    fn encodes_the_folder_and_the_database() {
        assert_eq!(
            socket_url(Path::new("/a b/ü&c"), "x?y"),
            "postgres://postgres@localhost:5432/x%3Fy?host=%2Fa%20b%2F%C3%BC%26c&sslmode=disable"
        );
    }
}
