use clap::{Args, Subcommand};
use tenantry_registry::{SchemaName, Slug};

use super::run_options::RunOptions;
use crate::Action;

/// What to migrate, verify or check: the subcommands of `migration`, for a
/// [`MigrationCommand`](super::MigrationCommand) that is a part of another command.
///
/// Its help is that of [`MigrationCommand::command`](super::MigrationCommand::command).
#[derive(Debug, Args)]
pub struct MigrationArgs {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Apply pending migrations.
    Up {
        /// Number of migrations to apply [default: all].
        #[arg(short, long = "number", value_name = "N")]
        number: Option<u32>,
        #[command(flatten)]
        run: RunArgs,
    },
    /// Roll back the newest migrations.
    Down {
        /// Number of migrations to roll back.
        #[arg(short, long = "number", value_name = "N", default_value_t = 1)]
        number: u32,
        #[command(flatten)]
        run: RunArgs,
        /// Skip the confirmation prompt for tables and columns that are dropped in all tenants.
        #[arg(short, long)]
        yes: bool,
    },
    /// Migrate up or down to a version.
    To {
        /// Name of a migration, as shown by `list`.
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
        /// Also drop objects outside the schema that depend on it, such as views and foreign keys.
        /// Without this option they are listed, and nothing is dropped.
        #[arg(long)]
        cascade: bool,
        /// Skip the confirmation prompt.
        #[arg(short, long)]
        yes: bool,
    },
    /// Show migration status; without a target, a summary of all tenants from the registry. Exit
    /// status 1 unless everything is up to date.
    Status(StatusArgs),
    /// List the migrations of this program, marked `non-transactional` if they run outside a
    /// transaction and `breaking` if programs without them stop serving a migrated tenant; with a
    /// target, also whether each is applied.
    List(StatusArgs),
    /// Compare schemas with the structure that the migrations create; exit status 1 if they differ.
    /// Changes nothing.
    Verify(super::verify::VerifyArgs),
    /// Find unsafe statements in the migrations of tenants and of shared tables; exit status 1 if there are any. Changes
    /// nothing.
    Check(super::check::CheckArgs),
    /// Create the roles with which an application needs no more rights than it uses.
    Setup(super::setup::SetupArgs),
    /// Create a migration file. Needs no database.
    Generate(super::generate::GenerateArgs),
}

/// Target and options of a run.
#[derive(Debug, Clone, Args)]
#[command(mut_group("Targets", |group| group.arg("only_failed")))]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) targets: Targets,
    /// Only tenants whose last migration failed.
    #[arg(long, conflicts_with_all = ["tenants", "schema", "registry", "shared"])]
    pub(super) only_failed: bool,
    #[command(flatten)]
    pub(super) options: RunOptions,
}

/// Target of `status` and `list`.
#[derive(Debug, Clone, Args)]
#[command(mut_group("Targets", |group| group.required(false)))]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) targets: Targets,
    /// Print one complete JSON document.
    #[arg(long)]
    pub(super) json: bool,
    /// Print all columns, also if the terminal is too narrow for them.
    #[arg(long, conflicts_with = "json")]
    pub(super) wide: bool,
}

/// Target of a command: exactly one kind.
#[derive(Debug, Clone, Args)]
#[group(required = true)]
pub(super) struct Targets {
    /// The tenant with this slug (repeatable).
    #[arg(
        long = "tenant",
        value_name = "SLUG",
        value_delimiter = ',',
        conflicts_with_all = ["all", "schema", "registry", "shared"]
    )]
    pub(super) tenants: Vec<Slug>,
    /// All tenants. Continues if a tenant fails.
    #[arg(long, conflicts_with_all = ["schema", "registry", "shared"])]
    pub(super) all: bool,
    /// A schema, whether or not it belongs to a tenant.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["registry", "shared"])]
    pub(super) schema: Option<SchemaName>,
    /// The registry. With `up`, also the extensions and the application's shared tables.
    #[arg(long, conflicts_with = "shared")]
    pub(super) registry: bool,
    /// The application's shared tables, which exist once.
    #[arg(long)]
    pub(super) shared: bool,
}

impl Command {
    /// The action of a command that changes schemas.
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

    /// Whether `--yes` is given.
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
        !self.all
            && !self.registry
            && !self.shared
            && self.schema.is_none()
            && self.tenants.is_empty()
    }
}
