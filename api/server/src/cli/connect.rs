use local_postgres::Access;
use nix::unistd::{Uid, User};
use tenantry::{Config, Tenancy};
use tenantry_migrate::{
    Action, DynMigrator, Target, TenantMigrator, Timeouts,
    connect::{self, Located},
    make_extensions, registry, run,
};

use super::{args::TenancyArgs, error::Error};

/// A connected [`Tenancy`] and its server.
pub(super) struct ConnectedTenancy {
    pub(super) tenancy: Tenancy,
    /// Kept until the command ends: a local server ends with it.
    pub(super) located: Located,
}

/// Name of the operating system's user that runs the command.
pub(super) fn user() -> String {
    let id = Uid::current();
    let user = User::from_uid(id).ok().flatten();
    user.map_or_else(|| format!("user {id}"), |user| user.name)
}

/// Locates the database and connects. Migrates the registry of a local server first; on other
/// servers that is part of a deployment.
pub(super) async fn connect_tenancy<M: TenantMigrator + Clone + 'static>(
    args: &TenancyArgs,
    access: Access,
    actor: String,
    migrator: &M,
) -> Result<ConnectedTenancy, Error> {
    let located = args.database.locate(access).await?;
    if located.server.is_some() {
        let db = connect::connect_pool(located.url.expose(), 1).await?;
        let registry = registry::migrator();
        run(&db, &Target::Registry, &registry, &Action::Up(None), Timeouts::default()).await?;
        make_extensions(&db, &DynMigrator::tenant(migrator.clone())).await?;
        db.close_by_ref().await.map_err(tenantry_migrate::Error::from)?;
    }
    let config = Config {
        schema_prefix: args.schema_prefix.clone(),
        base_domain: args.base_domain.clone(),
        max_connections: args.max_connections,
        tenant_share: args.tenant_share,
        reserved_connections: args.reserved_connections,
        max_waiting: args.max_waiting,
        statement_cache: args.statement_cache as usize,
        statement_timeout: Some(args.statement_timeout).filter(|time| !time.is_zero()),
        spares: args.spares,
        actor,
        ..Config::new(located.url.expose(), migrator.clone())
    };
    Ok(ConnectedTenancy { tenancy: Tenancy::connect(&config).await?, located })
}
