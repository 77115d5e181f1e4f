use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use crate::generate::{NewName, generate};

/// `migration generate`
#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    /// What the migration does, in snake case. `create_books` begins with a table,
    /// `add_title_to_books` with a column.
    name: NewName,
    /// Folder of the migration crate [default: found from the current folder upwards].
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Makes the migration and says where it is. Needs no database.
pub(super) fn run(arguments: &GenerateArgs) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let made = generate(&arguments.name, arguments.dir.as_deref())?;
    let mut out = io::stdout().lock();
    writeln!(out, "wrote {}", made.file.display())?;
    writeln!(out, "registered in {}", made.registered_in.display())?;
    Ok(ExitCode::SUCCESS)
}
