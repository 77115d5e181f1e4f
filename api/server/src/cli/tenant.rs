use std::{
    io::{self, Write},
    num::NonZeroU32,
};

use local_postgres::Access;
use tenantry::{
    Hostname, Limits, NewTenant, Slug, Tenancy, TenantInfo, TenantUpdate, page::PageRequest,
};
use tenantry_migrate::cli::{
    table, table_that_fits,
    terminal::{self, ConfirmError, print_json},
};

use super::{
    args::{DomainCommand, Output, SingleCommand, UpdateArgs},
    connect::{Connector, user},
    error::Error,
    lifecycle, nodes,
    options::TenancyArgs,
};

/// Runs one of the subcommands of `tenant`, other than [`import`](super::import).
pub(super) async fn run(
    args: &TenancyArgs,
    command: SingleCommand,
    connector: Connector,
) -> Result<(), Error> {
    let mut args = args.clone();
    if !matches!(command, SingleCommand::Create { .. }) {
        // Only a creation uses spare schemas.
        args.spares = 0;
    }
    let connected = connector.connect(&args, Access::Shared, user()).await?;
    let result = execute(&connected.tenancy, command).await;
    connected.tenancy.close().await;
    result
}

async fn execute(tenancy: &Tenancy, command: SingleCommand) -> Result<(), Error> {
    match command {
        SingleCommand::Create { slug, name, domains, tags, metadata, output } => {
            let metadata = metadata.unwrap_or_default();
            let new = NewTenant { name, domains, tags, metadata, ..NewTenant::new(slug) };
            let created = tenancy.create(new).await;
            show(&name_owner(tenancy, created).await?, output)?;
        }
        SingleCommand::Update { slug, change, output } => {
            show(&tenancy.update(&slug, change.into()).await?, output)?;
        }
        SingleCommand::List { output, wide, placement } => {
            list(tenancy, output, wide, placement).await?;
        }
        SingleCommand::Move { slug, node, output } => {
            nodes::move_tenant(tenancy, &slug, &node, output).await?;
        }
        SingleCommand::Show { slug, output } => show(&find(tenancy, &slug).await?, output)?,
        SingleCommand::Drop { slug, cascade, yes } => {
            // Looked up first, so that no missing tenant has to be confirmed.
            let record = find(tenancy, &slug).await?;
            if !yes {
                confirm_drop(&record)?;
            }
            match cascade {
                true => tenancy.drop_cascade(&slug).await?,
                false => tenancy.drop(&slug).await?,
            }
            writeln!(io::stdout(), "dropped {slug} and its schema {}", record.schema)?;
        }
        SingleCommand::Lifecycle(command) => lifecycle::run(tenancy, command).await?,
        SingleCommand::Limit { slug, connections, waiting } => {
            let limits = Limits { max_connections: connections, max_waiting: waiting };
            tenancy.limit(&slug, limits).await?;
            let [connections, waiting] = [connections.map(NonZeroU32::get), waiting].map(limit);
            writeln!(
                io::stdout(),
                "limits of {slug}: connections {connections}, waiting statements {waiting}"
            )?;
        }
        SingleCommand::Domain { command } => domain(tenancy, command).await?,
    }
    Ok(())
}

impl From<UpdateArgs> for TenantUpdate {
    fn from(args: UpdateArgs) -> Self {
        let mut change = Self::new();
        if args.clear_name || args.name.is_some() {
            change = change.name(args.name);
        }
        if args.clear_tags || !args.tags.is_empty() {
            change = change.tags(args.tags);
        }
        if args.clear_max_body || args.max_body.is_some() {
            change = change.max_body_bytes(args.max_body);
        }
        if args.clear_cors_origins || !args.cors_origins.is_empty() {
            change = change.cors_origins(args.cors_origins);
        }
        match args.metadata {
            Some(metadata) => change.metadata(metadata),
            None => change,
        }
    }
}

async fn domain(tenancy: &Tenancy, command: DomainCommand) -> Result<(), Error> {
    match command {
        DomainCommand::Add { slug, host } => {
            let added = tenancy.domain_add(&slug, &host).await;
            name_owner(tenancy, added).await?;
            writeln!(io::stdout(), "{host} now routes to {slug}")?;
        }
        DomainCommand::Remove { slug, host } => {
            tenancy.domain_remove(&slug, &host).await?;
            writeln!(io::stdout(), "{host} no longer routes to {slug}")?;
        }
        DomainCommand::List { slug, output } => {
            let record = find(tenancy, &slug).await?;
            let hosts: Vec<&str> = record.domains.iter().map(Hostname::as_str).collect();
            if output.json {
                return Ok(print_json(&hosts)?);
            }
            let mut out = io::stdout().lock();
            for host in hosts {
                writeln!(out, "{host}")?;
            }
        }
    }
    Ok(())
}

/// Adds the tenant to the error that another tenant has a hostname.
async fn name_owner<T>(tenancy: &Tenancy, result: Result<T, tenantry::Error>) -> Result<T, Error> {
    let Err(tenantry::Error::HostTaken(hostname)) = result else { return Ok(result?) };
    let tenant = match tenancy.tenant_by_host(hostname.as_str()).await {
        Ok(tenant) => tenant.slug().clone(),
        Err(tenantry::Error::Unavailable(refused)) => refused.slug,
        Err(_) => return Err(tenantry::Error::HostTaken(hostname).into()),
    };
    Err(Error::HostOfOther { hostname, tenant })
}

