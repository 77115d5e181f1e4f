//! Names that PostgreSQL allows for a schema and that need quotes.

use entity::{guard, shift};
use futures_util::TryStreamExt;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbBackend, EntityTrait, IntoActiveModel, ModelTrait,
    PaginatorTrait, Set, Statement, StreamTrait, TransactionTrait,
};
use tenantry::{AdoptOptions, OtherSchema, Tenant};
use tenantry_migrate::Action;

use super::{adopt, assert_clean, existing, migrator};
use crate::support::{
    TestDb, abu,
    catalog::{schemas, texts},
    http_server::eventually,
    process::Ran,
    slug,
};

fn names() -> Vec<String> {
    let names = [
        "Acme Corp",
        "acme-1",
        "Joe\"s \"Diner\"",
        "O'Brien",
        "a,b",
        "ünïcode",
        "1st",
        "select",
        "100% $1 \\ $tenantry$",
        "a.b",
        "\"\"",
        "--",
        "it''s",
    ];
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    // 63 bytes, which a comparison of bytes could cut within a character.
    names.push(format!("a{}", "ü".repeat(31)));
    names
}

async fn create_read_update_delete(tenant: &Tenant) {
    let guard = abu().insert(tenant).await.unwrap();
    let mut changed = guard.clone().into_active_model();
    changed.name = Set("Bea".into());
    changed.update(tenant).await.unwrap();
    let shift = shift::ActiveModel {
        guard_id: Set(guard.id),
        starts_at: Set(tenantry_registry::now()),
        ends_at: Set(tenantry_registry::now() + chrono::Duration::hours(1)),
        ..Default::default()
    };
    shift.insert(tenant).await.unwrap();
    let found = guard::Entity::find().find_with_related(shift::Entity).all(tenant).await.unwrap();
    assert_eq!((found.len(), found[0].0.name.as_str(), found[0].1.len()), (1, "Bea", 1));
    let sql = r#"SELECT count(*) FROM "@tenant"."guards" WHERE "guards"."name" = $1"#;
    let raw = Statement::from_sql_and_values(DbBackend::Postgres, sql, ["Bea".into()]);
    let rows: Vec<_> = tenant.stream_raw(raw).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows[0].try_get_by_index::<i64>(0).unwrap(), 1);
    let txn = tenant.begin_with_search_path().await.unwrap();
    let bare = Statement::from_string(DbBackend::Postgres, "SELECT current_schema()::text");
    let row = txn.query_one_raw(bare).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<String>(0).unwrap(), tenant.schema().as_str());
    txn.execute_unprepared("DELETE FROM shifts").await.unwrap();
    txn.rollback().await.unwrap();
    let txn = tenant.begin().await.unwrap();
    found[0].0.clone().delete(&txn).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(shift::Entity::find().count(tenant).await.unwrap(), 0);
}

#[tokio::test]
async fn a_tenant_works_in_a_schema_of_any_name() {
    let db = TestDb::new().await;
    let (plain, tenancy) = (db.plain().await, db.tenancy().await);
    let elsewhere = db.tenancy().await;
    let names = names();
    for (number, name) in names.iter().enumerate() {
        let schema = existing(&plain, name, &Action::Up(Some(1))).await;
        let number = format!("n-{number}");
        let adopted = adopt(&tenancy, &number, &AdoptOptions::schema(schema)).await.unwrap();
        assert_eq!(adopted.tenant.schema.as_str(), name);
    }
    assert_clean(&plain, &migrator()).await;
    // A run over the fleet, by recorded batches and one by one.
    Ran::on("migration", &db.url(), &["up", "--all", "--dry-run"]).exits(0);
    Ran::on("migration", &db.url(), &["up", "--all"]).exits(0);
    Ran::on("migration", &db.url(), &["status", "--tenant", "n-0"]).exits(0).says(["n-0"]);
    for (number, name) in names.iter().enumerate() {
        let slug = slug(&format!("n-{number}"));
        eventually("it is available", async || tenancy.tenant(&slug).await.is_ok()).await;
        create_read_update_delete(&tenancy.tenant(&slug).await.unwrap()).await;
        // By its name the schema is another tenant's, in every process.
        let other = slug_after(number, names.len());
        let quoted = name.replace('"', "\"\"");
        let sql = format!(r#"SELECT count(*) FROM "{quoted}"."guards""#);
        eventually("the statement is refused", async || {
            let other = elsewhere.tenant(&other).await.unwrap();
            let refused = other.execute_unprepared(&sql).await;
            refused.is_err_and(|error| OtherSchema::find(&error).is_some())
        })
        .await;
    }
    assert_clean(&plain, &migrator()).await;
    let shown = Ran::on("tenantry", &db.url(), &["tenant", "list", "--json"]).exits(0);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown[2]["schema"], "Joe\"s \"Diner\"");
    Ran::on("migration", &db.url(), &["down", "--tenant", "n-2", "--yes"]).exits(0);
    Ran::on("migration", &db.url(), &["verify", "--tenant", "n-2"]).exits(0);
    for number in 0..names.len() {
        tenancy.drop(&slug(&format!("n-{number}"))).await.unwrap();
    }
    assert_eq!(schemas(&plain).await, ["public", "registry"]);
    let kept = "SELECT DISTINCT status FROM registry.tenants";
    assert_eq!(texts(&plain, kept).await, ["dropped"]);
}

fn slug_after(number: usize, all: usize) -> tenantry::Slug {
    slug(&format!("n-{}", (number + 1) % all))
}
