//! Settings of the application's role, for sessions that the application does not set up itself:
//! those behind a pooler in transaction mode.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr};

use super::{SetupOptions, database::Roles, pairs};
use crate::{
    DynMigrator,
    sql::query::{rows, scalar},
};

/// By default, `statement_timeout` of the role.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(25);

/// By default, `idle_in_transaction_session_timeout` of the role.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// The settings of the role $2 in this database, as names and values.
const SETTINGS: &str = "
SELECT split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
FROM pg_catalog.pg_db_role_setting, unnest(setconfig) setting
WHERE setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
AND setrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1)";

/// Whether the timeout $1 is set and not longer than $2 milliseconds. Without a unit it is a number
/// of milliseconds; others are those of intervals (PostgreSQL manual, 20.1.1).
const IS_BOUNDED: &str = "
SELECT (CASE WHEN $1 ~ '^\\d+$' THEN $1::bigint
    ELSE (extract(epoch FROM $1::interval) * 1000)::bigint END) BETWEEN 1 AND $2";

/// The start of the statements, and whether the server runs on Linux.
const ALTER: &str = "
SELECT format('ALTER ROLE %I IN DATABASE %I SET ', $1, current_database()), version() LIKE '%linux%'";

/// The settings of a role in a database, as names and values.
struct Settings(Vec<(String, String)>);

impl Roles {
    /// The statements for settings that the application's role lacks in this database.
    pub(super) async fn settings(
        &self,
        db: &impl ConnectionTrait,
        migrator: &DynMigrator,
        options: &SetupOptions,
    ) -> Result<Vec<String>, DbErr> {
        let role = self.application().as_str();
        let known = Settings(pairs(db, SETTINGS, [role.into()]).await?);
        let alter = rows(db, ALTER, [role.into()]).await?;
        let Some(row) = alter.first() else { return Ok(Vec::new()) };
        let (alter, on_linux): (String, bool) =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let mut missing = Vec::new();
        // Without a schema with tables: SQL without a schema finds nothing.
        let path = format!("pg_catalog{}", migrator.extension_path()).replace(',', ", ");
        let unquoted = |path: &str| path.replace('"', "");
        if known.of("search_path").is_none_or(|found| unquoted(found) != unquoted(&path)) {
            missing.push(format!("search_path = {path}"));
        }
        if known.of("standard_conforming_strings") != Some("on") {
            missing.push("standard_conforming_strings = on".to_owned());
        }
        let statement = options.statement_timeout.unwrap_or(STATEMENT_TIMEOUT);
        let idle = options.idle_in_transaction_timeout.unwrap_or(IDLE_IN_TRANSACTION_TIMEOUT);
        for (name, wanted) in
            [("statement_timeout", statement), ("idle_in_transaction_session_timeout", idle)]
        {
            let wanted = i64::try_from(wanted.as_millis()).unwrap_or(i64::MAX);
            if wanted > 0 && !is_bounded(db, known.of(name), wanted).await? {
                missing.push(format!("{name} = '{wanted}ms'"));
            }
        }
        // The server ends the statement of a client that has gone; elsewhere it refuses the setting.
        let check = "client_connection_check_interval";
        if on_linux && known.of(check).is_none_or(|found| found == "0") {
            missing.push(format!("{check} = '1s'"));
        }
        Ok(missing.into_iter().map(|setting| format!("{alter}{setting}")).collect())
    }
}

impl Settings {
    fn of(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

async fn is_bounded(
    db: &impl ConnectionTrait,
    timeout: Option<&str>,
    milliseconds: i64,
) -> Result<bool, DbErr> {
    let Some(timeout) = timeout else { return Ok(false) };
    let answer = scalar(db, IS_BOUNDED, [timeout.into(), milliseconds.into()]).await?;
    Ok(answer.unwrap_or_default())
}
