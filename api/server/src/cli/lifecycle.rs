//! Suspending, archiving, purging and renaming tenants.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::{ArgGroup, Args, Subcommand};
use tenantry::{Reason, RenameOptions, Slug, Tenancy, TenantInfo};
use tenantry_migrate::cli::terminal::{self, print_json};

use super::{
    args::Output,
    error::Error,
    period::period,
    tenant::{confirm_drop, find, time},
};

/// Commands that change the status, the access or the slug of a tenant.
#[derive(Debug, Subcommand)]
pub(super) enum LifecycleCommand {
    /// Refuse a tenant's statements until it is resumed.
    ///
    /// Servers apply it from the next statement on, also in work that is in progress.
    Suspend {
        /// Slug of the tenant.
        slug: Slug,
        /// Reason, for operators; the tenant's clients do not see it.
        #[arg(long)]
        reason: Option<Reason>,
        #[command(flatten)]
        output: Output,
    },
    /// Make a suspended tenant active again.
    Resume {
        /// Slug of the tenant.
        slug: Slug,
        #[command(flatten)]
        output: Output,
    },
    /// Refuse a tenant's statements and keep its data for a time, in which it can be restored.
    ///
    /// Nothing is deleted by itself: `tenant purge --expired` deletes what is no longer kept. For an
    /// archived tenant the time is changed; it counts from when the tenant was archived.
    Archive {
        /// Slug of the tenant.
        slug: Slug,
        /// How long its data is kept at least, such as 30d, 12h or 0. Without it 30 days, and for an
        /// archived tenant nothing is changed.
        #[arg(long, value_name = "TIME", value_parser = period)]
        grace: Option<Duration>,
        #[command(flatten)]
        output: Output,
    },
    /// Give an archived tenant the status that it had before.
    Restore {
        /// Slug of the tenant.
        slug: Slug,
        #[command(flatten)]
        output: Output,
    },
    /// DELETE ALL DATA of archived tenants. Asks for confirmation.
    ///
    /// A tenant whose data is to be kept longer is refused. With --expired, which suits a cron job,
    /// the exit status is 1 if one of the tenants could not be purged; the others are purged.
    Purge(PurgeArgs),
    /// Refuse statements that change the data of a tenant, or allow them again.
    ///
    /// For a move or after an incident. Reads go on. Servers apply it from the next statement on,
    /// also in transactions that are open. Migrations stay possible.
    ReadOnly {
        /// Slug of the tenant.
        slug: Slug,
        /// Make the tenant writable again.
        #[arg(long)]
        off: bool,
        #[command(flatten)]
        output: Output,
    },
    /// Change the slug of a tenant. Its id, schema and host names stay the same.
    Rename {
        /// Slug of the tenant.
        slug: Slug,
        /// New slug.
        new: Slug,
        /// The old slug still leads to the tenant, as long as it is reserved.
        #[arg(long)]
        alias: bool,
        /// How long no other tenant gets the old slug, such as 90d, 12h or 0.
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = period)]
        reserve: Duration,
        #[command(flatten)]
        output: Output,
    },
}

