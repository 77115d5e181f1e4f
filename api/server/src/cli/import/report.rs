use std::{
    io::{self, IsTerminal},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use indicatif::HumanCount;
use serde::Serialize;
use tenantry_migrate::cli::terminal::{
    Progress, file_bar, print_interrupted, print_json_line, print_note, print_text, show_failures,
    show_progress,
};

/// Reports each rejected line as it is found, progress, and a summary at the end.
pub(super) struct Report {
    json: bool,
    bar: Option<Progress>,
    /// Number of lines so far, for the bar.
    done: Arc<AtomicU64>,
    summary: ImportSummary,
}

/// The last line of `--json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct ImportSummary {
    created: u64,
    already_existed: u64,
    pub(super) rejected: u64,
    dry_run: bool,
    interrupted: bool,
}

/// A rejected line of `--json`.
#[derive(Serialize)]
struct Rejected<'a> {
    line: u64,
    slug: Option<&'a str>,
    reason: &'a str,
}

impl Report {
    /// `size` is that of the file. On a terminal there is a progress bar.
    pub(super) fn new(json: bool, dry_run: bool, size: Option<u64>) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        let shown = !json && io::stderr().is_terminal();
        let bar = shown.then(|| show_progress(file_bar(size, Arc::clone(&done))));
        let summary = ImportSummary { dry_run, ..ImportSummary::default() };
        Self { json, bar, done, summary }
    }

    pub(super) fn created(&mut self) {
        self.summary.created += 1;
    }

    pub(super) fn already_existed(&mut self) {
        self.summary.already_existed += 1;
    }

    pub(super) fn rejected(&mut self, line: u64, slug: Option<&str>, reason: &str) {
        self.summary.rejected += 1;
        if self.json {
            return print_json_line(&Rejected { line, slug, reason });
        }
        let slug = slug.map(|slug| format!(" slug {:?}:", shortened(slug))).unwrap_or_default();
        print_note(format_args!("line {line}:{slug} {reason}"));
    }

    /// The first Ctrl-C.
    pub(super) fn interrupted(&mut self) {
        self.summary.interrupted = true;
        print_interrupted();
    }

    /// Moves the bar to this offset in the file.
    pub(super) fn progress(&self, end: u64) {
        if let Some(bar) = &self.bar {
            let ImportSummary { created, already_existed, rejected, .. } = self.summary;
            self.done.store(created + already_existed + rejected, Ordering::Relaxed);
            show_failures(bar, rejected as usize, "rejected");
            bar.set_position(end.max(bar.position()));
        }
    }

    /// Prints the summary.
    pub(super) fn finish(self) -> ImportSummary {
        drop(self.bar);
        if self.json {
            print_json_line(&self.summary);
        } else {
            let unchanged = if self.summary.dry_run { "; nothing was changed" } else { "" };
            print_text(&format!("{}{unchanged}\n", self.summary));
            if self.summary.interrupted {
                print_note("Interrupted. Rerun the same command to resume the import.");
            }
        }
        self.summary
    }
}

impl std::fmt::Display for ImportSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = if self.dry_run { "would be created" } else { "created" };
        let [created, existed, rejected] =
            [self.created, self.already_existed, self.rejected].map(HumanCount);
        write!(f, "{created} {verb}, {existed} already existed, {rejected} rejected")
    }
}

/// The first 80 characters of a slug, which is more than a valid one has.
fn shortened(slug: &str) -> String {
    let mut shown: String = slug.chars().take(80).collect();
    if shown.len() < slug.len() {
        shown.push('…');
    }
    shown
}
