use std::{cmp::Reverse, collections::BTreeMap};

use sea_orm::{
    ColumnTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use tenantry_registry::{SchemaName, Slug, TenantId, tenant};

use super::{
    Allowlist, Change, Finding, Verification, VerifyError,
    attempts::inspect,
    compare::{applied, difference, matches_reference},
    down_nodes::DownNodes,
    finding::SchemaRef,
    inspect::{BATCH, Depth, InspectedSchema, Selection},
    orphans::orphans,
    reference::{ReferenceError, References},
};
use crate::{
    DynMigrator, Error, SharedMigrator, db_error::connection_error, extension::confirm_installed,
    lint::schema_dependent, lock::registry_exists,
};

/// A server process caches the catalog rows of every schema that it has read, 40 MB per thousand
/// schemas, and has no command to free them.
const BATCHES_PER_CONNECTION: usize = 8;

/// Which schemas to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyTarget {
    /// The schemas of all tenants, that of the tables that exist once, and objects in the database
    /// that belong to none of them.
    All,
    /// The schema of the tables that exist once, see
    /// [`TenantMigrator::shared`](crate::TenantMigrator::shared).
    Shared,
    /// The schemas of these tenants.
    Tenants(Vec<Slug>),
    /// One schema, whether or not it belongs to a tenant.
    Schema(SchemaName),
}

/// Compares schemas with the structure that the migrations of their versions create in an empty
/// schema. Changes nothing.
///
/// Schemas are inspected 500 at a time, first by a hash of each; only those that differ are
/// inspected again in full, so a schema that is being migrated meanwhile is not reported.
///
/// A schema that cannot be compared – a migration fails on an empty schema, the role lacks a
/// privilege, its node cannot be reached – is a finding; the others are compared.
///
/// # Errors
/// [`VerifyError::UnknownTenant`] if a tenant of [`VerifyTarget::Tenants`] does not exist,
/// [`VerifyError::NoRegistry`] without a registry, [`VerifyError::NoShared`] if [`migrator`](DynMigrator)
/// has no tables that exist once, and [`VerifyError::Migration`] if the schema of
/// [`VerifyTarget::Schema`] or [`VerifyTarget::Shared`] does not exist or the database fails.
pub async fn verify(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    target: &VerifyTarget,
) -> Result<Verification, VerifyError> {
    verify_with_allowlist(db, migrator, target, &Allowlist::default()).await
}

/// [`verify`], without the findings in `allowed`. With [`VerifyTarget::All`], an entry without a
/// finding is a finding, too.
///
/// # Errors
/// As for [`verify`].
pub async fn verify_with_allowlist(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    target: &VerifyTarget,
    allowed: &Allowlist,
) -> Result<Verification, VerifyError> {
    confirm_installed(db, migrator).await?;
    let mut run = Run::new(db, migrator, allowed);
    let mut shared = Verification::default();
    let registry = registry_exists(db).await?;
    match target {
        VerifyTarget::Schema(schema) => match migrator.shared() {
            Some(shared) if migrator.is_shared(schema) => return Ok(run.shared(shared).await?),
            _ => run.schema(schema, registry).await?,
        },
        VerifyTarget::Shared => {
            return match migrator.shared() {
                Some(shared) => Ok(run.shared(shared).await?),
                None => Err(VerifyError::NoShared),
            };
        }
        _ if !registry => return Err(VerifyError::NoRegistry),
        VerifyTarget::Tenants(slugs) => {
            let mut slugs = slugs.clone();
            slugs.sort();
            slugs.dedup();
            for slugs in slugs.chunks(BATCH) {
                run.tenants(slugs).await?;
            }
        }
        VerifyTarget::All => {
            run.all().await?;
            if let Some(once) = migrator.shared() {
                shared = run.shared(once).await?;
            }
            let orphans = orphans(db, migrator).await?;
            run.add_strays(orphans);
            run.add_unused();
        }
    }
    Ok(run.finish().await.and(shared))
}

struct Run<'a> {
    db: &'a DatabaseConnection,
    migrator: &'a DynMigrator,
    names: Vec<String>,
    references: References<'a>,
    schemas: usize,
    drifts: BTreeMap<Vec<Change>, Vec<SchemaRef>>,
    /// Nodes that cannot be reached, and the schemas on them.
    down: DownNodes,
    /// Schemas that cannot be compared, by version and reason.
    not_compared: BTreeMap<(Option<String>, ReferenceError), Vec<SchemaRef>>,
    others: Vec<Finding>,
    allowed: &'a Allowlist,
    /// Which entries of that list something was found for.
    used: Vec<bool>,
}

