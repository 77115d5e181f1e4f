//! Runs each migration again in a second schema, and compares it with the first.

use sea_orm::TransactionTrait;

use super::{observer::Observer, proxy::run_migration};
use crate::{
    DynMigrator, Error, Target,
    drift::{Change, changes_between},
    plan::Step,
    search_path::set_search_path,
    session::DISCARD_SQL,
    sql::query::execute_batch,
};

/// How many differences a message names.
const MAX_NAMED: usize = 3;

pub(super) struct SecondSchema<'a> {
    observer: &'a Observer<'a>,
    /// Differences that are reported already. `None` once a migration has failed here.
    known: Option<Vec<Change>>,
}

impl<'a> SecondSchema<'a> {
    pub(super) fn new(observer: &'a Observer<'a>) -> Self {
        Self { observer, known: Some(Vec::new()) }
    }

    /// Runs the migration in the second schema. Returns how the result differs from the first
    /// schema, if it does.
    pub(super) async fn follow(
        &mut self,
        migrator: &DynMigrator,
        step: &Step,
    ) -> Result<Option<String>, Error> {
        let Some(known) = self.known.take() else { return Ok(None) };
        let &Observer { txn, schema: first, second, .. } = self.observer;
        let savepoint = txn.begin().await?;
        if let Some(error) = self.run(migrator, step).await? {
            savepoint.rollback().await?;
            return Ok(Some(format!("it fails in a second schema: {error}")));
        }
        savepoint.commit().await?;
        let changes = changes_between(txn, first, second).await?;
        set_search_path(txn, &Target::Schema(first.clone()), migrator).await?;
        let new: Vec<String> = changes
            .iter()
            .filter(|change| !known.contains(change))
            .map(ToString::to_string)
            .collect();
        self.known = Some(changes);
        if new.is_empty() {
            return Ok(None);
        }
        let mut named = new[..new.len().min(MAX_NAMED)].join("; ");
        if new.len() > MAX_NAMED {
            named.push_str(&format!("; and {} more", new.len() - MAX_NAMED));
        }
        Ok(Some(format!("the result in a second schema differs: {named}")))
    }

    /// Returns why the migration failed, if it did.
    async fn run(&self, migrator: &DynMigrator, step: &Step) -> Result<Option<String>, Error> {
        let &Observer { txn, second, .. } = self.observer;
        let target = Target::Schema(second.clone());
        set_search_path(txn, &target, migrator).await?;
        self.observer.begin_unobserved(step.is_transactional());
        let error = run_migration(self.observer, step, second).await;
        if let Some(failure) = self.observer.end(error)?.failed {
            return Ok(Some(failure.message));
        }
        set_search_path(txn, &target, migrator).await?;
        if let Err(error) = step.check_and_record(txn, migrator).await {
            return Ok(Some(Error::Database(error).to_string()));
        }
        execute_batch(txn, DISCARD_SQL).await?;
        Ok(None)
    }
}
