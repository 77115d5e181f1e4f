use proptest::prelude::*;
use tenantry_migrate::sql::tokens;

use super::{Analysis, Analyzer, Effect, SessionUse};

fn analyze(sql: &str) -> (Analysis, Option<&'static str>) {
    let mut analyzer = Analyzer::new(sql);
    tokens(sql).for_each(|token| analyzer.push(&token));
    (analyzer.analysis(), analyzer.control())
}

/// With what is reset in one.
fn read(sql: &str) -> (Effect, Option<&'static str>) {
    let (Analysis { effect, .. }, control) = analyze(sql);
    (if effect == Effect::Local { Effect::Reset } else { effect }, control)
}

#[track_caller]
fn all(effect: Effect, texts: &[&str]) {
    for sql in texts {
        assert_eq!(read(sql), (effect, None), "{sql}");
    }
}

#[test]
fn statements_about_rows_change_nothing() {
    all(
        Effect::None,
        &[
            "",
            " -- nothing\n ; /* */ ;",
            r#"SELECT "guards"."id", COUNT(*) FROM "t"."guards" WHERE "id" IN ($1, $2) GROUP BY (1)"#,
            r#"INSERT INTO "t"."guards" ("id", "name") VALUES ($1, $2), ($3, $4) ON CONFLICT ("id") DO UPDATE SET ("name") = ROW ($1) RETURNING "id""#,
            "insert into guards(id) select gen_random_uuid()",
            r#"UPDATE "t"."guards" SET "name" = LOWER("name") WHERE "id" = ANY($1) AND NOT (a OR b)"#,
            r#"DELETE FROM "t"."guards" USING (SELECT 1) AS "x" ("a") WHERE EXISTS (SELECT 1)"#,
            "MERGE INTO t.guards USING (VALUES (1)) AS v (id) ON v.id = 1 WHEN NOT MATCHED THEN INSERT (id) VALUES (1)",
            r#"WITH RECURSIVE "tree" ("id") AS (SELECT 1 UNION ALL (SELECT 2)) SELECT * FROM "tree""#,
            "WITH new AS (INSERT INTO t.guards (id) VALUES (1) RETURNING id) SELECT id FROM new",
            "VALUES (1); TABLE t.guards; (SELECT 1) UNION (SELECT 2)",
            "SELECT CAST(a AS numeric(10, 2)), b::varchar(3), c::point, sum(d) FILTER (WHERE e) OVER (PARTITION BY f)",
            "SELECT pg_catalog.lower('A'), PG_CATALOG.Upper('a'), \"count\"(*), now(), pg_sleep(1)",
            "SELECT jsonb_agg(x) FROM LATERAL (SELECT 1) x JOIN y USING (id) FOR UPDATE OF t SKIP LOCKED",
            "EXPLAIN (ANALYZE, BUFFERS) SELECT count(*) FROM t.guards; EXPLAIN ANALYZE DELETE FROM t.guards",
            "SELECT 'set_config(', $$ f( $$, E'\\'; COMMIT; --' -- dblink_connect(\n",
            "SELECT similarity(a, 'b'), uuid_generate_v4(), digest(c, 'sha256') FROM t.guards WHERE a % 'b'",
            "SELECT a.begin, commit, \"rollback\" FROM t.savepoint AS \"end\"",
        ],
    );
}

#[test]
fn settings_structure_and_locks_are_reset() {
    all(
        Effect::Reset,
        &[
            "SET search_path = one",
            "SELECT set_limit(0.5)",
            "set local TimeZone = 'UTC'",
            "SELECT 1; SET ROLE reader",
            "(SELECT 1); RESET ALL",
            "/* a */ -- b\n SeT x = 1",
            "SET SESSION AUTHORIZATION DEFAULT",
            "SET TRANSACTION READ ONLY",
            "LISTEN a",
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "CREATE TEMP TABLE a (b int, c varchar(10), CHECK (length(c) > 1), PRIMARY KEY (b))",
            r#"CREATE TABLE IF NOT EXISTS "a" ("b" uuid REFERENCES "t"."c" ("d") DEFAULT gen_random_uuid())"#,
            r#"CREATE UNIQUE INDEX IF NOT EXISTS "i" ON "t"."a" ("b", lower("c"))"#,
            "CREATE INDEX ON ONLY t.a USING gin (b) INCLUDE (c) WITH (fillfactor = 70)",
            "CREATE VIEW v (a) AS SELECT 1",
            "CREATE OR REPLACE FUNCTION f(a int) RETURNS TABLE (b int) LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 1",
            "CREATE RULE r AS ON INSERT TO a DO ALSO (DELETE FROM b; DELETE FROM c)",
            "ALTER TABLE a ADD CONSTRAINT e EXCLUDE USING gist (b WITH =)",
            "DROP FUNCTION f(int)",
            "COMMENT ON FUNCTION f(int) IS ''",
            "TRUNCATE a",
            "COPY a (b) FROM STDIN",
            "ANALYZE a (b)",
            "SELECT 1 AS a INTO TEMP b",
            "WITH a AS (SELECT 1) SELECT * INTO b FROM a",
            "SELECT set_config('a.b', 'c', true)",
            "SELECT pg_catalog.SET_CONFIG('a.b', 'c', false)",
            r#"SELECT "set_config"('a.b', 'c', false)"#,
            "SELECT set_config /* a */ -- b\n ('a.b', 'c', false)",
            "SELECT 1 FROM pg_try_advisory_lock(1)",
            "UPDATE t.guards SET name = (SELECT pg_advisory_lock_shared(1)::text)",
            "EXPLAIN ANALYZE CREATE TABLE a AS SELECT 1",
            "SELECT nextval('s')",
        ],
    );
}

