use std::path::PathBuf;

use clap::Args;
use tenantry::Slug;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// Slug of the tenant.
    pub(super) slug: Slug,

    /// File to write; - for standard output [default: SLUG.tar]. It appears when the export is
    /// complete, and replaces an older one then.
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,

    /// Print a line of JSON at the end, and no progress bar. With --output - it goes to standard
    /// error.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CloneArgs {
    /// Slug of the tenant to copy.
    pub(super) source: Slug,

    /// Slug of the new tenant.
    pub(super) new: Slug,

    /// Copy no rows: the new tenant has empty tables.
    #[arg(long)]
    pub(super) structure_only: bool,

    /// Print a line of JSON at the end, and no progress bar.
    #[arg(long)]
    pub(super) json: bool,
}
