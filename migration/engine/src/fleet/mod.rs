//! Runs that migrate many schemas.

mod batch;
mod failure;
mod notifier;
mod queue;
mod status;
mod tenants;
mod worker;

use std::{
    sync::atomic::{AtomicBool, AtomicUsize},
    time::Duration,
};

use sea_orm::DatabaseConnection;
use serde::Serialize;
use tokio::sync::Mutex;

pub use status::{
    DroppingTenant, FailedTenant, FleetStatus, MigrationFailure, SharedStatus, VersionCount,
    VersionStatus, fleet_status, tenants_status,
};
pub use tenants::{Canary, FleetTenant, TenantSelection, fleet_tenants, tenants_by_slug};

use crate::{
    Action, DynMigrator, Error, MigrationOutcome, Timeouts, confirm_extensions,
    registry::compatibility::confirm_audit, run::SessionCheck,
};
use batch::BatchRunner;
use notifier::ChangeNotifier;
use queue::Queue;
use tenants::{canaries, tenants_behind, wait_for_provisioning};
use worker::Workers;

/// Options of a fleet run.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// Tenants that are migrated concurrently; at most the size of the pool.
    pub jobs: usize,
    /// Limits for the migration of one tenant.
    pub timeouts: Timeouts,
    /// Attempts for a tenant that runs into a lock timeout or a conflict with another transaction.
    pub max_attempts: u32,
    /// How long to retry a tenant whose server is unreachable. The run stops if no server responds
    /// for that long.
    pub outage_timeout: Duration,
    /// Failures after which no more tenants are started.
    pub max_failures: Option<FailureLimit>,
    /// Tenants that are migrated first: if one of them fails, no other tenant is started.
    pub canary: Option<Canary>,
}

impl Default for FleetOptions {
    /// One tenant at a time, up to five attempts, one minute for outages; no other limits.
    fn default() -> Self {
        Self {
            jobs: 1,
            timeouts: Timeouts::default(),
            max_attempts: 5,
            outage_timeout: Duration::from_secs(60),
            max_failures: None,
            canary: None,
        }
    }
}

/// Number of tenants, or a share of those that a run works on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FailureLimit {
    /// A number of tenants.
    Number(usize),
    /// A percentage.
    Percent(f64),
}

/// Progress of a fleet run.
#[derive(Debug)]
pub enum Event<'a> {
    /// The number of tenants that the run works on is known, or has grown because tenants were
    /// created during the run.
    Planned {
        /// Number of all tenants that this run works on.
        total: usize,
    },
    /// All canaries have succeeded; the other tenants are started.
    CanariesDone,
    /// A tenant is finished.
    Done {
        /// The tenant.
        tenant: &'a FleetTenant,
        /// Applied and rolled-back migrations; empty if another run had migrated it.
        outcome: &'a MigrationOutcome,
        /// Duration, without the time in the queue.
        took: Duration,
    },
    /// A tenant has failed and is not retried.
    Failed {
        /// The tenant.
        tenant: &'a FleetTenant,
        /// The error.
        error: &'a Error,
    },
}

/// Result of a fleet run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tenants that were up to date, or that another run has migrated.
    pub skipped: usize,
    /// Tenants that were migrated.
    pub done: usize,
    /// Tenants that failed.
    pub failed: usize,
    /// Tenants that were not started.
    pub not_started: usize,
    /// Why the run stopped early, if it did.
    pub stopped: Option<StopReason>,
}

/// Why a fleet run starts no more tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// `stop` was set.
    Interrupted,
    /// A canary failed.
    Canary,
    /// The number of failures reached [`FleetOptions::max_failures`].
    MaxFailures,
    /// The server was unreachable for longer than [`FleetOptions::outage_timeout`].
    Unavailable,
    /// The role lacks a privilege (SQLSTATE 42501): three tenants failed for that reason, and none
    /// was migrated.
    Privilege,
}

