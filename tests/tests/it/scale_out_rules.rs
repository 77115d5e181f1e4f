//! Tenant tables keep the rules under which the same schema can live on a node of its own
//! (Citus, schema-based sharding): read off the catalog, so nothing depends on how it was written.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::support::TestDb;

/// Each query lists what breaks one rule in the schema `tenant_1`.
const RULES: [(&str, &str); 7] = [
    (
        "every table has a primary key",
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'tenant_1'::regnamespace
         AND c.relkind IN ('r', 'p') AND NOT EXISTS
         (SELECT 1 FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p')",
    ),
    (
        "no identity column and no sequence",
        "SELECT relname FROM pg_class WHERE relnamespace = 'tenant_1'::regnamespace AND relkind = 'S'
         UNION ALL SELECT attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         WHERE c.relnamespace = 'tenant_1'::regnamespace AND a.attidentity <> ''",
    ),
    (
        "no foreign key leaves the schema",
        "SELECT k.conname FROM pg_constraint k JOIN pg_class t ON t.oid = k.confrelid
         WHERE k.connamespace = 'tenant_1'::regnamespace AND k.contype = 'f'
         AND t.relnamespace <> k.connamespace",
    ),
    (
        "no triggers, views or inheritance",
        "SELECT tgname FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
         WHERE c.relnamespace = 'tenant_1'::regnamespace AND NOT g.tgisinternal
         UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'tenant_1'::regnamespace
         AND relkind IN ('v', 'm')
         UNION ALL SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE c.relnamespace = 'tenant_1'::regnamespace AND c.relkind = 'r'",
    ),
    (
        "no types of its own",
        "SELECT typname FROM pg_type WHERE typnamespace = 'tenant_1'::regnamespace
         AND typtype IN ('e', 'd', 'r')",
    ),
    (
        "no deferrable constraint",
        "SELECT conname FROM pg_constraint WHERE connamespace = 'tenant_1'::regnamespace
         AND condeferrable",
    ),
    (
        // A name that PostgreSQL makes up differs between versions and shards.
        "constraints are named after their table",
        "SELECT k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
         WHERE k.connamespace = 'tenant_1'::regnamespace AND k.contype <> 'n'
         AND c.relname <> 'seaql_migrations' AND k.conname NOT LIKE c.relname || '\\_%'",
    ),
];

async fn broken(db: &TestDb, sql: &str) -> Vec<String> {
    let rows = db
        .plain()
        .await
        .query_all_raw(Statement::from_string(DbBackend::Postgres, sql.to_owned()))
        .await
        .unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

#[tokio::test]
async fn tenant_tables_follow_the_rules_of_citus() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1"]).await;
    for (rule, sql) in RULES {
        assert_eq!(broken(&db, sql).await, [""; 0], "{rule}");
    }
}

#[tokio::test]
async fn each_rule_finds_what_breaks_it() {
    let db = TestDb::new().await;
    db.with_tenants(["tenant-1"]).await;
    db.plain()
        .await
        .execute_unprepared(
            r"SET search_path = tenant_1;
              CREATE TABLE no_key (id int);
              CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
              CREATE TABLE leaving (id uuid PRIMARY KEY REFERENCES registry.tenants (id));
              CREATE VIEW looking AS SELECT 1;
              CREATE TABLE child () INHERITS (no_key);
              CREATE TYPE mood AS ENUM ('good');
              CREATE TABLE late (id int PRIMARY KEY DEFERRABLE);
              CREATE TABLE odd (id int CONSTRAINT made_up PRIMARY KEY);
              RESET search_path",
        )
        .await
        .unwrap();
    for (rule, sql) in RULES {
        assert_ne!(broken(&db, sql).await, [""; 0], "{rule}");
    }
}
