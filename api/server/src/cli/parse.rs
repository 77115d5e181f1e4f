//! Parses the command line.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, error::ErrorKind};
use tenantry_migrate::connect::without_empty_variables;

use super::args::{Cli, Command};

/// Parses a command line. Without a subcommand, `serve` is assumed, with its options, defaults and
/// variables.
///
/// # Errors
/// An invalid command line, or a request for help.
pub(super) fn parse(words: &[OsString]) -> Result<(Cli, Command), clap::Error> {
    let first = match from_matches(words) {
        Ok((cli, Some(command))) => return Ok((cli, command)),
        Ok((_, None)) => None,
        Err(error) if error.kind() == ErrorKind::UnknownArgument => Some(error),
        Err(error) => return Err(error),
    };
    let (program, rest) = words.split_at(words.len().min(1));
    match (from_matches(&[program, &["serve".into()], rest].concat()), first) {
        (Ok((cli, Some(command))), _) => Ok((cli, command)),
        (Ok((_, None)), _) => Err(clap::Error::new(ErrorKind::MissingSubcommand)),
        // Not an option of serve either: the first error is the right one.
        (Err(error), Some(first)) if error.kind() == ErrorKind::UnknownArgument => Err(first),
        (Err(error), _) => Err(error),
    }
}

fn from_matches(words: &[OsString]) -> Result<(Cli, Option<Command>), clap::Error> {
    let matches = without_empty_variables(Cli::command()).try_get_matches_from(words)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    let command = cli.command.take();
    Ok((cli, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn assumes_serve() {
        for line in [
            "tenantry --listen 127.0.0.1:4000",
            "tenantry --base-domain example.com --listen 127.0.0.1:4000",
            "tenantry --listen=127.0.0.1:4000 --admin-token the-operator-of-this-test",
            "tenantry serve --listen 127.0.0.1:4000",
        ] {
            let (_, command) = parse(&words(line)).unwrap();
            let Command::Serve(args) = command else { panic!("{line}: {command:?}") };
            assert_eq!(args.listen.port(), 4000, "{line}");
            assert!(!format!("{args:?}").contains("operator"), "{args:?}");
        }
        let (_, command) = parse(&words("tenantry tenant list")).unwrap();
        assert!(matches!(command, Command::Tenant { .. }), "{command:?}");
    }

    #[test]
    fn reports_errors_as_written() {
        for (line, said) in [
            ("tenantry --listen nowhere", "invalid value 'nowhere'"),
            ("tenantry --listn 127.0.0.1:4000", "unexpected argument '--listn'"),
            ("tenantry tenant --listen 127.0.0.1:4000 list", "unexpected argument '--listen'"),
            ("tenantry --listen 127.0.0.1:4000 tenant list", "unexpected argument '--listen'"),
            ("tenantry tenants", "unrecognized subcommand 'tenants'"),
        ] {
            let error = parse(&words(line)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(said), "{line}: {error}");
        }
    }

    #[test]
    fn help_lists_the_options_of_serve() {
        let help = parse(&words("tenantry help")).unwrap_err().to_string();
        for text in ["--listen <ADDRESS>", "--admin-token <TOKEN>"] {
            assert!(help.contains(text), "{help}");
        }
    }
}
