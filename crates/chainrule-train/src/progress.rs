//! A progress bar.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on the terminal that counts the steps of an epoch; nothing is drawn when standard error is not a terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar of `steps` steps with a text before it.
    pub fn new(title: impl Into<String>, steps: usize) -> Progress {
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} {msg} {eta}") {
            bar.set_style(style);
        }
        bar.set_prefix(title.into());
        Progress(bar)
    }
    /// One step further; `message` (a loss, say) is only written now and then, so that it costs nothing.
    pub fn step(&self, message: impl FnOnce() -> String) {
        self.0.inc(1);
        if self.0.position().is_multiple_of(50) && !self.0.is_hidden() {
            self.0.set_message(message());
        }
    }
    /// Removes the bar.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}
