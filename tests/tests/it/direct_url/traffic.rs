//! Which statements are sent on which connections.

use futures_util::TryStreamExt;
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, Statement, StreamTrait, TransactionTrait};
use tenantry::{ColdStatements, Config, NewTenant, Tenancy};

use super::{config, named, prepared};
use crate::support::{TestDb, abu, catalog::texts, database::server, slug, statement_log::Mark};

/// The ids of the open sessions of an application, as in the log.
async fn sessions(db: &TestDb, application: &str) -> Vec<String> {
    let sql = format!(
        "SELECT to_hex(trunc(extract(epoch FROM backend_start))::bigint) || '.' || to_hex(pid)
         FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = '{application}'"
    );
    texts(&db.plain().await, &sql).await
}

#[tokio::test]
async fn tenants_statements_are_named_and_alone_on_their_connections() {
    let db = prepared().await;
    let pooled = Config {
        connect_options: named(&db, "pooled"),
        max_connections: 2,
        statement_cache: Some(3),
        // With literals they need no names.
        cold_statements: ColdStatements::Prepared,
        ..config(&db)
    };
    let mark = Mark::now(server());
    let tenancy = Tenancy::connect(&pooled).await.unwrap();
    let names = ["tenant-1", "tenant-2", "tenant-3"];
    for name in names {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    for name in names {
        let tenant = tenancy.tenant(&slug(name)).await.unwrap();
        // More statements than are kept.
        for number in 0..9 {
            let sql = format!(r#"SELECT id, {number} AS n FROM "@tenant"."guards" LIMIT $1"#);
            let values = [5_i64.into()];
            let ask = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
            tenant.query_all_raw(ask).await.unwrap();
        }
        sea_orm::ActiveModelTrait::insert(abu(), &tenant).await.unwrap();
        let txn = tenant.begin().await.unwrap();
        for number in 0..9 {
            let sql = format!(r#"SELECT id, {number} AS m FROM "@tenant"."guards""#);
            let ask = Statement::from_string(DbBackend::Postgres, sql);
            txn.query_all_raw(ask).await.unwrap();
        }
        txn.commit().await.unwrap();
        let all = Statement::from_string(DbBackend::Postgres, r#"TABLE "@tenant"."guards""#);
        let rows = tenant.stream_raw(all).await.unwrap();
        assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap().len(), 1);
        entity::guard::Entity::find().all(&tenant).await.unwrap();
    }
    tenancy.set_read_only(&slug("tenant-2"), true).await.unwrap();
    let tenant = tenancy.tenant(&slug("tenant-2")).await.unwrap();
    entity::guard::Entity::find().all(&tenant).await.unwrap();
    tenancy.drop(&slug("tenant-3")).await.unwrap();
    tenancy.ping().await.unwrap();

    let of_pool = sessions(&db, "pooled").await;
    assert!((1..=2).contains(&of_pool.len()), "{of_pool:?}");
    let (mut named, mut unnamed, mut open) = (0, 0, false);
    for (session, entry) in mark.entries(db.name()) {
        if !of_pool.contains(&session) {
            continue;
        }
        if let Some(sql) = entry.strip_prefix("statement: ") {
            let word = sql.split([' ', ';']).next().unwrap();
            open = if word == "BEGIN" { true } else { open && word != "COMMIT" };
            let is_check = sql.starts_with("SELECT current_setting('search_path')");
            assert!(["BEGIN", "COMMIT", ""].contains(&word) || is_check, "{sql}");
        } else if let Some(execute) = entry.strip_prefix("execute ") {
            let (name, sql) = execute.split_once(": ").unwrap();
            let is_unnamed = name == "<unnamed>";
            assert!(open || !is_unnamed, "unnamed outside a transaction: {sql}");
            unnamed += usize::from(is_unnamed);
            named += usize::from(!is_unnamed);
            let of_start = ["pg_is_in_recovery()", "pg_try_advisory_xact_lock", "r.rolname"];
            let is_of_start = of_start.iter().any(|part| sql.contains(part));
            assert!(is_of_start || sql.contains("\"tenant_"), "{sql}");
        }
    }
    assert!(named > 30 && unnamed > 10, "{named} {unnamed}");
    let direct = sessions(&db, "direct").await;
    let entries = mark.entries(db.name());
    let sent = |text: &str| {
        entries.iter().any(|(session, sql)| direct.contains(session) && sql.contains(text))
    };
    assert!(sent("LISTEN") && sent("CREATE SCHEMA") && sent("pg_notify"), "{direct:?}");
}
