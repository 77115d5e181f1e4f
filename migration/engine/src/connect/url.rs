//! Check of the database URL before it is used or printed.
//!
//! For a URL parser, an unescaped `@`, `/`, `?` or `#` ends a password: the rest becomes host, port,
//! database or a parameter, which errors and logs would print. Such a URL has an `@` in the wrong
//! part.

use sea_orm::sqlx::postgres::PgConnectOptions;

use super::ConnectError;

/// Parameters that the driver supports (sqlx-postgres, `options/parse.rs`). It logs others with
/// their values, which may be secret.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Checked URL.
#[derive(Debug)]
pub(super) struct Checked {
    /// The URL without unsupported parameters.
    pub(super) text: String,
    /// Whether it had unsupported parameters.
    pub(super) cut: bool,
}

impl Checked {
    pub(super) fn warn_if_cut(&self) {
        if self.cut {
            tracing::warn!("DATABASE_URL has unsupported parameters; they are ignored");
        }
    }
}

/// Checks a URL.
pub(super) fn check(url: &str) -> Result<Checked, ConnectError> {
    let (before, query) = match url.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (url, None),
    };
    let is_sound = sections(url).is_some_and(|(authority, rest)| {
        !rest.contains('@') && is_host(authority) && is_database(rest)
    });
    if !is_sound {
        return Err(ConnectError::BadUrl);
    }
    let (mut text, mut cut) = (before.to_owned(), false);
    let query = query.map(|query| query.split('#').next().unwrap_or_default());
    for parameter in query.into_iter().flat_map(|query| query.split('&')) {
        let name = parameter.split('=').next().unwrap_or_default();
        if PARAMETERS.contains(&name) || name.starts_with("options[") {
            text.push(if text.contains('?') { '&' } else { '?' });
            text.push_str(parameter);
        } else {
            cut |= !parameter.is_empty();
        }
    }
    text.parse::<PgConnectOptions>().map_err(|_| ConnectError::BadUrl)?;
    Ok(Checked { text, cut })
}

/// The URL of another database of the same server. The name has no characters that a URL escapes.
///
/// # Errors
/// [`ConnectError::BadUrl`].
pub fn with_database(url: &str, database: &str) -> Result<String, ConnectError> {
    let text = check(url)?.text;
    let (before, query) = text.split_once('?').unwrap_or((&text, ""));
    let (scheme, rest) = before.split_once("://").ok_or(ConnectError::BadUrl)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let query: Vec<&str> =
        query.split('&').filter(|it| !it.is_empty() && !it.starts_with("dbname=")).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    Ok(format!("{scheme}://{authority}/{database}{mark}{}", query.join("&")))
}

/// User, password, host and port; and what follows them.
fn sections(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    if !matches!(scheme, "postgres" | "postgresql") {
        return None;
    }
    Some(rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())))
}

/// Whether a host, with or without a port, is one: a name, an address, or the encoded path of a
/// socket folder. Empty where a parameter names the host.
fn is_host(authority: &str) -> bool {
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(&byte))
}

/// Whether the database is one segment of the path, or left out.
fn is_database(rest: &str) -> bool {
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    !path.trim_start_matches('/').contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_they_are_written_are_accepted() {
        for (url, host, database) in [
            ("postgres://me:hunter2@db.example.org:5433/guards", "db.example.org", Some("guards")),
            ("postgresql://me@localhost/guards", "localhost", Some("guards")),
            ("postgres://localhost", "localhost", None),
            ("postgres://postgres:postgres@postgres/postgres", "postgres", Some("postgres")),
            ("postgres://localhost/", "localhost", None),
            ("postgres://me:p@ss@localhost/guards", "localhost", Some("guards")),
            ("postgres://me@example.org:hunter2@localhost/guards", "localhost", Some("guards")),
            ("postgres://me:a%40b%2Fc%3Fd%23e@localhost/guards", "localhost", Some("guards")),
            ("postgres://me:100%@localhost/guards", "localhost", Some("guards")),
            ("postgres://me:a:b@[::1]:5433/guards", "[::1]", Some("guards")),
            ("postgres://me@10.0.0.1/my%20guards%40home", "10.0.0.1", Some("my guards@home")),
            ("postgres:///guards?host=db&user=me&password=p%40ss", "db", Some("guards")),
            ("postgres://localhost?dbname=guards&sslmode=disable", "localhost", Some("guards")),
            ("postgres://localhost/guards?options[search_path]=a", "localhost", Some("guards")),
        ] {
            let checked = check(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            let options = checked.text.parse::<PgConnectOptions>().unwrap();
            assert_eq!(options.get_host(), host, "{url}");
            assert_eq!(options.get_database(), database, "{url}");
            assert_eq!((checked.text.as_str(), checked.cut), (url, false));
        }
    }

    #[test]
    fn the_database_of_a_url_can_be_replaced() {
        for (url, replaced) in [
            (
                "postgres://me:a%2Fb@h:5433/old?sslmode=disable",
                "postgres://me:a%2Fb@h:5433/new?sslmode=disable",
            ),
            ("postgres://h", "postgres://h/new"),
            ("postgres:///old?host=/run/pg&dbname=old", "postgres:///new?host=/run/pg"),
        ] {
            assert_eq!(with_database(url, "new").unwrap(), replaced);
            let options = replaced.parse::<PgConnectOptions>().unwrap();
            assert_eq!(options.get_database(), Some("new"));
        }
        assert!(with_database("mysql://h/old", "new").is_err());
    }

    #[test]
    fn a_socket_folder_may_be_the_host() {
        for url in ["postgres:///guards?host=/run/pg", "postgres://me:x@%2Frun%2Fpg/guards"] {
            let options = check(url).unwrap().text.parse::<PgConnectOptions>().unwrap();
            assert!(options.get_socket().unwrap().starts_with("/run/pg"), "{url}");
        }
    }

    #[test]
    fn parameters_that_the_driver_does_not_read_are_cut() {
        for (url, text) in [
            ("postgres://h/d?sslpassword=hush", "postgres://h/d"),
            ("postgres://h/d?sslpassword=hush&sslmode=disable&x", "postgres://h/d?sslmode=disable"),
            ("postgres://h/d?user=me&connect_timeout=5&port=1#x", "postgres://h/d?user=me&port=1"),
        ] {
            let checked = check(url).unwrap();
            assert_eq!((checked.text.as_str(), checked.cut), (text, true));
        }
        assert!(!check("postgres://h/d?").unwrap().cut);
    }
}
