//! Progress and results of copies.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    sync::Arc,
};

use indicatif::{HumanBytes, HumanCount};
use tenantry::{Exported, Imported, OnProgress};
use tenantry_migrate::cli::terminal::{
    Progress, bytes_bar, print_json_line, print_note, show_progress,
};

/// A progress bar, on a terminal.
pub(super) struct Bar(Option<Arc<Progress>>);

impl Bar {
    /// `size` is that of the file, unless it is unknown.
    pub(super) fn new(json: bool, size: Option<u64>) -> Self {
        let shown = !json && io::stderr().is_terminal();
        Self(shown.then(|| Arc::new(show_progress(bytes_bar(size)))))
    }

    pub(super) fn on_progress(&self) -> OnProgress {
        let Some(bar) = self.0.clone() else { return OnProgress::default() };
        OnProgress::new(move |progress| {
            let number = progress.tables_done + 1;
            bar.set_message(format!("{} ({number}/{})", progress.table, progress.tables));
            bar.set_position(progress.bytes);
        })
    }
}

pub(super) fn exported(exported: &Exported, path: &Path, json: bool) -> io::Result<()> {
    let to_stdout = path == Path::new("-");
    if json {
        if to_stdout {
            print_note(serde_json::to_string(exported)?);
        } else {
            print_json_line(exported);
        }
        return Ok(());
    }
    for cycle in &exported.cycles {
        print_note(format_args!(
            "note: foreign keys form a cycle, which an import loads all the same: {} -> {}",
            cycle.join(" -> "),
            cycle.first().map_or("", String::as_str)
        ));
    }
    let Exported { slug, tables, rows, bytes, .. } = exported;
    let (rows, bytes) = (HumanCount(*rows), HumanBytes(*bytes));
    let size = format!("{rows} rows of {tables} tables, {bytes}");
    match to_stdout {
        true => print_note(format_args!("exported {slug}: {size}")),
        false => writeln!(io::stdout(), "exported {slug} to {}: {size}", path.display())?,
    }
    Ok(())
}

pub(super) fn created(imported: &Imported, verb: &str, json: bool) -> io::Result<()> {
    if json {
        print_json_line(imported);
        return Ok(());
    }
    let Imported { tenant, tables, rows, bytes, migrated } = imported;
    let (rows, bytes) = (HumanCount(*rows), HumanBytes(*bytes));
    let mut out = io::stdout().lock();
    writeln!(out, "{verb} as {}: {rows} rows of {tables} tables, {bytes}", tenant.slug)?;
    if !migrated.is_empty() {
        writeln!(out, "applied afterwards: {}", migrated.join(", "))?;
    }
    Ok(())
}
