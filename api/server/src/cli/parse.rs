//! Parses the command line.

use std::ffi::OsString;

use clap::{ArgMatches, FromArgMatches, error::ErrorKind};
use tenantry_migrate::connect::without_empty_variables;

use super::{args::Command, options::GlobalArgs, own_commands::OwnCommands};

/// A command line.
pub(super) enum Parsed {
    Command(Command, GlobalArgs),
    /// One of the application's own commands.
    Own(ArgMatches, GlobalArgs),
}

/// Parses a command line. Without a subcommand, `serve` is assumed, with its options, defaults and
/// variables.
///
/// # Errors
/// An invalid command line, or a request for help.
pub(super) fn parse(
    command: &clap::Command,
    own: Option<&OwnCommands>,
    words: &[OsString],
) -> Result<Parsed, clap::Error> {
    let command = without_empty_variables(command.clone());
    let matches = |words: &[OsString]| command.clone().try_get_matches_from(words);
    let first = match matches(words) {
        Ok(matches) if matches.subcommand_name().is_some() => return parsed(matches, own),
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::UnknownArgument => Some(error),
        Err(error) => return Err(error),
    };
    let (program, rest) = words.split_at(words.len().min(1));
    match (matches(&[program, &["serve".into()], rest].concat()), first) {
        (Ok(matches), _) => parsed(matches, own),
        // Not an option of serve either: the first error is the right one.
        (Err(error), Some(first)) if error.kind() == ErrorKind::UnknownArgument => Err(first),
        (Err(error), _) => Err(error),
    }
}

fn parsed(matches: ArgMatches, own: Option<&OwnCommands>) -> Result<Parsed, clap::Error> {
    let global = GlobalArgs::from_arg_matches(&matches)?;
    if own.is_some_and(|own| own.are_named_in(&matches)) {
        return Ok(Parsed::Own(matches, global));
    }
    Ok(Parsed::Command(Command::from_arg_matches(&matches)?, global))
}

#[cfg(test)]
mod tests {
    use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};
    use tenantry_migrate::TenantMigrator;

    use super::*;
    use crate::cli::App;

    struct Migrator;

    impl MigratorTraitSelf for Migrator {
        fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
            Vec::new()
        }
    }

    impl TenantMigrator for Migrator {}

    /// Parses a line for an application that is called `tenantry` and has the command `count`.
    fn parse(line: &str) -> Result<Parsed, clap::Error> {
        #[derive(clap::Subcommand)]
        enum Own {
            /// Count.
            Count,
        }
        let app = App::new(Migrator).name("tenantry");
        let app = app.commands(|_: Own, _| async { Ok::<_, tenantry::Error>(()) });
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        super::parse(&app.command(), app.own.as_ref(), &words)
    }

    fn error(line: &str) -> clap::Error {
        match parse(line) {
            Err(error) => error,
            Ok(_) => panic!("{line} is valid"),
        }
    }

    #[test]
    fn assumes_serve() {
        for line in [
            "tenantry --listen 127.0.0.1:4000",
            "tenantry --base-domain example.com --listen 127.0.0.1:4000",
            "tenantry --listen=127.0.0.1:4000 --admin-token the-operator-of-this-test",
            "tenantry serve --listen 127.0.0.1:4000",
        ] {
            let Ok(Parsed::Command(Command::Serve(args), _)) = parse(line) else {
                panic!("{line}")
            };
            assert_eq!(args.listen.to_string(), "127.0.0.1:4000", "{line}");
            assert!(!format!("{args:?}").contains("the-operator"), "{args:?}");
        }
        let tenant = parse("tenantry tenant list");
        assert!(matches!(tenant, Ok(Parsed::Command(Command::Tenant(_), _))));
        let own = parse("tenantry count --spares 3");
        let Ok(Parsed::Own(matches, _)) = own else { panic!("not its own command") };
        assert_eq!(OwnCommands::tenancy_args(&matches).unwrap().spares, 3);
    }

    #[test]
    fn reports_errors_as_written() {
        for (line, said) in [
            ("tenantry --listen nowhere", "invalid value 'nowhere'"),
            ("tenantry --listn 127.0.0.1:4000", "unexpected argument '--listn'"),
            ("tenantry tenant --listen 127.0.0.1:4000 list", "unexpected argument '--listen'"),
            ("tenantry --listen 127.0.0.1:4000 tenant list", "unexpected argument '--listen'"),
            ("tenantry tenants", "unrecognized subcommand 'tenants'"),
            ("tenantry --spares 1 tenant list", "unexpected argument '--spares'"),
        ] {
            let error = error(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(said), "{line}: {error}");
        }
    }

    #[test]
    fn help_has_the_name_and_all_commands() {
        let help = error("other-name help").to_string();
        for text in ["Usage: tenantry", "serve", "tenant", "migration", "count", "--database-url"] {
            assert!(help.contains(text), "no {text} in {help}");
        }
        assert!(!help.contains("--spares"), "{help}");
        // An option of a run, which serve has as well.
        let up = error("tenantry migration up --all --statement-timeout x").to_string();
        assert!(up.contains("--statement-timeout <SECONDS>"), "{up}");
        let usage = error("tenantry migration up").to_string();
        assert!(usage.contains("Usage: tenantry migration up"), "{usage}");
    }
}
