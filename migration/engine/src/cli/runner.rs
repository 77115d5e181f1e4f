use std::{error::Error, process::ExitCode};

use super::{
    args::{RunArgs, StatusArgs},
    dry_run,
    names::CommandNames,
    run::Job,
    schema_status::{self, SchemaStatuses},
    status,
    targets::{self, Migrators, ResolvedTarget},
};
use crate::{
    Action, Target, TenantSelection, claim_application, confirm_application, connect::DatabaseArgs,
    extension_sql, fleet_tenants, make_extensions,
};

/// Runs the subcommands that change schemas or show their state.
pub(super) struct Runner<'a> {
    pub(super) migrators: Migrators,
    pub(super) database: &'a DatabaseArgs,
    pub(super) names: &'a CommandNames,
}

impl Runner<'_> {
    pub(super) async fn run(
        &self,
        action: &Action,
        args: &RunArgs,
        confirmed: bool,
    ) -> Result<ExitCode, Box<dyn Error>> {
        let fleet = args.options.fleet();
        let connections = if args.options.dry_run { 1 } else { fleet.jobs + 1 };
        let database = self.database.connect_as_owner(connections as u32).await?;
        let db = &database.connection;
        if args.options.dry_run {
            confirm_application(db, &self.migrators.tenant).await?;
        } else {
            claim_application(db, &self.migrators.tenant).await?;
        }
        let with_shared = *action == Action::Up(None);
        let which = (args.only_failed, with_shared);
        let chosen = targets::resolve(db, &self.migrators, &args.targets, which).await?;
        let installs = args.targets.registry && matches!(action, Action::Up(_));
        if installs && args.options.dry_run {
            dry_run::print("extensions", &extension_sql(db, &self.migrators.tenant).await?)?;
        } else if installs {
            make_extensions(db, &self.migrators.tenant).await?;
        }
        let job = Job { db, action, args, confirmed, names: self.names };
        let code = match chosen {
            ResolvedTarget::Schemas(schemas) if args.options.dry_run => {
                dry_run::print_schemas(db, &schemas, action, self.names).await
            }
            ResolvedTarget::Tenants(who) if args.options.dry_run => {
                let tenants = fleet_tenants(db, &who).await?;
                dry_run::print_tenants(db, tenants, &self.migrators.tenant, action, self.names)
                    .await
            }
            ResolvedTarget::Schemas(schemas) => job.on_schemas(&schemas, &fleet).await,
            ResolvedTarget::Tenants(who) => {
                job.on_tenants(who, &self.migrators.tenant, &fleet).await
            }
        };
        if args.targets.registry && !args.options.dry_run {
            claim_application(db, &self.migrators.tenant).await?;
        }
        database.connection.close_by_ref().await?;
        code
    }

    pub(super) async fn status(&self, args: &StatusArgs) -> Result<ExitCode, Box<dyn Error>> {
        let database = self.database.connect_as_owner(1).await?;
        let db = &database.connection;
        confirm_application(db, &self.migrators.tenant).await?;
        match targets::resolve(db, &self.migrators, &args.targets, (false, true)).await? {
            ResolvedTarget::Tenants(TenantSelection::All) => {
                status::run(db, &self.migrators.tenant, args, self.names).await
            }
            chosen => Ok(self.schema_statuses(db, chosen).await?.status(args)?),
        }
    }

    pub(super) async fn list(&self, args: &StatusArgs) -> Result<ExitCode, Box<dyn Error>> {
        if args.targets.is_empty() {
            return Ok(schema_status::migrations(&self.migrators.tenant, args.json)?);
        }
        let database = self.database.connect_as_owner(1).await?;
        let db = &database.connection;
        confirm_application(db, &self.migrators.tenant).await?;
        let chosen = targets::resolve(db, &self.migrators, &args.targets, (false, true)).await?;
        Ok(self.schema_statuses(db, chosen).await?.list(args)?)
    }

    async fn schema_statuses(
        &self,
        db: &sea_orm::DatabaseConnection,
        chosen: ResolvedTarget,
    ) -> Result<SchemaStatuses, crate::Error> {
        match chosen {
            ResolvedTarget::Schemas(schemas) => {
                let named = schemas.into_iter();
                let named = named.map(|(target, migrator)| (target.to_string(), target, migrator));
                Ok(SchemaStatuses::fetch(db, named, self.names).await)
            }
            ResolvedTarget::Tenants(who) => {
                let named = fleet_tenants(db, &who).await?.into_iter();
                let named = named.map(|it| {
                    let migrator = self.migrators.tenant.clone();
                    (it.to_string(), Target::Schema(it.schema), migrator)
                });
                Ok(SchemaStatuses::fetch(db, named, self.names).await)
            }
        }
    }
}
