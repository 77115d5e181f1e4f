//! What all migrations send to a schema, so that it need not be asked of them again.

use std::mem::take;

use sea_orm::{ConnectionTrait, sea_query::PostgresQueryBuilder};
use tenantry_registry::SchemaName;

use crate::{
    DynMigrator, Error, Target,
    plan::{Step, all_up},
    provision::recorder::{
        CapturedMigration, CapturedStatement, digest_of, joined, record_install,
    },
    provision::{create_schema_sql, execute_batch},
    run::commits::{SETTLE, mentions_deferrable},
    run::step::notes,
    search_path::{SchemaGuard, assert_search_path_sql},
    sql::effect::answer_is_known,
    sql::{SqlStatement, replace_placeholder},
};

/// What the migrations of a migrator send, in their order.
#[derive(Debug)]
pub(crate) struct Recording(Vec<Recorded>);

/// What one migration sends; None where that takes a run of it.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// To a new schema.
    pub(crate) to_empty: Option<String>,
    /// To a schema with rows: a text that fails where the migration would be answered otherwise
    /// than when it was recorded.
    pub(crate) to_any: Option<String>,
}

impl Recording {
    /// What two runs of these steps agree in. The log says which migrations they differ in.
    ///
    /// `deferrable` is whether there may be constraints already that are checked late.
    pub(crate) fn of(
        steps: &[Step],
        [first, second]: [&[CapturedMigration]; 2],
        mut deferrable: bool,
    ) -> Self {
        let tracks = steps.iter().zip(first.iter().zip(second));
        let recorded = tracks.map(|(step, (first, second))| {
            let mut recorded = Recorded::of(step, first, second);
            deferrable |= second.texts().any(mentions_deferrable);
            if deferrable {
                let texts = [&mut recorded.to_empty, &mut recorded.to_any];
                texts
                    .into_iter()
                    .flatten()
                    .for_each(|text| text.push_str(&joined([SETTLE.into()])));
            }
            recorded
        });
        Self(recorded.collect())
    }

    /// What the newest so many migrations send to a schema with rows.
    pub(crate) fn newest(&self, count: usize) -> Option<Vec<String>> {
        let begin = self.0.len().checked_sub(count)?;
        self.0[begin..].iter().map(|recorded| recorded.to_any.clone()).collect()
    }

    /// Makes `schema`: in one round trip, and two more and what the migration needs for each that
    /// runs by itself. When that fails the transaction is as it was before.
    ///
    /// `search_path` is afterwards what it was.
    pub(crate) async fn send(
        &self,
        txn: &impl ConnectionTrait,
        schema: &SchemaName,
        migrator: &DynMigrator,
    ) -> Result<(), Error> {
        let sent = self.send_all(txn, &Target::Schema(schema.clone()), schema, migrator).await;
        if sent.is_err() {
            let undo = format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}; RELEASE SAVEPOINT {SAVEPOINT}");
            // Where even that fails the connection is gone, and every next statement says so.
            let _ = execute_batch(txn, &undo).await;
        }
        sent
    }

    async fn send_all(
        &self,
        txn: &impl ConnectionTrait,
        target: &Target,
        schema: &SchemaName,
        migrator: &DynMigrator,
    ) -> Result<(), Error> {
        let path = migrator.search_path(target);
        let (stay, quoted) = (assert_search_path_sql(&path), target.quoted());
        let mut message = format!(
            "SAVEPOINT {SAVEPOINT};
{};
SELECT set_config('tenantry.search_path', current_setting('search_path'), true),
    set_config('search_path', '{path}', true);
{}",
            create_schema_sql(schema),
            record_install(migrator)
        );
        let mut unnoted = Vec::new();
        let mut watch = None;
        for (step, recorded) in all_up(migrator).iter().zip(&self.0) {
            if let Some(text) = &recorded.to_empty {
                message.push_str(&replace_placeholder(text, &quoted));
                message.push_str(&stay);
                unnoted.push(step.migration.name().to_owned());
                continue;
            }
            message.push_str(&note(migrator, &take(&mut unnoted)));
            execute_batch(txn, &take(&mut message)).await?;
            if watch.is_none() {
                watch = Some(SchemaGuard::begin(txn, target, migrator).await?);
            }
            if let Some(watch) = &watch {
                step.run_in(txn, watch, migrator).await?;
            }
        }
        message.push_str(&note(migrator, &unnoted));
        message.push_str(&format!(
            "SELECT set_config('search_path', current_setting('tenantry.search_path'), true);
RELEASE SAVEPOINT {SAVEPOINT}"
        ));
        Ok(execute_batch(txn, &message).await?)
    }
}

impl Recorded {
    fn of(step: &Step, first: &CapturedMigration, second: &CapturedMigration) -> Self {
        let differs = || (first != second).then(|| DIFFERS.to_owned());
        let Some(reason) = second.refused.clone().or_else(differs) else {
            return Self { to_empty: Some(to_empty(second)), to_any: to_any(second) };
        };
        let migration = step.migration.name();
        tracing::warn!(
            migration,
            reason,
            "a migration cannot be recorded; it runs for each schema"
        );
        Self { to_empty: None, to_any: None }
    }
}

const DIFFERS: &str = "its statements or their answers are others each time";

const SAVEPOINT: &str = "tenantry_provision";

/// Without reads that change nothing. Those of other schemas, or of the name of this one, must return
/// what they returned.
fn to_empty(track: &CapturedMigration) -> String {
    let mut text = String::new();
    for sent in &track.sent {
        match &sent.read {
            Some(digest) if sent.elsewhere => text.push_str(&same_rows(sent, digest)),
            Some(_) => {}
            None => text.push_str(&joined(sent.pieces.iter().cloned())),
        }
    }
    text
}

/// A statement that fails by dividing by zero where the rows of a read are others.
fn same_rows(sent: &CapturedStatement, digest: &str) -> String {
    let found: String = sent.pieces.iter().map(|read| digest_of(read)).collect();
    format!("SELECT 1 / (({found}) = '{digest}')::int;\n")
}

fn to_any(track: &CapturedMigration) -> Option<String> {
    let mut text = String::new();
    for sent in &track.sent {
        match &sent.read {
            Some(digest) => text.push_str(&same_rows(sent, digest)),
            None if sent.pieces.iter().all(|sql| answer_is_known(&SqlStatement::one(sql))) => {
                text.push_str(&joined(sent.pieces.iter().cloned()));
            }
            None => return None,
        }
    }
    Some(text)
}

fn note(migrator: &DynMigrator, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    joined([notes(migrator, names).to_string(PostgresQueryBuilder)])
}
