use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, error::ErrorKind};
use tenantry::Slug;

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// File with a tenant on each line: .csv, .jsonl or .ndjson; or an export of one tenant: .tar;
    /// - for standard input.
    ///
    /// The first line of a CSV file names its columns: slug and, in any order, name, domain and
    /// tags. Several domains or tags in one cell are separated by blanks or semicolons. A line of
    /// JSON is an object with the same keys; domains and tags may be lists.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// Format of the file, if its name does not show it.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    /// Slug of the tenant that an export becomes [default: that of the exported tenant].
    #[arg(long = "as", value_name = "SLUG")]
    slug: Option<Slug>,

    /// Also give it the domains of the exported tenant, which must have lost them.
    #[arg(long)]
    domains: bool,

    /// Tenants to create at the same time, at most --max-connections [default: twice the number of
    /// cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,

    /// Check the whole file and report what would be done; change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Print a line of JSON for each rejected line and one for the summary, and no progress bar.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Csv,
    Jsonl,
    /// An export of one tenant.
    Tar,
}

impl ImportArgs {
    /// The format by the option, else by the file's name.
    ///
    /// # Errors
    /// Neither of them shows it.
    pub(super) fn format(&self) -> Result<Format, clap::Error> {
        let format = self.format.or_else(|| Format::of(&self.file));
        format.ok_or_else(|| {
            let problem = if self.is_stdin() {
                "the format of standard input is unknown".to_owned()
            } else {
                format!("the format of {:?} is unknown", self.file)
            };
            let message = format!("{problem}; pass --format csv, jsonl or tar\n");
            clap::Error::raw(ErrorKind::MissingRequiredArgument, message)
        })
    }

    /// The slug of an export and whether it keeps its domains; `None` for a list of tenants.
    ///
    /// # Errors
    /// An option that does not apply to the format.
    pub(super) fn export(&self) -> Result<Option<(Option<Slug>, bool)>, clap::Error> {
        let is_export = self.format()? == Format::Tar;
        let wrong = match is_export {
            true if self.dry_run => Some("--dry-run"),
            true if self.jobs.is_some() => Some("--jobs"),
            false if self.slug.is_some() => Some("--as"),
            false if self.domains => Some("--domains"),
            _ => None,
        };
        if let Some(option) = wrong {
            let kind = if is_export { "an export" } else { "a list of tenants" };
            let message = format!("{option} does not apply to {kind}; leave it out\n");
            return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
        }
        Ok(is_export.then(|| (self.slug.clone(), self.domains)))
    }

    pub(super) fn is_stdin(&self) -> bool {
        self.file == Path::new("-")
    }

    /// Each tenant in progress takes one of the connections.
    pub(super) fn jobs(&self, connections: u32) -> usize {
        let default = || 2 * std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.jobs.map_or_else(default, |jobs| jobs as usize);
        jobs.min(connections as usize)
    }
}

impl Format {
    fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "tar" => Some(Self::Tar),
            _ => None,
        }
    }
}
