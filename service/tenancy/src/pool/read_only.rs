//! Statements of a read-only tenant: PostgreSQL itself refuses those that write.

use sea_orm::{DbBackend, DbErr, Statement};
use tenantry_migrate::DbErrorKind;

use super::{
    super::{
        availability::TenantUnavailable,
        read_only::ReadOnlyTenant,
        statement::{Effect, sets_isolation_only},
        tenant_state::TenantState,
    },
    checkout::{Checkout, Enforcement},
    transaction::{self, execute, roll_back},
};

/// With a query, since until the first one a statement could make the transaction writable again
/// (PostgreSQL manual, SET TRANSACTION).
const BEGIN: &str = "BEGIN READ ONLY; SELECT 1";

const HAS_WRITTEN: &str = "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL";

/// SQLSTATE of every statement after one that has failed.
const TRANSACTION_FAILED: &str = "25P02";

/// Begins a read-only transaction for one statement.
pub(super) async fn begin(mut checkout: Checkout) -> Result<Checkout, DbErr> {
    checkout.begin_transaction(true);
    execute(&mut checkout, BEGIN, Effect::None).await?;
    Ok(checkout)
}

/// Ends the transaction of [`begin`]. A notification that the statement has sent is delivered.
pub(super) async fn commit(checkout: &mut Checkout) -> Result<(), DbErr> {
    transaction::commit(checkout).await
}

/// Makes a transaction read-only before a statement.
pub(super) async fn enforce(
    checkout: &mut Checkout,
    sql: &str,
    effect: Effect,
) -> Result<(), DbErr> {
    checkout.enforcement.by_tenant = true;
    let Enforcement { is_set, has_queried, .. } = checkout.enforcement;
    // A statement without an effect on the session is itself the first query.
    let query = effect != Effect::None && !has_queried && !sets_isolation_only(sql);
    let enforce = match (is_set, query) {
        (true, false) => return Ok(()),
        (true, true) => "SELECT 1",
        (false, false) => "SET TRANSACTION READ ONLY",
        (false, true) => "SET TRANSACTION READ ONLY; SELECT 1",
    };
    // Before it is sent, since a server that accepts no writes is detected by the same error.
    checkout.set_read_only();
    execute(checkout, enforce, Effect::None).await?;
    checkout.enforcement =
        Enforcement { is_set: true, has_queried: has_queried || query, by_tenant: true };
    Ok(())
}

/// The refusal of a write that is due to the tenant, as its error.
pub(super) fn explain(checkout: &Checkout, tenant: Option<&TenantState>, error: DbErr) -> DbErr {
    match tenant {
        Some(tenant)
            if checkout.enforcement.by_tenant
                && DbErrorKind::of(&error) == DbErrorKind::ReadOnly =>
        {
            ReadOnlyTenant::new(tenant.slug.clone()).into()
        }
        _ => error,
    }
}

/// Rolls back instead of committing if the tenant is read-only and the transaction has written
/// before that was known, or if that cannot be found out.
pub(super) async fn check_commit(
    checkout: &mut Checkout,
    tenant: &TenantState,
) -> Result<(), DbErr> {
    let error = match writes_refused(checkout, tenant).await {
        Ok(false) => return Ok(()),
        Ok(true) => ReadOnlyTenant::new(tenant.slug.clone()).into(),
        Err(error) => error,
    };
    // An error of the rollback has the same cause, and the connection is closed then.
    let _ = roll_back(checkout).await;
    Err(error)
}

/// Whether the tenant is read-only and the transaction has written.
async fn writes_refused(checkout: &mut Checkout, tenant: &TenantState) -> Result<bool, DbErr> {
    match tenant.check().await {
        // Whether the tenant is available is checked before statements.
        Err(error) if TenantUnavailable::find(&error).is_none() => return Err(error),
        _ if !tenant.is_read_only() => return Ok(false),
        _ => {}
    }
    let ask = Statement::from_string(DbBackend::Postgres, HAS_WRITTEN);
    let row = checkout.start(Effect::None)?.query_one(ask.into()).await;
    match checkout.finish(row) {
        Ok(Some(row)) => row.try_get_by_index(0),
        Ok(None) => Ok(false),
        // A transaction that has failed is rolled back by its commit.
        Err(error) if DbErrorKind::sqlstate(&error).as_deref() == Some(TRANSACTION_FAILED) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
