//! A node that cannot be reached: only its tenants are affected.

use std::sync::Mutex;

use sea_orm::{ConnectionTrait, DatabaseConnection, EntityTrait};
use serde_json::Value;
use tenantry::{DbErrorKind, Error, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Event, FleetOptions, TenantSelection,
    drift::{Finding, VerifyTarget, verify},
    run_fleet,
};

use super::stand_in::cluster;
use crate::support::{TestDb, catalog::texts, process::Ran, slug};

/// Fails as a statement does whose node cannot be reached.
pub const UNREACHABLE: &str = "
    CREATE FUNCTION stand_in.unreachable() RETURNS boolean LANGUAGE plpgsql AS $down$
    BEGIN
        RAISE EXCEPTION 'connection to the remote node app@worker-2:5432 failed with the following error: Connection refused'
            USING ERRCODE = 'connection_failure';
    END $down$;
    CREATE TYPE stand_in.lost AS (version text);
    CREATE FUNCTION stand_in.text(stand_in.lost) RETURNS text LANGUAGE sql
        AS 'SELECT stand_in.unreachable()::text';
    CREATE CAST (stand_in.lost AS text) WITH FUNCTION stand_in.text(stand_in.lost)";

/// Takes the rows of a table of a tenant down: from now on, statements that read it fail.
pub async fn take_down(plain: &DatabaseConnection, schema: &str, table: &str) {
    plain
        .execute_unprepared(&format!(
            "ALTER TABLE {schema}.{table} RENAME TO {table}_away;
             CREATE VIEW {schema}.{table} AS SELECT away.*
                 FROM (SELECT stand_in.unreachable() OFFSET 0) first
                 LEFT JOIN {schema}.{table}_away away ON true"
        ))
        .await
        .unwrap();
}

/// The same for the migrations table, which stays a table.
async fn take_records_down(plain: &DatabaseConnection, schema: &str) {
    plain
        .execute_unprepared(&format!(
            "ALTER TABLE {schema}.seaql_migrations ALTER version TYPE stand_in.lost
                 USING ROW(version)::stand_in.lost"
        ))
        .await
        .unwrap();
}

/// Tenants on two nodes in turn; the second node is down, as far as its `table` is concerned, or else
/// the records of its migrations.
async fn half_down(table: Option<&str>) -> (TestDb, DatabaseConnection, Tenancy) {
    let slugs = ["a", "b", "c", "d"];
    let db = cluster().await;
    let (tenancy, _) = db.with_tenants(slugs).await;
    let plain = db.plain().await;
    plain.execute_unprepared(UNREACHABLE).await.unwrap();
    let mut down = Vec::new();
    for (schema, node) in
        tenantry_migrate::nodes_of(&plain, slugs.map(str::to_owned).to_vec()).await.unwrap()
    {
        if node.host == "worker-2" {
            match table {
                Some(table) => take_down(&plain, &schema, table).await,
                None => take_records_down(&plain, &schema).await,
            }
            down.push(schema);
        }
    }
    assert_eq!(down.len(), 2);
    (db, plain, tenancy)
}

#[tokio::test]
async fn verify_goes_on_past_a_node_that_is_down_and_lists_its_tenants() {
    let (db, plain, _tenancy) = half_down(None).await;
    let migrator = DynMigrator::tenant(migration::Migrator);
    let found = verify(&plain, &migrator, &VerifyTarget::All).await.unwrap();
    let [Finding::Unreachable { tenants, node, reason }] = &found.findings[..] else {
        panic!("{found}")
    };
    assert_eq!(node.as_ref().unwrap().to_string(), "worker-2:5432");
    assert_eq!(tenants.len(), 2);
    assert!(reason.contains("Connection refused"), "{reason}");
    assert_eq!((found.schemas, found.drifted), (2, 0));
    // One statement for the node, not one for each of its tenants: it may take half a minute.
    let tries = db.statements();
    let tries = tries.iter().filter(|sql| {
        tenants
            .iter()
            .any(|it| sql.contains(&format!("{}.\"seaql_migrations\"", it.schema.quoted())))
    });
    assert_eq!(tries.count(), 2, "the batch, and the node once");

    let ran = Ran::on("migration", &db.url(), &["verify", "--all"]).exits(1);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        lines[0].starts_with(
            "2 tenants not verified, since their node worker-2:5432 cannot be reached: "
        ),
        "{ran:#?}"
    );
    assert_eq!(lines[2], "2 schemas checked: 2 match, 2 schemas not reached", "{ran:#?}");
    assert_eq!((lines.len(), ran.stderr.as_str()), (3, ""), "{ran:#?}");
    let ran = Ran::on("migration", &db.url(), &["verify", "--all", "--json"]).exits(1);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["findings"][0]["finding"], "unreachable");
    assert_eq!(json["findings"][0]["node"], serde_json::json!({"host": "worker-2", "port": 5432}));
    // One tenant.
    let slug = tenants[0].slug.as_ref().unwrap().as_str();
    Ran::on("migration", &db.url(), &["verify", "--tenant", slug])
        .exits(1)
        .says(["1 tenant not verified", "0 schemas checked"]);
}

#[tokio::test]
async fn a_tenant_on_a_node_that_is_down_is_refused_and_others_go_on() {
    let (_db, plain, tenancy) = half_down(Some("guards")).await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut refused = 0;
        for name in ["a", "b", "c", "d"] {
            let tenant = tenancy.tenant(&slug(name)).await.unwrap();
            if let Err(error) = entity::guard::Entity::find().all(&tenant).await {
                assert_eq!(DbErrorKind::of(&error), DbErrorKind::NodeUnavailable, "{error}");
                assert_eq!(Error::from(error).cause(), None);
                refused += 1;
            }
        }
        assert_eq!(refused, 2);
        let sessions = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database()
            AND query LIKE '%\"guards\".\"id\"%' AND pid <> pg_backend_pid()";
        seen.push(texts(&plain, sessions).await);
    }
    assert!(!seen[0].is_empty());
    assert!(seen[0].iter().all(|pid| seen[1].contains(pid)), "the connections go on: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_run_fails_only_the_tenants_of_a_node_that_is_down() {
    let (_db, plain, _tenancy) = half_down(Some("seaql_migrations")).await;
    let migrator = DynMigrator::tenant(migration::Migrator);
    let options = FleetOptions { max_attempts: 1, ..FleetOptions::default() };
    let (all, down) = (TenantSelection::All, Action::Down(1));
    let stop = false.into();
    let errors = Mutex::new(Vec::new());
    let report = |event: &Event<'_>| {
        if let Event::Failed { error, .. } = event {
            errors.lock().unwrap().push(error.to_string());
        }
    };
    let done = run_fleet(&plain, &migrator, &all, &down, &options, &stop, report).await.unwrap();
    let errors = errors.into_inner().unwrap();
    assert_eq!((done.done, done.failed, done.not_started), (2, 2, 0), "{errors:#?}");
    assert!(errors.iter().all(|error| error.contains("worker-2:5432")), "{errors:#?}");
}
