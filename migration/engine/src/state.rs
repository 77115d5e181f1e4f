//! Versions of a schema, and the result and time limits of a run on it.

use std::time::Duration;

use crate::{DynMigrator, Error, Target};

/// Longest single wait for a lock.
const LOCK_ATTEMPT: Duration = Duration::from_millis(100);

/// Changes that a run made to a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationOutcome {
    /// Migrations that were applied, in that order.
    pub applied: Vec<String>,
    /// Migrations that were rolled back, in that order.
    pub rolled_back: Vec<String>,
    /// Whether each migration was committed separately, because PostgreSQL refused them in one
    /// transaction (SQLSTATE 55P04 or 55006).
    pub committed_each: bool,
}

impl MigrationOutcome {
    /// Whether the run applied or rolled back a migration.
    #[must_use]
    pub fn changed(&self) -> bool {
        !self.applied.is_empty() || !self.rolled_back.is_empty()
    }
}

/// Applied and pending migrations of a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationState {
    /// Applied migrations, oldest first.
    pub applied: Vec<String>,
    /// Pending migrations, oldest first.
    pub pending: Vec<String>,
}

impl MigrationState {
    /// The state of an empty schema.
    pub(crate) fn empty(migrator: &DynMigrator) -> Self {
        Self { applied: Vec::new(), pending: migrator.names() }
    }

    /// The state of a schema whose migrations table has these rows.
    ///
    /// # Errors
    /// [`Error::UnknownMigrations`] for a tenant's schema with migrations that `migrator` does not
    /// have. Those of what exists once are ignored: they leave older programs working, which
    /// [`confirm_registry`](crate::confirm_registry) has checked for the registry.
    pub(crate) fn of(
        target: &Target,
        migrator: &DynMigrator,
        rows: Vec<String>,
    ) -> Result<Self, Error> {
        let (applied, pending) = migrator.names().into_iter().partition(|it| rows.contains(it));
        let state = Self { applied, pending };
        let names: Vec<String> =
            rows.into_iter().filter(|name| !state.applied.contains(name)).collect();
        if names.is_empty() || !matches!(target, Target::Schema(_)) {
            return Ok(state);
        }
        Err(Error::UnknownMigrations { schema: target.name().to_owned(), names })
    }

    /// The newest migration before which none is missing. A migration that was merged late is
    /// pending even if newer ones are applied.
    pub(crate) fn version(&self, migrator: &DynMigrator) -> Option<String> {
        let applied = |name: &String| self.applied.contains(name);
        migrator.names().into_iter().take_while(applied).last()
    }
}

/// Time limits of the migration of one tenant; `None` keeps the server's setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Limit for locks. While a statement waits for a table lock, all later statements on that
    /// table queue behind it. So each attempt waits for a tenth of a second; then the transaction
    /// is rolled back and retried until this limit is reached. Zero means one attempt without a
    /// limit. A migration outside a transaction makes one attempt with the whole limit.
    pub lock: Option<Duration>,
    /// Limit for the transactions of any tenant that a `CREATE INDEX CONCURRENTLY` or similar has
    /// to wait for; no other statement waits behind it. Zero means no limit. Replaces
    /// [`lock`](Self::lock) for each statement with `CONCURRENTLY` outside a transaction.
    pub snapshot: Option<Duration>,
    /// Limit for each statement (`statement_timeout`).
    pub statement: Option<Duration>,
}

impl Timeouts {
    /// The limits of one attempt.
    pub(crate) fn attempt(self) -> Self {
        let lock = self.lock.map(|lock| if lock.is_zero() { lock } else { lock.min(LOCK_ATTEMPT) });
        Self { lock, ..self }
    }

    /// The limits as settings of PostgreSQL.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        [("lock_timeout", self.lock), ("statement_timeout", self.statement)]
            .into_iter()
            .filter_map(|(name, time)| Some((name, Self::setting(time)?)))
            .collect()
    }

    /// A limit in milliseconds.
    pub(crate) fn setting(time: Option<Duration>) -> Option<String> {
        time.map(|time| time.as_millis().to_string())
    }
}
