//! Many schemas at once.

mod batch;
mod failure;
mod notifier;
mod queue;
pub(crate) mod status;
mod tenants;
mod worker;

use std::{
    sync::atomic::{AtomicBool, AtomicUsize},
    time::Duration,
};

use sea_orm::DatabaseConnection;
use serde::Serialize;
use tokio::sync::Mutex;

pub(crate) use tenants::registry;
pub use tenants::{FleetTenant, TenantSelection, fleet_tenants, tenants_by_slug};

use crate::{
    Action, DynMigrator, Error, MigrationOutcome, Timeouts, confirm_extensions,
    run::non_transactional::Sessions,
};
use batch::BatchRunner;
use notifier::ChangeNotifier;
use queue::Queue;
use tenants::{behind, provisioned};
use worker::Workers;

/// How a fleet is worked through.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    /// Tenants that are worked on at the same time; no more than the pool has connections.
    pub jobs: usize,
    /// How long one tenant may wait and work.
    pub timeouts: Timeouts,
    /// How often a tenant is tried that is busy or loses against somebody else's change.
    pub max_attempts: u32,
    /// How long a tenant is tried whose server cannot be reached. When none can for so long, no
    /// more tenants are begun.
    pub outage_timeout: Duration,
    /// No more tenants are begun after so many have failed.
    pub max_failures: Option<FailureLimit>,
    /// Who goes first: if one of them fails, nobody else is begun.
    pub canary: Option<Canary>,
}

/// A number of tenants, or a share of those that a run works on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FailureLimit {
    /// So many.
    Number(usize),
    /// So many out of a hundred.
    Percent(f64),
}

/// The tenants that a change is tried on first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Canary {
    /// So many, the oldest.
    Number(usize),
    /// Those with this tag: `metadata` of `registry.tenants` has it in its array `tags`.
    Tag(String),
}

/// What happens during a fleet run.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many tenants are to be worked on. Told again with more of them when tenants have been
    /// created meanwhile.
    Planned {
        /// All that this run works on.
        total: usize,
    },
    /// The canaries are through, and the others are begun.
    CanariesDone,
    /// A tenant is done.
    Done {
        /// The tenant.
        tenant: &'a FleetTenant,
        /// What was done; nothing when another run was there first.
        outcome: &'a MigrationOutcome,
        /// Time it took, without waiting in the queue.
        took: Duration,
    },
    /// A tenant has failed for good.
    Failed {
        /// The tenant.
        tenant: &'a FleetTenant,
        /// Why.
        error: &'a Error,
    },
}

/// How a fleet run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Tenants that there was nothing to do for, also those that another run has done.
    pub skipped: usize,
    /// Tenants that were migrated.
    pub done: usize,
    /// Tenants that failed.
    pub failed: usize,
    /// Tenants that were not begun.
    pub not_started: usize,
    /// Why no more tenants were begun from some moment on; none when all have had their turn.
    pub stopped: Option<StopReason>,
}

/// Why a fleet run begins no more tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// `stop` was set.
    Interrupted,
    /// A canary has failed.
    Canary,
    /// As many have failed as [`FleetOptions::max_failures`] allows.
    MaxFailures,
    /// The server has been away for longer than [`FleetOptions::outage_timeout`].
    Unavailable,
    /// The role lacks a right (SQLSTATE 42501): three tenants have failed for that, and none has
    /// been migrated.
    Privilege,
}

/// Carries out `action` on many tenants, `fleet.jobs` at a time, and tells `report` how it goes.
///
/// Nothing is locked but the tenant in hand, by the lock on its registry row. So several runs – on
/// one host or more – share the work, one that is killed leaves nothing to clean up, and the
/// failure of one tenant is its own: it is noted on its registry row, and the others go on. A busy
/// tenant goes back to the end of the queue. Once `stop` is set, what is in hand is finished.
///
/// For [`Action::Up`] of everything the registry says who is behind, so a run that has nothing to
/// do is one query. Tenants that are created by an older program during the run are found before
/// it ends.
///
/// # Errors
/// [`Error::MissingRegistry`], [`Error::UnknownVersion`], [`Error::UnknownBreaking`],
/// [`Error::NoCanary`], and [`Error::Database`] when the registry cannot be read. What happens to a tenant is told to
/// `report`, not returned.
pub async fn run_fleet(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    who: &TenantSelection,
    action: &Action,
    fleet: &FleetOptions,
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
    let news = ChangeNotifier::new(db);
    let batches = BatchRunner::new(migrator, action, fleet.timeouts.attempt());
    let workers = Workers {
        db,
        migrator,
        action,
        fleet,
        news: &news,
        batches: &batches,
        report: &report,
        sessions: Sessions::default(),
        denied: AtomicUsize::new(0),
        racing: AtomicBool::new(false),
        turn: Mutex::default(),
    };
    let queue = Queue::new(stop, fleet.max_failures);
    let skipped = news.tell_during(rounds(&workers, &queue, who)).await?;
    let mut summary = queue.summary();
    summary.skipped += skipped;
    Ok(summary)
}

/// Works until there is nothing more to do, and returns how many had nothing to do from the start.
async fn rounds<R: Fn(&Event<'_>) + Sync>(
    workers: &Workers<'_, R>,
    queue: &Queue<'_>,
    who: &TenantSelection,
) -> Result<usize, Error> {
    let Workers { db, migrator, action, .. } = workers;
    let catches_up = **action == Action::Up(None) && !matches!(who, TenantSelection::Only(_));
    if !catches_up {
        let mut found = queue.unseen(fleet_tenants(db, who).await?);
        workers.plan(queue, &found);
        canaries_first(workers, queue, &mut found).await?;
        workers.work(queue, found).await;
        return Ok(0);
    }
    let mut skipped = None;
    while queue.stopped().is_none() {
        // Who is being created now is waited for, or would be missed.
        provisioned(db).await?;
        let (all, behind) = behind(db, who, migrator).await?;
        let first = skipped.is_none();
        skipped.get_or_insert(all - behind.len());
        let mut found = queue.unseen(behind);
        if found.is_empty() {
            break;
        }
        workers.plan(queue, &found);
        if first {
            canaries_first(workers, queue, &mut found).await?;
        }
        workers.work(queue, found).await;
    }
    Ok(skipped.unwrap_or_default())
}

/// Works on the canaries and takes them out of `found`. When one fails that was all.
async fn canaries_first<R: Fn(&Event<'_>) + Sync>(
    workers: &Workers<'_, R>,
    queue: &Queue<'_>,
    found: &mut Vec<FleetTenant>,
) -> Result<(), Error> {
    let Some(canary) = &workers.fleet.canary else { return Ok(()) };
    let canaries = tenants::canaries(workers.db, canary, found).await?;
    workers.work(queue, canaries).await;
    if queue.summary().failed > 0 {
        queue.close(StopReason::Canary);
    } else if queue.stopped().is_none() {
        (workers.report)(&Event::CanariesDone);
    }
    Ok(())
}
