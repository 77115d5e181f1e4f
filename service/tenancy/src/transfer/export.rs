use serde::Serialize;
use sha2::{Digest, Sha256};
use tenantry_registry::{
    Slug,
    audit::{self, Action},
    notify::entry_inserted,
    tenant,
};
use tokio::io::AsyncWrite;
use tracing::info;

use super::{
    TransferError,
    archive::ArchiveWriter,
    end::{END, End, TableEnd},
    manifest::{ExportedTenant, MANIFEST, Manifest, sha256, to_json},
    progress::{Counter, OnProgress},
    snapshot::Snapshot,
    tables::column,
};
use crate::{
    Error, Tenancy, hex, pool::CopySink, settings::Settings, stored_metadata::StoredMetadata,
    tenant_info::as_text,
};

/// Rows of a table that make an entry of the archive, in bytes. A single row may be longer.
const PART: usize = 1024 * 1024;

/// How a tenant is exported.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// Receives the progress of the export.
    pub progress: OnProgress,
}

/// A complete export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The tenant.
    #[serde(serialize_with = "as_text")]
    pub slug: Slug,
    /// Number of its tables.
    pub tables: usize,
    /// Number of rows of all tables.
    pub rows: u64,
    /// Bytes of all rows, as text of `COPY`.
    pub bytes: u64,
    /// Cycles of foreign keys between tables. An import loads them as well as others.
    pub cycles: Vec<Vec<String>>,
}

impl Tenancy {
    /// Writes a tenant to a tar archive, in the state of one moment: its rows, its entry in the
    /// registry, and the versions that an [import](Self::import) needs. The tenant can be used
    /// meanwhile; it can also be suspended or archived.
    ///
    /// The audit log records it before the first byte. The archive is written as a stream. Its first
    /// entry is `manifest.json`; the rows follow as text of `COPY`, in parts of about a megabyte,
    /// tables that others refer to first. The last entry, `end.json`, has the number of rows and the
    /// SHA-256 of each table: without it, the archive is incomplete, and an import refuses it.
    ///
    /// Left out: generated columns, which are computed again; the contents of materialized views,
    /// which are refreshed; rows of foreign tables; the domains are in the manifest, and are
    /// imported on request.
    ///
    /// ```no_run
    /// # async fn example(tenancy: tenantry::Tenancy) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut archive = Vec::new();
    /// let done = tenancy.export(&"acme".parse()?, &mut archive, &Default::default()).await?;
    /// println!("{} rows", done.rows);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// - [`Error::UnknownTenant`], [`Error::Unavailable`] if it is being dropped;
    /// - [`Error::BeingMigrated`] if its tables are locked for ten seconds;
    /// - [`Error::Transfer`] if the archive cannot be written, if the writer makes no progress for
    ///   five minutes, if rows refer to large objects, or if too many tenants are being copied.
    pub async fn export(
        &self,
        slug: &Slug,
        writer: impl AsyncWrite + Send + Unpin,
        options: &ExportOptions,
    ) -> Result<Exported, Error> {
        let _permit = self.transfer_permit(1).await?;
        let snapshot = self.snapshot(slug).await?;
        let manifest = self.manifest(&snapshot).await?;
        let text = to_json(MANIFEST, &manifest)?;
        self.record_export(&snapshot.row).await?;
        let time = u64::try_from(manifest.exported_at.timestamp()).unwrap_or_default();
        let mut archive = ArchiveWriter::new(writer, time);
        archive.entry(MANIFEST, &text).await?;
        let mut end = End { manifest: sha256(&text), tables: Vec::new() };
        let mut counter = Counter::new(&options.progress, manifest.tables.len());
        for (number, table) in manifest.tables.iter().enumerate() {
            counter.add((number, &table.name), 0);
            let mut rows = TableWriter {
                archive: &mut archive,
                manifest: &manifest,
                number,
                parts: 0,
                part: Vec::with_capacity(PART + PART / 8),
                digest: Sha256::new(),
                end: TableEnd {
                    name: table.name.clone(),
                    rows: 0,
                    bytes: 0,
                    sha256: String::new(),
                },
                counter: &mut counter,
            };
            snapshot.txn.copy_out(&table.copy_out(&snapshot.row.schema), &mut rows).await?;
            end.tables.push(rows.finish().await?);
        }
        archive.entry(END, &to_json(END, &end)?).await?;
        archive.finish().await?;
        let done = Exported {
            slug: slug.clone(),
            tables: manifest.tables.len(),
            rows: counter.copied.rows,
            bytes: counter.copied.bytes,
            cycles: manifest.cycles,
        };
        info!(tenant = %slug, rows = done.rows, bytes = done.bytes, "tenant exported");
        Ok(done)
    }

