use std::time::Duration;

use local_postgres::Access;
use nix::unistd::{Uid, User};
use tenantry::{ColdStatements, Config, Tenancy};
use tenantry_migrate::{
    DynMigrator, Timeouts,
    connect::{self, DatabaseArgs, LocateError, Located},
    registry,
};

use super::{app::Configure, error::Error, options::TenancyArgs};

/// How a command connects: the application's configuration and the options.
pub(super) struct Connector {
    pub(super) config: Config,
    pub(super) configure: Vec<Configure>,
    pub(super) database: DatabaseArgs,
    /// Whether tenants' statements go through the pooler of the database URL where a direct URL is
    /// given, too. Otherwise everything uses the direct one.
    pub(super) serves: bool,
}

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

impl Connector {
    /// Locates the database and connects. Migrates what exists once on a local server first; on
    /// other servers that is part of a deployment.
    pub(super) async fn connect(
        self,
        args: &TenancyArgs,
        access: Access,
        actor: String,
    ) -> Result<ConnectedTenancy, Error> {
        let owner = self.database.owner()?;
        let direct = self.database.direct()?;
        if self.serves && direct.is_some() && !self.database.is_given() {
            return Err(Error::DirectOfOther);
        }
        let (located, direct) = match self.serves {
            true => (self.database.locate(access).await?, direct),
            false => (self.database.locate_direct(access).await?, None),
        };
        let uses_direct =
            !self.serves && located.server.is_none() && self.database.direct()?.is_some();
        let direct = direct.map(|url| connect::options(url.expose())).transpose()?;
        let owner = owner.map(|url| connect::options(url.expose())).transpose()?;
        let mut connect_options = connect::options(located.url.expose())?;
        let cold_statements = args.cold_statements.into();
        // The driver would log values.
        connect_options.sqlx_logging(cold_statements == ColdStatements::Prepared);
        let config = Config {
            connect_options,
            cold_statements,
            schema_prefix: args.schema_prefix.clone(),
            base_domain: args.base_domain.clone(),
            max_connections: args.max_connections,
            tenant_share: args.tenant_share,
            reserved_connections: args.reserved_connections,
            max_waiting: args.max_waiting,
            connection_memory: mebibytes(args.connection_memory),
            statement_cache: args.statement_cache.map(|count| count as usize),
            plan_cache_mode: args.plan_cache_mode.into(),
            statement_timeout: Some(args.statement_timeout).filter(|time| !time.is_zero()),
            spares: args.spares,
            audit_retention: days(args.audit_retention),
            actor,
            owner_options: owner,
            direct_options: direct,
            ..self.config
        };
        let config = self.configure.into_iter().fold(config, |config, configure| configure(config));
        if located.server.is_some() {
            migrate(&located, &config.migrator).await?;
        }
        let tenancy = Tenancy::connect(&config).await.map_err(|error| match error {
            tenantry::Error::Connect(error) if uses_direct => LocateError::Direct(error).into(),
            error => Error::from(error),
        })?;
        Ok(ConnectedTenancy { tenancy, located })
    }
}

/// A number of MiB as bytes; none for 0.
fn mebibytes(number: u32) -> Option<u64> {
    (number > 0).then(|| u64::from(number) * 1024 * 1024)
}

/// A number of days; none for 0.
fn days(days: u32) -> Option<Duration> {
    (days > 0).then(|| Duration::from_secs(u64::from(days) * 24 * 60 * 60))
}

async fn migrate(located: &Located, migrator: &DynMigrator) -> Result<(), Error> {
    let db = connect::connect_pool(located.url.expose(), 1).await?;
    registry::migrate(&db, migrator, Timeouts::default()).await?;
    db.close_by_ref().await.map_err(tenantry_migrate::Error::from)?;
    Ok(())
}
