//! Functions whose bodies resolve names by the search_path of the caller.

use tenantry_migrate::lint::Rule;

use super::plan::{finds, passes, report};
use crate::support::TestDb;

const AUDIT: &str =
    "CREATE TABLE audit (id uuid CONSTRAINT audit_pkey PRIMARY KEY, at timestamptz)";

#[tokio::test]
async fn finds_functions_with_unqualified_names() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let rules = &[Rule::FunctionSearchPath];
    for body in [
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           INSERT INTO audit (id, at) VALUES (NEW.id, now()); RETURN NEW; END $$",
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM audit'",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
           EXECUTE 'DELETE FROM audit'; END $$",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ DECLARE r audit%ROWTYPE; BEGIN
           NULL; END $$",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
           PERFORM 1 FROM things t JOIN \"audit\" a ON a.id = t.id; END $$",
        "CREATE PROCEDURE f() LANGUAGE plpgsql AS $$ BEGIN UPDATE audit SET at = now(); END $$",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
           INSERT INTO not_made_yet VALUES (1); END $$",
    ] {
        finds(db, &[AUDIT, body], rules).await;
    }
    let both = "CREATE FUNCTION one() RETURNS bigint LANGUAGE plpgsql
                  AS $$ BEGIN RETURN (SELECT count(*) FROM audit); END $$;
                CREATE FUNCTION two() RETURNS bigint LANGUAGE plpgsql
                  AS $$ BEGIN RETURN one() + 1; END $$";
    let report = report(db, &[AUDIT, both]).await;
    let found: Vec<&str> = report.findings.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(found.len(), 2, "{report:#?}");
    assert!(found[0].contains("one()") && found[0].contains("audit"), "{report:#?}");
    assert!(found[1].contains("two()") && found[1].contains("one"), "{report:#?}");
}

#[tokio::test]
async fn passes_functions_without_unqualified_names() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    for body in [
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           NEW.name := lower(NEW.name); RETURN NEW; END $$",
        "CREATE FUNCTION f() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM audit; END",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           EXECUTE format('INSERT INTO %I.audit VALUES ($1, now())', TG_TABLE_SCHEMA) USING NEW.id;
           RETURN NEW; END $$",
        "CREATE FUNCTION f(audit text) RETURNS text LANGUAGE sql
           AS $$ SELECT extract(year FROM now())::text || 'from audit' || audit $$",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql
           AS $$ WITH found AS (SELECT 1 AS n) SELECT n FROM found $$",
    ] {
        passes(db, &[AUDIT, body]).await;
    }
}

#[tokio::test]
async fn passes_functions_that_set_search_path() {
    let test = TestDb::new().await;
    let db = &test.plain().await;
    let body = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT
                AS $$ BEGIN INSERT INTO audit (id, at) VALUES (NEW.id, now()); RETURN NEW; END $$";
    passes(db, &[AUDIT, body]).await;
}
