//! New schemas are created in one batch, with the same result as single migrations.

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};
use sea_orm_migration::prelude::*;
use tenantry::{Config, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Error, SharedMigrator, Target, Timeouts, apply_remaining, create_schema,
    drift::{Structure, read_structure},
    rehearse, run,
};

use crate::support::{
    TestDb,
    catalog::texts,
    slug,
    sql_migration::{Sql, SqlMigrator, sql_migrator},
    tcp_proxy::TcpProxy,
};

const fn sql(name: &'static str, up: &'static str) -> Sql {
    Sql { name, up, down: "", alone: false, breaking: false }
}

/// Migrations with many features of PostgreSQL.
fn rich() -> SqlMigrator {
    let index = "CREATE UNIQUE INDEX CONCURRENTLY books_title_idx ON books (title) -- never twice";
    let migrations = vec![
        sql("m1_books", "CREATE TABLE books (isbn text PRIMARY KEY, title text, shelf int)"),
        Sql { alone: true, ..sql("m2_index", index) },
        sql("m3_numbers", "CREATE SEQUENCE numbers START 7; ALTER TABLE books ADD number int
             DEFAULT nextval('numbers'); ALTER SEQUENCE numbers OWNED BY books.number;"),
        sql("m4_function", "CREATE FUNCTION titles(like_this text) RETURNS bigint LANGUAGE sql
             AS $body$ SELECT count(*) FROM books WHERE title LIKE $1; -- a ' in it $body$"),
        sql("m5_block", "DO $$ BEGIN FOR n IN 1..3 LOOP
             EXECUTE format('CREATE TABLE shelf_%s (id int CHECK (id > %s))', n, n); END LOOP; END $$"),
        sql("m6_kept", "/* check: allow drop-column because it is unused */
             ALTER TABLE books DROP COLUMN shelf;
             CREATE VIEW titled AS SELECT title FROM books; GRANT SELECT ON titled TO PUBLIC"),
        sql("m7_rows", "COMMENT ON TABLE books IS 'it''s; all of them'"),
    ];
    SqlMigrator { migrations, table: "library_migrations" }
}

/// The structure of a schema, and the migrations on record in it.
async fn made(db: &DatabaseConnection, schema: &str, table: &str) -> (Structure, Vec<String>) {
    let txn = db.begin().await.unwrap();
    let structure = read_structure(&txn, &schema.parse().unwrap()).await.unwrap();
    txn.rollback().await.unwrap();
    let records = format!("SELECT version FROM {schema}.{table} ORDER BY version");
    (structure, texts(db, &records).await)
}

#[tokio::test]
async fn the_limit_on_locks_ends_with_the_migrations() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let migrator = DynMigrator::tenant(rich());
    let shared = SharedMigrator::new(sql_migrator([sql("m1_plans", "SELECT 1")]));
    let migrator = migrator.with_shared(shared);
    let schema = "tenant_1".parse().unwrap();
    let txn = plain.begin().await.unwrap();
    let first = ["m1_books".to_owned()];
    create_schema(&txn, &schema, &migrator.only(&first)).await.unwrap();
    assert_eq!(texts(&txn, "SHOW lock_timeout").await, ["0"]);
    apply_remaining(&txn, &schema, &migrator, &first).await.unwrap();
    assert_eq!(texts(&txn, "SHOW lock_timeout").await, ["0"]);
    txn.rollback().await.unwrap();
}

#[tokio::test]
async fn batch_creates_the_same_schema_as_single_migrations() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    for (number, migrator, table) in [
        (1, DynMigrator::tenant(migration::Migrator), "seaql_migrations"),
        (2, DynMigrator::tenant(rich()), "library_migrations"),
    ] {
        let [batch, replay] = ["batch", "replay"].map(|name| format!("{name}_{number}"));
        migrator.record(|| rehearse(&plain, &migrator)).await.unwrap();
        let txn = plain.begin().await.unwrap();
        create_schema(&txn, &batch.parse().unwrap(), &migrator).await.unwrap();
        txn.commit().await.unwrap();
        texts(&plain, &format!("CREATE SCHEMA {replay}")).await;
        let target = Target::Schema(replay.parse().unwrap());
        run(&plain, &target, &migrator, &Action::Up(None), Timeouts::default()).await.unwrap();

        let (batch, replay) =
            (made(&plain, &batch, table).await, made(&plain, &replay, table).await);
        assert_eq!(batch, replay);
        assert_eq!(batch.1, migrator.names());
    }
    // Both were made in one message each.
    let batches = db.statements().into_iter().filter(|sql| is_batch(sql)).count();
    assert_eq!(batches, 2);
}

fn is_batch(sql: &str) -> bool {
    sql.contains("CREATE SCHEMA") && sql.contains("CREATE TABLE")
}

#[tokio::test]
async fn creating_a_tenant_takes_the_same_round_trips_for_2_migrations_and_for_40() {
    let db = TestDb::new().await;
    for count in [2, 40] {
        let wire = TcpProxy::new().await;
        let migrations = (0..count).map(|number| {
            let name = format!("m{number:02}");
            let up =
                format!("CREATE TABLE t{number} (id uuid CONSTRAINT t{number}_pkey PRIMARY KEY)");
            sql(name.leak(), up.leak())
        });
        let migrator = SqlMigrator { migrations: migrations.collect(), table: "seaql_migrations" };
        let config = Config { max_connections: 1, ..Config::new(wire.url(db.name()), migrator) };
        let tenancy = Tenancy::connect(&config).await.unwrap();
        // Records the migrations, opens the connection and prepares its statements.
        tenancy.create(NewTenant::new(slug(&format!("first-{count}")))).await.unwrap();
        wire.count();
        tenancy.create(NewTenant::new(slug(&format!("second-{count}")))).await.unwrap();
        // Six for the transaction (one of them asks whether the slug is reserved), one for the reset
        // of the session, one for a ping.
        let counted = wire.counted();
        assert!(counted <= 8, "{counted} round trips for {count} migrations");
    }
}

#[tokio::test]
async fn creation_keeps_search_path_and_work_of_the_transaction() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let migrator = DynMigrator::tenant(migration::Migrator);
    let txn = plain.begin().await.unwrap();
    txn.execute_unprepared("SET LOCAL search_path = public, \"$user\"").await.unwrap();
    txn.execute_unprepared("CREATE TEMPORARY TABLE kept AS SELECT 'Abu' AS name").await.unwrap();
    create_schema(&txn, &"city".parse().unwrap(), &migrator).await.unwrap();
    let asked = "SELECT name || ' ' || current_setting('search_path') FROM pg_temp.kept";
    let asked = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, asked);
    let row = txn.query_one_raw(asked).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<String>(0).unwrap(), "Abu public, \"$user\"");
    let error = create_schema(&txn, &"city".parse().unwrap(), &migrator).await.unwrap_err();
    assert!(matches!(error, Error::SchemaExists { .. }), "{error}");
}

#[tokio::test]
async fn a_migration_that_fails_in_the_batch_is_named() {
    let db = TestDb::new().await;
    let mut migrator = rich();
    for (up, message) in [
        ("ALTER TABLE nowhere ADD n int", "relation \"nowhere\" does not exist (SQLSTATE 42P01)"),
        ("SELECT 'never closed", "unterminated quoted string"),
        ("CREATE TABLE a (b int); SET search_path = public", "changed search_path to public"),
        ("SET LOCAL SCHEMA 'public'", "changed search_path to public"),
        ("DO $$ BEGIN PERFORM set_config('search_path', 'public', true); END $$", "search_path"),
    ] {
        migrator.migrations[4] = sql("m5_wrong", up);
        let config = Config::new(db.url(), migrator.clone());
        let tenancy = Tenancy::connect(&config).await.unwrap();
        let error = tenancy.create(NewTenant::new(slug("city"))).await.unwrap_err().to_string();
        assert!(error.contains("migration m5_wrong") && error.contains(message), "{error}");
        assert_eq!(tenancy.get(&slug("city")).await.unwrap(), None);
    }
}
