//! Settings and temporary objects that a statement leaves in the session, by its tokens.

use super::{Rule, violation::Violation};
use crate::sql::{Kind, SqlStatement, Word};

/// Keywords before a statement in a `DO` block.
const BEFORE_STATEMENT: [&str; 4] = ["begin", "then", "else", "loop"];

/// Settings and temporary objects that outlive the transaction, also in `DO` blocks and in SQL that
/// they execute.
pub(super) fn session_state(statement: &SqlStatement) -> Vec<Violation> {
    let mut violations = Vec::new();
    read(statement, &mut violations);
    let is_block = statement.starts_with(&["do"]);
    for text in statement.words.iter().filter(|word| is_block && word.kind == Kind::Text) {
        SqlStatement::split(&text.text)
            .iter()
            .for_each(|statement| read_in_block(statement, &mut violations));
    }
    violations.dedup();
    violations
}

fn read_in_block(statement: &SqlStatement, violations: &mut Vec<Violation>) {
    read(statement, violations);
    for index in 1..statement.words.len() {
        if statement.word(index - 1).is_some_and(|word| BEFORE_STATEMENT.contains(&word)) {
            let rest = SqlStatement::one(&statement.sql[statement.words[index].at.start..]);
            read(&rest, violations);
        }
    }
    if statement.find(&["execute"]).is_some() {
        let texts = statement.words.iter().filter(|word| word.kind == Kind::Text);
        texts
            .flat_map(|text| SqlStatement::split(&text.text))
            .for_each(|statement| read(&statement, violations));
    }
}

fn read(statement: &SqlStatement, violations: &mut Vec<Violation>) {
    let set = set(statement).into_iter().chain(set_config(statement));
    // See Rule::SearchPath.
    let set = set.filter(|name| !name.eq_ignore_ascii_case("search_path"));
    violations.extend(set.map(|name| {
        let message = format!("sets {name} for the rest of the session");
        Violation { rule: Rule::SessionSetting, message }
    }));
    violations.extend(temporary(statement).map(|message| {
        let message = format!("{message} stays in the session");
        Violation { rule: Rule::TemporaryTable, message }
    }));
}

/// The setting of a `SET` without `LOCAL`.
fn set(statement: &SqlStatement) -> Option<String> {
    if statement.word(0) != Some("set") {
        return None;
    }
    let at = 1 + usize::from(statement.word(1) == Some("session"));
    let name = match statement.word(at) {
        Some("local" | "constraints" | "transaction") => return None,
        Some("characteristics") => "the characteristics of transactions".to_owned(),
        Some("authorization") => "the session authorization".to_owned(),
        Some("role") => "the role".to_owned(),
        Some("time") if statement.word(at + 1) == Some("zone") => "the time zone".to_owned(),
        _ => dotted_name(statement, at)?,
    };
    Some(name)
}

/// The name at `at`, with the parts after dots.
fn dotted_name(statement: &SqlStatement, at: usize) -> Option<String> {
    let mut name = statement.name(at)?.to_owned();
    let mut next = at + 1;
    while let (Some("."), Some(part)) = (statement.symbol(next), statement.name(next + 1)) {
        name = format!("{name}.{part}");
        next += 2;
    }
    Some(name)
}

/// Settings that `set_config` changes, unless its third argument is true.
fn set_config(statement: &SqlStatement) -> Vec<String> {
    let calls = (0..statement.words.len()).filter(|index| {
        statement.name(*index).is_some_and(|name| name.eq_ignore_ascii_case("set_config"))
            && statement.symbol(index + 1) == Some("(")
    });
    calls.filter_map(|index| setting_of_call(statement, index + 1)).collect()
}

fn setting_of_call(statement: &SqlStatement, open: usize) -> Option<String> {
    let depth = statement.words[open].depth;
    let inside: Vec<_> =
        statement.words[open + 1..].iter().take_while(|word| word.depth > depth).collect();
    let comma = |word: &&&Word| word.depth == depth + 1 && word.text == ",";
    let last = inside.iter().rposition(|word| comma(&word))?;
    let truth = inside.get(last + 1)?.text.to_ascii_lowercase();
    if ["true", "t", "yes", "on", "1", "y"].contains(&truth.as_str()) {
        return None;
    }
    let name = inside.first().filter(|word| word.kind == Kind::Text);
    Some(name.map_or_else(|| "a setting".to_owned(), |word| word.text.clone()))
}

