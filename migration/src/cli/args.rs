use clap::{Args, Parser, Subcommand};
use entity::registry::{SchemaName, Slug};

use crate::{
    Action,
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
        /// Print the SQL and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Roll back the newest migrations.
    Down {
        #[command(flatten)]
        targets: Targets,
        /// How many migrations to roll back.
        #[arg(short, long = "number", value_name = "N", default_value_t = 1)]
        number: u32,
        /// Print the SQL and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show which migrations are applied; exit status 1 unless all are.
    Status {
        #[command(flatten)]
        targets: Targets,
    },
    /// DELETE ALL DATA: drop the schema, create it again, apply every migration.
    Fresh {
        #[command(flatten)]
        targets: Targets,
        /// Print the SQL and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// List the migrations of a target and whether they are applied; without a target, those of
    /// tenants that this program contains.
    #[command(mut_group("Targets", |group| group.required(false)))]
    List {
        #[command(flatten)]
        targets: Targets,
    },
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
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    Run(Action),
    Print(Action),
    Status,
    List,
}

impl Command {
    /// What to work on, and what to do there.
    pub(super) fn work(&self) -> (&Targets, Work) {
        let run = |action, dry_run| if dry_run { Work::Print(action) } else { Work::Run(action) };
        match self {
            Self::Up { targets, number, dry_run } => (targets, run(Action::Up(*number), *dry_run)),
            Self::Down { targets, number, dry_run } => {
                (targets, run(Action::Down(*number), *dry_run))
            }
            Self::Fresh { targets, dry_run, .. } => (targets, run(Action::Fresh, *dry_run)),
            Self::Status { targets } => (targets, Work::Status),
            Self::List { targets } => (targets, Work::List),
        }
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
