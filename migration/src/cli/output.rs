use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use super::{table, targets::Named};
use crate::{AnyMigrator, Error, Outcome, State};

/// Writes an error that ended the command.
pub(super) fn failure(error: &impl Display) {
    // Nothing can be done when standard error is gone as well.
    let _ = writeln!(io::stderr(), "error: {error}");
}

/// Writes the names of all migrations.
pub(super) fn names(migrator: &AnyMigrator) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for name in migrator.names() {
        writeln!(out, "{name}")?;
    }
    Ok(())
}

/// What happened to each target, told while it happens and summed up at the end.
#[derive(Default)]
pub(super) struct Report {
    done: usize,
    failed: Vec<String>,
    behind: usize,
    /// Targets that were not begun.
    pub(super) left: usize,
    /// Header and rows.
    table: (Vec<&'static str>, Vec<Vec<String>>),
}

impl Report {
    pub(super) fn outcome(&mut self, named: &Named, result: Result<&Outcome, &Error>) {
        let Some(outcome) = self.note(named, result) else { return };
        let mut text = String::new();
        for name in &outcome.rolled_back {
            text.push_str(&format!("{named}: rolled back {name}\n"));
        }
        for name in &outcome.applied {
            text.push_str(&format!("{named}: applied {name}\n"));
        }
        if text.is_empty() {
            text = format!("{named}: nothing to do\n");
        }
        // The run goes on when nobody reads what it says.
        let _ = io::stdout().write_all(text.as_bytes());
    }

    pub(super) fn sql(
        &mut self,
        named: &Named,
        result: Result<Vec<String>, Error>,
    ) -> io::Result<()> {
        let Some(statements) = self.note(named, result) else {
            return Ok(());
        };
        let mut out = io::stdout().lock();
        writeln!(out, "-- {named}")?;
        if statements.is_empty() {
            writeln!(out, "-- nothing to do")?;
        }
        for sql in statements {
            writeln!(out, "{sql};")?;
        }
        Ok(())
    }

    pub(super) fn status(&mut self, named: &Named, result: Result<State, Error>) {
        let Some(state) = self.note(named, result) else { return };
        self.behind += usize::from(!state.pending.is_empty());
        self.table.0 = ["TENANT", "VERSION", "APPLIED", "PENDING"].to_vec();
        self.table.1.push(vec![
            named.to_string(),
            state.applied.last().cloned().unwrap_or_else(|| "none".to_owned()),
            state.applied.len().to_string(),
            state.pending.join(" "),
        ]);
    }

    pub(super) fn list(&mut self, named: &Named, result: Result<State, Error>) {
        let Some(state) = self.note(named, result) else { return };
        self.table.0 = ["TENANT", "MIGRATION", "STATE"].to_vec();
        let applied = state.applied.into_iter().map(|name| (name, "applied"));
        let pending = state.pending.into_iter().map(|name| (name, "pending"));
        for (name, state) in applied.chain(pending) {
            self.table.1.push(vec![named.to_string(), name, state.to_owned()]);
        }
    }

    fn note<T>(&mut self, named: &Named, result: Result<T, impl Display>) -> Option<T> {
        match result {
            Ok(value) => {
                self.done += 1;
                Some(value)
            }
            Err(error) => {
                failure(&format_args!("{named}: {error}"));
                self.failed.push(named.to_string());
                None
            }
        }
    }

    /// The last lines, and the exit status.
    pub(super) fn finish(self) -> io::Result<ExitCode> {
        if self.done + self.failed.len() + self.left == 0 {
            writeln!(io::stdout(), "there are no tenants")?;
        }
        let (header, rows) = self.table;
        if !rows.is_empty() {
            writeln!(io::stdout(), "{}", table(header, rows))?;
        }
        if !self.failed.is_empty() {
            let (done, failed) = (self.done, self.failed.len());
            failure(&format_args!("{failed} failed ({}), {done} done", self.failed.join(", ")));
        }
        if self.left > 0 {
            failure(&format_args!("{} not begun; run the command again to go on", self.left));
        }
        let all_well = self.failed.is_empty() && self.behind == 0 && self.left == 0;
        Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.slug {
            Some(slug) => write!(f, "{slug}"),
            None => write!(f, "{}", self.target),
        }
    }
}
