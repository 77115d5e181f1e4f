//! The second schema, in which every migration runs once more beside the first.

use sea_orm::TransactionTrait;
use tenantry_registry::SchemaName;

use super::{observer::Observer, run::run};
use crate::{
    DynMigrator, Error, Target,
    drift::{Change, changes_between},
    enter,
    plan::Step,
    provision::execute_batch,
    session::FORGET,
};

/// How many differences are named.
const NAMED: usize = 3;

/// Follows the first schema, migration by migration, until one of them fails here.
pub(super) struct SecondSchema<'a> {
    observer: &'a Observer,
    first: &'a SchemaName,
    second: &'a SchemaName,
    follows: bool,
    known: Vec<Change>,
}

impl<'a> SecondSchema<'a> {
    pub(super) fn new(
        observer: &'a Observer,
        first: &'a SchemaName,
        second: &'a SchemaName,
    ) -> Self {
        Self { observer, first, second, follows: true, known: Vec::new() }
    }

    /// Runs the migration in the second schema. Returns in what it went differently from the
    /// first, if it did.
    pub(super) async fn follow(
        &mut self,
        migrator: &DynMigrator,
        step: &Step,
    ) -> Result<Option<String>, Error> {
        if !self.follows {
            return Ok(None);
        }
        let txn = &self.observer.txn;
        let savepoint = txn.begin().await?;
        enter(txn, &Target::Schema(self.second.clone()), migrator).await?;
        self.observer.begin_unobserved(!step.alone());
        let error = run(self.observer, step, self.second).await;
        if let Some(failure) = self.observer.end(error)?.failed {
            savepoint.rollback().await?;
            self.follows = false;
            return Ok(Some(format!("it fails in a second schema: {}", failure.message)));
        }
        enter(txn, &Target::Schema(self.second.clone()), migrator).await?;
        if let Err(error) = step.conclude(txn, migrator).await {
            savepoint.rollback().await?;
            self.follows = false;
            let error = Error::Database(error);
            return Ok(Some(format!("it fails in a second schema: {error}")));
        }
        execute_batch(txn, FORGET).await?;
        savepoint.commit().await?;
        let changes = changes_between(txn, self.first, self.second).await?;
        enter(txn, &Target::Schema(self.first.clone()), migrator).await?;
        let new: Vec<String> = changes
            .iter()
            .filter(|change| !self.known.contains(change))
            .map(ToString::to_string)
            .collect();
        self.known = changes;
        if new.is_empty() {
            return Ok(None);
        }
        let mut named = new[..new.len().min(NAMED)].join("; ");
        if new.len() > NAMED {
            named.push_str(&format!("; and {} more", new.len() - NAMED));
        }
        Ok(Some(format!("a second schema beside the first comes out differently: {named}")))
    }
}
