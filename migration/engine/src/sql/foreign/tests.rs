use super::named;

/// The schemas of other tenants. The tenant's own one is `own`.
fn found(sql: &str) -> Option<String> {
    named(sql, |name| ["guards", "tenant_1", "excluded", "x"].contains(&name))
}

#[test]
fn a_schema_is_found_wherever_it_may_stand() {
    for sql in [
        r#"SELECT "guards"."id" FROM "tenant_1"."guards""#,
        r#"SELECT * FROM own.a JOIN "tenant_1"."guards" ON TRUE"#,
        "select * from tenant_1.guards",
        "select * from TENANT_1.guards",
        "select * from tenant_1 . guards",
        "select * from tenant_1/**/./**/guards",
        "select * from \"tenant_1\" -- c\n .guards",
        r#"select * from U&"tenant\005f1".guards"#,
        r#"select * from u&"tenant!005f1" uescape '!' .guards"#,
        r#"select * from U&"tenant\+00005f1".guards"#,
        "SELECT * FROM own.a, tenant_1.guards",
        "SELECT * FROM own.a x, LATERAL tenant_1.f(x.a)",
        "SELECT * FROM own.a JOIN own.b ON a.x = b.x, tenant_1.c",
        "SELECT * FROM own.a JOIN own.b ON CASE WHEN a.x THEN 1 END = 1, tenant_1.c",
        "SELECT * FROM (tenant_1.a JOIN own.b USING (id))",
        "SELECT * FROM (own.b CROSS JOIN tenant_1.a)",
        "SELECT * FROM ONLY tenant_1.a",
        "SELECT * FROM ONLY (tenant_1.a)",
        "SELECT * FROM ROWS FROM (tenant_1.f(1), own.g(2))",
        "SELECT (SELECT a FROM tenant_1.b)",
        "SELECT 1 WHERE EXISTS (SELECT FROM tenant_1.b)",
        "SELECT 1 UNION ALL SELECT a FROM tenant_1.b",
        "WITH a AS (SELECT * FROM tenant_1.b) SELECT * FROM a",
        "WITH a AS (DELETE FROM tenant_1.b RETURNING id) SELECT * FROM a",
        "TABLE tenant_1.a",
        r#"INSERT INTO "tenant_1"."guards" ("id") VALUES ($1)"#,
        "INSERT INTO own.a SELECT * FROM tenant_1.a",
        r#"UPDATE "tenant_1"."guards" SET "name" = $1"#,
        "UPDATE ONLY tenant_1.guards SET name = $1",
        "UPDATE own.a SET b = 1 FROM tenant_1.c",
        r#"DELETE FROM "guards"."guards" WHERE "guards"."id" = $1"#,
        "DELETE FROM own.a USING tenant_1.b",
        "DELETE FROM own.a USING own.c, tenant_1.b",
        "MERGE INTO own.a USING tenant_1.b ON true WHEN MATCHED THEN DELETE",
        "SELECT a INTO tenant_1.b FROM own.c",
        "SELECT tenant_1.guards.id",
        "SELECT tenant_1.guards.*",
        "SELECT tenant_1.f(1)",
        "SELECT mydb.tenant_1.f(1)",
        "SELECT mydb.tenant_1.guards.id",
        "SELECT * FROM mydb.tenant_1.guards",
        "SELECT $1::tenant_1.kind",
        "SELECT CAST($1 AS tenant_1.kind)",
        "SELECT tenant_1.kind 'a'",
        "SELECT a OPERATOR(tenant_1.+) b",
        "SELECT a COLLATE tenant_1.c",
        "EXPLAIN ANALYZE SELECT * FROM tenant_1.a",
        "SELECT 1; SELECT * FROM tenant_1.a",
        "SELECT 1 AS from FROM tenant_1.a",
        "CREATE TABLE own.a (LIKE tenant_1.a)",
        "CREATE TABLE own.a (b int REFERENCES tenant_1.c)",
        "CREATE TABLE own.a AS TABLE tenant_1.a",
        "CREATE TABLE own.a AS SELECT * FROM own.c, tenant_1.a",
        "CREATE INDEX ON guards.guards (name)",
        "CREATE VIEW tenant_1.v AS SELECT 1",
        "ALTER TABLE tenant_1.a ADD b int",
        "ALTER TABLE own.a SET SCHEMA x; DROP TABLE x.a",
        "DROP TABLE IF EXISTS own.a, tenant_1.a",
        "DROP VIEW guards.guards",
        "TRUNCATE own.a, tenant_1.a",
        "LOCK TABLE tenant_1.a",
        "COPY tenant_1.a TO STDOUT",
        "COPY (SELECT * FROM tenant_1.a) TO STDOUT",
        "GRANT SELECT ON guards.guards TO someone",
        "COMMENT ON COLUMN guards.guards.name IS 'a'",
        "CALL tenant_1.p()",
        "ANALYZE tenant_1.a",
        "REINDEX INDEX tenant_1.a",
        "CREATE TRIGGER t AFTER INSERT OR UPDATE ON guards.guards EXECUTE FUNCTION own.f()",
        "DECLARE c CURSOR FOR SELECT * FROM tenant_1.a",
        "PREPARE p AS SELECT * FROM tenant_1.a",
    ] {
        let name = found(sql);
        assert!(["guards", "tenant_1", "x"].contains(&name.as_deref().unwrap_or("none")), "{sql}");
    }
    let cut = format!("SELECT * FROM {}.guards", "x".repeat(64));
    assert_eq!(named(&cut, |name| name == "x".repeat(63)).map(|name| name.len()), Some(63));
}

