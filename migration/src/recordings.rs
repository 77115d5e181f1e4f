//! What steps send to schemas that are in use, recorded once for a whole run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use sea_orm::{DatabaseTransaction, DbErr};

use crate::{
    AnyMigrator, Target,
    plan::Step,
    provision::ddl,
    record::{joined, record},
    scope::stay_in,
    statement::Ground,
};

/// Steps by the names of their migrations and their directions.
type Key = Vec<(String, bool)>;

/// One text for each step, with its note in the migrations table; None when only running the steps
/// tells what they send.
type Texts = Option<Arc<[(String, String)]>>;

#[derive(Debug, Default)]
pub(crate) struct Recordings(Mutex<HashMap<Key, Texts>>);

impl Recordings {
    /// Carries out all of `steps` in one round trip. False when they cannot be recorded: nothing
    /// was sent then.
    pub(crate) async fn send(
        &self,
        txn: &DatabaseTransaction,
        target: &Target,
        migrator: &AnyMigrator,
        steps: &[Step],
    ) -> Result<bool, DbErr> {
        let Some(texts) = self.texts(migrator, steps).await else { return Ok(false) };
        let stay = stay_in(target);
        let sql: String =
            texts.iter().flat_map(|(sql, note)| [sql.as_str(), stay.as_str(), note]).collect();
        ddl(txn, &sql).await?;
        Ok(true)
    }

    async fn texts(&self, migrator: &AnyMigrator, steps: &[Step]) -> Texts {
        let key: Key =
            steps.iter().map(|step| (step.migration.name().to_owned(), step.up)).collect();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(texts) = known {
            return texts;
        }
        let texts = match record(steps, migrator, Ground::Rows).await {
            Ok(texts) => {
                let notes = steps.iter().map(|step| joined(vec![step.note_sql(migrator)]));
                Some(texts.into_iter().zip(notes).collect())
            }
            Err(refusal) => {
                tracing::debug!(?refusal, "a migration is sent statement by statement");
                None
            }
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Texts::clone(&texts));
        texts
    }
}