    /// Records that rows leave the tenant, before the first one, so that no record is missing.
    pub(super) async fn record_export(&self, row: &tenant::Model) -> Result<(), Error> {
        // Not in the transaction of the rows, which an interruption rolls back.
        let entry = self.tenant_entry(Action::Exported, row);
        Ok(audit::record(&self.inner.db, entry, entry_inserted()).await?)
    }

    async fn manifest(&self, snapshot: &Snapshot) -> Result<Manifest, Error> {
        let Snapshot { row, slug, domains, migrations, tables, sequences, cycles, .. } = snapshot;
        let server: Vec<String> =
            column(&snapshot.txn, "SELECT current_setting('server_version')", []).await?;
        let (name, tags, metadata) = StoredMetadata::from(row.metadata.clone()).read();
        let Settings { limits, http } = Settings::stored(row);
        let tenant = ExportedTenant {
            slug: slug.to_string(),
            schema: row.schema.to_string(),
            status: row.status.as_str().to_owned(),
            name: name.map(|name| name.to_string()),
            tags: tags.iter().map(ToString::to_string).collect(),
            metadata,
            max_connections: limits.max_connections,
            max_waiting: limits.max_waiting,
            domains: domains.clone(),
            cors_origins: http.cors_origins.iter().map(ToString::to_string).collect(),
            max_body_bytes: http.max_body_bytes,
        };
        Ok(Manifest::new(
            self.inner.migrator.application(),
            server.concat(),
            tenant,
            (migrations.clone(), tables.clone()),
            (sequences.clone(), cycles.clone()),
        ))
    }
}

/// Writes the rows of one table.
struct TableWriter<'a, 'b, W> {
    archive: &'a mut ArchiveWriter<W>,
    manifest: &'a Manifest,
    /// Number of the table.
    number: usize,
    /// Number of parts that were written.
    parts: u64,
    part: Vec<u8>,
    digest: Sha256,
    end: TableEnd,
    counter: &'a mut Counter<'b>,
}

impl<W: AsyncWrite + Send + Unpin> CopySink for TableWriter<'_, '_, W> {
    type Error = Error;

    async fn receive(&mut self, data: &[u8]) -> Result<(), Error> {
        self.part.extend_from_slice(data);
        if self.part.len() >= PART {
            self.write().await?;
        }
        Ok(())
    }
}

impl<W: AsyncWrite + Send + Unpin> TableWriter<'_, '_, W> {
    async fn write(&mut self) -> Result<(), TransferError> {
        let bytes = self.part.len() as u64;
        self.digest.update(&self.part);
        self.end.bytes += bytes;
        self.end.rows += rows_in(&self.part);
        let path = self.manifest.part(self.number, self.parts);
        self.archive.entry(&path, &self.part).await?;
        self.parts += 1;
        // A long row must not keep its memory.
        self.part.truncate(PART);
        self.part.shrink_to(PART + PART / 8);
        self.part.clear();
        self.counter.add((self.number, &self.end.name), bytes);
        Ok(())
    }

    async fn finish(mut self) -> Result<TableEnd, TransferError> {
        if !self.part.is_empty() {
            self.write().await?;
        }
        self.counter.copied.rows += self.end.rows;
        self.end.sha256 = hex::encode(&self.digest.finalize());
        Ok(self.end)
    }
}

/// Number of rows in text of `COPY`: each ends with the only line feed that it has.
fn rows_in(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}
