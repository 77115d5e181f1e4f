//! Rules that examine the tokens of a statement.

use super::{Rule, catalog_by_name, session_rules, violation::Violation};
use crate::sql::{Kind, SqlStatement, Word};

/// The violations of a statement, by its tokens.
pub(super) fn token_violations(statement: &SqlStatement, transactional: bool) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut fire = |rule, message: String| violations.push(Violation { rule, message });
    let actions = actions(statement);
    if actions > 1 {
        fire(Rule::MultipleActions, format!("one ALTER TABLE has {actions} actions"));
    }
    if let Some(schema) = schema_keyword(statement) {
        fire(Rule::SchemaQualified, format!("names the schema {schema}"));
    }
    if let Some(message) = database_wide(statement) {
        fire(Rule::OutsideSchema, format!("{message} exists once, not once in each schema"));
    }
    if has_placeholder_in_string(statement) {
        let message = "contains \"@tenant\" in a string, where it is not replaced";
        fire(Rule::PlaceholderInString, message.to_owned());
    }
    for catalog in catalog_by_name::by_name(&statement.sql) {
        let message = format!("searches {catalog} by name in all schemas");
        fire(Rule::CatalogByName, message);
    }
    if names_search_path(statement) && !is_search_path_of_function(statement) {
        fire(Rule::SearchPath, "uses search_path".to_owned());
    }
    if transactional {
        violations.extend(session_rules::session_state(statement));
    }
    let mut fire = |rule, message: String| violations.push(Violation { rule, message });
    if statement.is_transaction_control() {
        let message = format!("{} begins or ends a transaction", statement.sql);
        fire(Rule::TransactionControl, message);
    }
    if let Some(at) = statement.concurrently() {
        if transactional {
            let message = "CONCURRENTLY in a migration that runs in a transaction";
            fire(Rule::ConcurrentlyInTransaction, message.to_owned());
        } else if matches!(statement.word(0), Some("create" | "drop"))
            && statement.word(at + 1) != Some("if")
        {
            let message = "fails if it is repeated, outside a transaction";
            fire(Rule::NotIdempotent, message.to_owned());
        }
    }
    violations
}

/// How many actions an `ALTER TABLE` has; 0 for any other statement.
fn actions(statement: &SqlStatement) -> usize {
    if !statement.starts_with(&["alter", "table"]) {
        return 0;
    }
    let commas = statement
        .words
        .iter()
        .filter(|token| token.kind == Kind::Other && token.text == "," && token.depth == 0);
    1 + commas.count()
}

/// The schema in `CREATE SCHEMA x`, `SET SCHEMA 'x'`, `ON SCHEMA x`; `schema` may also be a column.
fn schema_keyword(statement: &SqlStatement) -> Option<&str> {
    let before = ["create", "drop", "alter", "set", "in", "on", "foreign"];
    (1..statement.words.len()).find_map(|index| {
        let follows = before.contains(&statement.word(index - 1)?);
        let next = statement.words.get(index + 1)?;
        let is_name = next.kind != Kind::Other;
        (follows && is_name && statement.word(index)? == "schema").then_some(next.text.as_str())
    })
}

/// The kind of object in `CREATE`, `ALTER` or `DROP`, if it belongs to no schema.
fn database_wide(statement: &SqlStatement) -> Option<&str> {
    let wide = [
        "database",
        "event",
        "language",
        "publication",
        "role",
        "server",
        "subscription",
        "tablespace",
        "user",
    ];
    let changes = ["create", "alter", "drop"].contains(&statement.word(0)?);
    statement.word(1).filter(|message| changes && wide.contains(message))
}

/// Whether a string contains the placeholder as a quoted identifier; without the quotes it is data.
fn has_placeholder_in_string(statement: &SqlStatement) -> bool {
    let quoted = |token: &Word| token.kind == Kind::Text && token.text.contains("\"@tenant\"");
    statement.words.iter().any(quoted)
}

fn names_search_path(statement: &SqlStatement) -> bool {
    statement.words.iter().any(|token| {
        token.text.eq_ignore_ascii_case("search_path")
            && matches!(token.kind, Kind::Word | Kind::Quoted | Kind::Text)
    })
}

/// `CREATE FUNCTION … SET search_path FROM CURRENT`, which sets it for the function alone.
fn is_search_path_of_function(statement: &SqlStatement) -> bool {
    let routine = ["function", "procedure", "routine"];
    let is_routine =
        (1..4).any(|index| statement.word(index).is_some_and(|word| routine.contains(&word)));
    is_routine
        && matches!(statement.word(0), Some("create" | "alter"))
        && statement.find(&["set", "search_path", "from", "current"]).is_some()
}

