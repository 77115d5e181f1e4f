use std::sync::Arc;

use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};

use crate::{DynMigrator, Error, MigrationState, extension::Extensions, lint::Suppressions};

/// What to do with a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Apply pending migrations: all of them, or only so many.
    Up(Option<u32>),
    /// Roll back this many of the newest migrations.
    Down(u32),
    /// Apply or roll back until this migration is the newest.
    To(String),
    /// Roll back the newest migration and apply it again.
    Redo,
    /// Drop the schema with everything in it, create it again and apply every migration.
    Fresh {
        /// Also drop the objects outside the schema that depend on it
        /// ([`dependents`](crate::dependents)). Otherwise the run is refused when there are any.
        cascade: bool,
    },
}

/// One migration to apply or to roll back.
pub(crate) struct Step {
    pub(crate) migration: Arc<dyn MigrationTrait>,
    pub(crate) up: bool,
    /// Those that the migrator declares.
    pub(crate) extensions: Extensions,
    /// What the migration says that it means, once it has run.
    pub(crate) suppressions: Suppressions,
}

impl Step {
    /// Whether it has to run by itself, outside any transaction.
    pub(crate) fn alone(&self) -> bool {
        self.migration.use_transaction() == Some(false)
    }

    /// Whether there is nothing left to do.
    pub(crate) fn is_satisfied_by(&self, state: &MigrationState) -> bool {
        state.applied.iter().any(|name| name == self.migration.name()) == self.up
    }

    /// Makes `state` what it is after the step.
    pub(crate) fn apply_to(&self, state: &mut MigrationState) {
        state.applied.retain(|name| name != self.migration.name());
        if self.up {
            state.applied.push(self.migration.name().to_owned());
        }
    }
}

/// The steps from `state` to what `action` asks for, in their order.
///
/// [`Action::Fresh`] begins with an empty schema, whatever the state.
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
            let on = state.pending.iter().filter(|name| wanted.contains(name)).map(up);
            back.chain(on).collect()
        }
    };
    Ok(steps.into_iter().filter_map(|(name, up)| step(migrator, &name, up)).collect())
}

/// All migrations, for an empty schema.
pub(crate) fn all_up(migrator: &DynMigrator) -> Vec<Step> {
    let migrations = migrator.migrations().into_iter();
    let step = |migration: Box<dyn MigrationTrait>| Step {
        migration: migration.into(),
        up: true,
        extensions: migrator.declared().clone(),
        suppressions: Suppressions::default(),
    };
    migrations.map(step).collect()
}

/// The names come from the migrator itself, so each is found.
fn step(migrator: &DynMigrator, name: &str, up: bool) -> Option<Step> {
    let migration = migrator.migrations().into_iter().find(|it| it.name() == name)?;
    let (extensions, suppressions) = (migrator.declared().clone(), Suppressions::default());
    Some(Step { migration: migration.into(), up, extensions, suppressions })
}
