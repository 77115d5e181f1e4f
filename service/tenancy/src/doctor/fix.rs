use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QuerySelect, Statement,
    sea_query::LockType,
};
use serde_json::json;
use tenantry_migrate::remove_unfinished;
use tenantry_registry::{
    SchemaName, TenantId,
    audit::{self, Action},
    notify::{entry_inserted, tenant_changed},
    tenant,
};

use super::Remedy;
use crate::{Error, Tenancy, drop::delete_rows_of, lifecycle::keys_of, pool::Transaction};

impl Tenancy {
    /// Applies a remedy that is safe. Nothing happens if it is not needed any more.
    pub(super) async fn apply(&self, remedy: &Remedy) -> Result<(), Error> {
        match remedy {
            Remedy::FinishDrop { tenant } => match self.finish_drop(tenant).await {
                // Another program has finished it.
                Err(Error::UnknownTenant(_)) => Ok(()),
                dropped => dropped,
            },
            Remedy::RemoveUnfinished { schema } => {
                let name: SchemaName = schema.parse()?;
                let txn = self.inner.lifecycle.begin_for_ddl().await?;
                let is_removed = remove_unfinished(&txn, &name).await?;
                self.commit_removal(txn, schema, is_removed).await
            }
            Remedy::RemoveSpare { schema } => {
                let delete = Statement::from_sql_and_values(
                    DbBackend::Postgres,
                    "DELETE FROM registry.tenants t WHERE t.schema = $1 AND t.status = 'spare'
                     AND NOT EXISTS (
                         SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = t.schema)",
                    [schema.as_str().into()],
                );
                let txn = self.inner.lifecycle.begin().await?;
                let is_removed = txn.execute_raw(delete).await?.rows_affected() > 0;
                self.commit_removal(txn, schema, is_removed).await
            }
            Remedy::RemoveRows { tenant_id } => self.remove_rows(*tenant_id).await,
            _ => Ok(()),
        }
    }

    async fn commit_removal(
        &self,
        txn: Transaction,
        schema: &str,
        is_removed: bool,
    ) -> Result<(), Error> {
        if is_removed {
            let entry = self.entry(Action::Repaired).before(json!({ "schema": schema }));
            audit::record(&txn, entry, entry_inserted()).await?;
        }
        Ok(txn.commit().await?)
    }

    async fn remove_rows(&self, id: TenantId) -> Result<(), Error> {
        let txn = self.inner.lifecycle.begin().await?;
        let row = tenant::Entity::find_by_id(id)
            .filter(tenant::Column::Status.eq(tenant::Status::Dropped))
            .lock(LockType::NoKeyUpdate)
            .one(&txn)
            .await?;
        let Some(row) = row else { return Ok(()) };
        let keys = keys_of(&txn, &row).await?;
        let removed = delete_rows_of(&txn, id).await?;
        if removed > 0 {
            let entry =
                self.tenant_entry(Action::Repaired, &row).before(json!({ "rows": removed }));
            audit::record(&txn, entry, tenant_changed(id, keys)).await?;
        }
        Ok(txn.commit().await?)
    }
}
