//! Objects created outside a schema while a non-transactional migration ran: they cannot be rolled
//! back, and the statements that created them have no transaction in common.

use sea_orm::DbErr;

use super::catalogs::later_sql;
use crate::{plan::Step, proxy::OwnSession};

/// Catalog contents before a migration.
pub(crate) struct StartOfMigration {
    snapshot: String,
    /// OIDs of the schemas that belong to no tenant, as an array.
    schemas: String,
    registry: bool,
}

impl StartOfMigration {
    pub(crate) async fn now(own: &mut OwnSession) -> Result<Self, DbErr> {
        let [registry] = own.texts("SELECT to_regclass('registry.tenants')::text", []).await?;
        let registry = registry.is_some();
        let sql = format!(
            "SELECT pg_current_snapshot()::text,
                 (SELECT array_agg(n.oid)::text FROM pg_namespace n {})",
            match registry {
                true => "WHERE nspname NOT IN (SELECT schema FROM registry.tenants)",
                false => "",
            }
        );
        let [snapshot, schemas] = own.texts(&sql, []).await?;
        let (snapshot, schemas) = (snapshot.unwrap_or_default(), schemas.unwrap_or_default());
        Ok(Self { snapshot, schemas, registry })
    }

    /// Returns the objects that were created since then outside `schema` and the schemas of tenants.
    /// Sends nothing if no statement of the migration can create one.
    pub(crate) async fn created_since(
        &self,
        own: &mut OwnSession,
        schema: &str,
        step: &Step,
    ) -> Result<Vec<String>, DbErr> {
        if !step.suppressions.may_reach_outside() {
            return Ok(Vec::new());
        }
        let values = [schema.into(), self.snapshot.clone().into(), self.schemas.clone().into()];
        own.column(&later_sql(self.registry), values).await
    }
}
