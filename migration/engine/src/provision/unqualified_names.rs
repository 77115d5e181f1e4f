//! Functions that do not find their tables when a tenant's statement calls them.

use sea_orm::ConnectionTrait;

use crate::{Error, Target, lint::functions::unqualified, plan::Step};

/// Returns an error if a trigger, a default, a policy, an index, a constraint or a view of a new
/// schema calls a function whose body names tables without a schema, unless the migration that
/// creates the function allows it. `steps` have created the schema.
pub(crate) async fn ensure_qualified_names(
    txn: &impl ConnectionTrait,
    target: &Target,
    steps: &[Step],
) -> Result<(), Error> {
    let (Target::Shared(schema) | Target::Schema(schema)) = target else { return Ok(()) };
    for found in unqualified(txn, schema).await? {
        let name = found.function.split('(').next().unwrap_or_default();
        let makes = |step: &&Step| step.suppressions.mentions_function(name);
        let is_meant = |step: &Step| step.suppressions.allows_function(name);
        if found.callers.is_empty() || steps.iter().any(is_meant) {
            continue;
        }
        let migration = steps.iter().rfind(makes).map(|step| step.migration.name().to_owned());
        return Err(Error::UnqualifiedNames {
            schema: schema.to_string(),
            migration: migration.unwrap_or_default(),
            function: found.function,
            names: found.names,
            callers: found.callers,
        });
    }
    Ok(())
}
