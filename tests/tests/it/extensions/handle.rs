//! Statements of tenants that use extensions.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait,
    QueryFilter, Set, SqlErr, Statement, TransactionTrait, sea_query::Expr,
};
use tenantry::{Config, NewTenant, Tenancy, Tenant};
use tenantry_migrate::Extension;

use super::Uses;
use crate::support::{TestDb, slug};

mod person {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "@tenant", table_name = "people")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: Uuid,
        #[sea_orm(unique, column_type = "custom(\"citext\")", save_as = "citext")]
        pub email: String,
        pub name: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

const PEOPLE: &str = "CREATE TABLE people (
    id uuid DEFAULT uuid_generate_v4() CONSTRAINT people_pkey PRIMARY KEY,
    email citext NOT NULL CONSTRAINT people_email_key UNIQUE, name text NOT NULL,
    tags hstore NOT NULL DEFAULT '');
    CREATE INDEX people_name_idx ON people USING gin (name gin_trgm_ops)";

async fn tenants(db: &TestDb, max_connections: u32) -> (Tenancy, [Tenant; 2]) {
    let all = ["citext", "pg_trgm", "uuid-ossp", "hstore"].map(Extension::new);
    let uses = Uses::new(all).with(PEOPLE);
    uses.make(db).await.unwrap();
    let config = Config { max_connections, ..uses.config(db) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let mut tenants = Vec::new();
    for name in ["one", "two"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
        tenants.push(tenancy.tenant(&slug(name)).await.unwrap());
    }
    (tenancy, tenants.try_into().unwrap())
}

async fn add(
    db: &impl ConnectionTrait,
    email: &str,
    name: &str,
) -> Result<person::Model, sea_orm::DbErr> {
    let person = person::ActiveModel {
        email: Set(email.into()),
        name: Set(name.into()),
        ..Default::default()
    };
    person.insert(db).await
}

async fn count(db: &impl ConnectionTrait, sql: &str) -> i64 {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

#[tokio::test]
async fn a_handle_compares_citext_by_its_operators() {
    let db = TestDb::new().await;
    let (_tenancy, [one, two]) = tenants(&db, 2).await;
    let ann = add(&one, "Ann@X.org", "Ann").await.unwrap();
    // The key came from the column's default.
    assert_eq!(ann.id.get_version_num(), 4);
    let raw = r#"SELECT count(*) FROM "@tenant"."people" WHERE email = 'ANN@x.ORG'"#;
    assert_eq!(count(&one, raw).await, 1);
    assert_eq!(count(&two, raw).await, 0);
    let found = person::Entity::find_by_email("ANN@X.ORG").one(&one).await.unwrap();
    assert_eq!(found.as_ref(), Some(&ann));
    let found = person::Entity::find()
        .filter(person::Column::Email.is_in(["nobody", "ANN@x.org"]))
        .count(&one);
    assert_eq!(found.await.unwrap(), 1);
    let error = add(&one, "ANN@X.ORG", "Second").await.unwrap_err();
    assert!(matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))), "{error}");
    add(&two, "ANN@X.ORG", "Another").await.unwrap();

    let txn = one.begin().await.unwrap();
    assert_eq!(count(&txn, raw).await, 1);
    add(&txn, "bob@x.org", "Bob").await.unwrap();
    assert!(person::Entity::find_by_email("BOB@X.ORG").one(&txn).await.unwrap().is_some());
    txn.rollback().await.unwrap();

    let txn = one.begin_with_search_path().await.unwrap();
    assert_eq!(count(&txn, "SELECT count(*) FROM people WHERE email = 'ANN@x.ORG'").await, 1);
    let path = Statement::from_string(DbBackend::Postgres, "SHOW search_path");
    let path = txn.query_one_raw(path).await.unwrap().unwrap();
    assert_eq!(path.try_get_by_index::<String>(0).unwrap(), r#""one","extensions", pg_temp"#);
    txn.commit().await.unwrap();
}