#[test]
fn what_a_reset_may_not_undo_costs_the_connection() {
    all(
        Effect::Replace,
        &[
            "DISCARD ALL",
            "PREPARE p AS SELECT 1",
            "EXECUTE p",
            "EXPLAIN ANALYZE EXECUTE p(1)",
            "DEALLOCATE ALL",
            "LOAD 'plperl'",
            "CALL p()",
            "DO $$ BEGIN END $$",
            "SELECT 1; SET a.b = 1; DO ''",
            "SELECT dblink_connect('a', '')",
            "SELECT * FROM t.f(1)",
            r#"SELECT "t"."f"()"#,
            r#"SELECT "t" . "lower" ('A')"#,
            "SELECT pg_temp.lower('A')",
            "SELECT extensions.similarity('a', 'b')",
            "SELECT * FROM crosstab('SELECT f()')",
            "SELECT \"LOWER\"('A'), U&\"lower\"('A')",
            "DELETE FROM a USING f(1)",
            "SELECT 1 FROM a JOIN b ON f(a)",
            "SELECT a[1:f(1)] FROM b",
            "SELECT x OPERATOR(t.+) y FROM a",
            "CREATE INDEX i ON a (b) WHERE f(b)",
            "CREATE TABLE a AS SELECT f(1)",
            "INSERT INTO a (b) VALUES (f(1))",
            "SELECT setseed(0.5)",
            "\"select\" 1",
            "12",
        ],
    );
}

#[test]
fn what_ends_with_the_transaction_needs_no_session_of_its_own() {
    for sql in [
        "SET LOCAL search_path = one",
        "set local TimeZone = 'UTC'; SELECT 1",
        "SET TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL DEFERRED",
        "DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1; FETCH c; CLOSE c",
        "CREATE TABLE temp (temporary int)",
        "CREATE TABLE a (temp int, local temporary)",
        "INSERT INTO temp (a) VALUES (1)",
        "SELECT 1 AS a INTO temp_b",
        "SELECT local.a FROM local temp",
        "TRUNCATE a; ANALYZE a; LOCK TABLE a; NOTIFY a; COMMENT ON TABLE a IS ''",
        "ALTER TABLE a SET (fillfactor = 70); DROP TABLE a",
        "SELECT nextval('s'), setval('s', 1)",
        "SHOW search_path",
    ] {
        let Analysis { effect, session } = analyze(sql).0;
        assert!(effect <= Effect::Local && session.is_none(), "{sql}: {effect:?} {session:?}");
    }
}

#[test]
fn what_a_function_may_do_to_the_session_is_not_known() {
    for sql in [
        "SELECT t.f(1)",
        "DO $$ BEGIN END $$",
        "CALL p()",
        "SELECT set_config('a.b', 'c', true)",
        "SELECT currval('s'), lastval()",
        "CREATE TABLE a AS SELECT f(1)",
    ] {
        let Analysis { effect, session } = analyze(sql).0;
        assert!(effect >= Effect::Reset && session.is_none(), "{sql}: {effect:?} {session:?}");
    }
}

