//! `audit`: who changed what.

use std::{
    io::{self, Write},
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use futures_util::TryStreamExt;
use local_postgres::Access;
use serde_json::Value;
use tenantry::{Action, AuditEntry, AuditFilter, Slug, Tenancy, page::PageRequest};
use tenantry_migrate::cli::{
    table_that_fits,
    terminal::{INTERRUPTED, print_json, print_json_line},
};

use super::{
    connect::{Connector, user},
    error::Error,
    options::TenancyArgs,
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
    let entries = newest(tenancy, args).await?;
    if args.json {
        return Ok(print_json(&entries)?);
    }
    let header = ["TIME", "ACTION", "TENANT", "ACTOR", "CHANGE", "REQUEST"];
    let rows = entries.iter().map(|entry| {
        let request = entry.request_id.clone().unwrap_or_default();
        let [at, action, tenant, actor, change] = columns(entry);
        vec![at, action, tenant, actor, change, request]
    });
    writeln!(io::stdout(), "{}", table_that_fits(&header, rows.collect(), args.wide))?;
    Ok(())
}

async fn follow(tenancy: &Tenancy, args: &AuditArgs) -> Result<(), Error> {
    // Before the list, so that nothing is missed between the two.
    let mut events = tenancy.events().await?;
    let listed = newest(tenancy, args).await?;
    for entry in &listed {
        print(entry, args.json)?;
    }
    let tenant = match &args.tenant {
        Some(slug) => tenancy.get(slug).await?.map(|it| it.id),
        None => None,
    };
    while let Some(event) = events.try_next().await? {
        let entry = event.entry;
        let wanted = args.action.as_ref().is_none_or(|action| *action == entry.action)
            && args.tenant.as_ref().is_none_or(|slug| {
                entry.slug.as_ref() == Some(slug) || tenant.is_some() && entry.tenant_id == tenant
            })
            && listed.iter().all(|it| it.id != entry.id);
        if wanted {
            print(&entry, args.json)?;
        }
    }
    Ok(())
}

/// The newest entries that the options select, oldest first.
async fn newest(tenancy: &Tenancy, args: &AuditArgs) -> Result<Vec<AuditEntry>, Error> {
    let all = if args.since.is_some() { 0 } else { DEFAULT_LAST };
    let wanted = match args.last.unwrap_or(all) {
        0 => usize::MAX,
        last => last,
    };
    let filter = AuditFilter {
        tenant: args.tenant.clone(),
        action: args.action.clone(),
        since: args.since,
        newest_first: true,
    };
    let mut entries = Vec::new();
    let mut request = PageRequest { after: None, limit: PageRequest::MAX_LIMIT };
    loop {
        let page = tenancy.audit(&filter, request).await?;
        entries.extend(page.items);
        match page.next {
            Some(next) if entries.len() < wanted => request.after = Some(next),
            _ => break,
        }
    }
    entries.truncate(wanted);
    entries.reverse();
    Ok(entries)
}

fn print(entry: &AuditEntry, json: bool) -> Result<(), Error> {
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
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    let unit = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(60 * 60),
        'd' => Some(24 * 60 * 60),
        _ => None,
    };
    let ago = text.char_indices().last().and_then(|(end, last)| {
        let number: u64 = text[..end].parse().ok()?;
        Some(Duration::from_secs(number.checked_mul(unit(last)?)?))
    });
    ago.and_then(|ago| Utc::now().checked_sub_signed(chrono::Duration::from_std(ago).ok()?))
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
