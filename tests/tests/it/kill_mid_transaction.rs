//! A tenant is complete or absent, at whatever step the connection breaks.

mod api_keys;
mod changes;

use entity::{guard, shift};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, PaginatorTrait,
    QueryFilter, Statement,
};
use tenantry::{Availability, Config, DoctorOptions, Error, NewTenant, Tenancy, TenantUnavailable};
use tenantry_migrate::{DynMigrator, Target, state};
use tenantry_registry::{Slug, tenant};

use crate::support::{TestDb, catalog::texts, http_server::eventually, slug, tcp_proxy::TcpProxy};

/// Whether there is a registry row, and whether there is a schema.
async fn traces(db: &DatabaseConnection, slug: &Slug) -> (bool, bool) {
    let row = tenant::Entity::find_living().filter(tenant::Column::Slug.eq(slug.clone()));
    let schema = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname ~ ('^' || replace($1, '-', '_') || '(_[0-9]+)?$')",
        [slug.to_string().into()],
    );
    let row = row.count(db).await.unwrap() > 0;
    (row, db.query_one_raw(schema).await.unwrap().is_some())
}

/// Asserts that nothing is half done or stray.
async fn assert_well(tenancy: &Tenancy) {
    let options = DoctorOptions { min_age: std::time::Duration::ZERO };
    assert_eq!(tenancy.doctor(&options).await.unwrap().findings, []);
}