#[test]
fn uses_of_the_session_beyond_the_transaction_are_found() {
    use SessionUse as Use;
    for (sql, wanted) in [
        ("SET search_path = one", Use::Setting),
        ("SET SESSION search_path = one", Use::Setting),
        ("SET local.x = '1'", Use::Setting),
        ("SET transaction . x = '1'", Use::Setting),
        ("SET \"local\" = 1", Use::Setting),
        ("SELECT 1; /* a */ set /* b */ ROLE reader", Use::Setting),
        ("SET SESSION AUTHORIZATION DEFAULT", Use::Setting),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Use::Setting),
        ("SET LOCAL a = 1; SET b = 1", Use::Setting),
        ("RESET ALL", Use::Setting),
        ("DISCARD TEMP", Use::Setting),
        ("LISTEN a", Use::Listen),
        ("UNLISTEN *", Use::Listen),
        ("PREPARE p AS SELECT 1", Use::Prepared),
        ("EXECUTE p", Use::Prepared),
        ("EXPLAIN ANALYZE EXECUTE p(1)", Use::Prepared),
        ("DEALLOCATE ALL", Use::Prepared),
        ("CREATE TEMP TABLE a (b int)", Use::Temporary),
        ("CREATE LOCAL TEMPORARY TABLE a (b int) ON COMMIT DROP", Use::Temporary),
        ("create or replace temp view v AS SELECT 1", Use::Temporary),
        ("CREATE TABLE pg_temp.a (b int)", Use::Temporary),
        ("CREATE TABLE \"pg_temp\".a (b int)", Use::Temporary),
        ("INSERT INTO PG_TEMP_3.a VALUES (1)", Use::Temporary),
        ("SELECT 1 AS a INTO TEMP b", Use::Temporary),
        ("SELECT 1 AS a INTO LOCAL TEMPORARY TABLE b", Use::Temporary),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE a AS SELECT 1", Use::Temporary),
        ("SELECT pg_advisory_lock(1)", Use::Lock),
        ("SELECT 1 FROM pg_catalog.pg_try_advisory_lock(1)", Use::Lock),
        ("SELECT \"pg_advisory_unlock_all\"()", Use::Lock),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", Use::Cursor),
        ("LOAD 'plperl'", Use::Library),
    ] {
        let Analysis { effect, session } = analyze(sql).0;
        assert_eq!(session, Some(wanted), "{sql}");
        assert!(effect >= Effect::Reset, "{sql}: {effect:?}");
    }
}

#[test]
fn transaction_control_is_found_wherever_a_statement_begins() {
    for (sql, word) in [
        ("BEGIN", "BEGIN"),
        ("begin; SELECT 1 / 0", "BEGIN"),
        ("SELECT 1; Start Transaction", "START TRANSACTION"),
        ("/* SELECT */ --\n COMMIT AND CHAIN", "COMMIT"),
        ("; ; END", "END"),
        ("ROLLBACK TO a", "ROLLBACK"),
        ("ABORT", "ABORT"),
        ("SET a.b = 'c'; SAVEPOINT a", "SAVEPOINT"),
        ("RELEASE a", "RELEASE"),
        ("COMMIT PREPARED 'a'", "COMMIT"),
        ("PREPARE /* */ TRANSACTION 'a'", "PREPARE TRANSACTION"),
        ("(BEGIN)", "BEGIN"),
        ("SELECT 1); BEGIN", "BEGIN"),
        ("SELECT E'\\''; BEGIN; --'", "BEGIN"),
        ("SELECT 'a\\'; BEGIN; --'", "BEGIN"),
        ("CREATE FUNCTION f(begin int) RETURNS int AS ''; COMMIT", "COMMIT"),
        ("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; COMMIT", "COMMIT"),
        ("COPY a FROM STDIN; BEGIN", "BEGIN"),
    ] {
        assert_eq!(read(sql).1, Some(word), "{sql}");
    }
}

proptest! {
    /// Statements do to the session what the one that does most does, whatever stands between them.
    #[test]
    fn a_text_does_all_that_its_statements_do(
        chosen in proptest::collection::vec((0..4_usize, "(/\\*[a-z'\"$;]{0,5}\\*/|--[a-z'\"$;(]{0,5}\n| ){1,3}"), 1..6)
    ) {
        let statements = [
            ("SELECT count(*) FROM \"t\".\"a\" WHERE b IN ('x;', $$;BEGIN;$$)", Effect::None),
            ("CREATE TABLE a (b int)", Effect::Reset),
            ("SELECT f(1)", Effect::Replace),
            ("INSERT INTO a (b) VALUES (E'\\';')", Effect::None),
        ];
        let sql: String = chosen.iter().map(|(n, space)| format!("{space}{}{space};", statements[*n].0)).collect();
        let most = chosen.iter().map(|(n, _)| statements[*n].1).max();
        prop_assert_eq!(read(&sql), (most.unwrap_or_default(), None), "{}", sql);
        prop_assert_eq!(read(&format!("{sql} BEGIN")).1, Some("BEGIN"));
    }

    #[test]
    fn any_text_at_all_is_read(text in any::<String>(), more in "[\"'$().;A-Za-z&/*\\\\\n -]{0,60}") {
        read(&text);
        read(&more);
    }
}
