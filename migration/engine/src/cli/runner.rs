use std::{error::Error, process::ExitCode};

use super::{
    args::{RunArgs, StatusArgs},
    dry_run,
    names::CommandNames,
    run::Job,
    schema_status::{self, SchemaStatuses},
    status,
    targets::{self, ResolvedTarget},
};
use crate::{
    Action, DynMigrator, Target, TenantSelection, claim_application, confirm_application,
    connect::DatabaseArgs, extension_sql, fleet_tenants, make_extensions,
};

/// Runs the subcommands that change schemas or show their state.
pub(super) struct Runner<'a> {
    pub(super) tenant: DynMigrator,
    pub(super) registry: DynMigrator,
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
        let database = self.database.connect(connections as u32).await?;
        let db = &database.connection;
        if args.options.dry_run {
            confirm_application(db, &self.tenant).await?;
        } else {
            claim_application(db, &self.tenant).await?;
        }
        let chosen = targets::resolve(db, &args.targets, args.only_failed).await?;
        let makes_registry =
            matches!(chosen, ResolvedTarget::One(Target::Registry)) && !args.options.dry_run;
        let installs =
            matches!((&chosen, action), (ResolvedTarget::One(Target::Registry), Action::Up(_)));
        if installs && args.options.dry_run {
            dry_run::print("extensions", &extension_sql(db, &self.tenant).await?)?;
        } else if installs {
            make_extensions(db, &self.tenant).await?;
        }
        let job = Job { db, action, args, confirmed, names: self.names };
        let code = match chosen {
            ResolvedTarget::One(target) if args.options.dry_run => {
                dry_run::print_schema(db, &target, self.migrator(&target), action, self.names).await
            }
            ResolvedTarget::Tenants(who) if args.options.dry_run => {
                let tenants = fleet_tenants(db, &who).await?;
                dry_run::print_tenants(db, tenants, &self.tenant, action, self.names).await
            }
            ResolvedTarget::One(target) => {
                job.on_schema(&target, self.migrator(&target), &fleet).await
            }
            ResolvedTarget::Tenants(who) => job.on_tenants(who, &self.tenant, &fleet).await,
        };
        if makes_registry {
            claim_application(db, &self.tenant).await?;
        }
        database.connection.close_by_ref().await?;
        code
    }

    pub(super) async fn status(&self, args: &StatusArgs) -> Result<ExitCode, Box<dyn Error>> {
        let database = self.database.connect(1).await?;
        let db = &database.connection;
        confirm_application(db, &self.tenant).await?;
        match targets::resolve(db, &args.targets, false).await? {
            ResolvedTarget::Tenants(TenantSelection::All) => {
                status::run(db, &self.tenant, args.json, self.names).await
            }
            chosen => Ok(self.schema_statuses(db, chosen).await?.status(args.json)?),
        }
    }

    pub(super) async fn list(&self, args: &StatusArgs) -> Result<ExitCode, Box<dyn Error>> {
        if args.targets.is_empty() {
            return Ok(schema_status::migrations(&self.tenant, args.json)?);
        }
        let database = self.database.connect(1).await?;
        let db = &database.connection;
        confirm_application(db, &self.tenant).await?;
        let chosen = targets::resolve(db, &args.targets, false).await?;
        Ok(self.schema_statuses(db, chosen).await?.list(args.json)?)
    }

    async fn schema_statuses(
        &self,
        db: &sea_orm::DatabaseConnection,
        chosen: ResolvedTarget,
    ) -> Result<SchemaStatuses, crate::Error> {
        match chosen {
            ResolvedTarget::One(target) => {
                let migrator = self.migrator(&target);
                let named = vec![(target.to_string(), target.clone())];
                Ok(SchemaStatuses::fetch(db, named, migrator, self.names).await)
            }
            ResolvedTarget::Tenants(who) => {
                let named = fleet_tenants(db, &who).await?.into_iter();
                let named = named.map(|it| (it.to_string(), Target::Schema(it.schema)));
                Ok(SchemaStatuses::fetch(db, named.collect(), &self.tenant, self.names).await)
            }
        }
    }

    fn migrator(&self, target: &Target) -> &DynMigrator {
        match target {
            Target::Registry => &self.registry,
            Target::Schema(_) => &self.tenant,
        }
    }
}
