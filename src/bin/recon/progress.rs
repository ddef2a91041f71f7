//! The progress bar: frames per second, keyframes, tracking state and time left.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use recon_node::error::Result;
use recon_node::observer::{Observation, Observer, TrackingState};

/// Says what the user should know, though the run goes on.
#[expect(clippy::print_stderr, reason = "the user reads warnings here")]
pub fn warn(text: &str) {
    eprintln!("warning: {text}");
}

/// Shows how far a run has come, on a terminal.
pub struct Progress(ProgressBar);

impl Progress {
    /// Returns a bar for `frames` frames, or of unknown length; it stays hidden when `quiet`.
    pub fn new(frames: Option<usize>, quiet: bool) -> Self {
        let target =
            if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(frames.map(|n| n as u64), target);
        let template = if frames.is_some() {
            "{bar:30} {pos}/{len} frames, {per_sec}, {msg}, {eta} left"
        } else {
            "{spinner} {pos} frames, {per_sec}, {msg}, {elapsed}"
        };
        // The templates are constants; were one wrong, the plain style would do.
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key(
                "per_sec",
                |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                    // A bar that cannot be written is no reason to stop.
                    let _ = write!(w, "{:.1} fps", state.per_sec());
                },
            );
        bar.set_style(style);
        Self(bar)
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Observer for Progress {
    fn observe(&mut self, seen: &Observation<'_>) -> Result<()> {
        let state = match &seen.update.state {
            TrackingState::Initializing(_) => "no map yet",
            TrackingState::Tracking => "tracking",
            TrackingState::Relocalized => "found again",
            TrackingState::Lost(_) => "lost",
        };
        self.0.set_message(format!("{} keyframes, {state}", seen.update.keyframes));
        self.0.inc(1);
        Ok(())
    }
}
