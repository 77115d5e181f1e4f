use clap::{Args, Parser, Subcommand};
use tenantry_registry::{SchemaName, Slug};

use super::run_options::RunOptions;
use crate::{
    Action,
    connect::{DatabaseArgs, variables_help},
};

/// Runs migrations of the registry and of tenants' schemas.
///
/// Exit status: 0 when all went well (for `status`: when everything is up to date), 1 when
/// something failed or was not begun, 2 when the command line is wrong, 130 after Ctrl-C.
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
        /// Apply only so many migrations [default: all].
        #[arg(short, long = "number", value_name = "N")]
        number: Option<u32>,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Roll back the newest migrations.
    Down {
        /// How many migrations to roll back.
        #[arg(short, long = "number", value_name = "N", default_value_t = 1)]
        number: u32,
        #[command(flatten)]
        run: RunArgs,
        /// Skip the confirmation prompt for tables and columns that are dropped in all tenants.
        #[arg(short, long)]
        yes: bool,
    },
    /// Apply or roll back until a migration is the newest.
    To {
        /// Name of the migration, as `list` shows it.
        version: String,
        #[command(flatten)]
        run: RunArgs,
        /// Skip the confirmation prompt for tables and columns that are dropped in all tenants.
        #[arg(short, long)]
        yes: bool,
    },
    /// Roll back the newest migration and apply it again.
    Redo {
        #[command(flatten)]
        run: RunArgs,
        /// Skip the confirmation prompt for tables and columns that are dropped in all tenants.
        #[arg(short, long)]
        yes: bool,
    },
    /// DELETE ALL DATA: drop the schema, create it again, apply every migration.
    Fresh {
        #[command(flatten)]
        run: RunArgs,
        /// Also drop the views, foreign keys and other objects outside the schema that depend on it;
        /// without this option they are listed, and nothing is dropped.
        #[arg(long)]
        cascade: bool,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
    /// Show how far tenants are migrated; without a target all of them on one screen, as the
    /// registry has it. Exit status 1 unless everything is up to date.
    Status(StatusArgs),
    /// List the migrations of this program, with `alone` for those that run outside a transaction
    /// and `breaking` for those that stop programs without them; of a target, whether they are
    /// applied.
    List(StatusArgs),
    /// Compare the structure of schemas with what the migrations make; exit status 1 when anything
    /// differs. Changes nothing.
    Verify(super::verify::VerifyArgs),
    /// Look for what is unsafe in the migrations of tenants' schemas: what locks a live table, breaks
    /// the release before, or ties a tenant to its node. Changes nothing.
    Check(super::check::CheckArgs),
    /// Make a new migration. Needs no database.
    Generate(super::generate::GenerateArgs),
}

/// What to change, and how.
#[derive(Debug, Clone, Args)]
#[command(mut_group("Targets", |group| group.arg("only_failed")))]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) targets: Targets,
    /// Only the tenants whose last migration failed.
    #[arg(long, conflicts_with_all = ["tenants", "schema", "registry"])]
    pub(super) only_failed: bool,
    #[command(flatten)]
    pub(super) options: RunOptions,
}

/// What to look at.
#[derive(Debug, Clone, Args)]
#[command(mut_group("Targets", |group| group.required(false)))]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) targets: Targets,
    /// Write one JSON document, in which nothing is left out.
    #[arg(long)]
    pub(super) json: bool,
}

/// What to work on: exactly one kind.
#[derive(Debug, Clone, Args)]
#[group(required = true)]
pub(super) struct Targets {
    /// The tenant of this slug (repeatable).
    #[arg(
        long = "tenant",
        value_name = "SLUG",
        value_delimiter = ',',
        conflicts_with_all = ["all", "schema", "registry"]
    )]
    pub(super) tenants: Vec<Slug>,
    /// Every tenant. Goes on past a tenant that fails.
    #[arg(long, conflicts_with_all = ["schema", "registry"])]
    pub(super) all: bool,
    /// A bare schema, whether or not it belongs to a tenant.
    #[arg(long, value_name = "NAME", conflicts_with = "registry")]
    pub(super) schema: Option<SchemaName>,
    /// The registry: the tables that exist once.
    #[arg(long)]
    pub(super) registry: bool,
}

impl Command {
    /// What to do, for a command that changes schemas.
    pub(super) fn run(&self) -> Option<(Action, &RunArgs)> {
        Some(match self {
            Self::Up { number, run } => (Action::Up(*number), run),
            Self::Down { number, run, .. } => (Action::Down(*number), run),
            Self::To { version, run, .. } => (Action::To(version.clone()), run),
            Self::Redo { run, .. } => (Action::Redo, run),
            Self::Fresh { run, cascade, .. } => (Action::Fresh { cascade: *cascade }, run),
            _ => return None,
        })
    }

    /// Whether the user has said yes on the command line.
    pub(super) fn confirmed(&self) -> bool {
        matches!(
            self,
            Self::Fresh { yes: true, .. }
                | Self::Down { yes: true, .. }
                | Self::To { yes: true, .. }
                | Self::Redo { yes: true, .. }
        )
    }
}

impl Targets {
    pub(super) fn is_empty(&self) -> bool {
        !self.all && !self.registry && self.schema.is_none() && self.tenants.is_empty()
    }
}
