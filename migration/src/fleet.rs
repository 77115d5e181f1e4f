//! Many schemas at once.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use entity::registry::tenant;
use futures_util::future::join_all;
use sea_orm::{ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, sea_query::Expr};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    Action, AnyMigrator, Error, Fault, Outcome, Target, Timeouts, claim::Patience, run::run_claimed,
};

/// How a fleet is worked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fleet {
    /// Schemas that are worked on at the same time.
    pub jobs: usize,
    /// How long one schema may wait and work.
    pub timeouts: Timeouts,
    /// How often a schema is tried that is busy or loses against somebody else's change.
    pub tries: u32,
    /// No more schemas are begun after so many have failed.
    pub max_failures: Option<usize>,
}

/// How a fleet run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Schemas that were not begun, as too many had failed or the run was stopped.
    pub left: usize,
}

/// One schema in the queue.
struct Job {
    index: usize,
    tries: u32,
    not_before: Instant,
}

/// What the workers share.
struct Shared<'a> {
    targets: &'a [Target],
    queue: Mutex<VecDeque<Job>>,
    in_hand: AtomicUsize,
    failures: AtomicUsize,
    stop: &'a AtomicBool,
    fleet: Fleet,
}

/// Carries out `action` on many schemas, `fleet.jobs` at a time, and tells `report` how each one
/// ended: by its place in `targets`.
///
/// Nothing is locked but the schema in hand, by the lock on its registry row. So several runs – on
/// one host or more – share the work, one that is killed leaves nothing to clean up, and the
/// failure of one schema is its own: it is noted on its registry row, and the others go on. A busy
/// schema goes back to the end of the queue. Once `stop` is set, what is in hand is finished.
pub async fn run_fleet(
    db: &DatabaseConnection,
    migrator: &AnyMigrator,
    targets: &[Target],
    action: &Action,
    fleet: Fleet,
    stop: &AtomicBool,
    report: impl Fn(usize, Result<Outcome, Error>) + Sync,
) -> Summary {
    let now = Instant::now();
    let queue = (0..targets.len()).map(|index| Job { index, tries: 0, not_before: now });
    let shared = Shared {
        targets,
        queue: Mutex::new(queue.collect()),
        in_hand: AtomicUsize::new(0),
        failures: AtomicUsize::new(0),
        stop,
        fleet,
    };
    let jobs = (0..fleet.jobs.max(1)).map(|_| work(db, migrator, action, &shared, &report));
    join_all(jobs).await;
    Summary { left: shared.queue().len() }
}

async fn work(
    db: &DatabaseConnection,
    migrator: &AnyMigrator,
    action: &Action,
    shared: &Shared<'_>,
    report: &(impl Fn(usize, Result<Outcome, Error>) + Sync),
) {
    while let Some(mut job) = shared.next().await {
        let target = &shared.targets[job.index];
        let timeouts = shared.fleet.timeouts;
        match run_claimed(db, target, migrator, action, timeouts, Patience::None).await {
            Ok(Some(outcome)) => report(job.index, Ok(outcome)),
            // In somebody else's hand, who may be finished soon.
            Ok(None) => shared.again(job, Duration::from_millis(50)),
            Err(error) if job.tries + 1 < shared.fleet.tries && passes(&error) => {
                job.tries += 1;
                // Jittered by the place in the queue, so that rivals do not meet again.
                let jitter = (job.index as u64 * 37) % 100;
                let pause = Duration::from_millis((100 << job.tries.min(6)) + jitter);
                tracing::info!(%target, tries = job.tries, %error, "to be tried again");
                shared.again(job, pause);
            }
            Err(error) => shared.fail(db, job.index, error, report).await,
        }
        shared.in_hand.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared<'_> {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next schema; `None` when there is none left that could still come back.
    async fn next(&self) -> Option<Job> {
        loop {
            let failures = self.failures.load(Ordering::SeqCst);
            let enough = self.fleet.max_failures.is_some_and(|most| failures >= most.max(1));
            if self.stop.load(Ordering::SeqCst) || enough {
                return None;
            }
            let job = {
                let mut queue = self.queue();
                let job = queue.pop_front();
                if job.is_some() {
                    self.in_hand.fetch_add(1, Ordering::SeqCst);
                } else if self.in_hand.load(Ordering::SeqCst) == 0 {
                    return None;
                }
                job
            };
            match job {
                Some(job) => {
                    sleep_until(job.not_before).await;
                    return Some(job);
                }
                // One in hand may come back to the queue.
                None => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn again(&self, mut job: Job, pause: Duration) {
        job.not_before = Instant::now() + pause;
        self.queue().push_back(job);
    }

    async fn fail(
        &self,
        db: &DatabaseConnection,
        index: usize,
        error: Error,
        report: &(impl Fn(usize, Result<Outcome, Error>) + Sync),
    ) {
        self.failures.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = note_failure(db, &self.targets[index], &error).await {
            tracing::warn!(target = %self.targets[index], %error, "the failure could not be noted");
        }
        report(index, Err(error));
    }
}

/// Whether another try may go better.
fn passes(error: &Error) -> bool {
    let (Error::Database(source) | Error::Migration { source, .. }) = error else { return false };
    matches!(
        Fault::of(source),
        Fault::Conflict | Fault::LockTimeout | Fault::Unavailable | Fault::Timeout
    )
}

/// Writes on the tenant's row what failed and when, until a migration succeeds.
async fn note_failure(
    db: &DatabaseConnection,
    target: &Target,
    error: &Error,
) -> Result<(), DbErr> {
    use sea_orm::sea_query::ExprTrait;
    let (migration, sqlstate) = match error {
        Error::Migration { migration, source, .. } => (Some(migration), Fault::sqlstate(source)),
        Error::Database(source) => (None, Fault::sqlstate(source)),
        _ => (None, None),
    };
    let note = serde_json::json!({
        "migration": migration,
        "sqlstate": sqlstate,
        "message": error.to_string(),
        "at": entity::now(),
    });
    tenant::Entity::update_many()
        .col_expr(tenant::Column::MigrationError, Expr::value(note))
        .col_expr(
            tenant::Column::MigrationAttempts,
            Expr::col(tenant::Column::MigrationAttempts).add(1),
        )
        .filter(tenant::Column::Schema.eq(target.name()))
        .exec(db)
        .await?;
    Ok(())
}
