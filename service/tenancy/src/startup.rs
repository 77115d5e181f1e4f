//! The checks before the service starts.

use std::{sync::Arc, time::Duration};

use sea_orm::{ConnectOptions, DatabaseConnection, DbErr, RuntimeErr};
use tenantry_migrate::{
    DynMigrator, Target, claim_application, confirm_extensions, confirm_local,
    connect::{self, SessionOptions, is_same_database},
    registry, shared_state,
};
use tokio::time::timeout;

use super::{
    Config, Error, PoolerError, ServingRole,
    owner::MAX_CONNECTIONS,
    pool::{PoolOptions, TenantPool, no_answer},
    pooler, require_writes,
};

/// For the checks of the registry.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The pools of a process, and the role that serves tenants.
pub(super) struct Pools {
    pub(super) tenants: Arc<TenantPool>,
    /// For everything but the statements of tenants and of shared tables, if those go through a
    /// pooler.
    pub(super) direct: Option<Arc<TenantPool>>,
    pub(super) role: ServingRole,
}

impl Pools {
    /// The pool for the registry, creations and drops.
    pub(super) fn registry(&self) -> &Arc<TenantPool> {
        self.direct.as_ref().unwrap_or(&self.tenants)
    }
}

/// The pools, after the server and the registry were found to be usable.
pub(super) async fn open_pools(config: &Config) -> Result<Pools, Error> {
    let session = session(&config.connect_options, config).await?;
    let own = config.direct_options.as_ref();
    if own.is_some() {
        pooler::check_config(config, &session).await?;
    }
    // Its error says why the server cannot be reached.
    let first = match own {
        Some(direct) => connect_plain(direct, config, 1).await.map_err(of_direct_url)?,
        None => connect_plain(&config.connect_options, config, 1).await?,
    };
    let tenants = TenantPool::new(session, &config.into());
    let small = |tenant_share| PoolOptions {
        max_connections: MAX_CONNECTIONS,
        tenant_share,
        reserved_connections: 0,
        pooled: false,
        ..config.into()
    };
    let owner = match &config.owner_options {
        Some(owner) => Some(TenantPool::new(self::session(owner, config).await?, &small(100))),
        None => None,
    };
    let (tenants, direct) = match own {
        Some(direct) => {
            let session = self::session(direct, config).await.map_err(of_direct_url)?;
            // Creations leave one connection to queries of the registry.
            let direct = TenantPool::new(session, &small(75)).with_owner(owner);
            (tenants.with_health_of(&direct), Some(Arc::new(direct)))
        }
        None => (tenants.with_owner(owner), None),
    };
    let mut pools = Pools { tenants: Arc::new(tenants), direct, role: ServingRole::default() };
    require_writes(pools.registry().test_connect().await?)?;
    let check = async {
        check_registry(&first, &config.migrator).await?;
        Ok::<_, Error>(ServingRole::read(&first).await?)
    };
    let checked = timeout(STARTUP_TIMEOUT, check).await;
    pools.role = checked.unwrap_or_else(|_| Err(no_answer(STARTUP_TIMEOUT).into()))?;
    if pools.role.may_create_schemas {
        pools.registry().owner().set_may_create();
    }
    first.close().await?;
    if let Some(direct) = &pools.direct {
        pools.role = check_pooler(&pools.tenants, direct).await?;
    }
    Ok(pools)
}

/// Checks the connections through a pooler. Returns the role that they have.
async fn check_pooler(
    tenants: &Arc<TenantPool>,
    direct: &Arc<TenantPool>,
) -> Result<ServingRole, Error> {
    if let Some(settings) = tenants.role_settings() {
        let within = tenants.acquire_timeout();
        let proof = pooler::prove(tenants.session_options(), settings, within).await;
        proof.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))??;
    }
    require_writes(tenants.test_connect().await?)?;
    let txn = direct.lifecycle().begin().await?;
    let same = is_same_database(&txn, &tenants.registry()).await;
    txn.rollback().await?;
    if !same? {
        return Err(PoolerError::OtherDatabase.into());
    }
    Ok(ServingRole::read(&tenants.registry()).await?)
}

fn of_direct_url(error: Error) -> Error {
    match error {
        Error::Connect(error) => PoolerError::Direct(error).into(),
        error => error,
    }
}

/// The connections of a pool.
async fn session(connect: &ConnectOptions, config: &Config) -> Result<SessionOptions, Error> {
    let capacity = config.statements();
    let session = SessionOptions::new(connect, |driver| driver.statement_cache_capacity(capacity));
    Ok(session.await?)
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
    // Before its tables are read, which may fail in many ways then.
    confirm_local(db, &Target::Registry).await?;
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
    if let Some(shared) = tenants.shared() {
        confirm_local(db, &shared.target()).await?;
    }
    match tenants.shared() {
        Some(shared) if pending > 0 => {
            Err(Error::SharedBehind { schema: shared.schema().clone(), pending })
        }
        _ => Ok(()),
    }
}
