//! `tenantry tenant adopt`: tenants of schemas that exist already.

mod args;
mod entry;
mod list;
mod report;

use std::{
    fs,
    io::{self, Write},
    process::ExitCode,
};

use clap::error::ErrorKind;

use local_postgres::Access;
use serde::Serialize;
use tenantry::{AdoptError, AdoptOptions, AdoptSource, Adopted, NewTenant, Tenancy};
use tenantry_migrate::{cli::terminal::print_json, drift::Change};

use super::{
    args::Output,
    connect::{Connector, user},
    error::Error,
    options::TenancyArgs,
    tenant::show,
};
pub(super) use args::AdoptArgs;
use args::ConditionArgs;
use report::Report;

/// Adopts one schema, or those of a list.
pub(super) async fn run(
    args: &TenancyArgs,
    adopt: AdoptArgs,
    connector: Connector,
    application: &str,
) -> Result<ExitCode, Error> {
    // An adoption uses no spare.
    let args = TenancyArgs { spares: 0, ..args.clone() };
    let AdoptArgs { slug, source, name, domains, tags, list, conditions, json } = adopt;
    // Before a server is started.
    let conditions = Conditions::read(conditions)?;
    let connected = connector.connect(&args, Access::Shared, user()).await?;
    let tenancy = &connected.tenancy;
    let adopted = match (source.list_from, slug) {
        (Some(framework), _) => {
            let report = Report::new(json, conditions.0.dry_run, application);
            list::run(tenancy, &list.of(framework), &list, &conditions, report).await
        }
        (None, Some(slug)) => {
            let new = NewTenant { name, domains, tags, ..NewTenant::new(slug) };
            let source = match (source.schema, source.from) {
                (Some(schema), _) => AdoptOptions::schema(schema),
                (None, from) => AdoptOptions::objects_of(from.unwrap_or_default()),
            };
            let adopted = adopt_one(tenancy, new, &conditions.apply(source), json).await;
            adopted.map(|()| ExitCode::SUCCESS)
        }
        // Refused with the command line.
        (None, None) => Err(clap::Error::new(ErrorKind::MissingRequiredArgument).into()),
    };
    tenancy.close().await;
    adopted
}

/// Conditions with the allowlist that was read.
#[derive(Debug, Clone)]
struct Conditions(AdoptOptions);

impl Conditions {
    fn read(args: ConditionArgs) -> Result<Self, Error> {
        let mut options = AdoptOptions::objects_of("");
        if let Some(path) = args.allow {
            let file = fs::read_to_string(&path);
            let json = file.map_err(|source| Error::File { path: path.clone(), source })?;
            options.allowed = json.parse().map_err(|source| Error::Allowlist { path, source })?;
        }
        options.at = args.at;
        options.dry_run = args.dry_run;
        options.allow_differences = args.allow_differences;
        options.lock_timeout = args.lock_timeout;
        Ok(Self(options))
    }

    fn apply(&self, to: AdoptOptions) -> AdoptOptions {
        let mut options = self.0.clone();
        options.source = to.source;
        options
    }
}

async fn adopt_one(
    tenancy: &Tenancy,
    new: NewTenant,
    options: &AdoptOptions,
    json: bool,
) -> Result<(), Error> {
    match tenancy.adopt(new, options).await {
        Ok(adopted) => report(&adopted, options, json),
        Err(tenantry::Error::Adopt(AdoptError::Differences { schema, version, changes })) => {
            print_changes(&changes, json)?;
            Err(Error::Differs { schema, version, number: changes.len() })
        }
        Err(error) => Err(error.into()),
    }
}

/// The document of `--json`.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a tenantry::TenantInfo>,
    differences: &'a [Change],
    dry_run: bool,
}

fn report(adopted: &Adopted, options: &AdoptOptions, json: bool) -> Result<(), Error> {
    let Adopted { tenant, differences, .. } = adopted;
    let dry_run = options.dry_run;
    if json {
        return Ok(print_json(&Document { tenant: Some(tenant), differences, dry_run })?);
    }
    print_changes(differences, false)?;
    if !dry_run {
        return show(tenant, Output { json });
    }
    let (slug, schema) = (&tenant.slug, &tenant.schema);
    let version = tenant.schema_version.as_deref().unwrap_or("no migration");
    let source = match &options.source {
        AdoptSource::ObjectsOf(from) => format!("the objects of {from} would be moved to {schema}"),
        _ => format!("schema {schema} would be adopted"),
    };
    writeln!(io::stdout(), "{source} as tenant {slug} at {version}; nothing was changed")?;
    Ok(())
}

fn print_changes(changes: &[Change], json: bool) -> Result<(), Error> {
    if json {
        return Ok(print_json(&Document { tenant: None, differences: changes, dry_run: true })?);
    }
    let mut out = io::stdout().lock();
    for change in changes {
        writeln!(out, "{change}")?;
    }
    Ok(())
}
