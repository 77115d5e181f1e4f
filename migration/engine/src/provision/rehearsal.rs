//! Recording of migrations: two runs in scratch schemas, and what they agree in.
//!
//! All migrations run in a scratch schema, in a transaction that is rolled back, twice. A migration
//! that sends the same statements and gets the same results both times sends them to every new
//! schema, so its SQL is stored and it need not run again. If the runs differ, for example because
//! a statement contains a new UUID or the current time, the migration runs for each schema.

use std::{sync::Arc, time::SystemTime};

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};

use crate::{
    DbErrorKind, DynMigrator, Error, is_citus,
    plan::{Step, all_up},
    provision::{
        recording::{CapturedMigration, NotRecorded, Recording, Rehearsal},
        run_all,
        scratch::ScratchSchema,
    },
};

/// Runs all migrations in a scratch schema, for [`DynMigrator::record`], and rolls everything back.
/// Side effects of the migrations outside the database remain.
///
/// A migration that fails is not an error here: it will fail the same way for a tenant. On a Citus
/// cluster, which executes no recording, nothing is run.
///
/// # Errors
/// [`Error::Database`] and others that may be temporary, such as a lost connection.
pub async fn rehearse(db: &DatabaseConnection, migrator: &DynMigrator) -> Result<Rehearsal, Error> {
    let txn = db.begin().await?;
    let rehearsal = rehearse_in(&txn, migrator).await;
    txn.rollback().await?;
    rehearsal
}

/// [`rehearse`] in a transaction. Everything that was done in it is rolled back.
///
/// # Errors
/// As for [`rehearse`].
pub async fn rehearse_in(
    txn: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<Rehearsal, Error> {
    rehearse_steps(txn, migrator, Vec::new(), all_up(migrator)).await
}

/// [`rehearse_in`] for `steps`, in a schema in which the steps `before` have run.
pub(crate) async fn rehearse_steps(
    txn: &impl ConnectionTrait,
    migrator: &DynMigrator,
    before: Vec<Step>,
    steps: Vec<Step>,
) -> Result<Rehearsal, Error> {
    if is_citus(txn).await? {
        return Ok(Rehearsal(Err(NotRecorded::Citus)));
    }
    let scratch = ScratchSchema::create(txn, "recording", migrator).await?;
    let mut captured = Vec::with_capacity(steps.len());
    let run = async {
        if !before.is_empty() {
            run_all(txn, &scratch.target, migrator, before, None).await?;
        }
        run_all(txn, &scratch.target, migrator, steps, Some(&mut captured)).await.map(drop)
    };
    let run = run.await;
    match scratch.end(run).await {
        Ok(()) => Ok(Rehearsal(Ok(captured))),
        Err(error) if error.db_error_kind().is_some_and(|kind| is_transient(&kind)) => Err(error),
        Err(error) => Ok(Rehearsal(Err(NotRecorded::Fails(error.to_string())))),
    }
}

/// Instead of a quarter of an hour: no recording will be made.
const NEVER: u64 = u64::MAX;

fn is_transient(kind: &DbErrorKind) -> bool {
    !matches!(
        kind,
        DbErrorKind::Unique(_)
            | DbErrorKind::ForeignKey(_)
            | DbErrorKind::UndefinedTable
            | DbErrorKind::NeedsCommit
            | DbErrorKind::DuplicateObject
            | DbErrorKind::InsufficientPrivilege
            | DbErrorKind::Other
    )
}

impl DynMigrator {
    /// Records what the migrations send to a new schema, so that
    /// [`create_schema`](crate::create_schema) takes one round trip. Does nothing if there is a
    /// current recording. Shared by all clones.
    ///
    /// `rehearse` runs the migrations in a scratch schema: see [`rehearse`](fn@crate::rehearse). The
    /// first recording calls it twice. Because a statement may contain the current date, a
    /// recording expires after a quarter of an hour, when the date may change in some time zone;
    /// renewing it calls `rehearse` once. On a Citus cluster nothing is recorded, which is found out
    /// once.
    ///
    /// # Errors
    /// Those of `rehearse`.
    pub async fn record<E, F>(&self, mut rehearse: impl FnMut() -> F) -> Result<(), E>
    where
        F: Future<Output = Result<Rehearsal, E>>,
    {
        let mut cache = self.recordings.lock().await;
        if cache.quarter == quarter() || cache.quarter == NEVER {
            return Ok(());
        }
        let first = match &cache.last {
            Some(last) if last.0.is_ok() => Arc::clone(last),
            _ => Arc::new(rehearse().await?),
        };
        if let Err(NotRecorded::Citus) = first.0 {
            tracing::debug!("a Citus cluster: migrations run one by one for each tenant");
            cache.quarter = NEVER;
            return Ok(());
        }
        let second = Arc::new(rehearse().await?);
        cache.recording = match (&first.0, &second.0) {
            (Ok(first), Ok(second)) => {
                Some(Arc::new(Recording::of(&all_up(self), [first, second], false)))
            }
            (Err(NotRecorded::Fails(error)), _) | (_, Err(NotRecorded::Fails(error))) => {
                tracing::warn!(error, "the migrations cannot be recorded");
                None
            }
            _ => None,
        };
        (cache.quarter, cache.last) = (quarter(), Some(second));
        Ok(())
    }

    /// Whether there is a current recording for [`create_schema`](crate::create_schema).
    pub async fn is_recorded(&self) -> bool {
        self.recording().await.is_some()
    }

    /// The current recording, if there is one.
    pub(crate) async fn recording(&self) -> Option<Arc<Recording>> {
        let cache = self.recordings.lock().await;
        cache.recording.clone().filter(|_| cache.quarter == quarter())
    }

    /// What two runs of the steps agree in, in schemas with rows; `None` if one of them fails.
    pub(crate) async fn record_steps(
        &self,
        db: &DatabaseConnection,
        steps: impl Fn() -> Result<[Vec<Step>; 2], Error>,
    ) -> Result<Option<Recording>, Error> {
        let mut runs: [Vec<CapturedMigration>; 2] = Default::default();
        for run in &mut runs {
            let [before, steps] = steps()?;
            let txn = db.begin().await?;
            let rehearsal = rehearse_steps(&txn, self, before, steps).await;
            txn.rollback().await?;
            let Ok(captured) = rehearsal?.0 else { return Ok(None) };
            *run = captured;
        }
        let [_, steps] = steps()?;
        Ok(Some(Recording::of(&steps, runs.each_ref().map(Vec::as_slice), true)))
    }
}

/// The current quarter of an hour.
fn quarter() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    since.as_secs() / (15 * 60)
}
