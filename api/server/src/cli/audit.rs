//! `audit`: who changed what.

use std::{
    collections::HashSet,
    io::{self, Write},
    process::ExitCode,
    str::FromStr,
};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use futures_util::TryStreamExt;
use local_postgres::Access;
use serde::{Serializer, ser::SerializeSeq};
use serde_json::Value;
use tenantry::{Action, AuditEntry, AuditFilter, Slug, Tenancy, page::PageRequest};
use tenantry_migrate::cli::{
    table_that_fits,
    terminal::{INTERRUPTED, print_json_line},
};

use super::{
    connect::{Connector, user},
    error::Error,
    options::TenancyArgs,
    period::moment,
};

/// Options of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only changes of this tenant, also under an earlier slug.
    #[arg(long, value_name = "SLUG")]
    tenant: Option<Slug>,

    /// Only changes since then: a time such as 2026-11-30T08:00:00Z, or a duration such as 90m, 12h
    /// or 7d before now.
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<DateTime<Utc>>,

    /// Only changes of this kind, such as created, migrated or dropped.
    #[arg(long, value_parser = Action::from_str)]
    action: Option<Action>,

    /// Print only the newest changes, so many of them. Without --since, 50 is assumed; 0 prints all.
    #[arg(long, value_name = "N")]
    last: Option<usize>,

    /// Print JSON instead of a table; with --follow, one object on each line.
    #[arg(long)]
    json: bool,

    /// Print all columns, also if the terminal is too narrow for them.
    #[arg(long, conflicts_with_all = ["json", "follow"])]
    wide: bool,

    /// Keep printing changes as they are made, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    pub(super) tenancy: TenancyArgs,
}

/// Entries that are listed without --last and --since.
const DEFAULT_LAST: usize = 50;

pub(super) async fn run(args: AuditArgs, connector: Connector) -> Result<ExitCode, Error> {
    let options = TenancyArgs { spares: 0, ..args.tenancy.clone() };
    let connected = connector.connect(&options, Access::Shared, user()).await?;
    let result = match args.follow {
        true => tokio::select! {
            followed = follow(&connected.tenancy, &args) => followed.map(|()| ExitCode::SUCCESS),
            _ = tokio::signal::ctrl_c() => Ok(ExitCode::from(INTERRUPTED)),
        },
        false => list(&connected.tenancy, &args).await.map(|()| ExitCode::SUCCESS),
    };
    connected.tenancy.close().await;
    result
}

async fn list(tenancy: &Tenancy, args: &AuditArgs) -> Result<(), Error> {
    if args.json {
        // One array of all pages.
        let mut json = serde_json::Serializer::pretty(io::stdout());
        let mut array = json.serialize_seq(None).map_err(io::Error::from)?;
        for_each_page(tenancy, args, |page| {
            page.iter()
                .try_for_each(|entry| array.serialize_element(entry))
                .map_err(io::Error::from)
        })
        .await?;
        array.end().map_err(io::Error::from)?;
        return Ok(writeln!(io::stdout())?);
    }
    let header = ["TIME", "ACTION", "TENANT", "ACTOR", "CHANGE", "REQUEST"];
    for_each_page(tenancy, args, |page| {
        let rows = page.iter().map(|entry| {
            let request = entry.request_id.clone().unwrap_or_default();
            let [at, action, tenant, actor, change] = columns(entry);
            vec![at, action, tenant, actor, change, request]
        });
        writeln!(io::stdout(), "{}", table_that_fits(&header, rows.collect(), args.wide))
    })
    .await
}

async fn follow(tenancy: &Tenancy, args: &AuditArgs) -> Result<(), Error> {
    // Before the list, so that nothing is missed between the two.
    let mut events = tenancy.events().await?;
    let (mut listed, mut tenants) = (HashSet::new(), HashSet::new());
    if let Some(slug) = &args.tenant {
        tenants.extend(tenancy.get(slug).await?.map(|it| it.id));
    }
    for_each_page(tenancy, args, |page| {
        for entry in &page {
            listed.insert(entry.id);
            // It may have another slug now.
            tenants.extend(entry.tenant_id.filter(|_| args.tenant.is_some()));
            print(entry, args.json)?;
        }
        Ok(())
    })
    .await?;
    while let Some(event) = events.try_next().await? {
        let entry = event.entry;
        let wanted = args.action.as_ref().is_none_or(|action| *action == entry.action)
            && args.tenant.as_ref().is_none_or(|slug| {
                entry.slug.as_ref() == Some(slug)
                    || entry.tenant_id.is_some_and(|id| tenants.contains(&id))
            })
            && !listed.contains(&entry.id);
        if wanted {
            print(&entry, args.json)?;
        }
    }
    Ok(())
}

