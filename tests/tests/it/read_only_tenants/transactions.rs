//! Transactions of read-only tenants.

use entity::guard;
use futures_util::TryStreamExt;
use sea_orm::{
    AccessMode, ActiveModelTrait, ConnectionTrait, EntityTrait, IsolationLevel, PaginatorTrait,
    StreamTrait, TransactionTrait,
};
use tenantry::{Config, DbErrorKind, ReadOnlyTenant, Tenancy, TenantTransaction};

use super::{Fixture, HIDDEN_WRITES, assert_refused, sql};
use crate::support::{abu, http_server::eventually};

/// Waits until the process knows that the tenant is read-only. Changes nothing before.
async fn known(txn: &TenantTransaction) {
    eventually("it is known", async || {
        let none = "DELETE FROM \"@tenant\".guards WHERE false";
        let refused = txn.execute_unprepared(none).await.err();
        refused.is_some_and(|error| ReadOnlyTenant::find(&error).is_some())
    })
    .await;
}

#[tokio::test]
async fn a_transaction_of_before_is_read_only_from_its_next_statement_on() {
    let it = Fixture::new().await;
    for write in HIDDEN_WRITES {
        for level in 0..3 {
            let txn = it.acme.begin().await.unwrap();
            let outer = txn.begin().await.unwrap();
            let inner = outer.begin().await.unwrap();
            let used = [&txn, &outer, &inner][level];
            if level > 0 {
                guard::Entity::find().count(used).await.unwrap();
            }
            // The only connection is taken, so the change is made by another process.
            let there = it.db.tenancy().await;
            there.set_read_only(it.acme.slug(), true).await.unwrap();
            known(used).await;
            assert_refused(used.query_all_raw(sql(write)).await, write);
            drop((inner, outer));
            txn.rollback().await.unwrap();
            it.set(false).await;
            there.close().await;
        }
        if write.starts_with("DO") {
            break;
        }
    }
}

#[tokio::test]
async fn a_transaction_that_has_written_before_is_rolled_back_by_its_commit() {
    let it = Fixture::new().await;
    let there = it.db.tenancy().await;
    for (writes, left) in [(false, "1"), (true, "1")] {
        let txn = it.acme.begin().await.unwrap();
        match writes {
            true => drop(abu().insert(&txn).await.unwrap()),
            false => drop(guard::Entity::find().all(&txn).await.unwrap()),
        }
        there.set_read_only(it.acme.slug(), true).await.unwrap();
        known(&txn).await;
        match writes {
            true => assert_refused(txn.commit().await, "commit"),
            false => txn.commit().await.unwrap(),
        }
        assert_eq!(it.guards().await, [left]);
        it.set(false).await;
    }
    abu().insert(&it.acme).await.unwrap();
    assert_eq!(it.guards().await, ["2"]);
}