impl<'a> Run<'a> {
    fn new(db: &'a DatabaseConnection, migrator: &'a DynMigrator, allowed: &'a Allowlist) -> Self {
        Self {
            db,
            migrator,
            names: migrator.names(),
            references: References::new(db, migrator),
            schemas: 0,
            drifts: BTreeMap::new(),
            down: DownNodes::default(),
            not_compared: BTreeMap::new(),
            others: Vec::new(),
            allowed,
            used: vec![false; allowed.iter().len()],
        }
    }

    /// Verifies the tables that exist once, which have their own migrations.
    async fn shared(&mut self, shared: &SharedMigrator) -> Result<Verification, Error> {
        let mut run = Run::new(self.db, shared.migrator(), self.allowed);
        std::mem::swap(&mut run.used, &mut self.used);
        let verified = run.schema(shared.schema(), false).await;
        std::mem::swap(&mut run.used, &mut self.used);
        match verified {
            Err(Error::MissingSchema { schema }) => Err(Error::MissingShared { schema }),
            Err(error) => Err(error),
            Ok(()) => Ok(run.finish().await),
        }
    }

    async fn all(&mut self) -> Result<(), Error> {
        let mut after: Option<TenantId> = None;
        for batch in 1.. {
            let mut page = tenant::Entity::find()
                .select_only()
                .column(tenant::Column::Id)
                .column(tenant::Column::Schema)
                .filter(tenant::Column::Status.ne(tenant::Status::Dropped))
                .order_by_asc(tenant::Column::Id)
                .limit(BATCH as u64);
            if let Some(after) = after {
                page = page.filter(tenant::Column::Id.gt(after));
            }
            let tenants: Vec<(TenantId, SchemaName)> = page.into_tuple().all(self.db).await?;
            let Some((last, _)) = tenants.last() else { return Ok(()) };
            after = Some(*last);
            let schemas = tenants.into_iter().map(|(_, schema)| schema).collect();
            let inspected = self.inspect(Selection::Schemas(schemas), Depth::Hash).await?;
            self.check(inspected).await?;
            if batch % BATCHES_PER_CONNECTION == 0 {
                close_one(self.db).await?;
            }
        }
        Ok(())
    }

    async fn tenants(&mut self, slugs: &[Slug]) -> Result<(), VerifyError> {
        let batch = self.inspect(Selection::Slugs(slugs.to_vec()), Depth::Hash).await?;
        let there = |slug: &Slug| {
            batch
                .iter()
                .filter_map(|one| one.tenant.as_ref())
                .any(|it| it.slug.as_ref() == Some(slug))
        };
        if let Some(slug) = slugs.iter().find(|slug| !there(slug)) {
            return Err(VerifyError::UnknownTenant(slug.clone()));
        }
        Ok(self.check(batch).await?)
    }

    async fn schema(&mut self, schema: &SchemaName, registry: bool) -> Result<(), Error> {
        let mut batch = Vec::new();
        if registry {
            batch = self.inspect(Selection::Schemas(vec![schema.clone()]), Depth::Hash).await?;
        }
        if batch.is_empty() {
            batch = self.inspect(Selection::Unregistered(schema.clone()), Depth::Hash).await?;
        }
        let missing = |one: &InspectedSchema| {
            one.structure.is_none() && one.error.is_none() && !one.unreachable
        };
        if batch.iter().any(|one| one.tenant.is_none() && missing(one)) {
            return Err(Error::MissingSchema { schema: schema.to_string() });
        }
        self.check(batch).await
    }

    async fn inspect(
        &mut self,
        selection: Selection,
        depth: Depth,
    ) -> Result<Vec<InspectedSchema>, Error> {
        Ok(inspect(self.db, self.migrator, selection, depth, &mut self.down).await?)
    }

    async fn check(&mut self, batch: Vec<InspectedSchema>) -> Result<(), Error> {
        let mut differing = Vec::new();
        for inspected in batch {
            if inspected.tenant.as_ref().is_some_and(|row| row.dropping) {
                self.others.push(Finding::Dropping { tenant: inspected.subject() });
                continue;
            }
            if inspected.unreachable {
                continue;
            }
            if let Some(reason) = &inspected.error {
                let why = ReferenceError { migration: None, reason: reason.clone() };
                self.schemas += 1;
                self.add_not_compared(&inspected, why);
                continue;
            }
            if inspected.structure.is_none() {
                self.others.push(Finding::RowWithoutSchema { tenant: inspected.subject() });
                continue;
            }
            self.schemas += 1;
            if !matches_reference(&inspected, &self.names, &mut self.references).await? {
                differing.push(inspected);
            }
        }
        for differing in differing.chunks(BATCH / 10) {
            self.inspect_fully(differing).await?;
        }
        Ok(())
    }

