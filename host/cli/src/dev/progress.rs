//! What `phala dev` says while it starts: a spinner on a terminal, a line for each step otherwise. All on standard error.

use crate::output::{note, printable};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

/// The steps so far.
pub struct Progress {
    bar: Option<ProgressBar>,
    begun: Instant,
    step: String,
}

impl Progress {
    /// Nothing done yet.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, begun: Instant::now(), step: String::new() }
    }

    /// Begins a step; the one before is done.
    pub fn step(&mut self, text: impl Into<String>) {
        self.done();
        self.begun = Instant::now();
        let text: String = text.into();
        self.step = printable(&text).into_owned();
        match &self.bar {
            Some(bar) => {
                bar.reset_elapsed();
                bar.set_message(self.step.clone());
            }
            None => note(&format!("  {} ...", self.step)),
        }
    }

    /// The last step is done.
    pub fn done(&mut self) {
        let step = std::mem::take(&mut self.step);
        if let Some(bar) = self.bar.as_ref().filter(|_| !step.is_empty()) {
            bar.println(format!("  done: {step} ({:.1} s)", self.begun.elapsed().as_secs_f32()));
        }
    }

    /// No more steps.
    pub fn finish(mut self) {
        self.done();
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
