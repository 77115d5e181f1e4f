//! The database that those of tests are copied from.

use std::{
    any::type_name,
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    sync::Arc,
};

use tenantry_migrate::{Timeouts, connect::connect_pool, registry};

use super::Failure;
use crate::{Config, Tenancy, spares::Spares};

/// Number of schemas that are ready for tenants.
const SPARES: u32 = 2;

/// A template for the tests of one executable with one migrator.
pub(super) struct Template {
    /// Differs if the registry or the schemas of tenants may differ.
    pub(super) key: u64,
    config: Config,
}

impl Template {
    pub(super) fn new<M>(config: &Config) -> io::Result<Self> {
        let migrator = &config.migrator;
        let mut hasher = DefaultHasher::new();
        // The statements of a migration are part of the executable.
        let executable = env::current_exe()?;
        let file = fs::metadata(&executable)?;
        (executable, file.len(), file.modified()?).hash(&mut hasher);
        (type_name::<M>(), migrator.names(), registry::migrator().names()).hash(&mut hasher);
        let shared = migrator.shared();
        shared.map(|it| (it.schema().as_str(), it.migrator().names())).hash(&mut hasher);
        Ok(Self { key: hasher.finish(), config: config.clone() })
    }

    /// Fills an empty database. Returns whether it has schemas that are ready for tenants.
    pub(super) async fn fill(&self, url: &str) -> Result<bool, Failure> {
        let db = connect_pool(url, 1).await?;
        let migrator = self.config.migrator.clone();
        registry::migrate(&db, &migrator, Timeouts::default()).await?;
        db.close().await?;
        let connect_options = tenantry_migrate::connect::options(url)?;
        let config = Config { connect_options, spares: 0, ..self.config.clone() };
        let tenancy = Tenancy::connect(&config).await?;
        let lifecycle = tenancy.inner.lifecycle.clone();
        let spares = Spares::new(SPARES, lifecycle, migrator, config.schema_prefix);
        let spares = Arc::new(spares);
        let has_spares = spares.is_supported().await;
        if has_spares && let Err(error) = spares.fill().await {
            // The first test that creates a tenant reports it.
            tracing::debug!(%error, "the template has no schemas for tenants");
        }
        tenancy.close().await;
        Ok(has_spares)
    }
}
