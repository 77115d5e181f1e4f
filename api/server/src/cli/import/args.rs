use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, error::ErrorKind};

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// File with a tenant on each line, .csv, .jsonl or .ndjson; - for standard input.
    ///
    /// A CSV file begins with a line that names its columns: slug and, in any order, those that
    /// are wanted of name, domain and tags. Several domains or tags in one cell are separated by
    /// blanks or semicolons. A line of JSON is an object with the same keys; domains and tags may
    /// be lists.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// What the file holds, where its name does not say it.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    /// Tenants to create at the same time, at most as many as there are database connections
    /// [default: twice the number of cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,

    /// Read and check the whole file and say what would be done; change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Print a line of JSON for each refused line and one for the sum, and no progress bar.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Csv,
    Jsonl,
}

impl ImportArgs {
    /// The option wins over the file's name.
    ///
    /// # Errors
    /// A wrong command line: neither of them says it.
    pub(super) fn format(&self) -> Result<Format, clap::Error> {
        let told = self.format.or_else(|| Format::of(&self.file));
        told.ok_or_else(|| {
            let what = if self.is_stdin() {
                "standard input has no name that says what it holds".to_owned()
            } else {
                format!("{:?} ends in none of .csv, .jsonl and .ndjson", self.file)
            };
            let message = format!("{what}; add --format csv or --format jsonl\n");
            clap::Error::raw(ErrorKind::MissingRequiredArgument, message)
        })
    }

    pub(super) fn is_stdin(&self) -> bool {
        self.file == Path::new("-")
    }

    /// Each tenant in hand takes one of the connections.
    pub(super) fn jobs(&self, connections: u32) -> usize {
        let usual = || 2 * std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or_else(usual, |jobs| jobs as usize);
        jobs.min(connections as usize)
    }
}

impl Format {
    fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            _ => None,
        }
    }
}
