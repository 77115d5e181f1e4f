use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, Statement};
use serde_json::json;
use tenantry_migrate::remove_unfinished;
use tenantry_registry::{
    SchemaName, alias,
    audit::{self, Action},
    domain,
    notify::notify,
    tenant,
};

use super::Remedy;
use crate::{Error, Tenancy};

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
                let schema: SchemaName = schema.parse()?;
                let txn = self.inner.lifecycle.begin_for_ddl().await?;
                remove_unfinished(&txn, &schema).await?;
                Ok(txn.commit().await?)
            }
            Remedy::RemoveSpare { schema } => {
                let delete = Statement::from_sql_and_values(
                    DbBackend::Postgres,
                    "DELETE FROM registry.tenants t WHERE t.schema = $1 AND t.status = 'spare'
                     AND NOT EXISTS (
                         SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = t.schema)",
                    [schema.as_str().into()],
                );
                self.inner.db.execute_raw(delete).await?;
                Ok(())
            }
            Remedy::RemoveExpiredAliases => {
                let expired = alias::Column::ExpiresAt.lte(tenantry_registry::now());
                alias::Entity::delete_many().filter(expired).exec(&self.inner.db).await?;
                Ok(())
            }
            Remedy::RemoveDomain { hostname } => self.remove_stray_domain(hostname).await,
            _ => Ok(()),
        }
    }

    async fn remove_stray_domain(&self, hostname: &str) -> Result<(), Error> {
        let txn = self.inner.lifecycle.begin().await?;
        let found = domain::Entity::find()
            .find_also_related(tenant::Entity)
            .filter(domain::Column::Hostname.eq(hostname))
            .filter(tenant::Column::Status.eq(tenant::Status::Dropped))
            .one(&txn)
            .await?;
        let Some((domain, Some(row))) = found else { return Ok(()) };
        domain::Entity::delete_by_id(domain.hostname).exec(&txn).await?;
        let entry = self.tenant_entry(Action::DomainRemoved, &row);
        audit::record(&txn, entry.before(json!({ "hostname": hostname }))).await?;
        notify(&txn, row.id, [hostname.to_owned()]).await?;
        Ok(txn.commit().await?)
    }
}
