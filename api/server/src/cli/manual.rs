//! Completions for shells and manual pages.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use clap_complete::{Shell, generate};

use super::error::Error;

/// Prints the completion script of a command.
pub(super) fn print_completions(command: clap::Command, shell: Shell) -> Result<(), Error> {
    let (mut command, mut script) = (without_values(command), Vec::new());
    let name = command.get_name().to_owned();
    // Into memory, since it panics when its output is closed.
    generate(shell, &mut command, name, &mut script);
    Ok(io::stdout().write_all(&script)?)
}

/// Writes the pages of a command and its subcommands.
pub(super) fn write_pages(command: clap::Command, folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::File { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let command = without_values(command).disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder).map_err(failed)
}

/// The values of this process's variables belong to no page.
fn without_values(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(without_values)
}
