//! The settings of the sessions behind a pooler. They are those of the role, since a statement such
//! as `SET` reaches one session only, which serves others as well.

use std::{sync::Arc, time::Duration};

use sea_orm::sqlx::{self, AssertSqlSafe, Executor, PgConnection, Row, postgres::PgRow};

use super::{
    super::pool::{EXACT_TEXT, SessionSettings, SessionState, WriteAccess, milliseconds},
    PoolerError,
};

/// By the simple protocol, as it is the first statement of a connection.
const ASK: &str = "SELECT current_setting('search_path') AS search_path, \
    current_setting('standard_conforming_strings') AS standard_conforming_strings, \
    (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'statement_timeout') AS statement, \
    (SELECT setting::bigint FROM pg_catalog.pg_settings \
        WHERE name = 'idle_in_transaction_session_timeout') AS idle, \
    format('ALTER ROLE %I IN DATABASE %I SET ', current_user, current_database()) AS alter_role, \
    current_user::text AS role, pg_is_in_recovery() AS standby, \
    current_setting('transaction_read_only')::boolean AS read_only";

/// The settings that the role must have.
#[derive(Clone)]
pub(in super::super) struct RoleSettings(SessionSettings);

/// The settings of one session.
struct Found {
    search_path: String,
    standard_conforming_strings: String,
    /// In milliseconds; 0 is none.
    statement_timeout: i64,
    idle_in_transaction_timeout: i64,
    role: String,
    /// The start of a statement that sets one of them.
    alter_role: String,
    state: SessionState,
}

impl RoleSettings {
    pub(in super::super) fn new(settings: SessionSettings) -> Self {
        Self(settings)
    }

    /// The schemas of extensions, as they are appended to a `search_path`.
    pub(in super::super) fn extensions(&self) -> &Arc<str> {
        &self.0.extensions
    }

    /// Confirms in the session of a new connection what the safety of statements depends on.
    pub(in super::super) async fn confirm(
        &self,
        connection: &mut PgConnection,
    ) -> Result<SessionState, sqlx::Error> {
        let found = Found::read(connection).await?;
        let wrong: Vec<_> = self.wrong(&found).into_iter().filter(|it| it.is_vital).collect();
        match found.refusal(&wrong) {
            Some(refusal) => Err(sqlx::Error::Configuration(refusal.into())),
            None => Ok(found.state),
        }
    }

    /// Confirms all settings.
    pub(super) async fn confirm_all(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<PoolerError>, sqlx::Error> {
        let found = Found::read(connection).await?;
        Ok(found.refusal(&self.wrong(&found)))
    }

    fn wrong(&self, found: &Found) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let wanted = format!("pg_catalog{}", self.0.extensions);
        if !is_same_path(&found.search_path, &wanted) {
            // Each name by itself, since a literal would be one name.
            let wanted = wanted.replace(',', ", ");
            wrong.push(Wrong::new("search_path", &found.search_path, wanted, true));
        }
        if found.standard_conforming_strings != "on" {
            let name = "standard_conforming_strings";
            wrong.push(Wrong::new(name, &found.standard_conforming_strings, "on".into(), true));
        }
        for (name, found, wanted) in [
            ("statement_timeout", found.statement_timeout, self.0.statement_timeout),
            (
                "idle_in_transaction_session_timeout",
                found.idle_in_transaction_timeout,
                self.0.idle_in_transaction_timeout,
            ),
        ] {
            if !is_bounded(found, wanted) {
                let wanted = format!("'{}'", time(milliseconds(wanted).into()));
                wrong.push(Wrong::new(name, &time(found), wanted, false));
            }
        }
        wrong
    }
}

/// A setting that is not as it should be.
struct Wrong {
    name: &'static str,
    found: String,
    /// As in `SET`.
    wanted: String,
    /// Whether statements could reach other tables without it.
    is_vital: bool,
}

impl Wrong {
    fn new(name: &'static str, found: &str, wanted: String, is_vital: bool) -> Self {
        Self { name, found: found.to_owned(), wanted, is_vital }
    }
}

impl Found {
    async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let ask = format!("{ASK}, {EXACT_TEXT} AS exact_text");
        let row: PgRow = connection.fetch_one(sqlx::raw_sql(AssertSqlSafe(ask))).await?;
        let writes = WriteAccess::of(row.try_get("standby")?, row.try_get("read_only")?);
        Ok(Self {
            search_path: row.try_get("search_path")?,
            standard_conforming_strings: row.try_get("standard_conforming_strings")?,
            statement_timeout: row.try_get("statement")?,
            idle_in_transaction_timeout: row.try_get("idle")?,
            role: row.try_get("role")?,
            alter_role: row.try_get("alter_role")?,
            state: SessionState {
                writes,
                has_exact_text: row.try_get("exact_text")?,
                // The pooler replaces server processes itself.
                may_ask_memory: false,
            },
        })
    }

    fn refusal(&self, wrong: &[Wrong]) -> Option<PoolerError> {
        let found = wrong.iter().map(|Wrong { name, found, .. }| format!("{name} = {found}"));
        let set =
            |Wrong { name, wanted, .. }: &Wrong| format!("{}{name} = {wanted}", self.alter_role);
        (!wrong.is_empty()).then(|| PoolerError::Settings {
            role: self.role.clone(),
            found: found.collect(),
            statements: wrong.iter().map(set).collect(),
        })
    }
}

/// A time as PostgreSQL writes it.
fn time(milliseconds: i64) -> String {
    match milliseconds {
        0 => "0".to_owned(),
        _ if milliseconds % 1000 == 0 => format!("{}s", milliseconds / 1000),
        _ => format!("{milliseconds}ms"),
    }
}

/// Whether a timeout in milliseconds is set and not longer than wanted.
fn is_bounded(found: i64, wanted: Option<Duration>) -> bool {
    match milliseconds(wanted) {
        0 => true,
        wanted => (1..=i64::from(wanted)).contains(&found),
    }
}

/// Whether two paths have the same schemas. `pg_catalog` comes first also if it is left out
/// (PostgreSQL manual, search_path).
fn is_same_path(one: &str, other: &str) -> bool {
    let schemas = |path: &str| -> Vec<String> {
        let names = path.split(',').map(|name| name.trim().trim_matches('"').to_owned());
        let mut names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
        if names.first().is_some_and(|first| first == "pg_catalog") {
            names.remove(0);
        }
        names
    };
    schemas(one) == schemas(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_by_their_schemas() {
        for (found, wanted, is_same) in [
            ("pg_catalog", "pg_catalog", true),
            ("", "pg_catalog", true),
            ("\"\"", "pg_catalog", true),
            ("pg_catalog, ext", "pg_catalog,\"ext\"", true),
            ("ext", "pg_catalog,\"ext\"", true),
            ("ext, pg_catalog", "pg_catalog,\"ext\"", false),
            ("\"$user\", public", "pg_catalog", false),
            ("pg_catalog", "pg_catalog,\"ext\"", false),
            ("pg_catalog, ext, public", "pg_catalog,\"ext\"", false),
            ("\"pg_catalog, ext\"", "pg_catalog", false),
        ] {
            assert_eq!(is_same_path(found, wanted), is_same, "{found} {wanted}");
        }
    }

    #[test]
    fn a_timeout_may_be_shorter_but_not_missing() {
        let wanted = Some(Duration::from_secs(25));
        for (found, is_right) in [(0, false), (1, true), (25_000, true), (25_001, false)] {
            assert_eq!(is_bounded(found, wanted), is_right, "{found}");
        }
        assert!(is_bounded(0, None) && is_bounded(0, Some(Duration::ZERO)));
    }
}