    /// Inspects these schemas in full. One that matches now, or is gone, was being changed.
    async fn inspect_fully(&mut self, differing: &[InspectedSchema]) -> Result<(), Error> {
        let (rows, bare): (Vec<&InspectedSchema>, Vec<&InspectedSchema>) =
            differing.iter().partition(|inspected| inspected.tenant.is_some());
        let schemas = rows.iter().map(|inspected| inspected.schema.clone()).collect();
        let mut whole = self.inspect(Selection::Schemas(schemas), Depth::Full).await?;
        for inspected in bare {
            whole.extend(
                self.inspect(Selection::Unregistered(inspected.schema.clone()), Depth::Full)
                    .await?,
            );
        }
        for inspected in whole {
            if inspected.unreachable {
                // Counted when its hash was read.
                self.schemas -= 1;
                continue;
            }
            if let Some(reason) = &inspected.error {
                let why = ReferenceError { migration: None, reason: reason.clone() };
                self.add_not_compared(&inspected, why);
                continue;
            }
            match difference(&inspected, self.migrator, &mut self.references).await? {
                Ok(changes) => self.add_drift(&inspected, changes),
                Err(why) => self.add_not_compared(&inspected, why),
            }
        }
        Ok(())
    }

    fn add_drift(&mut self, inspected: &InspectedSchema, mut changes: Vec<Change>) {
        let subject = inspected.subject();
        changes.retain(|change| !mark(&mut self.used, self.allowed.of_change(&subject, change)));
        if !changes.is_empty() {
            self.drifts.entry(changes).or_default().push(subject);
        }
    }

    fn add_not_compared(&mut self, inspected: &InspectedSchema, why: ReferenceError) {
        let version = applied(inspected, &self.names).pop();
        self.not_compared.entry((version, why)).or_default().push(inspected.subject());
    }

    fn add_strays(&mut self, orphans: Vec<Finding>) {
        let (used, allowed) = (&mut self.used, self.allowed);
        self.others.extend(orphans.into_iter().filter(|finding| match finding {
            Finding::TableInPublic { table } => !mark(used, allowed.of_table(table)),
            Finding::SchemaWithoutRow { schema } => !mark(used, allowed.of_schema(schema)),
            _ => true,
        }));
    }

    /// An entry may be needed for a schema that could not be compared.
    fn add_unused(&mut self) {
        let all_judged = self.not_compared.is_empty() && self.down.is_empty();
        let unused = self.allowed.iter().zip(&self.used).filter(|(_, used)| !**used);
        let unused = unused.filter(|(entry, _)| all_judged || !entry.is_of_tenants());
        self.others
            .extend(unused.map(|(it, _)| Finding::UnusedAllowlistEntry { entry: it.clone() }));
    }

    async fn finish(self) -> Verification {
        // The reference is built while the tenants' schemas exist.
        let suspect = match self.drifts.is_empty() {
            true => None,
            false => schema_dependent(self.db, self.migrator).await,
        };
        let mut drifts: Vec<_> = self.drifts.into_iter().collect();
        drifts.sort_by_key(|(_, tenants)| Reverse(tenants.len()));
        let drifted = drifts.iter().map(|(_, tenants)| tenants.len()).sum();
        let mut findings = Vec::with_capacity(drifts.len() + self.others.len());
        for (difference, mut tenants) in drifts {
            tenants.sort();
            let suspect_migration = suspect.clone();
            findings.push(Finding::Drift { tenants, difference, suspect_migration });
        }
        for ((version, ReferenceError { migration, reason }), mut tenants) in self.not_compared {
            tenants.sort();
            findings.push(Finding::NotCompared { tenants, version, migration, reason });
        }
        findings.extend(self.down.into_findings());
        findings.extend(self.others);
        Verification { schemas: self.schemas, drifted, findings }
    }
}

/// Marks entries as used. Returns whether there are any.
fn mark(used: &mut [bool], entries: impl Iterator<Item = usize>) -> bool {
    let mut any = false;
    for entry in entries {
        used[entry] = true;
        any = true;
    }
    any
}

/// Closes a connection of the pool, and with it a server process.
async fn close_one(db: &DatabaseConnection) -> Result<(), DbErr> {
    let connection = db.get_postgres_connection_pool().acquire().await.map_err(connection_error)?;
    connection.close().await.map_err(connection_error)
}
