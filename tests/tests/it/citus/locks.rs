//! While a migration runs outside a transaction, the transaction that holds the claim has touched
//! the registry's row only. On Citus, a tenant's table that it had read would keep a session open on
//! the node, whose snapshot a concurrent index build waits for, without an end, since the claim waits
//! for the build.

use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};
use tenantry::{NewTenant, Tenancy};
use tenantry_migrate::{Action, FleetOptions, Target, TenantSelection, Timeouts, run, run_fleet};

use crate::support::{
    TestDb,
    catalog::texts,
    http_server::eventually,
    slug,
    sql_migration::{BOOKS, INDEX, SHELF, sql_migrator},
};

/// Sessions that hold a lock on a relation of the tenant or have a snapshot, besides the one that
/// builds the index and the one that it waits for.
const OTHERS: &str = "SELECT a.application_name || ' ' || coalesce(c.relname, 'snapshot')
    FROM pg_stat_activity a
    LEFT JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'relation'
    LEFT JOIN pg_class c ON c.oid = l.relation AND c.relnamespace = 'acme'::regnamespace
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
    AND a.query NOT LIKE '%INDEX CONCURRENTLY%' AND a.application_name <> 'report'
    AND (c.oid IS NOT NULL OR a.backend_xmin IS NOT NULL AND a.state LIKE 'idle%')";

/// Sessions that hold the claim: an open transaction with a lock on the tenant's row.
const CLAIMS: &str = "SELECT a.pid::text FROM pg_stat_activity a JOIN pg_locks l USING (pid)
    WHERE l.relation = 'registry.tenants'::regclass AND l.mode = 'RowShareLock'
    AND a.state LIKE 'idle in transaction%' AND a.datname = current_database()";

#[tokio::test(flavor = "multi_thread")]
async fn the_claim_holds_the_registrys_row_only_while_an_index_is_built() {
    for fleet in [false, true] {
        let db = TestDb::new().await;
        let config = tenantry::Config::new(db.url(), sql_migrator([BOOKS]));
        let tenancy = Tenancy::connect(&config).await.unwrap();
        tenancy.create(NewTenant::new(slug("acme"))).await.unwrap();
        tenancy.close().await;
        let plain = db.plain().await;
        // The build waits for this transaction.
        let report = plain.begin().await.unwrap();
        report
            .execute_unprepared(
                "SET LOCAL application_name = 'report';
                 SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class",
            )
            .await
            .unwrap();
        let migrator = tenantry_migrate::DynMigrator::tenant(sql_migrator([BOOKS, SHELF, INDEX]));
        let up = Action::Up(None);
        let runs = db.plain().await;
        let run = async {
            if fleet {
                let (options, stop) = (FleetOptions::default(), false.into());
                let all = TenantSelection::All;
                let done = run_fleet(&runs, &migrator, &all, &up, &options, &stop, |_| {}).await;
                assert_eq!(done.unwrap().done, 1);
            } else {
                let acme = Target::Schema("acme".parse().unwrap());
                run(&runs, &acme, &migrator, &up, Timeouts::default()).await.unwrap();
            }
        };
        let watch = async {
            let waits = "SELECT pid::text FROM pg_stat_activity WHERE wait_event = 'virtualxid'
                AND query LIKE 'CREATE UNIQUE INDEX CONCURRENTLY%'
                AND datname = current_database()";
            eventually("the build waits", async || texts(&plain, waits).await.len() == 1).await;
            for _ in 0..10 {
                assert_eq!(texts(&plain, CLAIMS).await.len(), 1);
                assert_eq!(texts(&plain, OTHERS).await, [""; 0]);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            report.rollback().await.unwrap();
        };
        tokio::join!(run, watch);
        let valid = "SELECT indisvalid::text FROM pg_index
            WHERE indexrelid = 'acme.books_title_idx'::regclass";
        assert_eq!(texts(&plain, valid).await, ["true"]);
    }
}
