//! `key`: API keys of tenants and operators.

mod args;

use std::io::{self, IsTerminal, Write};

use local_postgres::Access;
use tenantry::{ApiKeyInfo, KeyOwner, NewApiKey, Tenancy, page::PageRequest};
use tenantry_migrate::cli::{table_that_fits, terminal::print_json};

use super::{
    args::Output,
    connect::{Connector, user},
    error::Error,
    tenant::time,
};

pub use args::KeyArgs;
use args::KeyCommand;

/// Runs one of the subcommands.
pub(super) async fn run(args: KeyArgs, connector: Connector) -> Result<(), Error> {
    let mut tenancy = args.tenancy;
    // Only a creation of tenants uses spare schemas.
    tenancy.spares = 0;
    let connected = connector.connect(&tenancy, Access::Shared, user()).await?;
    let result = execute(&connected.tenancy, args.command).await;
    connected.tenancy.close().await;
    result
}

async fn execute(tenancy: &Tenancy, command: KeyCommand) -> Result<(), Error> {
    match command {
        KeyCommand::Create { owner, scopes, name, expires, output } => {
            let scopes = scopes.into_iter().collect();
            let expires_at = expires.map(|expiry| expiry.0);
            let new = NewApiKey { name, tenant: owner.tenant, scopes, expires_at };
            let created = tenancy.key_create(new).await?;
            if output.json {
                return Ok(print_json(&created)?);
            }
            // Alone on standard output, for `KEY=$(… key create …)`.
            writeln!(io::stdout(), "{}", created.key)?;
            if io::stderr().is_terminal() {
                let prefix = &created.info.prefix;
                writeln!(io::stderr(), "store the key now: it is not shown again ({prefix})")?;
            }
        }
        KeyCommand::List { tenant, operator, output, wide } => {
            let owner = match tenant {
                Some(slug) => KeyOwner::Tenant(slug),
                None if operator => KeyOwner::Operator,
                None => KeyOwner::Any,
            };
            list(tenancy, &owner, output, wide).await?;
        }
        KeyCommand::Revoke { key } => {
            let revoked = tenancy.key_revoke(&key).await?;
            let (prefix, name) = (revoked.prefix, revoked.name);
            writeln!(io::stdout(), "revoked {prefix} ({name})")?;
        }
    }
    Ok(())
}

async fn list(
    tenancy: &Tenancy,
    owner: &KeyOwner,
    output: Output,
    wide: bool,
) -> Result<(), Error> {
    let mut request = PageRequest { after: None, limit: PageRequest::MAX_LIMIT };
    let mut keys = Vec::new();
    loop {
        let page = tenancy.key_list(owner, request).await?;
        keys.extend(page.items);
        match page.next {
            Some(next) => request.after = Some(next),
            None => break,
        }
    }
    if output.json {
        return Ok(print_json(&keys)?);
    }
    let header = ["PREFIX", "TENANT", "SCOPES", "STATE", "NAME", "EXPIRES", "LAST USED", "ID"];
    let rows = keys.iter().map(row).collect();
    writeln!(io::stdout(), "{}", table_that_fits(&header, rows, wide))?;
    Ok(())
}

fn row(key: &ApiKeyInfo) -> Vec<String> {
    vec![
        key.prefix.clone(),
        key.tenant.clone().unwrap_or_else(|| "(operator)".to_owned()),
        key.scopes.to_string(),
        key.state().to_owned(),
        key.name.clone(),
        key.expires_at.map(time).unwrap_or_default(),
        key.last_used_at.map(time).unwrap_or_default(),
        key.id.to_string(),
    ]
}
