//! Tables that exist once stay on the coordinator, also if the role or the database places new
//! schemas on nodes.

use sea_orm::ConnectionTrait;
use tenantry::{Error, NewTenant, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Error as MigrationError, SharedMigrator, Target, TenantMigrator, Timeouts,
    dry_run, registry, run,
};

use super::stand_in::{cluster, install};
use crate::support::{
    TestDb,
    catalog::{schemas, texts},
    process::Ran,
    slug,
    sql_migration::{BOOKS, SHELF, SqlMigrator, sql_migrator},
};

const PLACED: &str =
    "SELECT schemaid::regnamespace::text FROM pg_catalog.pg_dist_schema ORDER BY 1";

/// Books of each tenant, and one table that exists once.
#[derive(Clone)]
struct WithShared(SqlMigrator);

impl sea_orm_migration::MigratorTraitSelf for WithShared {
    fn migrations(&self) -> Vec<Box<dyn sea_orm_migration::MigrationTrait>> {
        self.0.migrations()
    }
}

impl TenantMigrator for WithShared {
    fn shared(&self) -> Option<SharedMigrator> {
        Some(SharedMigrator::new(sql_migrator([BOOKS])))
    }
}

#[tokio::test]
async fn only_tenants_are_placed_on_nodes() {
    let db = TestDb::new().await;
    db.plain().await.execute_unprepared("DROP SCHEMA registry CASCADE").await.unwrap();
    install(&db).await;
    let plain = db.plain().await;
    let up = Action::Up(None);
    let config = tenantry::Config::new(db.url(), WithShared(sql_migrator([BOOKS])));
    // Also by the script that a dry run prints.
    let printed = dry_run(&plain, &Target::Registry, &registry::migrator(), &up).await.unwrap();
    let off = "set_config('citus.enable_schema_based_sharding', 'off', true)";
    let position = |text: &str| printed.iter().position(|sql| sql.contains(text)).unwrap();
    assert!(position(off) < position("CREATE SCHEMA"), "{printed:#?}");
    registry::migrate(&plain, &config.migrator, Timeouts::default()).await.unwrap();
    assert_eq!(schemas(&plain).await, ["public", "registry", "shared", "stand_in"]);
    assert_eq!(texts(&plain, PLACED).await, [""; 0]);
    let tenancy = Tenancy::connect(&config).await.unwrap();
    tenancy.create(NewTenant::new(slug("acme"))).await.unwrap();
    assert_eq!(texts(&plain, PLACED).await, ["acme"]);
    // A schema that is made again.
    let shared = config.migrator.shared().unwrap();
    let fresh = Action::Fresh { cascade: true };
    run(&plain, &shared.target(), shared.migrator(), &fresh, Timeouts::default()).await.unwrap();
    assert_eq!(texts(&plain, PLACED).await, ["acme"]);
}

#[tokio::test]
async fn without_citus_no_setting_of_it_is_made_or_printed() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let shared = SharedMigrator::new(sql_migrator([BOOKS]));
    let (target, up) = (shared.target(), Action::Up(None));
    let printed = dry_run(&plain, &target, shared.migrator(), &up).await.unwrap();
    assert!(!printed.iter().any(|sql| sql.contains("citus")), "{printed:#?}");
    run(&plain, &target, shared.migrator(), &up, Timeouts::default()).await.unwrap();
    let setting =
        "SELECT coalesce(current_setting('citus.enable_schema_based_sharding', true), '')";
    assert_eq!(texts(&plain, setting).await, [""]);
}

#[tokio::test]
async fn a_distributed_registry_is_refused_with_the_remedy() {
    let db = cluster().await;
    let plain = db.plain().await;
    // As a registry that was made while the role had sharding on, or by hand.
    plain
        .execute_unprepared("INSERT INTO pg_dist_schema VALUES ('registry'::regnamespace, 99)")
        .await
        .unwrap();
    let remedy = "SELECT citus_schema_undistribute('registry')";
    let refused = Tenancy::connect(&db.config()).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Migration(MigrationError::Distributed { schema }) if schema == "registry"),
        "{refused}"
    );
    assert!(refused.to_string().contains(remedy), "{refused}");
    for (program, arguments, status) in [
        ("migration", &["up", "--registry"][..], 1),
        ("migration", &["up", "--all"], 1),
        ("tenantry", &["tenant", "list"], 1),
        ("tenantry", &["doctor"], 2),
    ] {
        Ran::on(program, &db.url(), arguments).exits(status).complains([remedy]);
    }
    plain.execute_unprepared("DELETE FROM pg_dist_schema WHERE colocationid = 99").await.unwrap();
    Tenancy::connect(&db.config()).await.unwrap();

    // One table of it that was distributed.
    plain
        .execute_unprepared(
            "INSERT INTO pg_dist_partition VALUES ('registry.audit'::regclass, 'h', 7, 's')",
        )
        .await
        .unwrap();
    let refused = Tenancy::connect(&db.config()).await.unwrap_err();
    assert!(refused.to_string().contains("undistribute_table"), "{refused}");
    // Citus knows the table, which stays on the coordinator.
    plain
        .execute_unprepared("UPDATE pg_dist_partition SET partmethod = 'n', colocationid = 0")
        .await
        .unwrap();
    Tenancy::connect(&db.config()).await.unwrap();
}

#[tokio::test]
async fn distributed_shared_tables_are_refused() {
    let db = cluster().await;
    let plain = db.plain().await;
    let migrators = |shared| DynMigrator::tenant(WithShared(sql_migrator(shared)));
    registry::migrate(&plain, &migrators([BOOKS, SHELF]), Timeouts::default()).await.unwrap();
    plain
        .execute_unprepared("INSERT INTO pg_dist_schema VALUES ('shared'::regnamespace, 99)")
        .await
        .unwrap();
    let again = registry::migrate(&plain, &migrators([BOOKS, SHELF]), Timeouts::default()).await;
    let refused = again.unwrap_err();
    assert!(matches!(&refused, MigrationError::Distributed { schema } if schema == "shared"));
}