/// Runs `action` on many tenants, `options.jobs` at a time, and reports progress to `report`.
///
/// Only tenants in progress are locked, each through its registry row. So several runs, also on
/// several hosts, share the work, a killed run leaves nothing to clean up, and one tenant's failure
/// does not affect others: it is recorded in the registry row. A locked tenant goes back to the end
/// of the queue. After `stop` is set, the tenants in progress are finished.
///
/// For [`Action::Up`] of everything, the registry knows the tenants that are behind, so a run
/// without work is one query. Tenants that an older program creates during the run are found before
/// it ends.
///
/// # Errors
/// [`Error::MissingRegistry`], [`Error::RegistryBehind`], [`Error::UnknownVersion`], [`Error::UnknownBreaking`],
/// [`Error::NoCanary`], and [`Error::Database`] if the registry cannot be read. Errors of tenants go
/// to `report`.
pub async fn run_fleet(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    selection: &TenantSelection,
    action: &Action,
    options: &FleetOptions,
    stop: &AtomicBool,
    report: impl Fn(&Event<'_>) + Sync,
) -> Result<Summary, Error> {
    migrator.validate_breaking()?;
    confirm_extensions(db, migrator).await?;
    if let Action::To(version) = action
        && !migrator.names().contains(version)
    {
        return Err(Error::UnknownVersion { version: version.clone() });
    }
    let notifier = ChangeNotifier::new(db);
    let batches = BatchRunner::new(migrator, action, options.timeouts.attempt());
    let workers = Workers {
        db,
        migrator,
        action,
        options,
        notifier: &notifier,
        batches: &batches,
        report: &report,
        sessions: SessionCheck::default(),
        denied: AtomicUsize::new(0),
        racing: AtomicBool::new(false),
        turn: Mutex::default(),
    };
    let queue = Queue::new(stop, options.max_failures);
    let skipped = notifier.notify_while(migrate(&workers, &queue, selection)).await?;
    let mut summary = queue.summary();
    summary.skipped += skipped;
    Ok(summary)
}

/// Migrates the selected tenants. Returns the number of those that were up to date at the start.
async fn migrate<R: Fn(&Event<'_>) + Sync>(
    workers: &Workers<'_, R>,
    queue: &Queue<'_>,
    selection: &TenantSelection,
) -> Result<usize, Error> {
    let Workers { db, migrator, action, .. } = workers;
    let catches_up = **action == Action::Up(None) && !matches!(selection, TenantSelection::Only(_));
    if !catches_up {
        confirm_audit(*db).await?;
        let mut found = queue.deduplicate(fleet_tenants(db, selection).await?);
        workers.plan(queue, &found);
        migrate_canaries(workers, queue, &mut found).await?;
        workers.work(queue, found).await;
        return Ok(0);
    }
    let mut skipped = None;
    while queue.stopped().is_none() {
        wait_for_provisioning(db).await?;
        let (all, behind) = tenants_behind(db, selection, migrator).await?;
        let first = skipped.is_none();
        skipped.get_or_insert(all - behind.len());
        let mut found = queue.deduplicate(behind);
        if found.is_empty() {
            break;
        }
        if first {
            confirm_audit(*db).await?;
        }
        workers.plan(queue, &found);
        if first {
            migrate_canaries(workers, queue, &mut found).await?;
        }
        workers.work(queue, found).await;
    }
    Ok(skipped.unwrap_or_default())
}

/// Removes the canaries from `found` and migrates them. Stops the run if one fails.
async fn migrate_canaries<R: Fn(&Event<'_>) + Sync>(
    workers: &Workers<'_, R>,
    queue: &Queue<'_>,
    found: &mut Vec<FleetTenant>,
) -> Result<(), Error> {
    let Some(canary) = &workers.options.canary else { return Ok(()) };
    let canaries = canaries(workers.db, canary, found).await?;
    workers.work(queue, canaries).await;
    if queue.summary().failed > 0 {
        queue.close(StopReason::Canary);
    } else if queue.stopped().is_none() {
        (workers.report)(&Event::CanariesDone);
    }
    Ok(())
}