#[tokio::test]
async fn a_commit_whose_check_fails_is_an_error_and_one_of_a_failed_transaction_is_not() {
    let it = Fixture::new().await;
    let role = format!("writer_{}", it.db.name());
    for sql in [
        format!("CREATE ROLE {role} LOGIN"),
        format!("GRANT USAGE ON SCHEMA registry, acme TO {role}"),
        format!("GRANT ALL ON ALL TABLES IN SCHEMA registry, acme TO {role}"),
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_current_xact_id_if_assigned() FROM PUBLIC"
            .to_owned(),
    ] {
        it.plain.execute_unprepared(&sql).await.unwrap();
    }
    let url = it.db.url().replacen("postgres@", &format!("{role}@"), 1);
    let tenancy = Tenancy::connect(&Config::new(url, migration::Migrator)).await.unwrap();
    let acme = tenancy.tenant(it.acme.slug()).await.unwrap();
    for fails_before in [true, false] {
        let txn = acme.begin().await.unwrap();
        abu().insert(&txn).await.unwrap();
        if fails_before {
            txn.execute_unprepared("SELECT 1 / 0").await.unwrap_err();
        }
        it.set(true).await;
        known(&txn).await;
        match (fails_before, txn.commit().await) {
            (true, committed) => committed.unwrap(),
            (false, committed) => {
                let error = committed.unwrap_err().to_string();
                assert!(error.contains("permission denied"), "{error}");
            }
        }
        assert_eq!(it.guards().await, ["1"]);
        it.set(false).await;
        eventually("the tenant is known to accept writes", async || {
            let txn = acme.begin().await.unwrap();
            let is_accepted = abu().insert(&txn).await.is_ok();
            txn.rollback().await.unwrap();
            is_accepted
        })
        .await;
    }
    eventually("the connection is used again", async || abu().insert(&acme).await.is_ok()).await;
    assert_eq!(it.guards().await, ["2"]);
    tenancy.close().await;
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    it.plain.execute_unprepared(&drop).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_begins_later_only_reads_whatever_it_asks_for() {
    let it = Fixture::new().await;
    it.set(true).await;
    for mode in [None, Some(AccessMode::ReadWrite), Some(AccessMode::ReadOnly)] {
        for write in HIDDEN_WRITES {
            let level = Some(IsolationLevel::RepeatableRead);
            let txn = it.acme.begin_with_config(level, mode).await.unwrap();
            let ask = sql("SELECT current_setting('transaction_isolation')");
            let row = txn.query_one_raw(ask).await.unwrap().unwrap();
            assert_eq!(row.try_get_by_index::<String>(0).unwrap(), "repeatable read");
            let savepoint = txn.begin_with_config(None, mode).await.unwrap();
            assert_refused(savepoint.query_all_raw(sql(write)).await, write);
            savepoint.rollback().await.unwrap();
            assert_refused(abu().insert(&txn).await, "insert");
            // It goes on after an error in a savepoint.
            assert_eq!(guard::Entity::find().count(&txn).await.unwrap(), 1);
            assert_refused(txn.execute_unprepared(write).await, write);
            txn.rollback().await.unwrap();
        }
    }
    // The first statement of a transaction, in each way that a statement may be sent.
    for write in HIDDEN_WRITES {
        let txn = it.acme.begin().await.unwrap();
        assert_refused(txn.execute_unprepared(write).await, write);
        drop(txn);
        let txn = it.acme.begin().await.unwrap();
        let rows = txn.stream_raw(sql(write)).await.unwrap();
        assert_refused(rows.try_collect::<Vec<_>>().await, write);
    }
    assert_eq!(it.guards().await, ["1"]);
}

#[tokio::test]
async fn a_statement_cannot_make_a_transaction_writable_again() {
    let it = Fixture::new().await;
    it.set(true).await;
    for attempt in [
        "SET TRANSACTION READ WRITE",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE",
        "SET transaction_read_only = off",
        "RESET transaction_read_only",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "DO $$ BEGIN SET TRANSACTION READ WRITE; END $$",
        "DO $$ BEGIN RESET transaction_read_only; END $$",
        "RESET ALL",
        "SET LOCAL default_transaction_read_only = off",
    ] {
        for in_savepoint in [false, true] {
            let txn = it.acme.begin().await.unwrap();
            let savepoint = if in_savepoint { Some(txn.begin().await.unwrap()) } else { None };
            let used = savepoint.as_ref().unwrap_or(&txn);
            // Refused, or without effect.
            let allowed = used.execute_unprepared(attempt).await.is_ok();
            if allowed {
                assert_refused(used.query_all_raw(sql(HIDDEN_WRITES[0])).await, attempt);
            }
        }
    }
    // A change of the isolation level is still possible before the first query.
    let txn = it.acme.begin().await.unwrap();
    let level = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE";
    txn.execute_unprepared(level).await.unwrap();
    assert_eq!(guard::Entity::find().count(&txn).await.unwrap(), 1);
    assert_refused(txn.query_all_raw(sql(HIDDEN_WRITES[0])).await, level);
    assert_eq!(it.guards().await, ["1"]);
}

#[tokio::test]
async fn unqualified_sql_and_work_in_shared_transactions_only_read_too() {
    let it = Fixture::new().await;
    it.plain
        .execute_unprepared("CREATE SCHEMA jobs; CREATE TABLE jobs.done (id int)")
        .await
        .unwrap();
    it.set(true).await;
    let txn = it.acme.begin_with_search_path().await.unwrap();
    txn.query_all_raw(sql("SELECT number_of_guards()")).await.unwrap();
    assert_refused(txn.query_all_raw(sql("SELECT write()")).await, "write");
    drop(txn);

    let shared = it.tenancy.shared();
    for ends in ["commit", "rollback", "drop"] {
        let txn = shared.begin().await.unwrap();
        txn.execute_unprepared("INSERT INTO jobs.done VALUES (1)").await.unwrap();
        let work = txn.for_tenant(&it.acme).await.unwrap();
        assert_eq!(guard::Entity::find().count(&work).await.unwrap(), 1);
        if ends != "commit" {
            assert_refused(work.query_all_raw(sql(HIDDEN_WRITES[0])).await, ends);
        }
        match ends {
            "commit" => work.commit().await.unwrap(),
            "rollback" => work.rollback().await.unwrap(),
            _ => drop(work),
        }
        // The shared tables are not the tenant's.
        txn.execute_unprepared("INSERT INTO jobs.done VALUES (2)").await.unwrap();
        let work = txn.for_tenant(&it.other).await.unwrap();
        abu().insert(&work).await.unwrap();
        work.commit().await.unwrap();
        txn.commit().await.unwrap();
    }
    assert_eq!(guard::Entity::find().count(&it.other).await.unwrap(), 3);
    assert_eq!(it.guards().await, ["1"]);
}

#[tokio::test]
async fn a_transaction_that_outlives_the_mode_reports_the_tenant_and_the_next_one_writes() {
    let it = Fixture::new().await;
    let there = it.db.tenancy().await;
    for begins_before in [false, true] {
        it.set(!begins_before).await;
        let txn = it.acme.begin().await.unwrap();
        if begins_before {
            there.set_read_only(it.acme.slug(), true).await.unwrap();
            known(&txn).await;
        }
        assert_eq!(guard::Entity::find().count(&txn).await.unwrap(), 1);
        there.set_read_only(it.acme.slug(), false).await.unwrap();
        eventually("the mode has ended", async || {
            // The transaction stays as it is: PostgreSQL refuses the write.
            let error = abu().insert(&txn).await.unwrap_err();
            assert!(ReadOnlyTenant::find(&error).is_some(), "{error}");
            it.tenancy.tenant(it.acme.slug()).await.unwrap();
            txn.execute_unprepared("SELECT 1").await.is_err()
        })
        .await;
        txn.rollback().await.unwrap();
    }
    abu().insert(&it.acme).await.unwrap();
    assert_eq!(it.guards().await, ["2"]);
}

#[tokio::test]
async fn the_callers_own_read_only_transaction_is_not_taken_for_the_tenants() {
    let it = Fixture::new().await;
    let mode = Some(AccessMode::ReadOnly);
    let txn = it.acme.begin_with_config(None, mode).await.unwrap();
    let error = abu().insert(&txn).await.unwrap_err();
    assert!(ReadOnlyTenant::find(&error).is_none(), "{error}");
    assert_eq!(DbErrorKind::of(&error), DbErrorKind::ReadOnly);
}
