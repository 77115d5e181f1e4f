//! Tenants made of the rows of a list.

use std::collections::HashMap;

use clap::ValueEnum;
use tenantry::{Host, Hostname, ListedTenant, NewTenant, SchemaName, Slug, Tenancy};

/// The source of slugs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum SlugFrom {
    /// The name of the schema, in lower case, with - for _.
    Schema,
    /// The first label of the primary host name.
    Domain,
}

/// A row of the list, and the tenant to adopt or the reason why there is none.
pub(super) struct Entry {
    pub(super) schema: String,
    pub(super) tenant: Result<(NewTenant, SchemaName), String>,
}

/// How rows become tenants.
pub(super) struct Rules<'a> {
    pub(super) slug_from: Option<SlugFrom>,
    pub(super) no_domains: bool,
    pub(super) prefix: &'a str,
}

impl Rules<'_> {
    /// Makes a tenant of each row, as far as that is possible without the registry.
    pub(super) fn apply(&self, listed: Vec<ListedTenant>, tenancy: &Tenancy) -> Vec<Entry> {
        let mut slugs: HashMap<Slug, String> = HashMap::new();
        let entries = listed.into_iter().map(|row| {
            let schema = row.schema.clone();
            let tenant = self.tenant(row, tenancy).and_then(|(new, name)| {
                if let Some(first) = slugs.get(&new.slug) {
                    return Err(format!("its slug {} is that of schema {first:?}", new.slug));
                }
                slugs.insert(new.slug.clone(), schema.clone());
                Ok((new, name))
            });
            Entry { schema, tenant }
        });
        entries.collect()
    }

    fn tenant(
        &self,
        row: ListedTenant,
        tenancy: &Tenancy,
    ) -> Result<(NewTenant, SchemaName), String> {
        let schema: SchemaName = row.schema.parse().map_err(|error| format!("{error}"))?;
        let hosts: Vec<(&str, Host)> = match self.no_domains {
            true => Vec::new(),
            false => row.domains.iter().map(|it| (it.as_str(), tenancy.host(it))).collect(),
        };
        let mut new = NewTenant::new(self.slug(&row, &hosts)?);
        for (domain, host) in hosts {
            new.domains.extend(additional(domain, host, &new.slug)?);
        }
        new.name = row.name.map(|it| it.parse()).transpose().map_err(|error| format!("{error}"))?;
        new.normalize().map_err(|error| error.to_string())?;
        Ok((new, schema))
    }

    /// By default, the subdomain of the base domain that leads to the tenant, else the schema's name.
    fn slug(&self, row: &ListedTenant, hosts: &[(&str, Host)]) -> Result<Slug, String> {
        let below_base = hosts.iter().find_map(|(_, host)| match host {
            Host::Slug(slug) => Some(slug.clone()),
            _ => None,
        });
        let text = match (self.slug_from, below_base) {
            (None, Some(slug)) => return Ok(slug),
            (Some(SlugFrom::Domain), _) => {
                let domain =
                    row.domains.first().ok_or("it has no host name to derive a slug from")?;
                domain.split(['.', ':']).next().unwrap_or_default().to_owned()
            }
            _ => {
                let name = row.schema.strip_prefix(self.prefix).unwrap_or(&row.schema);
                name.replace(['_', ' '], "-")
            }
        };
        text.to_lowercase().parse().map_err(|error| format!("{error}"))
    }
}

/// The host name to add to a tenant; `None` if its slug leads to it already.
fn additional(domain: &str, host: Host, slug: &Slug) -> Result<Option<Hostname>, String> {
    const REMEDY: &str = "leave out the host names (`--no-domains`)";
    match host {
        Host::Custom(hostname) => Ok(Some(hostname)),
        Host::Slug(of) if of == *slug => Ok(None),
        Host::Slug(of) => Err(format!(
            "its host name {domain:?} leads to the slug {of}, but its slug is {slug}; derive the slug \
             from the host name (`--slug-from domain`), or {REMEDY}"
        )),
        _ => Err(format!("its host name {domain:?} cannot be that of a tenant; {REMEDY}")),
    }
}
