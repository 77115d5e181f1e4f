//! Actions on a schema, the steps that they take, and the rows of the migrations table.

use std::sync::Arc;

use sea_orm::sea_query::{
    DeleteStatement, Expr, ExprTrait, InsertStatement, PostgresQueryBuilder, Query,
};
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf, seaql_migrations};

use crate::{
    DynMigrator, Error, MigrationOutcome, MigrationState, extension::Extensions, lint::Suppressions,
};

/// Change to the version of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Apply all pending migrations, or the oldest of them up to this number.
    Up(Option<u32>),
    /// Roll back this number of the newest migrations.
    Down(u32),
    /// Apply or roll back until this migration is the newest.
    To(String),
    /// Roll back the newest migration and apply it again.
    Redo,
    /// Drop the schema with everything in it, create it again and apply every migration.
    Fresh {
        /// Also drop the objects outside the schema that depend on it
        /// ([`dependents`](crate::dependents)). Otherwise they are an error.
        cascade: bool,
    },
}

/// One migration to apply or to roll back.
pub(crate) struct Step {
    pub(crate) migration: Arc<dyn MigrationTrait>,
    pub(crate) up: bool,
    /// Extensions that the migrator declares.
    pub(crate) extensions: Extensions,
    /// Rules that the migration allows to be broken; complete after it has run.
    pub(crate) suppressions: Suppressions,
}

impl Step {
    fn new(migrator: &DynMigrator, migration: Box<dyn MigrationTrait>, up: bool) -> Self {
        let (extensions, suppressions) = (migrator.declared().clone(), Suppressions::default());
        Self { migration: migration.into(), up, extensions, suppressions }
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.migration.use_transaction() != Some(false)
    }

    /// Whether a schema in this state does not need the step.
    pub(crate) fn is_satisfied_by(&self, state: &MigrationState) -> bool {
        state.applied.iter().any(|name| name == self.migration.name()) == self.up
    }

    /// Changes `state` as the step changes the schema.
    pub(crate) fn apply_to(&self, state: &mut MigrationState, outcome: &mut MigrationOutcome) {
        let name = self.migration.name();
        state.applied.retain(|applied| applied != name);
        if self.up {
            state.applied.push(name.to_owned());
            outcome.applied.push(name.to_owned());
        } else {
            outcome.rolled_back.push(name.to_owned());
        }
    }

    /// The statement that inserts or deletes the step's row in the migrations table.
    pub(crate) fn row_sql(&self, migrator: &DynMigrator) -> String {
        let name = self.migration.name();
        match self.up {
            true => insert_applied(migrator, &[name]).to_string(PostgresQueryBuilder),
            false => delete_applied(migrator, name).to_string(PostgresQueryBuilder),
        }
    }
}

/// The statement that inserts the rows of these migrations, at least one, into the migrations table.
pub(crate) fn insert_applied(migrator: &DynMigrator, names: &[impl AsRef<str>]) -> InsertStatement {
    let mut insert = Query::insert();
    insert
        .into_table(migrator.migration_table_name())
        .columns([seaql_migrations::Column::Version, seaql_migrations::Column::AppliedAt]);
    for name in names {
        let now = Expr::cust("extract(epoch FROM now())::bigint");
        insert.values_panic([name.as_ref().into(), now]);
    }
    insert
}

fn delete_applied(migrator: &DynMigrator, name: &str) -> DeleteStatement {
    Query::delete()
        .from_table(migrator.migration_table_name())
        .and_where(Expr::col(seaql_migrations::Column::Version).eq(name))
        .to_owned()
}

/// The steps from `state` to the result of `action`, in their order.
///
/// [`Action::Fresh`] starts from an empty schema, whatever the state.
pub(crate) fn plan(
    migrator: &DynMigrator,
    state: &MigrationState,
    action: &Action,
) -> Result<Vec<Step>, Error> {
    let newest_first = || state.applied.iter().rev();
    let up = |name: &String| (name.clone(), true);
    let down = |name: &String| (name.clone(), false);
    let steps: Vec<(String, bool)> = match action {
        Action::Up(None) => state.pending.iter().map(up).collect(),
        Action::Up(Some(n)) => state.pending.iter().take(*n as usize).map(up).collect(),
        Action::Down(n) => newest_first().take(*n as usize).map(down).collect(),
        Action::Redo => newest_first().take(1).flat_map(|name| [down(name), up(name)]).collect(),
        Action::Fresh { .. } => migrator.names().iter().map(up).collect(),
        Action::To(version) => {
            let names = migrator.names();
            let Some(last) = names.iter().position(|name| name == version) else {
                return Err(Error::UnknownVersion { version: version.clone() });
            };
            let (wanted, unwanted) = names.split_at(last + 1);
            let back = newest_first().filter(|name| unwanted.contains(name)).map(down);
            let forward = state.pending.iter().filter(|name| wanted.contains(name)).map(up);
            back.chain(forward).collect()
        }
    };
    // The names are the migrator's, so each is found.
    let step = |(name, up): (String, bool)| {
        let migration = migrator.migrations().into_iter().find(|it| it.name() == name)?;
        Some(Step::new(migrator, migration, up))
    };
    Ok(steps.into_iter().filter_map(step).collect())
}

/// All migrations, for an empty schema.
pub(crate) fn all_up(migrator: &DynMigrator) -> Vec<Step> {
    let migrations = migrator.migrations().into_iter();
    migrations.map(|migration| Step::new(migrator, migration, true)).collect()
}
