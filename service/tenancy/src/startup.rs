//! The checks before the service starts.

use std::time::Duration;

use sea_orm::{ConnectOptions, DatabaseConnection};
use tenantry_migrate::{
    DynMigrator, Target, claim_application, confirm_extensions,
    connect::{self, SessionOptions},
    registry, shared_state,
};
use tokio::time::timeout;

use super::{
    Config, Error, ServingRole,
    owner::MAX_CONNECTIONS,
    pool::{PoolOptions, TenantPool, no_answer},
    require_writes,
};

/// For the checks of the registry.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The pool and its role, after the server and the registry were found to be usable.
pub(super) async fn open_pool(config: &Config) -> Result<(TenantPool, ServingRole), Error> {
    // Its error says why the server cannot be reached.
    let first = connect_plain(&config.connect_options, config, 1).await?;
    let pool = new_pool(&config.connect_options, config.statement_cache, &config.into()).await?;
    let owner = match &config.owner_options {
        Some(owner) => {
            let options = PoolOptions {
                max_connections: MAX_CONNECTIONS,
                tenant_share: 100,
                reserved_connections: 0,
                ..config.into()
            };
            Some(new_pool(owner, config.statement_cache, &options).await?)
        }
        None => None,
    };
    let pool = pool.with_owner(owner);
    require_writes(pool.test_connect().await?)?;
    let check = async {
        check_registry(&first, &config.migrator).await?;
        Ok::<_, Error>(ServingRole::read(&first).await?)
    };
    let checked = timeout(STARTUP_TIMEOUT, check).await;
    let role = checked.unwrap_or_else(|_| Err(no_answer(STARTUP_TIMEOUT).into()))?;
    if role.may_create_schemas {
        pool.owner().set_may_create();
    }
    first.close().await?;
    Ok((pool, role))
}

/// A pool whose connections are opened when they are first used.
async fn new_pool(
    connect: &ConnectOptions,
    statement_cache: usize,
    options: &PoolOptions,
) -> Result<TenantPool, Error> {
    let session =
        SessionOptions::new(connect, |driver| driver.statement_cache_capacity(statement_cache));
    Ok(TenantPool::new(session.await?, options))
}

/// Connections that are not bound to a tenant, in a pool of SeaORM.
pub(super) async fn connect_plain(
    options: &ConnectOptions,
    config: &Config,
    connections: u32,
) -> Result<DatabaseConnection, Error> {
    let mut options = options.clone();
    options
        .connect_lazy(false)
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(config.acquire_timeout)
        .map_sqlx_postgres_pool_opts(|options| options);
    Ok(connect::open_own(options).await?)
}

async fn check_registry(db: &DatabaseConnection, tenants: &DynMigrator) -> Result<(), Error> {
    let migrator = registry::migrator();
    let pending = match tenantry_migrate::state(db, &Target::Registry, &migrator).await {
        Ok(state) => state.pending.len(),
        Err(tenantry_migrate::Error::MissingRegistry) => migrator.names().len(),
        Err(error) => return Err(error.into()),
    };
    if pending > 0 {
        return Err(Error::RegistryBehind { pending });
    }
    claim_application(db, tenants).await?;
    confirm_extensions(db, tenants).await?;
    // A newer program may have migrated them further.
    let pending = shared_state(db, tenants).await?.pending.len();
    match tenants.shared() {
        Some(shared) if pending > 0 => {
            Err(Error::SharedBehind { schema: shared.schema().clone(), pending })
        }
        _ => Ok(()),
    }
}
