//! Checks the server's log of statements: every table must be qualified.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};

use local_postgres::Server;

/// `log_line_prefix` that marks the start of an entry, with database and session.
pub const PREFIX: &str = "@@%d@@%c@@";

/// Keywords before the name of a table.
const BEFORE_TABLE: [&str; 5] = ["from", "join", "into", "update", "using"];

/// Tables of the registry, of tenants, and of the tests' second set of entities.
const TABLES: [&str; 7] =
    ["tenants", "domains", "guards", "shifts", "books", "loans", "seaql_migrations"];

/// A position in the log.
pub struct Mark {
    file: PathBuf,
    offset: u64,
}

impl Mark {
    pub fn now(server: &Server) -> Self {
        let file = server.log_file();
        let offset = fs::metadata(&file).map(|meta| meta.len()).unwrap_or_default();
        Self { file, offset }
    }

    /// The statements sent to a database since then, with their session.
    pub fn statements(&self, database: &str) -> Vec<(String, String)> {
        let sql = |(session, entry): (String, String)| {
            let sql = entry
                .strip_prefix("statement: ")
                .or_else(|| entry.strip_prefix("execute ")?.split_once(": ").map(|it| it.1))?;
            Some((session, sql.to_owned()))
        };
        self.entries(database).into_iter().filter_map(sql).collect()
    }

    /// The entries about a database since then, with their session.
    pub fn entries(&self, database: &str) -> Vec<(String, String)> {
        let mut log = File::open(&self.file).unwrap();
        log.seek(SeekFrom::Start(self.offset)).unwrap();
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let begin = format!("@@{database}@@");
        text.split("\n@@")
            .map(|entry| format!("@@{}", entry.trim_start_matches("@@")))
            .filter_map(|entry| {
                let (session, rest) = entry.strip_prefix(&begin)?.split_once("@@")?;
                Some((session.to_owned(), rest.strip_prefix("LOG:  ")?.trim_end().to_owned()))
            })
            .collect()
    }

    /// Panics if a statement names one of our tables without a schema, other than in a transaction
    /// that has set `search_path` for it (migrations, and `begin_with_search_path`), or in a session
    /// that was opened for one migration and has set it for itself, as the script of a dry run does.
    pub fn check(&self, database: &str) {
        let statements = self.statements(database);
        assert!(!statements.is_empty(), "the server logs no statements");
        let (mut started, mut scoped) = (HashSet::new(), HashSet::new());
        let is_own = |sql: &str| sql.contains("set_config('tenantry.session'");
        let own = statements.iter().filter(|(_, sql)| is_own(sql));
        let mut own: HashSet<&String> = own.map(|(session, _)| session).collect();
        for (session, sql) in &statements {
            let lower = sql.trim().to_ascii_lowercase();
            let scopes = ["set_config('search_path'", "set local search_path"];
            if lower.starts_with("begin") {
                started.insert(session);
                scoped.remove(session);
            }
            if lower.starts_with("set search_path = \"") && lower.ends_with(",pg_temp") {
                own.insert(session);
            } else if lower == "reset search_path" {
                own.remove(session);
            } else if scopes.iter().any(|scope| lower.contains(scope)) {
                // A batch is one transaction, and a script may end the transaction in a batch.
                if started.contains(session) && !lower.trim_end_matches(';').ends_with("commit") {
                    scoped.insert(session);
                }
            } else if lower.starts_with("commit") || lower == "rollback" {
                started.remove(session);
                scoped.remove(session);
            } else if !scoped.contains(session)
                && !own.contains(session)
                && let Some(table) = bare_table(sql)
            {
                panic!("{table} is named without a schema in: {sql}");
            }
        }
    }
}

/// A table of ours directly after a keyword, so without a schema.
fn bare_table(sql: &str) -> Option<&'static str> {
    let mut words = sql.split(|c: char| c.is_whitespace() || "(,;".contains(c));
    let mut before = words.next()?.to_ascii_lowercase();
    for word in words {
        let name = word.trim_matches(|c| c == '"' || c == ')');
        if BEFORE_TABLE.contains(&before.as_str())
            && let Some(table) = TABLES.iter().find(|table| **table == name)
        {
            return Some(table);
        }
        before = word.to_ascii_lowercase();
    }
    None
}

#[test]
fn a_table_without_a_schema_is_noticed() {
    assert_eq!(bare_table(r#"SELECT "guards"."id" FROM "guards""#), Some("guards"));
    assert_eq!(bare_table("select 1 from guards g"), Some("guards"));
    assert_eq!(bare_table(r#"UPDATE "shifts" SET "a" = 1"#), Some("shifts"));
    assert_eq!(bare_table(r#"INSERT INTO "guards" ("id")"#), Some("guards"));
    assert_eq!(bare_table(r#"DELETE FROM (SELECT 1 FROM "tenants")"#), Some("tenants"));
    assert_eq!(bare_table(r#"SELECT "guards"."id" FROM "t"."guards" JOIN "t"."shifts""#), None);
}
