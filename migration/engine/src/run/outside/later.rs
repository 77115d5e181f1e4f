//! What has come to be outside a schema while a migration ran outside a transaction: nothing of
//! that can be rolled back, and its statements have no number in common by which they are known.

use sea_orm::{DbErr, sqlx::Row};

use super::catalogs::later_sql;
use crate::{plan::Step, proxy::OwnSession};

/// A moment before a migration.
pub(crate) struct Before {
    snapshot: String,
    /// The schemas that belong to no tenant, as an array of their numbers.
    schemas: String,
    registry: bool,
}

impl Before {
    /// This moment.
    pub(crate) async fn now(own: &mut OwnSession) -> Result<Self, DbErr> {
        let [registry] = own.texts("SELECT to_regclass('registry.tenants')::text").await?;
        let registry = registry.is_some();
        let sql = format!(
            "SELECT pg_current_snapshot()::text,
                 (SELECT array_agg(n.oid)::text FROM pg_namespace n {})",
            match registry {
                true => "WHERE nspname NOT IN (SELECT schema FROM registry.tenants)",
                false => "",
            }
        );
        let [snapshot, schemas] = own.texts(&sql).await?;
        let (snapshot, schemas) = (snapshot.unwrap_or_default(), schemas.unwrap_or_default());
        Ok(Self { snapshot, schemas, registry })
    }

    /// The objects outside `schema` and the schemas of tenants that have come to be since. Not
    /// asked after statements that can make none.
    pub(crate) async fn made_since(
        &self,
        own: &mut OwnSession,
        schema: &str,
        step: &Step,
    ) -> Result<Vec<String>, DbErr> {
        if !step.suppressions.may_reach_outside() {
            return Ok(Vec::new());
        }
        let values = [schema.into(), self.snapshot.clone().into(), self.schemas.clone().into()];
        let rows = own.send(&later_sql(self.registry), values).await?;
        let text = |error: sea_orm::sqlx::Error| DbErr::Type(error.to_string());
        rows.iter().map(|row| row.try_get(0).map_err(text)).collect()
    }
}
