//! The objects of a single-tenant application's schema, moved into a tenant's schema.

use entity::guard;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, PaginatorTrait,
    Statement, TransactionTrait,
};
use sea_orm_migration::MigratorTraitSelf;
use tenantry::{AdoptOptions, Config, NewTenant, Tenancy, Tenant};
use tenantry_migrate::DynMigrator;

use super::{GUARDS, adopt, assert_clean, migrator};
use crate::support::{
    TestDb, abu,
    catalog::{schemas, tables, texts},
    slug,
    sql_migration::{Sql, SqlMigrator, sql_migrator},
};

/// Objects of many kinds that refer to each other.
pub const SHOP: Sql = Sql {
    name: "m1_shop",
    up: "
        CREATE TYPE mood AS ENUM ('good', 'bad');
        CREATE DOMAIN amount AS int CONSTRAINT amount_check CHECK (VALUE > 0);
        CREATE TYPE pair AS (a int, b mood);
        CREATE TYPE span AS RANGE (subtype = float8);
        CREATE SEQUENCE numbers START 100;
        CREATE TABLE items (id serial CONSTRAINT items_pkey PRIMARY KEY,
            code int GENERATED ALWAYS AS IDENTITY, mood mood NOT NULL DEFAULT 'good', amount amount,
            number int DEFAULT nextval('numbers'), part pair, changed int NOT NULL DEFAULT 0);
        CREATE TABLE lines (id int CONSTRAINT lines_pkey PRIMARY KEY,
            item_id int CONSTRAINT lines_item_id_fkey REFERENCES items);
        CREATE TABLE visits (id int NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
        CREATE TABLE visits_2026 PARTITION OF visits FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        CREATE VIEW good AS SELECT id, number FROM items WHERE mood = 'good';
        CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM items;
        CREATE STATISTICS item_statistics ON id, code FROM items;
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN NEW.changed := OLD.changed + 1; RETURN NEW; END';
        CREATE TRIGGER items_touch BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION touch();
        CREATE FUNCTION total() RETURNS bigint LANGUAGE sql SET search_path FROM CURRENT
            AS 'SELECT count(*) FROM items';
        CREATE FUNCTION first_of(pair) RETURNS int LANGUAGE sql RETURN ($1).a;
        CREATE AGGREGATE sum_of(int) (sfunc = int4pl, stype = int);
        CREATE PROCEDURE clear() LANGUAGE sql BEGIN ATOMIC DELETE FROM lines; END;
        CREATE COLLATION plain (locale = 'C');
        CREATE TEXT SEARCH CONFIGURATION words (COPY = pg_catalog.simple)",
    down: "",
    alone: false,
    breaking: false,
};

/// Runs the migrations in `public`, as an application without tenants does.
pub async fn single_tenant(db: &DatabaseConnection, migrator: &SqlMigrator) {
    let txn = db.begin().await.unwrap();
    // PostgreSQL's default.
    txn.execute_unprepared("SET LOCAL search_path = \"$user\", public").await.unwrap();
    migrator.up(&txn, None).await.unwrap();
    txn.commit().await.unwrap();
}

async fn value(tenant: &Tenant, sql: &str) -> String {
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    tenant.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

#[tokio::test]
async fn objects_of_every_kind_are_moved_with_their_rows_and_references() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let shop = sql_migrator([SHOP]);
    single_tenant(&plain, &shop).await;
    plain
        .execute_unprepared(
            "CREATE EXTENSION citext;
             INSERT INTO items (part) VALUES (ROW(7, 'bad')), (NULL);
             INSERT INTO lines VALUES (1, 2);
             REFRESH MATERIALIZED VIEW counted;
             ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO pg_monitor",
        )
        .await
        .unwrap();
    let tenancy = Tenancy::connect(&Config::new(db.url(), shop.clone())).await.unwrap();
    let mut options = AdoptOptions::objects_of("public");
    options.dry_run = true;
    let before = tables(&plain).await;
    adopt(&tenancy, "acme", &options).await.unwrap();
    assert_eq!(tables(&plain).await, before);
    options.dry_run = false;
    let adopted = adopt(&tenancy, "acme", &options).await.unwrap();
    assert_eq!((adopted.tenant.schema.as_str(), adopted.differences.len()), ("acme", 0));
    assert_eq!(adopted.tenant.schema_version.as_deref(), Some("m1_shop"));

    // Only the extension stays.
    assert_eq!(schemas(&plain).await, ["acme", "public", "registry"]);
    let left = "SELECT DISTINCT it.type FROM pg_depend d, pg_identify_object(classid, objid, 0) it
        WHERE refclassid = 'pg_namespace'::regclass AND refobjid = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend x WHERE (x.classid, x.objid, x.deptype)
            = (d.classid, d.objid, 'e')) ORDER BY 1";
    assert_eq!(texts(&plain, left).await, ["default acl", "extension"]);
    assert_clean(&plain, &DynMigrator::tenant(shop)).await;

    let tenant = tenancy.tenant(&slug("acme")).await.unwrap();
    tenant.execute_unprepared(r#"INSERT INTO "@tenant".items (amount) VALUES (5)"#).await.unwrap();
    let row =
        r#"SELECT concat_ws(' ', id, code, mood, number) FROM "@tenant".items WHERE amount = 5"#;
    assert_eq!(value(&tenant, row).await, "3 3 good 102");
    for (sql, expected) in [
        (r#"SELECT count(*)::text FROM "@tenant".good"#, "3"),
        (r#"SELECT n::text FROM "@tenant".counted"#, "2"),
        (r#"SELECT "@tenant".total()::text"#, "3"),
        (r#"SELECT "@tenant".first_of(part)::text FROM "@tenant".items WHERE id = 1"#, "7"),
        (r#"UPDATE "@tenant".items SET mood = 'bad' WHERE id = 1 RETURNING changed::text"#, "1"),
    ] {
        assert_eq!(value(&tenant, sql).await, expected, "{sql}");
    }
    let broken = r#"INSERT INTO "@tenant".lines VALUES (2, 99)"#;
    assert!(tenant.execute_unprepared(broken).await.unwrap_err().to_string().contains("_fkey"));

    // The next one is created as usual, and both can be dropped.
    tenancy.create(NewTenant::new(slug("globex"))).await.unwrap();
    for name in ["acme", "globex"] {
        tenancy.drop(&slug(name)).await.unwrap();
    }
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
}

#[tokio::test]
async fn entities_work_after_the_move_and_an_older_schema_is_migrated_later() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    // Moved from a schema whose name needs quotes, without a migrations table.
    let old = super::existing(&plain, "Old App", &tenantry_migrate::Action::Up(Some(1))).await;
    plain.execute_unprepared("DROP TABLE \"Old App\".seaql_migrations").await.unwrap();
    let tenancy = db.tenancy().await;
    let mut options = AdoptOptions::objects_of(old.as_str());
    let error = adopt(&tenancy, "acme", &options).await.unwrap_err();
    assert!(error.to_string().contains("- table shifts"), "{error}");
    assert_eq!(tables(&plain).await.iter().filter(|it| it.starts_with("Old App")).count(), 1);
    options.at = Some(GUARDS.to_owned());
    adopt(&tenancy, "acme", &options).await.unwrap();
    crate::support::process::Ran::on("migration", &db.url(), &["up", "--tenant", "acme"]).exits(0);
    crate::support::http_server::eventually("the tenant is available", async || {
        tenancy.tenant(&slug("acme")).await.is_ok()
    })
    .await;
    let tenant = tenancy.tenant(&slug("acme")).await.unwrap();
    abu().insert(&tenant).await.unwrap();
    assert_eq!(guard::Entity::find().count(&tenant).await.unwrap(), 1);
    assert_clean(&plain, &migrator()).await;
}

#[tokio::test]
async fn the_new_schema_is_named_as_a_creation_names_it() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, _) = db.with_tenants(["acme"]).await;
    tenancy.drop(&slug("acme")).await.unwrap();
    super::existing(&plain, "old", &tenantry_migrate::Action::Up(None)).await;
    let adopted = adopt(&tenancy, "acme", &AdoptOptions::objects_of("old")).await.unwrap();
    assert_eq!(adopted.tenant.schema.as_str(), "acme_2");
    // A schema without a tenant is not used.
    plain.execute_unprepared("CREATE SCHEMA globex").await.unwrap();
    super::existing(&plain, "older", &tenantry_migrate::Action::Up(None)).await;
    let error = adopt(&tenancy, "globex", &AdoptOptions::objects_of("older")).await.unwrap_err();
    assert!(matches!(error, tenantry::Error::SchemaTaken(_)), "{error}");
}
