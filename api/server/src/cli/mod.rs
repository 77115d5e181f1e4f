//! The command of an application: [`App`].

mod admin_token;
mod adopt;
mod app;
mod args;
mod audit;
mod banner;
mod connect;
mod doctor;
mod error;
mod files;
mod import;
mod jwt_args;
mod key;
mod lifecycle;
mod listen;
mod log;
mod manual;
mod nodes;
mod options;
mod outcome;
mod own_commands;
mod parse;
mod period;
mod run;
mod serve;
mod tenant;
mod transfer;

pub use app::App;
pub use args::{Command, ServeArgs, TenantArgs};
pub use key::KeyArgs;
pub use options::{GlobalArgs, TenancyArgs};
pub use tenantry_migrate::cli::{MigrationArgs, SetupArgs};
