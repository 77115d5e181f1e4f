use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde::Serialize;

/// What became of the lines: told while it happens and summed up at the end.
pub(super) struct Report {
    json: bool,
    bar: ProgressBar,
    begun: Instant,
    summary: ImportSummary,
}

/// The last line of `--json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct ImportSummary {
    created: u64,
    already_existed: u64,
    pub(super) refused: u64,
    dry_run: bool,
    interrupted: bool,
}

/// A refused line of `--json`.
#[derive(Serialize)]
struct Refused<'a> {
    line: u64,
    slug: Option<&'a str>,
    reason: &'a str,
}

impl Report {
    /// `size` is that of the file. There is a bar where somebody sees it.
    pub(super) fn new(json: bool, dry_run: bool, size: Option<u64>) -> Self {
        let bar =
            if json || !io::stderr().is_terminal() { ProgressBar::hidden() } else { bar(size) };
        let summary = ImportSummary { dry_run, ..ImportSummary::default() };
        Self { json, bar, begun: Instant::now(), summary }
    }

    pub(super) fn created(&mut self) {
        self.summary.created += 1;
    }

    pub(super) fn already_existed(&mut self) {
        self.summary.already_existed += 1;
    }

    pub(super) fn refused(&mut self, line: u64, slug: Option<&str>, reason: &str) {
        self.summary.refused += 1;
        if self.json {
            return print_json(&Refused { line, slug, reason });
        }
        let slug = slug.map(|slug| format!(" slug {:?}:", shortened(slug))).unwrap_or_default();
        self.tell(&format!("line {line}:{slug} {reason}"));
    }

    /// The import is to stop: what is in hand is finished.
    pub(super) fn interrupted(&mut self) {
        self.summary.interrupted = true;
        self.tell("stopping: finishing what is in hand; once more to end at once");
    }

    /// Moves the bar to this place in the file.
    pub(super) fn progress(&self, end: u64) {
        if !self.bar.is_hidden() {
            self.bar.set_position(end.max(self.bar.position()));
            let done = self.summary.created + self.summary.already_existed + self.summary.refused;
            let rate = done as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
            self.bar.set_message(format!("{rate:.0}/s: {}", self.summary));
        }
    }

    /// The last line.
    pub(super) fn finish(self) -> ImportSummary {
        self.bar.finish_and_clear();
        if self.json {
            print_json(&self.summary);
        } else {
            let nothing = if self.summary.dry_run { "; nothing was changed" } else { "" };
            // Nothing can be done when standard output is gone.
            let _ = writeln!(io::stdout(), "{}{nothing}", self.summary);
            if self.summary.interrupted {
                self.tell("stopped before the end; run the same command again to go on");
            }
        }
        self.summary
    }

    /// Writes a line for people, above the bar.
    fn tell(&self, text: &str) {
        self.bar.suspend(|| {
            // The import goes on when nobody reads what it says.
            let _ = writeln!(io::stderr(), "{text}");
        });
    }
}

impl std::fmt::Display for ImportSummary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let created = if self.dry_run { "would be created" } else { "created" };
        let [made, there, refused] =
            [self.created, self.already_existed, self.refused].map(HumanCount);
        write!(f, "{made} {created}, {there} there already, {refused} refused")
    }
}

/// By the bytes of the file; without its size there is no end to be foreseen.
fn bar(size: Option<u64>) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:14} {percent:>3}% ETA {eta}, {wide_msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {elapsed} {wide_msg}"),
    };
    let style = ProgressStyle::with_template(template);
    let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

fn print_json(value: &impl Serialize) {
    let mut out = io::stdout().lock();
    // As for people: the import goes on.
    let _ = serde_json::to_writer(&mut out, value);
    let _ = writeln!(out);
}

/// As much of a slug as any slug may have, and a little more to be recognised by.
fn shortened(slug: &str) -> String {
    let mut shown: String = slug.chars().take(80).collect();
    if shown.len() < slug.len() {
        shown.push('…');
    }
    shown
}