#[tokio::test]
async fn operators_and_functions_of_extensions_are_found_on_a_handle() {
    let db = TestDb::new().await;
    let (_tenancy, [one, _]) = tenants(&db, 2).await;
    add(&one, "ann@x.org", "Annabel").await.unwrap();
    let like = r#"SELECT count(*) FROM "@tenant"."people" WHERE name % 'Anabel' AND similarity(name, 'Anabel') > 0.4"#;
    assert_eq!(count(&one, like).await, 1);
    let update = r#"UPDATE "@tenant"."people" SET tags = tags || hstore('a', '1') || 'b=>2'"#;
    one.execute_unprepared(update).await.unwrap();
    let tags = r#"SELECT count(*) FROM "@tenant"."people" WHERE tags -> 'b' = '2' AND tags ? 'a' AND tags @> 'a=>1'"#;
    assert_eq!(count(&one, tags).await, 1);
    let built = person::Entity::find().filter(Expr::cust_with_values("name % $1", ["Anabel"]));
    assert_eq!(built.count(&one).await.unwrap(), 1);
    // Again on sessions that were reset and replaced.
    one.execute_unprepared("SET search_path = public").await.unwrap();
    for _ in 0..4 {
        assert_eq!(count(&one, like).await, 1);
        one.execute_unprepared("DO $$ BEGIN END $$").await.unwrap();
    }
    // A table without a schema is not found.
    let bare = Statement::from_string(DbBackend::Postgres, "SELECT count(*) FROM people");
    one.query_one_raw(bare).await.unwrap_err();
}

#[tokio::test]
async fn functions_of_common_extensions_do_not_cost_the_connection() {
    let db = TestDb::new().await;
    let (_tenancy, [one, _]) = tenants(&db, 1).await;
    let pid = "SELECT pg_backend_pid()::bigint";
    let before = count(&one, pid).await;
    for call in [
        "SELECT similarity('a', 'b'), show_trgm('abc'), word_similarity('a', 'b')",
        "SELECT uuid_generate_v4(), uuid_generate_v5(uuid_ns_url(), 'x'), citext('A')",
        "SELECT * FROM each(hstore('a', '1')); SELECT akeys('a=>1'), hstore_to_json('a=>1')",
        "SELECT set_limit(0.9)",
    ] {
        one.execute_unprepared(call).await.unwrap();
    }
    assert_eq!(count(&one, pid).await, before);
    // A setting of one of them is reset.
    assert_eq!(count(&one, "SELECT (show_limit() * 10)::bigint").await, 3);
}

#[tokio::test]
async fn a_spare_that_becomes_a_tenant_finds_extensions() {
    let db = TestDb::new().await;
    let uses = Uses::new(["citext", "pg_trgm", "uuid-ossp", "hstore"].map(Extension::new))
        .with(PEOPLE)
        .with(
            "CREATE FUNCTION by_email(wanted citext) RETURNS text LANGUAGE sql STABLE
             SET search_path FROM CURRENT AS 'SELECT name FROM people WHERE email = wanted'",
        );
    uses.make(&db).await.unwrap();
    let config = Config { spares: 1, ..uses.config(&db) };
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let plain = db.plain().await;
    let spares = "SELECT count(*)::text FROM registry.tenants WHERE status = 'spare'";
    crate::support::http_server::eventually("there is a spare", async || {
        crate::support::catalog::texts(&plain, spares).await == ["1"]
    })
    .await;
    tenancy.create(NewTenant::new(slug("one"))).await.unwrap();
    assert!(db.statements().iter().any(|sql| sql.contains("RENAME TO \"one\"")));
    let one = tenancy.tenant(&slug("one")).await.unwrap();
    add(&one, "Ann@X.org", "Ann").await.unwrap();
    let found = r#"SELECT count(*) FROM "@tenant".by_email('ANN@x.org') name WHERE name = 'Ann'"#;
    assert_eq!(count(&one, found).await, 1);
    let found = tenantry_migrate::drift::verify(
        &plain,
        &uses.migrator(),
        &tenantry_migrate::drift::VerifyTarget::All,
    )
    .await
    .unwrap();
    assert!(found.is_clean(), "{found}");
}
