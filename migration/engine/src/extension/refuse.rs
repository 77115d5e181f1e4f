//! Statements about extensions in a tenant's migration.

use super::Extensions;
use crate::sql::SqlStatement;

impl Extensions {
    /// Why a statement of a tenant's migration is refused. `CREATE EXTENSION IF NOT EXISTS` of a
    /// declared extension has no effect, and dumps contain it.
    pub(crate) fn refusal(&self, statement: &SqlStatement) -> Option<String> {
        let verb = statement.word(0).filter(|verb| ["create", "alter", "drop"].contains(verb))?;
        if statement.word(1) != Some("extension") {
            return None;
        }
        let exists = statement.starts_with(&["create", "extension", "if", "not", "exists"]);
        let name = statement.name(if exists { 5 } else { 2 }).unwrap_or_default();
        let declared = name == "plpgsql" || self.all().iter().any(|it| it.name() == name);
        let why = match verb {
            "create" if exists && declared => return None,
            "create" if declared => {
                "extensions() declares it, so it is already installed. Remove the statement"
            }
            "create" => {
                "an extension exists once in a database, and would be in the schema of the first \
                 tenant. Declare it in TenantMigrator::extensions(), and remove the statement"
            }
            _ => "it would change the extension of all tenants. Remove the statement",
        };
        Some(format!("{} was not sent: {why}", statement.sql))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Extension, Extensions};
    use crate::sql::SqlStatement;

    #[test]
    fn refuses_statements_about_extensions() {
        let extensions =
            Extensions::new(vec![Extension::new("citext"), Extension::new("uuid-ossp")]);
        for (sql, words) in [
            ("CREATE EXTENSION citext", Some("already installed")),
            ("create extension hstore SCHEMA public", Some("Declare it")),
            ("CREATE EXTENSION IF NOT EXISTS hstore", Some("Declare it")),
            ("-- a\nCREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public", None),
            ("CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"", None),
            ("CREATE EXTENSION IF NOT EXISTS plpgsql", None),
            ("DROP EXTENSION IF EXISTS citext CASCADE", Some("all tenants")),
            ("ALTER EXTENSION citext UPDATE", Some("all tenants")),
            ("COMMENT ON EXTENSION citext IS 'x'", None),
            ("CREATE TABLE extension (id int)", None),
            ("DROP TABLE extension", None),
            ("SELECT 'CREATE EXTENSION hstore'", None),
        ] {
            let refusal = extensions.refusal(&SqlStatement::split(sql)[0]);
            match words {
                None => assert_eq!(refusal, None, "{sql}"),
                Some(words) => assert!(refusal.is_some_and(|it| it.contains(words)), "{sql}"),
            }
        }
    }
}
