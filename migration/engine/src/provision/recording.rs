//! SQL that the migrations of a migrator send, captured so that they need not run again.

use std::sync::Arc;

/// The captured migrations of a migrator, in their order.
#[derive(Debug)]
pub(crate) struct Recording(pub(crate) Vec<RecordedMigration>);

/// SQL of one migration; `None` where the migration itself has to run.
#[derive(Debug, Clone)]
pub(crate) struct RecordedMigration {
    /// For a new schema.
    pub(crate) for_empty: Option<String>,
    /// For a schema with rows. Fails if the migration would be answered differently than when it
    /// was recorded.
    pub(crate) for_any: Option<String>,
}

impl Recording {
    /// The SQL of the newest `count` migrations for a schema with rows.
    pub(crate) fn newest(&self, count: usize) -> Option<Vec<String>> {
        let first = self.0.len().checked_sub(count)?;
        self.0[first..].iter().map(|migration| migration.for_any.clone()).collect()
    }
}

/// The newest recording of a migrator.
#[derive(Default)]
pub(crate) struct RecordingCache {
    /// When it was recorded, in quarters of an hour since 1970; the largest number if the database
    /// executes no recording.
    pub(crate) quarter: u64,
    pub(crate) last: Option<Arc<Rehearsal>>,
    pub(crate) recording: Option<Arc<Recording>>,
}

/// One run of all migrations in a scratch schema.
#[derive(Debug)]
pub struct Rehearsal(pub(crate) Result<Vec<CapturedMigration>, NotRecorded>);

/// Why there is no recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotRecorded {
    /// The migrations fail.
    Fails(String),
    /// The database is a Citus cluster, which refuses several changes of tables in one message:
    /// it sends the whole message to the node ("cannot execute multiple utility events",
    /// `src/backend/distributed/worker/worker_data_fetch_protocol.c`).
    Citus,
}

/// Statements that one migration sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CapturedMigration {
    pub(crate) statements: Vec<CapturedStatement>,
    /// Why the statements do not reproduce the migration.
    pub(crate) refused: Option<String>,
}

impl CapturedMigration {
    /// The SQL of all statements.
    pub(crate) fn sql(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().flat_map(|it| &it.sql).map(String::as_str)
    }
}

/// SQL that was sent at once, with its values as literals, and its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CapturedStatement {
    /// One or more statements.
    pub(crate) sql: Vec<String>,
    /// Hash of the result.
    pub(crate) result: u64,
    /// For a read without side effects, the MD5 of its rows, see
    /// [`digest_sql`](super::recorder::digest_sql).
    pub(crate) digest: Option<String>,
    /// Whether the rows can differ in another schema or later: the statement names a schema other
    /// than the tenant's, or asks for the name of the tenant's.
    pub(crate) reads_elsewhere: bool,
}
