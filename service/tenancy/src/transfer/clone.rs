use tenantry_registry::{SchemaName, Slug, audit::Action};
use tokio::sync::mpsc;
use tracing::info;

use super::{
    Imported, TransferError,
    build::Model,
    load::{Copied, RowSource},
    manifest::confirm_known,
    progress::{Counter, OnProgress},
    snapshot::Snapshot,
    tables::{Contents, Table},
};
use crate::{
    Error, NewTenant, Tenancy,
    pool::{CopySink, CopySource, Transaction},
    settings::Settings,
    stored_metadata::StoredMetadata,
};

/// Bytes that are passed on at a time.
const CHUNK: usize = 256 * 1024;

/// How a tenant is cloned.
#[derive(Debug, Clone, Default)]
pub struct CloneOptions {
    /// Whether the new tenant gets no rows, as if it had been created without a seed.
    pub structure_only: bool,
    /// Receives the progress of the clone.
    pub progress: OnProgress,
}

impl Tenancy {
    /// Creates a tenant with the rows, name, tags, metadata, limits and settings of another one, as
    /// they were at one moment, all or nothing. Its domains stay with it. It can be used meanwhile; it
    /// can also be suspended or archived, and the new one is active.
    ///
    /// A tenant that is behind is copied as it is; then the remaining migrations run on the new one.
    /// Takes two connections until the rows are copied. They pass through this process. The audit log
    /// records them as an export of the tenant, unless only the structure is copied.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), tenantry::Error> {
    /// let (acme, test) = ("acme".parse()?, "acme-test".parse()?);
    /// let cloned = tenancy.clone_tenant(&acme, &test, &Default::default()).await?;
    /// assert_eq!(cloned.tenant.slug, test);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`export`](Self::export) and of [`import`](Self::import) that are not about an
    /// archive.
    pub async fn clone_tenant(
        &self,
        source: &Slug,
        new: &Slug,
        options: &CloneOptions,
    ) -> Result<Imported, Error> {
        let _permit = self.transfer_permit(2).await?;
        if self.inner.lifecycle.copy_bounds().0 < 2 {
            return Err(TransferError::TooFewConnections.into());
        }
        let snapshot = self.snapshot(source).await?;
        confirm_known(&snapshot.migrations, &self.inner.migrator)?;
        let Snapshot { txn, row, migrations, tables, sequences, .. } = snapshot;
        let (name, tags, metadata) = StoredMetadata::from(row.metadata.clone()).read();
        let names = sequences.iter().map(|it| it.name.clone()).collect();
        let counter = Counter::new(&options.progress, tables.len());
        let contents = Contents { tables, sequences: names };
        let model = Model {
            new: NewTenant { name, tags, metadata, ..NewTenant::new(new.clone()) },
            settings: Settings::stored(&row),
            action: Action::Cloned,
            source: source.to_string(),
            migrations: &migrations,
            contents: &contents,
            sequences: &sequences,
        };
        let rows = match options.structure_only {
            true => {
                txn.rollback().await?;
                None
            }
            false => {
                self.record_export(&row).await?;
                Some(SnapshotRows { txn, schema: row.schema, counter })
            }
        };
        let built = self.build(model, rows).await?;
        let (migrated, Copied { rows, bytes }) = (built.migrated.clone(), built.copied);
        let tenant = self.commit_built(built).await?;
        info!(tenant = %tenant.slug, from = %source, rows, bytes, "tenant cloned");
        Ok(Imported { tenant, tables: contents.tables.len(), rows, bytes, migrated })
    }
}

/// The rows of a tenant on the same server.
struct SnapshotRows<'a> {
    txn: Transaction,
    schema: SchemaName,
    counter: Counter<'a>,
}

impl RowSource for SnapshotRows<'_> {
    async fn copy(
        &mut self,
        number: usize,
        table: &Table,
        (txn, schema): (&Transaction, &SchemaName),
    ) -> Result<(), Error> {
        let (sender, receiver) = mpsc::channel(2);
        let (from, to) = (table.copy_out(&self.schema), table.copy_in(schema));
        let counter = &mut self.counter;
        let read = async {
            let mut sink = Sender { sender, chunk: Vec::new(), number, table, counter };
            self.txn.copy_out(&from, &mut sink).await?;
            sink.flush().await
        };
        let mut receiver = Receiver { receiver, chunk: Vec::new() };
        let write = async {
            let rows = txn.copy_in(&to, &mut receiver).await;
            // The other side must not wait for this one after an error.
            receiver.receiver.close();
            rows
        };
        let (read, written) = tokio::join!(read, write);
        // If the writer fails, the reader only reports that its rows are not received.
        let rows = written?;
        read?;
        self.counter.copied.rows += rows;
        Ok(())
    }

    /// Ends the snapshot: while it lasts, deleted rows stay in every table of the database, and a
    /// migration of the tenant waits.
    async fn finish(self) -> Result<Copied, Error> {
        self.txn.rollback().await?;
        Ok(self.counter.copied)
    }
}

struct Sender<'a, 'b> {
    sender: mpsc::Sender<Vec<u8>>,
    chunk: Vec<u8>,
    number: usize,
    table: &'a Table,
    counter: &'a mut Counter<'b>,
}

impl CopySink for Sender<'_, '_> {
    type Error = Error;

    async fn receive(&mut self, data: &[u8]) -> Result<(), Error> {
        self.chunk.extend_from_slice(data);
        if self.chunk.len() >= CHUNK { self.flush().await } else { Ok(()) }
    }
}

impl Sender<'_, '_> {
    async fn flush(&mut self) -> Result<(), Error> {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK + CHUNK / 8));
        self.counter.add((self.number, &self.table.name), chunk.len() as u64);
        let closed = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        Ok(self.sender.send(chunk).await.map_err(closed).map_err(TransferError::Write)?)
    }
}

struct Receiver {
    receiver: mpsc::Receiver<Vec<u8>>,
    chunk: Vec<u8>,
}

impl CopySource for Receiver {
    type Error = Error;

    async fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        match self.receiver.recv().await {
            Some(chunk) => self.chunk = chunk,
            None => return Ok(None),
        }
        Ok(Some(&self.chunk))
    }
}