/// Calls a function with the entries that the options select, oldest first: with the newest ones at
/// once, with all a page at a time.
async fn for_each_page(
    tenancy: &Tenancy,
    args: &AuditArgs,
    mut show: impl FnMut(Vec<AuditEntry>) -> io::Result<()>,
) -> Result<(), Error> {
    let all = if args.since.is_some() { 0 } else { DEFAULT_LAST };
    let last = Some(args.last.unwrap_or(all)).filter(|last| *last > 0);
    let filter = AuditFilter {
        tenant: args.tenant.clone(),
        action: args.action.clone(),
        since: args.since,
        newest_first: last.is_some(),
    };
    let mut newest = Vec::new();
    let mut request = PageRequest { after: None, limit: PageRequest::MAX_LIMIT };
    loop {
        let page = tenancy.audit(&filter, request).await?;
        let is_first = request.after.is_none();
        request.after = page.next;
        match last {
            // The header of an empty table, and no other empty page.
            None if is_first || !page.items.is_empty() => show(page.items)?,
            None => {}
            Some(last) => {
                newest.extend(page.items);
                if newest.len() >= last {
                    newest.truncate(last);
                    request.after = None;
                }
            }
        }
        if request.after.is_none() {
            break;
        }
    }
    if last.is_some() {
        newest.reverse();
        show(newest)?;
    }
    Ok(())
}

fn print(entry: &AuditEntry, json: bool) -> io::Result<()> {
    if json {
        print_json_line(entry);
    } else {
        let [at, action, tenant, actor, change] = columns(entry);
        writeln!(io::stdout(), "{at}  {action:<14}  {tenant:<20}  {actor:<16}  {change}")?;
    }
    Ok(())
}

fn columns(entry: &AuditEntry) -> [String; 5] {
    let slug = entry.slug.as_ref().map(ToString::to_string).unwrap_or_default();
    [
        entry.at.to_rfc3339_opts(SecondsFormat::Secs, true),
        entry.action.to_string(),
        slug,
        entry.actor.clone(),
        change(entry.before.as_ref(), entry.after.as_ref()),
    ]
}

/// `name: "A" → "B", max_waiting: 5`.
fn change(before: Option<&Value>, after: Option<&Value>) -> String {
    let object = |value: Option<&Value>| value.and_then(Value::as_object).cloned();
    let (before, after) = (object(before).unwrap_or_default(), object(after).unwrap_or_default());
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let text = |key: &String| match (before.get(key), after.get(key)) {
        (Some(old), Some(new)) => format!("{key}: {} → {}", plain(old), plain(new)),
        (None, Some(new)) => format!("{key}: {}", plain(new)),
        (Some(old), None) => format!("{key}: {} → none", plain(old)),
        (None, None) => String::new(),
    };
    keys.into_iter().map(text).collect::<Vec<_>>().join(", ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn since(text: &str) -> Result<DateTime<Utc>, String> {
    moment(text, DateTime::checked_sub_signed)
        .ok_or_else(|| "use a time such as 2026-11-30T08:00:00Z, or 90m, 12h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_times_and_durations() {
        let at = since("2026-11-30T08:00:00+01:00").unwrap();
        assert_eq!(at.to_rfc3339(), "2026-11-30T07:00:00+00:00");
        let ago = |text: &str| {
            let at = since(text).unwrap();
            (Utc::now() - at).num_seconds()
        };
        assert!((3600..3610).contains(&ago("60m")));
        assert!((7 * 86_400..7 * 86_400 + 10).contains(&ago("7d")));
        for text in
            ["", "d", "7", "-7d", "7w", "yesterday", "99999999999999999999d", "9999999999d", "7ü"]
        {
            since(text).unwrap_err();
        }
    }

    #[test]
    fn shows_what_changed() {
        let (before, after) =
            (json!({ "name": null, "a": 1 }), json!({ "name": "A", "tags": ["x", "y"] }));
        let text = change(Some(&before), Some(&after));
        assert_eq!(text, "a: 1 → none, name: none → A, tags: x y");
        assert_eq!(change(None, None), "");
    }
}