/// A tenant may have the name of a table, of an alias, or of anything else.
#[test]
fn tables_aliases_and_text_are_no_schemas() {
    for sql in [
        r#"SELECT "guards"."id", "guards"."name" FROM "own"."guards" WHERE "guards"."id" = $1"#,
        r#"SELECT "guards"."id" FROM "own"."guards" JOIN "own"."b" ON "guards"."id" = "b"."a" AND "guards"."c" = 1"#,
        r#"SELECT "x"."id" FROM "own"."guards" AS "x" ORDER BY "x"."a" ASC, "x"."b" DESC LIMIT 1"#,
        r#"SELECT COUNT("guards"."id"), MAX("guards"."id") FROM "own"."guards" GROUP BY "guards"."a", "guards"."b""#,
        r#"SELECT * FROM "own"."a" CROSS JOIN unnest("x"."tags") WHERE ("x"."a", "x"."b") IN (("x"."c", 1))"#,
        r#"SELECT * FROM "own"."x", unnest("x"."tags") AS t"#,
        r#"INSERT INTO "own"."guards" ("id") VALUES ($1) ON CONFLICT ("id") DO UPDATE SET "name" = "excluded"."name", "b" = "guards"."b" RETURNING "guards"."id""#,
        r#"UPDATE "own"."guards" SET "a" = "guards"."b", "c" = "guards"."d" WHERE "guards"."id" = $1"#,
        r#"DELETE FROM "own"."guards" WHERE "guards"."id" IN (SELECT "guards"."id" FROM "own"."guards")"#,
        "MERGE INTO own.a x USING own.b guards ON x.id = guards.id WHEN MATCHED THEN UPDATE SET a = guards.a, b = x.b WHEN NOT MATCHED THEN INSERT (a) VALUES (guards.a)",
        "SELECT extract(day FROM guards.at), substring(guards.a FROM 1 FOR 2), trim(both FROM guards.a) FROM own.guards",
        "SELECT 1 FROM own.guards WHERE a IS DISTINCT FROM guards.b AND c IS NOT DISTINCT FROM guards.d",
        "SELECT guards.* FROM own.guards FOR UPDATE OF guards",
        "SELECT count(*) FILTER (WHERE guards.a) OVER (PARTITION BY guards.b, guards.c) FROM own.guards",
        r#"SELECT "own"."guards"."id" FROM "own"."guards""#,
        "SELECT own.guards.* FROM own.guards",
        "WITH x AS (SELECT 1 a), guards AS (SELECT x.a FROM x) SELECT guards.a, x.a FROM x, guards",
        "SELECT 1 AS from, guards.a FROM own.guards",
        "SELECT x.a::text, CAST(x.b AS text) FROM own.x",
        "SELECT 'FROM tenant_1.a', $$ FROM tenant_1.a $$ -- FROM tenant_1.a\n /* FROM tenant_1.a */",
        r#"SELECT * FROM "tenant_1.guards""#,
        r#"SELECT * FROM "TENANT_1".guards"#,
        r#"SELECT * FROM "tenant_1"#,
        "SELECT * FROM tenant_1",
        "SELECT 1.5, a.b, $1 FROM a",
        "CREATE VIEW own.v AS SELECT guards.a, guards.b FROM own.guards",
        "",
        ".",
        "a.",
        "(((",
        ")))",
    ] {
        assert_eq!(found(sql), None, "{sql}");
    }
}
