//! Standard error, which a progress bar may share with whatever else is said there.

use std::{
    fmt::Display,
    io::{self, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

use super::format::format_duration;

/// The bar that is on the screen.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A bar that is on the screen until this is dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn show(total: usize) -> Self {
        let bar = ProgressBar::new(total as u64).with_style(style());
        bar.enable_steady_tick(Duration::from_millis(200));
        *BAR.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        Self(bar)
    }

    pub(super) fn set_total(&self, total: usize) {
        self.0.set_length(total as u64);
    }

    /// One more has ended.
    pub(super) fn advance(&self, failed: usize) {
        if failed > 0 {
            self.0.set_message(format!("{} failed", HumanCount(failed as u64)));
        }
        self.0.inc(1);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        *BAR.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Says something while the bar is out of the way.
pub(super) fn suspend_progress<T>(say: impl FnOnce() -> T) -> T {
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(say),
        None => say(),
    }
}

/// Writes an error.
pub(super) fn print_error(error: &impl Display) {
    // Nothing can be done when standard error is gone as well.
    let _ = suspend_progress(|| writeln!(io::stderr(), "error: {error}"));
}

/// Standard error for the log.
pub(super) struct Log;

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        suspend_progress(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn style() -> ProgressStyle {
    const TEMPLATE: &str = "[{bar:24}] {human_pos}/{human_len}  {rate}  {left}  {msg:.red}";
    ProgressStyle::with_template(TEMPLATE)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("##-")
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{:.0}/s", state.per_sec());
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = match state.eta().as_secs() {
                _ if state.pos() == 0 => write!(out, "ETA ?"),
                seconds @ 0..60 => write!(out, "ETA {seconds} s"),
                seconds => write!(out, "ETA {}", format_duration(Duration::from_secs(seconds))),
            };
        })
}
