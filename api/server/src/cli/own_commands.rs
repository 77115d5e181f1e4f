//! Commands of the application, beside those that every application has.

use std::{error::Error, future::Future, pin::Pin};

use clap::{
    ArgMatches, Args, FromArgMatches, Subcommand,
    builder::{Resettable, StyledStr},
};
use tenantry::Tenancy;

use super::options::TenancyArgs;

type Run =
    Box<dyn FnOnce(ArgMatches, Tenancy) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send>;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// The application's subcommands and the function that runs them.
pub(super) struct OwnCommands {
    augment: fn(clap::Command) -> clap::Command,
    has: fn(&str) -> bool,
    run: Run,
}

impl OwnCommands {
    pub(super) fn new<C, F, R, E>(run: F) -> Self
    where
        C: Subcommand + Send + 'static,
        F: FnOnce(C, Tenancy) -> R + Send + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let run: Run = Box::new(|matches, tenancy| {
            Box::pin(async move {
                let command = C::from_arg_matches(&matches)?;
                run(command, tenancy).await.map_err(Into::into)
            })
        });
        Self { augment: augment::<C>, has: C::has_subcommand, run }
    }

    pub(super) fn augment(&self, command: clap::Command) -> clap::Command {
        (self.augment)(command)
    }

    /// Whether the command line names one of these commands.
    pub(super) fn are_named_in(&self, matches: &ArgMatches) -> bool {
        matches.subcommand_name().is_some_and(self.has)
    }

    /// The options with which to connect.
    pub(super) fn tenancy_args(matches: &ArgMatches) -> Result<TenancyArgs, clap::Error> {
        let of_command = matches.subcommand().map_or(matches, |(_, matches)| matches);
        TenancyArgs::from_arg_matches(of_command)
    }

    pub(super) async fn run(self, matches: ArgMatches, tenancy: Tenancy) -> Outcome {
        (self.run)(matches, tenancy).await
    }
}

/// Adds the commands of `C`, each with the options of tenants.
fn augment<C: Subcommand>(command: clap::Command) -> clap::Command {
    let own = C::augment_subcommands(clap::Command::new("own"));
    command.subcommands(own.get_subcommands().cloned().map(with_tenancy_args))
}

fn with_tenancy_args(command: clap::Command) -> clap::Command {
    let text = |text: Option<&StyledStr>| Resettable::from(text.cloned());
    let (about, long_about) = (text(command.get_about()), text(command.get_long_about()));
    // The documentation of the options would replace that of the command.
    TenancyArgs::augment_args(command).about(about).long_about(long_about)
}