/// The first pair in `a.b` or `a.b.c`: a schema and an object, or a table and a column.
pub(super) fn dotted(statement: &SqlStatement) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for index in 0..statement.words.len() {
        let behind_dot = index > 0 && statement.symbol(index - 1) == Some(".");
        if let (Some(first), Some("."), Some(second), false) = (
            statement.name(index),
            statement.symbol(index + 1),
            statement.name(index + 2),
            behind_dot,
        ) {
            pairs.push((first.to_owned(), second.to_owned()));
        }
    }
    pairs
}

/// Functions that an `UPDATE` or `DELETE` may call.
pub(super) fn called_in_write(statement: &SqlStatement) -> Vec<String> {
    let from = match statement.word(0) {
        Some("update" | "delete" | "merge") => Some(0),
        Some("with") => {
            let writes = ["update", "delete", "merge"];
            writes.iter().any(|word| statement.find(&[word]).is_some()).then_some(0)
        }
        Some("insert") => statement.find(&["do", "update"]),
        _ => None,
    };
    let Some(from) = from else { return Vec::new() };
    let calls =
        (from..statement.words.len()).filter(|index| statement.symbol(index + 1) == Some("("));
    calls.filter_map(|index| statement.name(index)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{Rule, called_in_write, dotted};
    use crate::sql::SqlStatement;

    fn rules(sql: &str) -> Vec<Rule> {
        super::token_violations(&SqlStatement::split(sql)[0], true)
            .into_iter()
            .map(|violation| violation.rule)
            .collect()
    }

    #[test]
    fn finds_violations_in_tokens() {
        for (sql, expected) in [
            ("ALTER TABLE a ADD b numeric(1, 2) DEFAULT f(1, 2)", vec![]),
            ("ALTER TABLE a ADD b int, ADD c int", vec![Rule::MultipleActions]),
            ("ALTER TABLE a ALTER b SET DEFAULT ARRAY[1, 2]", vec![]),
            ("CREATE SCHEMA IF NOT EXISTS a", vec![Rule::SchemaQualified]),
            ("ALTER TABLE a SET SCHEMA b", vec![Rule::SchemaQualified]),
            ("CREATE TABLE a (id uuid, schema text)", vec![]),
            ("UPDATE a SET schema = 'x'", vec![]),
            ("ALTER TABLE a ADD COLUMN schema text", vec![]),
            ("CREATE ROLE a", vec![Rule::OutsideSchema]),
            ("CREATE TABLE role (id uuid)", vec![]),
            ("SET LOCAL search_path = a", vec![Rule::SearchPath]),
            (
                "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql
                 SET search_path FROM CURRENT AS 'SELECT 1'",
                vec![],
            ),
            ("SELECT set_config('search_path', 'a', true)", vec![Rule::SearchPath]),
            ("SELECT '; SET search_path = a'", vec![]),
            ("SELECT setval('\"@tenant\".a_b_seq', 5)", vec![Rule::PlaceholderInString]),
            ("DO $$ BEGIN DELETE FROM \"@tenant\".a; END $$", vec![Rule::PlaceholderInString]),
            ("INSERT INTO a VALUES ('write to bob@tenant')", vec![]),
            ("SET statement_timeout = 0", vec![Rule::SessionSetting]),
            ("CREATE TEMP TABLE a (b int)", vec![Rule::TemporaryTable]),
            ("ROLLBACK", vec![Rule::TransactionControl]),
            ("ROLLBACK TO SAVEPOINT a", vec![]),
            ("SAVEPOINT a", vec![]),
            ("CREATE INDEX CONCURRENTLY a ON b (c)", vec![Rule::ConcurrentlyInTransaction]),
            ("CREATE INDEX \"concurrently\" ON b (c)", vec![]),
            ("REFRESH MATERIALIZED VIEW CONCURRENTLY a", vec![]),
        ] {
            assert_eq!(rules(sql), expected, "{sql}");
        }
    }

    #[test]
    fn finds_qualified_names() {
        let pairs = dotted(&SqlStatement::split("SELECT a.b, \"c\" . d.e, 1.5, '.x' FROM f")[0]);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(pairs, [pair("a", "b"), pair("c", "d")]);
    }

    #[test]
    fn finds_functions_in_writes_only() {
        let calls = |sql: &str| called_in_write(&SqlStatement::split(sql)[0]);
        assert_eq!(calls("UPDATE a SET b = random()"), ["random"]);
        assert_eq!(calls("WITH x AS (SELECT f()) DELETE FROM a"), ["as", "f"]);
        assert_eq!(calls("INSERT INTO a VALUES (f())"), [""; 0]);
        let upsert = "INSERT INTO a VALUES (f()) ON CONFLICT (b) DO UPDATE SET c = g()";
        assert_eq!(calls(upsert), ["g"]);
        assert_eq!(calls("CREATE TABLE a (b uuid DEFAULT gen_random_uuid())"), [""; 0]);
    }
}
