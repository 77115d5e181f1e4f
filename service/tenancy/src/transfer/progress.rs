use std::{fmt, sync::Arc};

use super::load::Copied;

/// How far a copy of a tenant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferProgress<'a> {
    /// The table that is being copied.
    pub table: &'a str,
    /// Number of tables before it.
    pub tables_done: usize,
    /// Number of all tables.
    pub tables: usize,
    /// Bytes of all rows so far.
    pub bytes: u64,
}

/// A function that receives the progress of a copy, after every few hundred kilobytes and at the
/// beginning of each table. By default there is none.
#[derive(Clone, Default)]
pub struct OnProgress(Option<Arc<Report>>);

type Report = dyn Fn(TransferProgress<'_>) + Send + Sync;

impl OnProgress {
    /// Calls `report`, which must not block.
    pub fn new(report: impl Fn(TransferProgress<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(report)))
    }

    pub(super) fn report(&self, progress: TransferProgress<'_>) {
        if let Some(report) = &self.0 {
            report(progress);
        }
    }
}

impl fmt::Debug for OnProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "OnProgress(…)" } else { "OnProgress" })
    }
}

/// Counts the bytes of one copy and reports them.
pub(super) struct Counter<'a> {
    on_progress: &'a OnProgress,
    tables: usize,
    pub(super) copied: Copied,
}

impl<'a> Counter<'a> {
    pub(super) fn new(on_progress: &'a OnProgress, tables: usize) -> Self {
        Self { on_progress, tables, copied: Copied::default() }
    }

    /// Counts bytes of the table with this number.
    pub(super) fn add(&mut self, (number, table): (usize, &str), bytes: u64) {
        self.copied.bytes += bytes;
        let Self { tables, copied: Copied { bytes, .. }, .. } = *self;
        self.on_progress.report(TransferProgress { table, tables_done: number, tables, bytes });
    }
}