pub(super) async fn find(tenancy: &Tenancy, slug: &Slug) -> Result<TenantInfo, Error> {
    let record = tenancy.get(slug).await?;
    Ok(record.ok_or_else(|| tenantry::Error::UnknownTenant(slug.clone()))?)
}

/// Prints all tenants as one JSON array or one table.
async fn list(tenancy: &Tenancy, output: Output, wide: bool, placement: bool) -> Result<(), Error> {
    let mut request = PageRequest { after: None, limit: PageRequest::MAX_LIMIT };
    let mut records = Vec::new();
    loop {
        let page = tenancy.list(request).await?;
        records.extend(page.items);
        match page.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    if output.json {
        match placement {
            true => print_json(&tenancy.with_nodes(records).await?)?,
            false => print_json(&records)?,
        }
        return Ok(());
    }
    let nodes = match placement {
        true => Some(tenancy.placement(records.iter().map(|record| &record.schema)).await?),
        false => None,
    };
    let mut header = vec![
        "SLUG",
        "SCHEMA",
        "STATUS",
        "VERSION",
        "DOMAINS",
        "ALIASES",
        "TAGS",
        "NAME",
        "CREATED",
        "KEPT-UNTIL",
        "REASON",
    ];
    if placement {
        header.insert(3, "NODE");
    }
    let rows = records.iter().map(|record| {
        let mut row = vec![
            record.slug.to_string(),
            record.schema.to_string(),
            status(record),
            record.schema_version.clone().unwrap_or_default(),
            spaced(&record.domains),
            spaced(&aliases(record, true)),
            spaced(&record.tags),
            name(record),
            time(record.inserted_at),
            record.purge_after.map(time).unwrap_or_default(),
            record.status_reason.clone().unwrap_or_default(),
        ];
        if let Some(nodes) = &nodes {
            let node = nodes.get(record.schema.as_str());
            row.insert(3, node.map(ToString::to_string).unwrap_or_default());
        }
        row
    });
    writeln!(io::stdout(), "{}", table_that_fits(&header, rows.collect(), wide))?;
    Ok(())
}

pub(super) fn show(record: &TenantInfo, output: Output) -> Result<(), Error> {
    if output.json {
        return Ok(print_json(record)?);
    }
    let mut rows = vec![
        ("slug", record.slug.to_string()),
        ("id", record.id.to_string()),
        ("schema", record.schema.to_string()),
        ("status", status(record)),
    ];
    rows.extend(record.status_reason.clone().map(|reason| ("reason", reason)));
    rows.extend(record.status_since.map(|since| ("since", time(since))));
    rows.extend(record.purge_after.map(|end| ("kept until", time(end))));
    rows.extend([
        ("version", record.schema_version.clone().unwrap_or_default()),
        ("domains", spaced(&record.domains)),
    ]);
    let [aliases, reserved] = [true, false].map(|redirects| aliases(record, redirects));
    for (name, slugs) in [("aliases", aliases), ("reserved", reserved)] {
        rows.extend((!slugs.is_empty()).then(|| (name, spaced(&slugs))));
    }
    rows.extend([
        ("tags", spaced(&record.tags)),
        ("name", name(record)),
        ("metadata", metadata(record)),
        ("connections", limit(record.max_connections.map(NonZeroU32::get))),
        ("waiting", limit(record.max_waiting)),
        ("body", limit(record.max_body_bytes.map(NonZeroU32::get))),
        ("origins", spaced(&record.cors_origins)),
        ("created", time(record.inserted_at)),
        ("changed", time(record.updated_at)),
    ]);
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    writeln!(io::stdout(), "{}", table(Vec::new(), rows))?;
    Ok(())
}

/// The status and, if it applies, that the tenant is read-only.
fn status(record: &TenantInfo) -> String {
    let read_only = if record.read_only { ",read-only" } else { "" };
    format!("{}{read_only}", record.status)
}

/// The earlier slugs that still lead to the tenant, or the others.
fn aliases(record: &TenantInfo, redirects: bool) -> Vec<&Slug> {
    let aliases = record.aliases.iter().filter(|alias| alias.redirects == redirects);
    aliases.map(|alias| &alias.slug).collect()
}

fn spaced(values: &[impl ToString]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

fn name(record: &TenantInfo) -> String {
    record.name.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// As JSON on one line; empty if there is none.
fn metadata(record: &TenantInfo) -> String {
    let object = record.metadata.as_object();
    if object.is_empty() {
        String::new()
    } else {
        serde_json::to_string(object).unwrap_or_default()
    }
}

fn limit(limit: Option<u32>) -> String {
    limit.map_or_else(|| "default".to_owned(), |limit| limit.to_string())
}

/// RFC 3339, whole seconds, UTC.
pub(super) fn time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// Asks for the slug, so that a wrong line from the shell's history drops nothing.
pub(super) fn confirm_drop(tenant: &TenantInfo) -> Result<(), ConfirmError> {
    let TenantInfo { slug, schema, .. } = tenant;
    let prompt =
        format!("This deletes ALL DATA of {slug}, schema {schema}. Type its slug to confirm: ");
    terminal::confirm(&prompt, slug.as_str())
}
