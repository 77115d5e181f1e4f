//! A schema that is what the migrations create.

use entity::{guard, shift};
use futures_util::future::join_all;
use sea_orm::{ActiveModelTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait};
use tenantry::{
    AdoptError, AdoptOptions, Availability, Error, NewTenant, OtherSchema, Tenancy,
    TenantTransaction, TenantUnavailable,
};
use tenantry_migrate::Action;

use super::{GUARDS, adopt, assert_clean, existing, migrator};
use crate::support::{TestDb, abu, catalog::texts, http_server::eventually, process::Ran, slug};

#[tokio::test]
async fn a_schema_becomes_a_tenant_with_its_rows() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let (tenancy, [other]) = db.with_tenants(["other"]).await;
    let elsewhere = db.tenancy().await;
    let schema = existing(&plain, "old_acme", &Action::Up(None)).await;
    plain
        .execute_unprepared(
            "INSERT INTO old_acme.guards VALUES (gen_random_uuid(), 'Zoe', 'Gate', now(), now())",
        )
        .await
        .unwrap();
    let new = NewTenant {
        name: Some("Acme Ltd".parse().unwrap()),
        domains: vec!["guards.example.org".parse().unwrap()],
        tags: vec!["canary".parse().unwrap()],
        ..NewTenant::new(slug("acme"))
    };
    let adopted = tenancy.adopt(new, &AdoptOptions::schema(schema)).await.unwrap();
    assert_eq!(adopted.differences, []);
    assert_eq!(adopted.tenant.schema.as_str(), "old_acme");
    assert_eq!(adopted.tenant.schema_version, migrator().latest());
    assert_eq!(tenancy.get(&slug("acme")).await.unwrap(), Some(adopted.tenant));

    // Also for other processes, which had looked for it before.
    let tenant = elsewhere.tenant_by_host("guards.example.org").await.unwrap();
    assert_eq!(guard::Entity::find().one(&tenant).await.unwrap().unwrap().name, "Zoe");
    abu().insert(&tenant).await.unwrap();
    let there = elsewhere.tenant(other.slug()).await.unwrap();
    let statement = "SELECT count(*) FROM old_acme.guards";
    eventually("its schema is another tenant's", async || {
        let refused = there.execute_unprepared(statement).await;
        refused.is_err_and(|error| OtherSchema::find(&error).is_some())
    })
    .await;
    assert_clean(&plain, &migrator()).await;
    tenancy.drop(&slug("acme")).await.unwrap();
    let left = texts(&plain, "SELECT nspname::text FROM pg_namespace WHERE nspname ~ 'acme'").await;
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn a_schema_at_an_older_version_is_migrated_like_any_tenant() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    // Without a migrations table the version is given, with one it is read.
    for (name, recorded) in [("one", false), ("two", true)] {
        let schema = existing(&plain, name, &Action::Up(Some(1))).await;
        let mut options = AdoptOptions::schema(schema);
        if !recorded {
            plain.execute_unprepared(&format!("DROP TABLE {name}.seaql_migrations")).await.unwrap();
            let error = adopt(&tenancy, name, &options).await.unwrap_err();
            assert!(error.to_string().contains("- table shifts"), "{error}");
            options.at = Some(GUARDS.to_owned());
        }
        let adopted = adopt(&tenancy, name, &options).await.unwrap();
        assert_eq!(adopted.tenant.schema_version.as_deref(), Some(GUARDS));
        let records = format!("SELECT version FROM {name}.seaql_migrations");
        assert_eq!(texts(&plain, &records).await, [GUARDS]);
        let error = tenancy.tenant(&slug(name)).await.unwrap_err();
        let Error::Unavailable(TenantUnavailable { availability, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!(availability, Availability::Behind);
    }
    assert_clean(&plain, &migrator()).await;
    Ran::on("migration", &db.url(), &["up", "--all"]).exits(0);
    for name in ["one", "two"] {
        eventually("the tenant is available", async || tenancy.tenant(&slug(name)).await.is_ok())
            .await;
        let tenant = tenancy.tenant(&slug(name)).await.unwrap();
        assert_eq!(shift::Entity::find().count(&tenant).await.unwrap(), 0);
    }
    assert_clean(&plain, &migrator()).await;
}

#[tokio::test]
async fn an_empty_migrations_table_is_filled() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    let schema = existing(&plain, "acme", &Action::Up(None)).await;
    plain.execute_unprepared("DELETE FROM acme.seaql_migrations").await.unwrap();
    adopt(&tenancy, "acme", &AdoptOptions::schema(schema)).await.unwrap();
    let records = texts(&plain, "SELECT version FROM acme.seaql_migrations ORDER BY 1").await;
    assert_eq!(records, migrator().names());
    assert_clean(&plain, &migrator()).await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    let schema = existing(&plain, "acme", &Action::Up(None)).await;
    plain.execute_unprepared("DROP TABLE acme.seaql_migrations").await.unwrap();
    let mut options = AdoptOptions::schema(schema);
    options.dry_run = true;
    let adopted = adopt(&tenancy, "acme", &options).await.unwrap();
    assert_eq!(adopted.tenant.schema_version, migrator().latest());
    assert_eq!(tenancy.get(&slug("acme")).await.unwrap(), None);
    let tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'acme'::regnamespace
        AND relkind = 'r' ORDER BY 1";
    assert_eq!(texts(&plain, tables).await, ["guards", "shifts"]);
    options.dry_run = false;
    adopt(&tenancy, "acme", &options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_adoptions_of_one_schema_one_succeeds() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let schema = existing(&plain, "acme", &Action::Up(None)).await;
    let tenancies = join_all((0..3).map(|_| db.tenancy())).await;
    let options = AdoptOptions::schema(schema);
    let slugs: Vec<String> = (0..6).map(|number| format!("acme-{}", number / 2)).collect();
    let attempts = slugs.iter().enumerate().map(|(number, slug)| {
        let tenancy = &tenancies[number % tenancies.len()];
        adopt(tenancy, slug, &options)
    });
    let results = join_all(attempts).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for error in results.into_iter().filter_map(Result::err) {
        let is_expected = matches!(
            error,
            Error::Adopt(AdoptError::OfTenant { dropped: false, .. }) | Error::SlugTaken(_)
        );
        assert!(is_expected, "{error}");
    }
    let rows = texts(&plain, "SELECT schema FROM registry.tenants").await;
    assert_eq!(rows, ["acme"]);
    assert_clean(&plain, &migrator()).await;
}

async fn first_guard(tenant: &TenantTransaction) -> Result<(), DbErr> {
    abu().insert(tenant).await.map(drop)
}

#[tokio::test]
async fn the_seed_does_not_run_in_a_schema_with_rows() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let schema = existing(&plain, "acme", &Action::Up(None)).await;
    let config = db.config().seed(first_guard);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    adopt(&tenancy, "acme", &AdoptOptions::schema(schema)).await.unwrap();
    let tenant = tenancy.tenant(&slug("acme")).await.unwrap();
    assert_eq!(guard::Entity::find().count(&tenant).await.unwrap(), 0);
}
