//! SQL that cannot be qualified.

use entity::guard;
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, TransactionTrait};
use tenantry::{Config, Tenant};

use super::{
    TwoTenants,
    two_tenants::{postgres, sqlstate},
};

/// The first column of the only row.
async fn text(db: &impl ConnectionTrait, sql: &str) -> String {
    let row = db.query_one_raw(postgres(sql)).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

/// The names of a tenant's guards, by a query that names a bare table.
async fn names(tenant: &Tenant) -> String {
    let txn = tenant.begin_with_search_path().await.unwrap();
    let sql = r#"SELECT string_agg(name, ' ' ORDER BY name) FROM guards"#;
    let names = text(&txn, sql).await;
    txn.commit().await.unwrap();
    names
}

#[tokio::test]
async fn bare_names_are_found_in_the_schema_of_one_tenant() {
    let both = TwoTenants::new().await;
    assert_eq!(names(&both.one).await, "Abu Bea Cem");
    assert_eq!(names(&both.two).await, "Wim Xia Yan Zoe");

    let txn = both.one.begin_with_search_path().await.unwrap();
    txn.execute_unprepared("UPDATE guards SET position = 'Moat'").await.unwrap();
    // Entities work in it as well, and so do savepoints.
    let inner = txn.begin().await.unwrap();
    assert_eq!(guard::Entity::find().count(&inner).await.unwrap(), 3);
    inner.execute_unprepared("DELETE FROM guards").await.unwrap();
    inner.rollback().await.unwrap();
    assert_eq!(text(&txn, "SHOW search_path").await, r#""tenant_1", pg_temp"#);
    txn.commit().await.unwrap();
    let positions: Vec<_> = both.guards_of_one().await.into_iter().map(|it| it.1).collect();
    assert_eq!(positions, ["Moat", "Moat", "Moat"]);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn a_function_of_a_tenant_works_on_its_own_tables() {
    let both = TwoTenants::new().await;
    for tenant in [&both.one, &both.two] {
        let txn = tenant.begin_with_search_path().await.unwrap();
        let sql = "CREATE FUNCTION first_name() RETURNS text LANGUAGE plpgsql AS
            $$ BEGIN RETURN (SELECT min(name) FROM guards); END $$";
        txn.execute_unprepared(sql).await.unwrap();
        txn.commit().await.unwrap();
    }
    for (tenant, name) in [(&both.one, "Abu"), (&both.two, "Wim")] {
        let txn = tenant.begin_with_search_path().await.unwrap();
        assert_eq!(text(&txn, "SELECT first_name()").await, name);
        let qualified = r#"SELECT "@tenant".first_name()"#;
        assert_eq!(text(&txn, qualified).await, name);
    }
}

#[tokio::test]
async fn a_temporary_table_of_one_tenant_does_not_hide_the_table_of_the_next() {
    let both = TwoTenants::with_config(|config| Config { max_connections: 1, ..config }).await;
    let txn = both.one.begin_with_search_path().await.unwrap();
    let sql = "CREATE TEMPORARY TABLE guards AS SELECT 'Ghost' AS name";
    txn.execute_unprepared(sql).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(names(&both.two).await, "Wim Xia Yan Zoe");
    assert_eq!(names(&both.one).await, "Abu Bea Cem");
}

#[tokio::test]
async fn the_search_path_ends_with_the_transaction() {
    let both = TwoTenants::with_config(|config| Config { max_connections: 1, ..config }).await;
    let session = "SELECT pg_backend_pid()::text";
    let before = (text(&both.one, session).await, text(&both.one, "SHOW search_path").await);
    let failing = "SELECT 1 / 0";
    for end in ["commit", "rollback", "drop", "failure"] {
        let txn = both.one.begin_with_search_path().await.unwrap();
        assert_eq!(text(&txn, "SHOW search_path").await, r#""tenant_1", pg_temp"#);
        match end {
            "commit" => txn.commit().await.unwrap(),
            "rollback" => txn.rollback().await.unwrap(),
            "drop" => drop(txn),
            _ => {
                let error = txn.execute_unprepared(failing).await.unwrap_err();
                assert_eq!(sqlstate(&error), "22012");
                txn.commit().await.unwrap();
            }
        }
        let after = (text(&both.two, session).await, text(&both.two, "SHOW search_path").await);
        assert_eq!(after, before, "the same session, after {end}");
        let bare = both.two.query_one_raw(postgres("SELECT 1 FROM guards"));
        assert_eq!(sqlstate(&bare.await.unwrap_err()), "42P01");
    }
}
