//! Report of `tenantry tenant adopt --list-from`.

use serde::Serialize;
use tenantry::Hostname;
use tenantry_migrate::cli::terminal::{print_json_line, print_note, print_text};

use super::entry::Entry;
use crate::cli::{error::shell_quoted, outcome::Outcome};

/// Prints each tenant, and a summary at the end.
pub(super) struct Report<'a> {
    json: bool,
    /// Name of the application's command.
    application: &'a str,
    summary: Summary,
}

/// The last line of `--json`.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Summary {
    adopted: u64,
    already_adopted: u64,
    rejected: u64,
    dry_run: bool,
    interrupted: bool,
}

/// A tenant, in `--json`.
#[derive(Serialize)]
struct Line<'a> {
    schema: &'a str,
    slug: Option<&'a str>,
    domains: Vec<&'a str>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Report<'a> {
    pub(super) fn new(json: bool, dry_run: bool, application: &'a str) -> Self {
        Self { json, application, summary: Summary { dry_run, ..Summary::default() } }
    }

    /// The first Ctrl-C.
    pub(super) fn interrupted(&mut self) {
        self.summary.interrupted = true;
    }

    pub(super) fn record(&mut self, entry: &Entry, outcome: &Outcome) {
        let (count, result, reason) = match outcome {
            Outcome::Created => (&mut self.summary.adopted, "adopted", None),
            Outcome::AlreadyExists => (&mut self.summary.already_adopted, "already_adopted", None),
            Outcome::Rejected(reason) => {
                (&mut self.summary.rejected, "rejected", Some(reason.as_str()))
            }
            Outcome::Cancelled | Outcome::Hopeless(_) => return,
        };
        *count += 1;
        let (schema, new) = (entry.schema.as_str(), entry.tenant.as_ref().ok().map(|it| &it.0));
        if self.json {
            let slug = new.map(|new| new.slug.as_str());
            let domains = new.iter().flat_map(|new| new.domains.iter().map(Hostname::as_str));
            let domains = domains.collect();
            return print_json_line(&Line { schema, slug, domains, result, reason });
        }
        match (reason, new) {
            (Some(reason), Some(_)) => print_note(format_args!("schema {schema:?}: {reason}")),
            (Some(reason), None) => print_note(format_args!(
                "schema {schema:?}: {reason}; to adopt it with other values: `{} tenant adopt SLUG \
                 --schema {}`",
                self.application,
                shell_quoted(schema)
            )),
            (None, Some(new)) if matches!(outcome, Outcome::Created) => {
                let domains: String = new.domains.iter().map(|it| format!(" {it}")).collect();
                print_text(&format!("schema {schema:?} as tenant {}{domains}\n", new.slug));
            }
            _ => {}
        }
    }

    /// Prints the summary. Returns whether Ctrl-C was pressed, and the number of rejected tenants.
    pub(super) fn finish(self) -> (bool, u64) {
        let Summary { adopted, already_adopted, rejected, dry_run, interrupted } = self.summary;
        let (verb, unchanged) = match dry_run {
            true => ("would be adopted", "; nothing was changed"),
            false => ("adopted", ""),
        };
        if self.json {
            print_json_line(&self.summary);
        } else {
            print_text(&format!(
                "{adopted} {verb}, {already_adopted} already adopted, {rejected} rejected{unchanged}\n"
            ));
            if interrupted {
                print_note("Interrupted. Rerun the same command to continue.");
            }
        }
        (interrupted, rejected)
    }
}
