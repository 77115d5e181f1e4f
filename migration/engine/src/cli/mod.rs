//! The `migration` command for an application's migrators: [`MigrationCommand`].

mod args;
mod check;
mod command;
mod data_loss;
mod dry_run;
mod failure_groups;
pub mod format;
mod generate;
mod hint;
mod names;
mod progress;
mod run;
mod run_options;
mod runner;
mod schema_status;
mod setup;
mod status;
mod summary;
mod table;
mod targets;
pub mod terminal;
mod verify;

pub use args::MigrationArgs;
pub use command::MigrationCommand;
pub use names::executable_name;
pub use run_options::seconds;
pub use setup::SetupArgs;
pub use table::{table, table_that_fits};
