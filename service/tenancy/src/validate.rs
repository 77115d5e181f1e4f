use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QuerySelect, Statement,
};
use tenantry_registry::{SchemaName, domain, tenant};

use super::{Error, NewTenant, Tenancy, naming::free_name};

impl Tenancy {
    /// Checks whether [`create`](Self::create) would refuse a tenant now. Changes nothing.
    ///
    /// # Errors
    /// As for [`create`](Self::create), except for errors of migrations and the seed.
    pub async fn validate_new(&self, new: &NewTenant) -> Result<(), Error> {
        let mut new = new.clone();
        new.normalize()?;
        let base = SchemaName::for_slug(&self.inner.schema_prefix, &new.slug)?;
        for hostname in &new.domains {
            self.check_domain(hostname)?;
        }
        let db = &self.inner.db;
        let rows = tenant::Entity::find_living()
            .filter(tenant::Column::Slug.eq(new.slug.clone()))
            .select_only()
            .column(tenant::Column::Id);
        if rows.into_tuple::<uuid::Uuid>().one(db).await?.is_some() {
            return Err(Error::SlugTaken(new.slug));
        }
        let schema = free_name(db, &self.inner.migrator, &base).await?;
        let taken = Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1",
            [schema.as_str().into()],
        );
        if db.query_one_raw(taken).await?.is_some() {
            return Err(Error::SchemaTaken(schema));
        }
        if !new.domains.is_empty() {
            let taken = domain::Entity::find().filter(domain::Column::Hostname.eq_any(new.domains));
            if let Some(domain) = taken.one(db).await? {
                return Err(Error::HostTaken(domain.hostname));
            }
        }
        Ok(())
    }
}