/// Options of `purge`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["slug", "expired"])))]
pub(super) struct PurgeArgs {
    /// Slug of the tenant.
    slug: Option<Slug>,
    /// All archived tenants whose data is no longer kept, and those whose purge was interrupted.
    #[arg(long)]
    expired: bool,
    /// Also before the end of the time for which the data is kept.
    #[arg(long, conflicts_with = "expired")]
    force: bool,
    /// Also drop the views, foreign keys and other objects outside the tenant's schema that depend
    /// on it. Without this option they are listed, and the tenant is not purged.
    #[arg(long)]
    cascade: bool,
    /// Skip the confirmation prompt.
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(tenancy: &Tenancy, command: LifecycleCommand) -> Result<(), Error> {
    let (record, output, text) = match command {
        LifecycleCommand::Suspend { slug, reason, output } => {
            (tenancy.suspend(&slug, reason).await?, output, format!("suspended {slug}"))
        }
        LifecycleCommand::Resume { slug, output } => {
            (tenancy.resume(&slug).await?, output, format!("resumed {slug}"))
        }
        LifecycleCommand::Archive { slug, grace, output } => {
            let record = tenancy.archive(&slug, grace).await?;
            let until = record.purge_after.map(time).unwrap_or_default();
            (record, output, format!("archived {slug}; its data is kept until {until}"))
        }
        LifecycleCommand::Restore { slug, output } => {
            let record = tenancy.restore(&slug).await?;
            let text = format!("restored {slug}; it is {}", record.status);
            (record, output, text)
        }
        LifecycleCommand::ReadOnly { slug, off, output } => {
            let record = tenancy.set_read_only(&slug, !off).await?;
            let access = if record.read_only { "read-only" } else { "writable" };
            (record, output, format!("{slug} is {access}"))
        }
        LifecycleCommand::Purge(args) => return purge(tenancy, args).await,
        LifecycleCommand::Rename { slug, new, alias, reserve, output } => {
            let mut options = RenameOptions::default();
            (options.alias, options.reserve_for) = (alias, reserve);
            let record = tenancy.rename(&slug, &new, options).await?;
            let text = renamed(&record, &slug);
            (record, output, text)
        }
    };
    match output.json {
        true => print_json(&record)?,
        false => writeln!(io::stdout(), "{text}")?,
    }
    Ok(())
}

fn renamed(record: &TenantInfo, old: &Slug) -> String {
    let new = &record.slug;
    match record.aliases.iter().find(|alias| alias.slug == *old) {
        Some(alias) if alias.redirects => {
            format!("renamed {old} to {new}; {old} leads to it until {}", time(alias.expires_at))
        }
        Some(alias) => {
            format!("renamed {old} to {new}; {old} is reserved until {}", time(alias.expires_at))
        }
        None => format!("renamed {old} to {new}"),
    }
}

async fn purge(tenancy: &Tenancy, args: PurgeArgs) -> Result<(), Error> {
    if let Some(slug) = &args.slug {
        let record = find(tenancy, slug).await?;
        if !args.yes {
            confirm_drop(&record)?;
        }
        return purge_one(tenancy, &record, &args).await;
    }
    let expired = tenancy.expired().await?;
    if expired.is_empty() {
        writeln!(io::stdout(), "no tenant has expired")?;
        return Ok(());
    }
    if !args.yes {
        let slugs: Vec<&str> = expired.iter().map(|record| record.slug.as_str()).collect();
        let (number, slugs) = (expired.len(), slugs.join(", "));
        let prompt = format!(
            "This deletes ALL DATA of {number} archived tenants: {slugs}. Type {number} to confirm: "
        );
        terminal::confirm(&prompt, &number.to_string())?;
    }
    let mut failed = 0;
    for record in &expired {
        match purge_one(tenancy, record, &args).await {
            Ok(()) => {}
            // Restored, or purged by another command, since the list was read.
            Err(Error::Tenancy(
                tenantry::Error::UnknownTenant(_)
                | tenantry::Error::InvalidTransition(_)
                | tenantry::Error::GraceNotOver { .. },
            )) => {}
            Err(Error::Tenancy(error)) if error.cause().is_some() => {
                return Err(Error::DatabaseLost(error));
            }
            Err(Error::Tenancy(error)) => {
                failed += 1;
                terminal::print_note(format_args!("{}: {error}", record.slug));
            }
            Err(other) => return Err(other),
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Error::NotPurged { failed, all: expired.len() }),
    }
}

async fn purge_one(tenancy: &Tenancy, record: &TenantInfo, args: &PurgeArgs) -> Result<(), Error> {
    let slug = &record.slug;
    match args.cascade {
        true => tenancy.purge_cascade(slug, args.force).await?,
        false => tenancy.purge(slug, args.force).await?,
    }
    writeln!(io::stdout(), "purged {slug} and its schema {}", record.schema)?;
    Ok(())
}
