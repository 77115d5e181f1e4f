//! What the commands share at a terminal: progress, output around it, prompts and Ctrl-C.

use std::{
    convert::Infallible,
    fmt::{self, Display},
    io::{self, BufRead, IsTerminal, Write},
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use thiserror::Error;

use super::format::format_count;

/// Exit status after Ctrl-C: 128 + SIGINT.
pub const INTERRUPTED: u8 = 130;

/// The progress bars on standard error.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Shows `bar` on standard error until it is dropped.
#[must_use]
pub fn show_progress(bar: ProgressBar) -> Progress {
    let bar = BARS.add(bar);
    bar.enable_steady_tick(Duration::from_millis(200));
    Progress(bar)
}

/// A progress bar that is shown.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl std::ops::Deref for Progress {
    type Target = ProgressBar;

    fn deref(&self) -> &ProgressBar {
        &self.0
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        BARS.remove(&self.0);
    }
}

/// A bar that counts to `total`, with rate and remaining time.
pub(super) fn counting_bar(total: usize) -> ProgressBar {
    const TEMPLATE: &str = "[{bar:24}] {human_pos}/{human_len}  {rate}  ETA {eta}  {msg:.red}";
    let style = ProgressStyle::with_template(TEMPLATE)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("##-")
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = write!(out, "{:.0}/s", state.per_sec());
        });
    ProgressBar::new(total as u64).with_style(style)
}

/// Sets the number of failures that a bar shows.
pub(super) fn show_failures(bar: &ProgressBar, failed: usize) {
    if failed > 0 {
        bar.set_message(format!("{} failed", format_count(failed)));
    }
}

/// Runs `print` while progress bars are hidden.
pub fn suspend_progress<T>(print: impl FnOnce() -> T) -> T {
    BARS.suspend(print)
}

/// Writes a line to standard error, above progress bars. Errors are ignored: a program can report
/// them nowhere else.
pub fn print_note(note: impl Display) {
    let _ = suspend_progress(|| writeln!(io::stderr(), "{note}"));
}

/// Writes `error: …` to standard error.
pub fn print_error(error: impl Display) {
    print_note(format_args!("error: {error}"));
}

/// Writes to standard output, above progress bars. A run continues if its output is not read.
pub fn print_text(text: &str) {
    let _ = suspend_progress(|| io::stdout().write_all(text.as_bytes()));
}

/// Writes a JSON document to standard output, indented.
///
/// # Errors
/// If standard output is closed.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)
}

/// Writes a line of JSON to standard output.
pub fn print_json_line(value: &impl Serialize) {
    let json = serde_json::to_string(value).unwrap_or_default();
    print_text(&format!("{json}\n"));
}

/// Standard error as the writer of a log, which keeps progress bars intact.
#[derive(Debug)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        suspend_progress(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Awaits `work`. The first Ctrl-C sets `stop` and calls `notify`; the second exits the process.
pub async fn finish_or_abort<T>(
    work: impl Future<Output = T>,
    stop: &AtomicBool,
    notify: impl Fn(),
) -> T {
    tokio::select! {
        done = work => done,
        never = handle_interrupts(stop, notify) => match never {},
    }
}

async fn handle_interrupts(stop: &AtomicBool, notify: impl Fn()) -> Infallible {
    loop {
        // Without a handler, Ctrl-C ends the process, and PostgreSQL rolls back.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        if stop.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPTED.into());
        }
        notify();
    }
}

/// Reports the first Ctrl-C.
pub fn print_interrupted() {
    print_note("Interrupted: finishing the tenants in progress. Press Ctrl-C again to abort.");
}

/// Why a prompt was not confirmed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// The answer was another one.
    #[error("not confirmed: {answer:?} is not {expected}; nothing was changed")]
    NotConfirmed {
        /// What was typed.
        answer: String,
        /// What confirms.
        expected: String,
    },
    /// Standard input is not a terminal.
    #[error("stdin is not a terminal; pass --yes to confirm (nothing was changed)")]
    NoTerminal,
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Prints `prompt` and reads a line from the terminal, which has to be `expected`.
///
/// # Errors
/// [`ConfirmError`] unless it is.
pub fn confirm(prompt: &str, expected: &str) -> Result<(), ConfirmError> {
    if !io::stdin().is_terminal() {
        return Err(ConfirmError::NoTerminal);
    }
    let mut out = io::stderr().lock();
    write!(out, "{prompt}")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        answer if answer == expected => Ok(()),
        answer => Err(ConfirmError::NotConfirmed {
            answer: answer.to_owned(),
            expected: expected.to_owned(),
        }),
    }
}