/// The temporary object that a statement creates, unless it is dropped on commit.
fn temporary(statement: &SqlStatement) -> Option<String> {
    let is_temporary = |at: usize| matches!(statement.word(at), Some("temp" | "temporary"));
    if statement.word(0) == Some("create") {
        let mut at = 1;
        while let Some("global" | "local" | "or" | "replace") = statement.word(at) {
            at += 1;
        }
        let named = (1..statement.words.len()).find(|index| {
            statement.name(*index) == Some("pg_temp") && statement.symbol(index + 1) == Some(".")
        });
        // The name of the new object comes before columns and arguments.
        let named = named.filter(|index| statement.words[..*index].iter().all(|it| it.depth == 0));
        let named = named.filter(|index| *index < 8);
        let stays = statement.find(&["on", "commit", "drop"]).is_none();
        return ((is_temporary(at) || named.is_some()) && stays)
            .then(|| "a temporary object".to_owned());
    }
    let into = statement
        .find(&["into"])
        .filter(|_| matches!(statement.word(0), Some("select" | "with" | "values" | "table")))?;
    let into = into + 1 + usize::from(matches!(statement.word(into + 1), Some("global" | "local")));
    is_temporary(into).then(|| "the temporary table of SELECT INTO".to_owned())
}

#[cfg(test)]
mod tests {
    use super::session_state;
    use crate::sql::SqlStatement;

    fn found(sql: &str) -> Vec<String> {
        session_state(&SqlStatement::split(sql)[0])
            .into_iter()
            .map(|violation| violation.message)
            .collect()
    }

    #[test]
    fn finds_session_settings() {
        for (sql, name) in [
            ("SET statement_timeout = '1s'", "statement_timeout"),
            ("set session work_mem to '1GB'", "work_mem"),
            ("SET \"lock_timeout\" TO 5", "lock_timeout"),
            ("SET app.tenant = 'a'", "app.tenant"),
            ("SET ROLE owner", "the role"),
            ("SET SESSION AUTHORIZATION owner", "the session authorization"),
            ("SET TIME ZONE 'UTC'", "the time zone"),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                "the characteristics of transactions",
            ),
            ("SELECT set_config('work_mem', '1GB', false)", "work_mem"),
            ("SELECT pg_catalog.set_config('work_mem', concat('1', 'GB'), 'f'::bool)", "work_mem"),
            ("SELECT set_config(name, '1', false) FROM pg_settings", "a setting"),
            ("DO $$ BEGIN SET work_mem = '1GB'; END $$", "work_mem"),
            ("DO $$ BEGIN IF true THEN SET work_mem = 1; END IF; END $$", "work_mem"),
            ("DO $$ BEGIN PERFORM set_config('work_mem', '1', false); END $$", "work_mem"),
            ("DO $$ BEGIN EXECUTE 'SET work_mem = 1'; END $$", "work_mem"),
        ] {
            assert_eq!(found(sql), [format!("sets {name} for the rest of the session")], "{sql}");
        }
    }

    #[test]
    fn finds_temporary_objects() {
        for sql in [
            "CREATE TEMP TABLE a (b int)",
            "CREATE TEMPORARY TABLE IF NOT EXISTS a AS SELECT 1",
            "CREATE LOCAL TEMPORARY TABLE a (b int) ON COMMIT DELETE ROWS",
            "CREATE GLOBAL TEMP TABLE a (b int) ON COMMIT PRESERVE ROWS",
            "CREATE TABLE pg_temp.a (b int)",
            "CREATE TEMP SEQUENCE a",
            "CREATE OR REPLACE TEMP VIEW a AS SELECT 1",
            "CREATE TEMP RECURSIVE VIEW a (n) AS SELECT 1",
            "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "SELECT 1 INTO TEMP a",
            "SELECT * INTO TEMPORARY TABLE a FROM b",
            "WITH x AS (SELECT 1) SELECT * INTO LOCAL TEMP a FROM x",
            "DO $$ BEGIN CREATE TEMP TABLE a (b int); END $$",
            "DO $$ BEGIN EXECUTE 'CREATE TEMP TABLE a (b int)'; END $$",
        ] {
            assert_eq!(found(sql).len(), 1, "{sql}");
        }
    }

    #[test]
    fn ignores_what_ends_with_the_transaction() {
        for sql in [
            "SET LOCAL statement_timeout = 0",
            "SET LOCAL ROLE owner",
            "SET CONSTRAINTS ALL DEFERRED",
            "SET TRANSACTION READ ONLY",
            "SET search_path = a",
            "SELECT set_config('work_mem', '1', true)",
            "SELECT set_config('work_mem', '1', 't')",
            "UPDATE a SET b = 1",
            "ALTER TABLE a SET (fillfactor = 70)",
            "ALTER ROLE a SET work_mem = 1",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET work_mem = 1 AS 'SELECT 1'",
            "CREATE TEMP TABLE a (b int) ON COMMIT DROP",
            "CREATE TEMP TABLE a ON COMMIT DROP AS SELECT 1",
            "CREATE TABLE pg_temp.a (b int) ON COMMIT DROP",
            "CREATE TABLE temp (temporary int)",
            "SELECT temp INTO a FROM b",
            "INSERT INTO temp VALUES ('SET work_mem = 1')",
            "DO $$ BEGIN UPDATE a SET b = 1; SET LOCAL work_mem = 1; END $$",
            "DO $$ BEGIN IF true THEN UPDATE a SET b = 1; END IF; END $$",
        ] {
            assert_eq!(found(sql), [""; 0], "{sql}");
        }
    }
}
