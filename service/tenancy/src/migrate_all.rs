use std::{
    sync::{Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use sea_orm::{DatabaseConnection, TransactionTrait};
use tenantry_migrate::{
    Action, DynMigrator, Event, FleetOptions, Summary, TenantSelection, Timeouts,
    claim_application, connect::is_same_database, registry, run_fleet,
};
use tracing::{info, warn};

use super::{Config, Error, OwnerError, Tenancy, startup::connect_plain};

/// Number of tenants that are migrated at the same time.
const JOBS: u32 = 2;

const TIMEOUTS: Timeouts = Timeouts {
    lock: Some(Duration::from_secs(10)),
    snapshot: Some(Duration::from_secs(5 * 60)),
    // Also if the connection options have a timeout.
    statement: Some(Duration::ZERO),
};

impl Tenancy {
    /// Applies all pending migrations: the extensions, the registry, the tables that exist once, then
    /// every tenant. For a program that migrates when it starts:
    ///
    /// ```no_run
    /// # async fn example(url: String, migrator: impl tenantry_migrate::TenantMigrator + 'static)
    /// # -> Result<(), tenantry::Error> {
    /// use tenantry::{Config, Tenancy};
    ///
    /// let config = Config::new(url, migrator);
    /// Tenancy::migrate_all(&config).await?;
    /// let tenancy = Tenancy::connect(&config).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// Several processes may start at the same time: they wait for each other and share the tenants.
    /// A migration that waits for a table lock gives up after 10 seconds, so that statements of
    /// other programs do not queue behind it; statements have no timeout. Where nothing is pending,
    /// it takes a few queries.
    ///
    /// It is for few tenants and short migrations, since the program serves none of them before all
    /// are migrated, and for a role that may change schemas: that of [`Config::owner_url`] if it is
    /// set, else of [`Config::direct_url`]. In a rolling release, with many tenants
    /// or with long migrations, the migration command runs before the new programs start; it also
    /// has canaries, progress, limits on failures and a dry run. A tenant that a newer program has
    /// migrated is left as it is.
    ///
    /// # Errors
    /// - [`Error::Connect`];
    /// - [`Error::Owner`] if the owner's URL leads to another database; nothing was changed;
    /// - [`Error::Migration`] if the registry belongs to another application or is of a newer
    ///   program, or if extensions, the registry or the tables that exist once cannot be migrated;
    /// - [`Error::TenantsNotMigrated`] if tenants could not be migrated. All others are: the program
    ///   may log the error and serve those.
    pub async fn migrate_all(config: &Config) -> Result<(), Error> {
        let direct = config.direct_options.as_ref().unwrap_or(&config.connect_options);
        let owner = config.owner_options.as_ref().unwrap_or(direct);
        let db = connect_plain(owner, config, JOBS + 1).await?;
        let migrated = async {
            if config.owner_options.is_some() {
                let application = connect_plain(direct, config, 1).await?;
                confirm_same_database(application, &db).await?;
            }
            migrate(&db, &config.migrator).await
        };
        let migrated = migrated.await;
        let closed = db.close().await;
        migrated?;
        Ok(closed?)
    }
}

/// The owner's role migrates the database in which the application's role serves.
async fn confirm_same_database(
    application: DatabaseConnection,
    owner: &DatabaseConnection,
) -> Result<(), Error> {
    let txn = application.begin().await?;
    let same = is_same_database(&txn, owner).await?;
    txn.rollback().await?;
    application.close().await?;
    if same { Ok(()) } else { Err(OwnerError::OtherDatabase.into()) }
}

async fn migrate(db: &DatabaseConnection, migrator: &DynMigrator) -> Result<(), Error> {
    migrator.validate_breaking()?;
    // Before anything of another application is changed, and again once there is a registry.
    claim_application(db, migrator).await?;
    registry::migrate(db, migrator, TIMEOUTS).await?;
    claim_application(db, migrator).await?;
    migrate_tenants(db, migrator).await
}

async fn migrate_tenants(db: &DatabaseConnection, migrator: &DynMigrator) -> Result<(), Error> {
    let options = FleetOptions { jobs: JOBS as usize, timeouts: TIMEOUTS, ..Default::default() };
    let failures = Mutex::new(Vec::new());
    let report = |event: &Event<'_>| match event {
        Event::Done { tenant, outcome, .. } if outcome.changed() => {
            info!(%tenant, applied = ?outcome.applied, "migrated");
        }
        Event::Failed { tenant, error } => match error {
            tenantry_migrate::Error::UnknownMigrations { .. } => {
                warn!(%tenant, %error, "not migrated: a newer program has migrated it");
            }
            error => {
                warn!(%tenant, %error, "not migrated");
                let failure = (tenant.to_string(), error.to_string());
                failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
            }
        },
        _ => {}
    };
    let stop = AtomicBool::new(false);
    let (all, up) = (TenantSelection::All, Action::Up(None));
    let summary = run_fleet(db, migrator, &all, &up, &options, &stop, report).await?;
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    match summary {
        Summary { not_started, .. } if !failures.is_empty() || not_started > 0 => {
            Err(Error::TenantsNotMigrated { failures, not_started })
        }
        _ => Ok(()),
    }
}
