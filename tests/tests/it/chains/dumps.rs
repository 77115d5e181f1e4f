//! A dump of an existing database as the first migration, by the recipe of docs/MIGRATIONS.md.

use std::{ffi::OsStr, fs, path::PathBuf, process::Command, sync::OnceLock};

use sea_orm::ConnectionTrait;
use tenantry::NewTenant;

use super::{Chain, Migrations, sql, ways::works_everywhere};
use crate::support::{TestDb, catalog::texts, database::path_with_pg_dump, scratch::Scratch, slug};

/// The schema of an application with one customer.
const APPLICATION: &str = "
    CREATE TYPE mood AS ENUM ('happy', 'it''s public.sad');
    CREATE DOMAIN grade AS int CONSTRAINT grade_check CHECK (VALUE > 0);
    CREATE TABLE books (id serial PRIMARY KEY, number int GENERATED ALWAYS AS IDENTITY,
        title text NOT NULL DEFAULT 'a; b' CONSTRAINT books_title_check CHECK (title <> ''),
        mood mood DEFAULT 'happy', grade grade, changed int NOT NULL DEFAULT 0,
        half numeric GENERATED ALWAYS AS (grade / 2.0) STORED);
    COMMENT ON TABLE books IS 'all of them -- ;';
    CREATE TABLE loans (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, at date NOT NULL,
        book_id int CONSTRAINT loans_book_id_fkey REFERENCES books (id) ON DELETE CASCADE);
    CREATE INDEX loans_at_idx ON loans (at DESC) WHERE book_id IS NOT NULL;
    CREATE UNIQUE INDEX books_lower_title_idx ON books (lower(title));
    CREATE TABLE events (at date, kind text) PARTITION BY RANGE (at);
    CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    CREATE VIEW lent AS SELECT b.title, l.at FROM books b JOIN loans l ON l.book_id = b.id;
    CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS books FROM books;
    CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS
        $body$ BEGIN NEW.changed := (SELECT count(*) + 1 FROM books); RETURN NEW; END $body$;
    CREATE TRIGGER books_change BEFORE INSERT ON books FOR EACH ROW EXECUTE FUNCTION change();
    CREATE FUNCTION titles() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM books; END;
    ALTER TABLE books ENABLE ROW LEVEL SECURITY;
    CREATE POLICY readable ON books USING (title <> 'secret');
    CREATE RULE kept AS ON DELETE TO events DO INSTEAD NOTHING;
    CREATE TABLE seaql_migrations (version varchar PRIMARY KEY, applied_at bigint)";

/// The code block of the documentation that creates the file.
fn recipe() -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/MIGRATIONS.md"));
    let page = fs::read_to_string(path).unwrap();
    let (_, chapter) = page.split_once("## An existing database as the first migration").unwrap();
    let (_, block) = chapter.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// The output of the recipe for a schema.
fn dump(path: &OsStr, url: &str, schema: &str) -> String {
    let folder = Scratch::new();
    let file = folder.path().join("first.sql");
    let recipe = recipe().replace("migration/src/first.sql", file.to_str().unwrap());
    let recipe = recipe.replace("schema=public", &format!("schema={schema}"));
    let mut shell = Command::new("sh");
    shell.args(["-euc", &recipe]).env("DATABASE_URL", url).env("PATH", path);
    let ran = shell.output().unwrap();
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    fs::read_to_string(file).unwrap()
}

static OF_PUBLIC: OnceLock<String> = OnceLock::new();
static OF_TENANT: OnceLock<String> = OnceLock::new();

fn of_public() -> Migrations {
    let down = "DROP VIEW lent; DROP MATERIALIZED VIEW totals; DROP FUNCTION titles;
        DROP TABLE loans, books, events; DROP FUNCTION change; DROP DOMAIN grade; DROP TYPE mood";
    vec![
        sql("m1_dump", OF_PUBLIC.get().unwrap(), down),
        sql("m2_book", "INSERT INTO books (title, grade) VALUES ('first', 3)", "DELETE FROM books"),
    ]
}

fn of_tenant() -> Migrations {
    vec![sql("m1_dump", OF_TENANT.get().unwrap(), "DROP TABLE shifts, guards")]
}

#[tokio::test]
async fn a_dump_of_an_application_is_its_first_migration() {
    let Some(path) = path_with_pg_dump() else { return };
    let source = TestDb::new().await;
    let plain = source.plain().await;
    let application = format!("BEGIN; SET LOCAL search_path = public; {APPLICATION}; COMMIT");
    plain.execute_unprepared(&application).await.unwrap();
    let dump = OF_PUBLIC.get_or_init(|| dump(&path, &source.url(), "public"));
    assert!(!dump.contains("search_path', ''") && !dump.contains("seaql_migrations"), "{dump}");
    let probe = "SELECT format('%s %s %s %s', title, number, half, changed) FROM books
                 UNION SELECT titles()::text UNION SELECT 'lent' FROM lent";
    works_everywhere(Chain::new(of_public), probe, &["1", "first 1 1.5000000000000000 1"]).await;
}

#[tokio::test]
async fn a_dump_of_the_example_application_makes_its_tables() {
    let Some(path) = path_with_pg_dump() else { return };
    let source = TestDb::new().await;
    source.tenancy().await.create(NewTenant::new(slug("city"))).await.unwrap();
    OF_TENANT.get_or_init(|| dump(&path, &source.url(), "city"));
    let probe = "SELECT format('%s %s', conrelid::regclass, conname) FROM pg_constraint
                 WHERE connamespace = current_schema()::regnamespace AND contype = 'f'";
    let expected = texts(&source.plain().await, &probe.replace("current_schema()", "'city'")).await;
    let expected: Vec<String> = expected.iter().map(|it| it.replace("city.", "")).collect();
    assert_eq!(expected.len(), 1);
    works_everywhere(Chain::new(of_tenant), probe, &[&expected[0]]).await;
}
