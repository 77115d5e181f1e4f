//! The reference structure: the migrations run in a scratch schema, in a transaction that is rolled
//! back, or, if PostgreSQL wants commits between them, in several, and the schema is dropped.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, TransactionTrait};
use tenantry_registry::SchemaName;

use super::{
    Change,
    catalog::{Oid, hashes, structures},
    diff::diff,
    structure::{CatalogEntry, Structure},
};
use crate::{
    DbErrorKind, DynMigrator, Error,
    plan::all_up,
    provision::{run_all, scratch::ScratchSchema},
    run::commits::{self, run_each},
    sql::query::{execute, execute_batch, scalar},
};

/// With default privileges, the structure depends on the role that creates it: the owner of the
/// registry, which an administrator may become.
const BECOME_OWNER: &str = "SELECT set_config('role', r.rolname, true)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
    WHERE c.oid = to_regclass('registry.tenants') AND r.rolname <> current_user
    AND pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::integer < 160000
        THEN 'MEMBER' ELSE 'SET' END) AND EXISTS (SELECT FROM pg_catalog.pg_default_acl d
        WHERE d.defaclrole = r.oid AND d.defaclnamespace = 0)";

/// The structure that some migrations create.
#[derive(Debug)]
pub(crate) struct Reference {
    /// Hash of the structure, which every matching schema has; `None` if the structure contains the
    /// schema's name.
    pub(super) hash: Option<String>,
    schema: SchemaName,
    structure: Structure,
}

/// Why a reference could not be built.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReferenceError {
    /// The migration that fails on an empty schema, if that is the reason.
    pub(super) migration: Option<String>,
    pub(super) reason: String,
}

/// The references that were needed so far.
#[derive(Debug)]
pub(super) struct References<'a> {
    db: &'a DatabaseConnection,
    migrator: &'a DynMigrator,
    built: HashMap<Vec<String>, Result<Reference, ReferenceError>>,
}

impl<'a> References<'a> {
    pub(super) fn new(db: &'a DatabaseConnection, migrator: &'a DynMigrator) -> Self {
        Self { db, migrator, built: HashMap::new() }
    }

    /// The reference for these migrations of the migrator, in their order.
    ///
    /// # Errors
    /// Only if the database is unavailable.
    pub(super) async fn get(
        &mut self,
        applied: &[String],
    ) -> Result<Result<&Reference, ReferenceError>, Error> {
        if !self.built.contains_key(applied) {
            let mut reference = self.build(applied).await;
            // Citus places each new schema on the next node, and one of them may be down.
            for _ in 1..NODE_TRIES {
                let kind = reference.as_ref().err().and_then(Error::db_error_kind);
                if kind != Some(DbErrorKind::NodeUnavailable) {
                    break;
                }
                reference = self.build(applied).await;
            }
            let reference = match reference {
                Ok(reference) => Ok(reference),
                Err(error) if is_outage(&error) => return Err(error),
                Err(error) => Err(ReferenceError {
                    migration: error.migration().map(str::to_owned),
                    reason: error.reason(),
                }),
            };
            self.built.insert(applied.to_vec(), reference);
        }
        Ok(self.built[applied].as_ref().map_err(ReferenceError::clone))
    }

    async fn build(&self, applied: &[String]) -> Result<Reference, Error> {
        let txn = self.db.begin().await?;
        execute(&txn, BECOME_OWNER, []).await?;
        let reference = Reference::build(&txn, self.migrator, applied).await;
        let rolled_back = txn.rollback().await;
        let reference = reference?;
        rolled_back?;
        Ok(reference)
    }
}

/// Attempts to build a reference while a node is down.
const NODE_TRIES: u32 = 4;

/// Whether the database is unavailable.
fn is_outage(error: &Error) -> bool {
    matches!(
        error.db_error_kind(),
        Some(DbErrorKind::PoolTimeout | DbErrorKind::Unavailable | DbErrorKind::Refused)
    )
}

impl Reference {
    /// Rolls back all that was done in the transaction.
    pub(crate) async fn build(
        txn: &impl ConnectionTrait,
        migrator: &DynMigrator,
        applied: &[String],
    ) -> Result<Self, Error> {
        let mut scratch = ScratchSchema::create(txn, "reference", migrator).await?;
        let built = Self::build_in(&scratch, migrator, applied).await;
        let built = scratch.end(built).await;
        if !built.as_ref().is_err_and(commits::are_needed) {
            return built;
        }
        scratch = ScratchSchema::create(txn, "reference", migrator).await?;
        scratch.committed = true;
        let built = Self::build_in(&scratch, migrator, applied).await;
        scratch.end(built).await
    }

