use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use entity::registry::{SchemaName, Slug};

use crate::{
    Action, Fleet, Limit, Timeouts,
    connect::{DatabaseArgs, variables_help},
};

/// Runs migrations of the registry and of tenants' schemas.
///
/// Exit status: 0 when all went well (for `status`: when everything is up to date), 1 when
/// something failed, 2 when the command line is wrong.
#[derive(Debug, Parser)]
#[command(name = "migration", version, after_help = variables_help())]
pub struct Cli {
    #[command(flatten)]
    pub(super) database: DatabaseArgs,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Apply pending migrations.
    Up {
        #[command(flatten)]
        targets: Targets,
        /// Apply only so many migrations [default: all].
        #[arg(short, long = "number", value_name = "N")]
        number: Option<u32>,
        #[command(flatten)]
        how: How,
    },
    /// Roll back the newest migrations.
    Down {
        #[command(flatten)]
        targets: Targets,
        /// How many migrations to roll back.
        #[arg(short, long = "number", value_name = "N", default_value_t = 1)]
        number: u32,
        #[command(flatten)]
        how: How,
    },
    /// Apply or roll back until a migration is the newest.
    To {
        /// Name of the migration, as `list` shows it.
        version: String,
        #[command(flatten)]
        targets: Targets,
        #[command(flatten)]
        how: How,
    },
    /// Roll back the newest migration and apply it again.
    Redo {
        #[command(flatten)]
        targets: Targets,
        #[command(flatten)]
        how: How,
    },
    /// DELETE ALL DATA: drop the schema, create it again, apply every migration.
    Fresh {
        #[command(flatten)]
        targets: Targets,
        #[command(flatten)]
        how: How,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Show which migrations are applied; exit status 1 unless all are.
    Status {
        #[command(flatten)]
        targets: Targets,
    },
    /// List the migrations of a target and whether they are applied; without a target, those of
    /// tenants that this program contains.
    #[command(mut_group("Targets", |group| group.required(false)))]
    List {
        #[command(flatten)]
        targets: Targets,
    },
    /// Compare the structure of schemas with what the migrations make; exit status 1 when anything
    /// differs. Changes nothing.
    Verify(super::verify::VerifyArgs),
    /// Look for what is unsafe in the migrations of tenants' schemas: what locks a live table, breaks
    /// the release before, or ties a tenant to its node. Changes nothing.
    Check(super::check::CheckArgs),
    /// Make a new migration. Needs no database.
    Generate(super::generate::GenerateArgs),
}

/// How often a tenant is tried that is busy.
const TRIES: u32 = 5;

/// How long a server may be away.
const OUTAGE: Duration = Duration::from_secs(60);

/// How to carry out an action.
#[derive(Debug, Clone, Args)]
pub(super) struct How {
    /// Print the SQL and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for a lock, so that a busy tenant is not held up behind its migration;
    /// 0 is for ever.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    lock_timeout: u64,
    /// How long a statement may take; 0 is for ever.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    statement_timeout: u64,
    /// Tenants to work on at the same time [default: twice the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    jobs: Option<u16>,
    /// Begin no more tenants after so many have failed [default: go on].
    #[arg(long, value_name = "N")]
    max_failures: Option<usize>,
}

/// What to work on: exactly one kind.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Targets {
    /// The tenant of this slug (repeatable).
    #[arg(long = "tenant", value_name = "SLUG", value_delimiter = ',')]
    pub(super) tenants: Vec<Slug>,
    /// Every tenant. Goes on past a tenant that fails.
    #[arg(long)]
    pub(super) all: bool,
    /// A bare schema, whether or not it belongs to a tenant.
    #[arg(long, value_name = "NAME")]
    pub(super) schema: Option<SchemaName>,
    /// The registry: the tables that exist once.
    #[arg(long)]
    pub(super) registry: bool,
}

/// What to do with each target.
#[derive(Debug, Clone)]
pub(super) enum Work {
    Run(Action, Fleet),
    Print(Action),
    Status,
    List,
}

impl How {
    fn work(&self, action: Action) -> Work {
        if self.dry_run {
            return Work::Print(action);
        }
        let timeouts = Timeouts {
            lock: Some(Duration::from_secs(self.lock_timeout)),
            statement: Some(Duration::from_secs(self.statement_timeout)),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or(2 * cores, usize::from);
        let max_failures = self.max_failures.map(Limit::Number);
        let fleet =
            Fleet { jobs, timeouts, tries: TRIES, outage: OUTAGE, max_failures, canary: None };
        Work::Run(action, fleet)
    }
}

impl Command {
    /// What to work on, and what to do there; None for what has its own way of both.
    pub(super) fn work(&self) -> Option<(&Targets, Work)> {
        Some(match self {
            Self::Up { targets, number, how } => (targets, how.work(Action::Up(*number))),
            Self::Down { targets, number, how } => (targets, how.work(Action::Down(*number))),
            Self::To { targets, version, how } => (targets, how.work(Action::To(version.clone()))),
            Self::Redo { targets, how } => (targets, how.work(Action::Redo)),
            Self::Fresh { targets, how, .. } => (targets, how.work(Action::Fresh)),
            Self::Status { targets } => (targets, Work::Status),
            Self::List { targets } => (targets, Work::List),
            Self::Verify(_) | Self::Check(_) | Self::Generate(_) => return None,
        })
    }

    /// Whether the user has said yes on the command line.
    pub(super) fn confirmed(&self) -> bool {
        matches!(self, Self::Fresh { yes: true, .. })
    }
}

impl Targets {
    /// Only `list` may have none.
    pub(super) fn is_empty(&self) -> bool {
        !self.all && !self.registry && self.schema.is_none() && self.tenants.is_empty()
    }
}