/// Asserts that the tenant is complete, at the newest version.
async fn assert_whole(db: &DatabaseConnection, tenancy: &Tenancy, slug: &Slug) {
    let record = tenancy.get(slug).await.unwrap().unwrap();
    let migrator = DynMigrator::new(migration::Migrator);
    assert_eq!(record.schema_version, migrator.latest());
    let state = state(db, &Target::Schema(record.schema), &migrator).await.unwrap();
    assert_eq!(state.applied, migrator.names());
    let tenant = tenancy.tenant(slug).await.unwrap();
    assert_eq!(guard::Entity::find().count(&tenant).await.unwrap(), 0);
    assert_eq!(shift::Entity::find().count(&tenant).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provisioning_that_is_killed_at_any_step_leaves_nothing() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let wire = TcpProxy::new().await;
    let config = Config::new(wire.url(db.name()), migration::Migrator);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let mut killed = 0;
    loop {
        let slug = slug(&format!("tenant-{killed}"));
        wire.terminate_after(killed);
        let result = tenancy.create(NewTenant::new(slug.clone())).await;
        if !wire.disarm() {
            // There was no further step, so it succeeded.
            result.unwrap();
            assert_whole(&plain, &tenancy, &slug).await;
            break;
        }
        killed += 1;
        match result {
            // The pool detected it in time and used another connection.
            Ok(_) => assert_whole(&plain, &tenancy, &slug).await,
            Err(_) => {
                assert_eq!(traces(&plain, &slug).await, (false, false), "step {killed}");
                tenancy.create(NewTenant::new(slug.clone())).await.unwrap();
                assert_whole(&plain, &tenancy, &slug).await;
            }
        }
    }
    assert_well(&tenancy).await;
    assert!(killed > 5, "only {killed} steps were seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_a_spare_that_is_killed_at_any_step_leaves_the_spare() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let wire = TcpProxy::new().await;
    let mut config = Config::new(wire.url(db.name()), migration::Migrator);
    config.spares = 1;
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let spares = "SELECT schema FROM registry.tenants WHERE status = 'spare'";
    let mut killed = 0;
    loop {
        eventually("there is a spare", async || texts(&plain, spares).await.len() == 1).await;
        // Until the task that created it has counted it.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let spare = texts(&plain, spares).await;
        let slug = slug(&format!("tenant-{killed}"));
        wire.terminate_after(killed);
        let result = tenancy.create(NewTenant::new(slug.clone())).await;
        if !wire.disarm() {
            result.unwrap();
            assert_whole(&plain, &tenancy, &slug).await;
            break;
        }
        killed += 1;
        if result.is_err() {
            assert_eq!(traces(&plain, &slug).await, (false, false), "step {killed}");
            assert_eq!(texts(&plain, spares).await, spare, "step {killed}");
            tenancy.create(NewTenant::new(slug.clone())).await.unwrap();
        }
        assert_whole(&plain, &tenancy, &slug).await;
    }
    assert_well(&tenancy).await;
    assert!(killed > 5, "only {killed} steps were seen");
    let all = tenantry_migrate::drift::VerifyTarget::All;
    let migrator = DynMigrator::new(migration::Migrator);
    let found = tenantry_migrate::drift::verify(&plain, &migrator, &all).await.unwrap();
    assert!(found.is_clean(), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_in_many_steps_that_is_killed_at_any_of_them_is_finished_by_the_next() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let wire = TcpProxy::new().await;
    let config = Config::new(wire.url(db.name()), migration::Migrator);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let slug = slug("tenant-1");
    let many = |schema| {
        format!(
            "DO $$ BEGIN FOR n IN 1..260 LOOP
             EXECUTE format('CREATE TABLE {schema}.t%s (id int PRIMARY KEY)', n);
             END LOOP; END $$"
        )
    };
    let dropping = "SELECT slug FROM registry.tenants WHERE status = 'dropping'";
    let (mut killed, mut halves) = (0, 0);
    loop {
        if tenancy.get(&slug).await.unwrap().is_none() {
            let record = tenancy.create(NewTenant::new(slug.clone())).await.unwrap();
            plain.execute_unprepared(&many(record.schema)).await.unwrap();
        }
        wire.terminate_after(killed);
        let result = tenancy.drop(&slug).await;
        if !wire.disarm() {
            result.unwrap();
            assert_eq!(traces(&plain, &slug).await, (false, false));
            break;
        }
        killed += 3;
        if result.is_err() && texts(&plain, dropping).await.is_empty() {
            assert_whole(&plain, &tenancy, &slug).await;
        } else if result.is_err() {
            halves += 1;
            tenancy.tenant(&slug).await.unwrap_err();
            tenancy.drop(&slug).await.unwrap();
            assert_eq!(traces(&plain, &slug).await, (false, false));
        }
    }
    assert_well(&tenancy).await;
    assert!(halves > 4, "only {halves} drops were interrupted half-way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_that_is_killed_at_any_step_leaves_the_tenant_whole_or_refused_until_it_is_finished()
{
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let wire = TcpProxy::new().await;
    let config = Config::new(wire.url(db.name()), migration::Migrator);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    let slug = slug("tenant-1");
    let dropping = "SELECT slug FROM registry.tenants WHERE status = 'dropping'";
    let (mut killed, mut marked) = (0, 0);
    loop {
        if tenancy.get(&slug).await.unwrap().is_none() {
            tenancy.create(NewTenant::new(slug.clone())).await.unwrap();
        }
        wire.terminate_after(killed);
        let result = tenancy.drop(&slug).await;
        if !wire.disarm() {
            result.unwrap();
            assert_eq!(traces(&plain, &slug).await, (false, false));
            break;
        }
        killed += 1;
        match result {
            Ok(()) => assert_eq!(traces(&plain, &slug).await, (false, false)),
            // The connection broke after the end.
            Err(_) if tenancy.get(&slug).await.unwrap().is_none() => {
                assert_eq!(traces(&plain, &slug).await, (false, false));
            }
            Err(_) if !texts(&plain, dropping).await.is_empty() => {
                marked += 1;
                assert_eq!(traces(&plain, &slug).await, (true, true), "step {killed}");
                let error = tenancy.tenant(&slug).await.unwrap_err();
                let Error::Unavailable(found) = error else { panic!("{error}") };
                let refused = TenantUnavailable::new(found.id, slug.clone(), Availability::Dropped);
                assert_eq!(found, refused);
                tenancy.drop(&slug).await.unwrap();
                assert_eq!(traces(&plain, &slug).await, (false, false));
            }
            Err(_) => assert_whole(&plain, &tenancy, &slug).await,
        }
    }
    assert_well(&tenancy).await;
    assert!(killed > 8 && marked > 0, "only {killed} steps were seen, {marked} of them marked");
}
