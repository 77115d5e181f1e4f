use serde::Serialize;
use sha2::{Digest, Sha256};
use tenantry_registry::{SchemaName, Slug, audit::Action};
use tokio::io::AsyncRead;
use tracing::info;

use super::{
    TransferError,
    archive::ArchiveReader,
    build::Model,
    end::{END, End, TableEnd},
    load::{Copied, RowSource},
    manifest::{MANIFEST, Manifest, sha256},
    progress::{Counter, OnProgress},
    tables::Table,
};
use crate::{
    Error, Tenancy, TenantInfo, hex,
    pool::{CopySource, Transaction},
};

/// How an export is imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Slug of the new tenant; by default that of the exported one.
    pub slug: Option<Slug>,
    /// Whether the new tenant gets the domains of the exported one, which must have lost them.
    pub domains: bool,
    /// Receives the progress of the import.
    pub progress: OnProgress,
}

/// A tenant that was imported or cloned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The new tenant.
    pub tenant: TenantInfo,
    /// Number of its tables.
    pub tables: usize,
    /// Number of rows that were copied.
    pub rows: u64,
    /// Bytes of these rows, as text of `COPY`.
    pub bytes: u64,
    /// Migrations that were applied after the rows were loaded, oldest first.
    pub migrated: Vec<String>,
}

impl Tenancy {
    /// Creates a tenant from an [export](Self::export), all or nothing.
    ///
    /// The program's own migrations create the tables as of the version of the export; then the rows
    /// are loaded, checksums and numbers of rows are compared, and the remaining migrations run. The
    /// [seed](super::super::Config::seed) does not. Name, tags, metadata, limits and settings are those of the
    /// exported tenant; the new one is active.
    ///
    /// The slug is taken from the beginning: creating a tenant of the same slug waits for the
    /// import.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy, archive: &[u8]) -> Result<(), tenantry::Error> {
    /// let options = tenantry::ImportOptions {
    ///     slug: Some("acme-yesterday".parse()?),
    ///     ..Default::default()
    /// };
    /// let imported = tenancy.import(archive, &options).await?;
    /// println!("{} has {} rows", imported.tenant.slug, imported.rows);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// - [`Error::SlugTaken`], [`Error::HostTaken`] and the other errors of [`create`](Self::create);
    /// - [`Error::Transfer`] if the archive is incomplete, damaged or of another application, if the
    ///   program lacks migrations of it, if its tables differ from those of the migrations, or if
    ///   the reader makes no progress for five minutes.
    pub async fn import(
        &self,
        reader: impl AsyncRead + Send + Unpin,
        options: &ImportOptions,
    ) -> Result<Imported, Error> {
        let _permit = self.transfer_permit(1).await?;
        let mut archive = ArchiveReader::new(reader);
        let text = archive.text(MANIFEST).await?;
        let manifest = Manifest::parse(&text)?;
        manifest.confirm(&self.inner.migrator)?;
        let contents = manifest.contents();
        let model = Model {
            new: manifest.tenant.to_new(options.slug.clone(), options.domains)?,
            settings: manifest.tenant.settings()?,
            action: Action::Imported,
            source: manifest.tenant.slug.clone(),
            migrations: &manifest.migrations,
            contents: &contents,
            sequences: &manifest.sequences,
        };
        let counter = Counter::new(&options.progress, manifest.tables.len());
        let read = End { manifest: sha256(&text), tables: Vec::new() };
        let source = ArchiveRows { archive, manifest: &manifest, read, counter };
        let built = self.build(model, Some(source)).await?;
        let (migrated, Copied { rows, bytes }) = (built.migrated.clone(), built.copied);
        let tenant = self.commit_built(built).await?;
        info!(tenant = %tenant.slug, from = manifest.tenant.slug, rows, bytes, "tenant imported");
        Ok(Imported { tenant, tables: manifest.tables.len(), rows, bytes, migrated })
    }
}

/// The rows of an archive.
struct ArchiveRows<'a, R> {
    archive: ArchiveReader<R>,
    manifest: &'a Manifest,
    /// What was read so far, to be compared with the end of the archive.
    read: End,
    counter: Counter<'a>,
}

impl<R: AsyncRead + Send + Unpin> RowSource for ArchiveRows<'_, R> {
    async fn copy(
        &mut self,
        number: usize,
        table: &Table,
        (txn, schema): (&Transaction, &SchemaName),
    ) -> Result<(), Error> {
        let mut source = TableReader {
            archive: &mut self.archive,
            manifest: self.manifest,
            number,
            parts: 0,
            in_part: false,
            digest: Sha256::new(),
            bytes: 0,
            counter: &mut self.counter,
        };
        let rows = txn.copy_in(&table.copy_in(schema), &mut source).await?;
        let TableReader { digest, bytes, .. } = source;
        let sha256 = hex::encode(&digest.finalize());
        self.read.tables.push(TableEnd { name: table.name.clone(), rows, bytes, sha256 });
        self.counter.copied.rows += rows;
        Ok(())
    }

    /// Reads the rest of the archive and compares it with what was read before.
    async fn finish(mut self) -> Result<Copied, Error> {
        let end = End::parse(&self.archive.text(END).await?)?;
        end.confirm(&self.read)?;
        self.archive.finish().await?;
        Ok(self.counter.copied)
    }
}

/// The rows of one table.
struct TableReader<'a, 'b, R> {
    archive: &'a mut ArchiveReader<R>,
    manifest: &'a Manifest,
    /// Number of the table.
    number: usize,
    /// Number of parts that were started.
    parts: u64,
    in_part: bool,
    digest: Sha256,
    bytes: u64,
    counter: &'a mut Counter<'b>,
}

impl<R: AsyncRead + Send + Unpin> TableReader<'_, '_, R> {
    /// Continues with the next part if there is one. Returns whether there is.
    async fn next_part(&mut self) -> Result<bool, TransferError> {
        let path = self.manifest.part(self.number, self.parts);
        self.in_part = self.archive.begin(&path).await?;
        self.parts += u64::from(self.in_part);
        Ok(self.in_part)
    }
}

impl<R: AsyncRead + Send + Unpin> CopySource for TableReader<'_, '_, R> {
    type Error = Error;

    async fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        while self.in_part || self.next_part().await? {
            // An empty part has no bytes, and ends at once.
            if self.archive.fill().await? {
                let chunk = self.archive.filled();
                self.digest.update(chunk);
                self.bytes += chunk.len() as u64;
                let table = self.manifest.tables.get(self.number).map_or("", |it| &it.name);
                self.counter.add((self.number, table), chunk.len() as u64);
                return Ok(Some(self.archive.filled()));
            }
            self.in_part = false;
        }
        Ok(None)
    }
}