    async fn build_in(
        scratch: &ScratchSchema<'_, impl ConnectionTrait>,
        migrator: &DynMigrator,
        applied: &[String],
    ) -> Result<Self, Error> {
        let (txn, schema, target) = (scratch.txn, scratch.schema(), &scratch.target);
        let mut steps = all_up(migrator);
        steps.retain(|step| applied.iter().any(|name| name == step.migration.name()));
        if scratch.committed {
            run_each(txn, target, migrator, steps).await?;
        } else {
            run_all(txn, target, migrator, steps, None).await?;
        }
        let structure = read_structure(txn, schema).await?;
        let hash = if structure.mentions(schema.as_str()) {
            None
        } else {
            Some(hash_in(txn, schema).await?)
        };
        Ok(Self { hash, schema: schema.clone(), structure })
    }

    /// The differences of a schema from the reference.
    pub(crate) fn changes(&self, name: &SchemaName, found: Structure) -> Vec<Change> {
        diff(&self.structure(name), &self.comparable(name, found))
    }

    /// The objects of a structure that the reference does not have or has otherwise, with their
    /// definitions.
    pub(crate) fn additions(&self, name: &SchemaName, found: &Structure) -> Vec<(String, String)> {
        let expected = self.structure(name);
        let new = |(key, entry): &(_, &CatalogEntry)| {
            expected.entries().get(*key).is_none_or(|it| it.definition != entry.definition)
        };
        let entries = found.entries().iter().filter(new);
        entries.map(|(_, entry)| (entry.label(), entry.definition.clone())).collect()
    }

    /// The structure of schema `name` with its own name written as in [`structure`](Self::structure).
    pub(super) fn comparable(&self, name: &SchemaName, found: Structure) -> Structure {
        match self.hash {
            Some(_) => found,
            // Where a migration embedded it in quotes.
            None => found.replace(&name.quoted(), name.as_str()),
        }
    }

    /// The reference for schema `name`, which replaces the scratch schema's name where a migration
    /// embedded it (a function's source, a default).
    pub(super) fn structure(&self, name: &SchemaName) -> Structure {
        match self.hash {
            Some(_) => self.structure.clone(),
            None => self.structure.replace(self.schema.as_str(), name.as_str()),
        }
    }
}

/// Whether the migrations embed the name of their schema in a definition – the source of a function,
/// a default – so that the schema cannot simply be renamed. Changes nothing.
///
/// # Errors
/// [`Error::Migration`] if a migration fails on an empty schema, else [`Error::Database`].
pub async fn embeds_schema_name(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
) -> Result<bool, Error> {
    let txn = db.begin().await?;
    let names = embeds_schema_name_in(&txn, migrator).await;
    txn.rollback().await?;
    names
}

/// [`embeds_schema_name`] in a transaction, which is rolled back.
///
/// # Errors
/// As for [`embeds_schema_name`].
pub async fn embeds_schema_name_in(
    txn: &impl ConnectionTrait,
    migrator: &DynMigrator,
) -> Result<bool, Error> {
    let reference = Reference::build(txn, migrator, &migrator.names()).await?;
    Ok(reference.hash.is_none())
}

/// The structure of a schema as the transaction sees it. Does not change `search_path`.
///
/// # Errors
/// [`Error::MissingSchema`] if the schema does not exist, else [`Error::Database`].
pub async fn read_structure(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
) -> Result<Structure, Error> {
    let number = [oid(txn, schema).await?];
    described(txn, schema, structures(txn, &number)).await
}

/// The differences of `second` from `first`, as the transaction sees them, except embedded names of
/// the schemas.
///
/// # Errors
/// As for [`read_structure`].
pub(crate) async fn changes_between(
    txn: &impl ConnectionTrait,
    first: &SchemaName,
    second: &SchemaName,
) -> Result<Vec<Change>, Error> {
    let expected = read_structure(txn, first).await?;
    let found = read_structure(txn, second).await?.replace(second.as_str(), first.as_str());
    Ok(diff(&expected, &found))
}

async fn hash_in(txn: &impl ConnectionTrait, schema: &SchemaName) -> Result<String, Error> {
    let number = [oid(txn, schema).await?];
    described(txn, schema, hashes(txn, &number)).await
}

/// The description of a schema. What describing it sets in the transaction is undone.
async fn described<T>(
    txn: &impl ConnectionTrait,
    schema: &SchemaName,
    describe: impl Future<Output = Result<Vec<(Oid, T)>, DbErr>>,
) -> Result<T, Error> {
    execute_batch(txn, "SAVEPOINT tenantry_description").await?;
    let described = describe.await?;
    execute_batch(
        txn,
        "ROLLBACK TO SAVEPOINT tenantry_description; RELEASE SAVEPOINT tenantry_description",
    )
    .await?;
    let missing = || Error::MissingSchema { schema: schema.to_string() };
    described.into_iter().next().map(|(_, described)| described).ok_or_else(missing)
}

async fn oid(txn: &impl ConnectionTrait, schema: &SchemaName) -> Result<Oid, Error> {
    let sql = "SELECT oid::bigint FROM pg_catalog.pg_namespace WHERE nspname = $1";
    let oid = scalar(txn, sql, [schema.as_str().into()]).await?;
    oid.ok_or_else(|| Error::MissingSchema { schema: schema.to_string() })
}
