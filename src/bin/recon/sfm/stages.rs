//! What a run is doing, on a terminal: a bar for the stage that goes on, a line for each that is
//! done.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use recon_node::alignment::{Iteration, Stage};

const COUNTED: &str = "{spinner} {prefix:17} {bar:24} {pos}/{len}, {eta} left{msg}";
const UNCOUNTED: &str = "{spinner} {prefix:17} {elapsed}{msg}";

/// The stage that goes on.
struct Current {
    name: &'static str,
    bar: ProgressBar,
    /// Things that it goes through, if they are counted.
    count: Option<usize>,
    begun: Instant,
    /// What is told of it in the end.
    result: String,
}

/// The stages of a run.
pub struct Stages {
    is_quiet: bool,
    current: RefCell<Option<Current>>,
}

impl Stages {
    /// Returns none yet; nothing is shown if `is_quiet`, or on what is no terminal.
    pub fn new(is_quiet: bool) -> Self {
        Self { is_quiet, current: RefCell::new(None) }
    }

    /// Begins a stage that goes through so many things, or through what cannot be counted.
    pub fn begin(&self, name: &'static str, count: Option<usize>) {
        self.finish();
        let target = match self.is_quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let template = if count.is_some() { COUNTED } else { UNCOUNTED };
        // The templates are constants; were one wrong, the plain style would do.
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(count.map(|count| count as u64), target);
        let bar = bar.with_style(style).with_prefix(name);
        // One step may take many seconds.
        bar.enable_steady_tick(Duration::from_millis(100));
        let current = Current { name, bar, count, begun: Instant::now(), result: String::new() };
        self.current.replace(Some(current));
    }

    /// One more thing is done.
    pub fn step(&self) {
        if let Some(current) = self.current.borrow().as_ref() {
            current.bar.inc(1);
        }
    }

    /// Says more of the stage.
    pub fn say(&self, more: &str) {
        if let Some(current) = self.current.borrow().as_ref() {
            let comma = if more.is_empty() { "" } else { ", " };
            current.bar.set_message(format!("{comma}{more}"));
        }
    }

    /// Shows an iteration of an alignment.
    pub fn iteration(&self, iteration: Iteration) {
        let name = match iteration.stage {
            Stage::Coarse => "coarse alignment",
            Stage::Fine => "fine alignment",
            Stage::Global => "global alignment",
        };
        if self.current.borrow().as_ref().is_none_or(|current| current.name != name) {
            self.begin(name, Some(iteration.most));
        }
        self.say(&format!("loss {:.5}", iteration.loss));
        if let Some(current) = self.current.borrow_mut().as_mut() {
            current.bar.set_position(iteration.done as u64);
            current.count = Some(iteration.done);
            current.result = format!(" iterations, loss {:.5}", iteration.loss);
        }
    }

    /// Ends the stage that goes on; a line is left of it.
    pub fn finish(&self) {
        let Some(current) = self.current.take() else { return };
        let Current { name, bar, count, begun, result } = current;
        let count = count.map(|count| format!("{count}{result}, ")).unwrap_or_default();
        let seconds = begun.elapsed().as_secs_f64();
        bar.println(format!("  {name:17} {count}{seconds:.1} s"));
        bar.finish_and_clear();
    }
}
