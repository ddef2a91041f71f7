//! What a frame and a keyframe cost while the map grows, over a long simulated walk:
//!
//!     cargo run --release --example long_run -- [FRAMES] [SIDE_M] [WIDTH] [PICTURE.png] [KEY=VALUE]...
//!
//! The camera goes round a building whose corridor is SIDE_M long on each side (80): the first round
//! of 320 m is new territory, later ones are not. Prints costs, keyframes and memory along the way
//! and what they come to, and draws them. The time to render frames is not in the costs.
#![allow(clippy::print_stdout)]

#[path = "long_run/picture.rs"]
mod picture;

use std::time::Instant;

use anyhow::{Context, Result};
use recon_node::config::Config;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::model;
use recon_node::pipeline::Pipeline;
use recon_node::simulator::{Simulator, SimulatorConfig, World};
use recon_node::source::FrameSource;

/// Frames of which one point of the picture is the median.
const BATCH: usize = 200;
/// Costs of the frames at each end of the run are compared.
const END_FRAC: f64 = 0.25;

/// One frame.
struct Cost {
    frame: usize,
    ms: f64,
    new_keyframe: bool,
}

/// How far the map has got.
struct Growth {
    frame: usize,
    keyframes: usize,
    memory_mb: f64,
}

fn main() -> Result<()> {
    let (settings, plain): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.contains('='));
    let number = |index: usize, default: f64| match plain.get(index) {
        Some(text) => text.parse().with_context(|| format!("{text} is no number")),
        None => Ok(default),
    };
    let (frames, side_m, width) = (number(0, 20_000.0)?, number(1, 80.0)?, number(2, 160.0)?);
    let picture = plain.get(3).map_or("long_run.png", String::as_str);
    let round = SimulatorConfig::round_of(World::Building { side_m });
    let config = SimulatorConfig {
        width: width as u32,
        height: (width * 0.75) as u32,
        duration_secs: frames / round.rate_hz,
        ..round
    };
    println!("{frames} frames of {width} columns, a round takes {:.0} s", config.loop_secs);
    let log = Log::of(config, &settings)?;
    for line in log.summary() {
        println!("{line}");
    }
    picture::draw(picture, &log)?;
    println!("picture in {picture}");
    Ok(())
}

/// All that was noted along the way.
struct Log {
    costs: Vec<Cost>,
    growth: Vec<Growth>,
    lost: usize,
    loops: usize,
    ate_m: Option<f64>,
}

impl Log {
    fn of(config: SimulatorConfig, settings: &[String]) -> Result<Self> {
        let pipeline_config = Config::from_sources(None, settings)?;
        let model = model::open(&pipeline_config)?;
        let mut pipeline = Pipeline::new(pipeline_config, model);
        let mut simulator = Simulator::new(config)?;
        let info = simulator.info().clone();
        let mut log =
            Self { costs: Vec::new(), growth: Vec::new(), lost: 0, loops: 0, ate_m: None };
        for index in 0..info.frame_count.unwrap_or(0) {
            log.add(&mut pipeline, &mut simulator, index)?;
        }
        let truth = info.reference.context("the simulator knows the truth")?;
        let found = pipeline.trajectory();
        let compared = evaluate_trajectory(&found, &truth, None, DEFAULT_MAX_DIFFERENCE_SECS);
        log.ate_m = compared.ok().map(|evaluation| evaluation.metrics.ate_se3);
        Ok(log)
    }

    fn add(
        &mut self,
        pipeline: &mut Pipeline,
        simulator: &mut Simulator,
        index: usize,
    ) -> Result<()> {
        let frame = simulator.render(index)?;
        let started = Instant::now();
        let update = pipeline.process(&frame)?;
        let ms = 1e3 * started.elapsed().as_secs_f64();
        self.lost += usize::from(!update.state.has_pose());
        self.loops += update.loops_closed;
        self.costs.push(Cost { frame: index, ms, new_keyframe: update.new_keyframe.is_some() });
        if (index + 1).is_multiple_of(BATCH) {
            let memory_mb = memory_mb().unwrap_or(f64::NAN);
            self.growth.push(Growth { frame: index, keyframes: update.keyframes, memory_mb });
        }
        if (index + 1).is_multiple_of(1000) {
            println!("{}", self.progress(index + 1, update.keyframes));
        }
        Ok(())
    }

    fn progress(&self, frames: usize, keyframes: usize) -> String {
        let recent = frames - 1000;
        let [plain, keyed] =
            [false, true].map(|keyed| median(self.chosen(keyed).filter(|c| c.0 >= recent as f64)));
        let memory_mb = self.growth.last().map_or(f64::NAN, |growth| growth.memory_mb);
        format!(
            "{frames:>6} frames, {keyframes:>5} keyframes, {memory_mb:>6.0} MB: {plain:>6.2} ms a \
             frame, {keyed:>7.2} ms a keyframe, {} lost, {} loops",
            self.lost, self.loops
        )
    }

    /// Frame numbers and costs of frames that became keyframes, or of all others.
    fn chosen(&self, new_keyframe: bool) -> impl Iterator<Item = (f64, f64)> {
        let chosen = self.costs.iter().filter(move |cost| cost.new_keyframe == new_keyframe);
        chosen.map(|cost| (cost.frame as f64, cost.ms))
    }

    fn summary(&self) -> Vec<String> {
        let ate_cm = self.ate_m.map_or(f64::NAN, |ate_m| 100.0 * ate_m);
        let mut lines =
            vec![format!("ATE {ate_cm:.1} cm, {} lost, {} loops", self.lost, self.loops)];
        for (name, keyed) in [("frame", false), ("keyframe", true)] {
            let costs: Vec<(f64, f64)> = self.chosen(keyed).collect();
            let end = ((costs.len() as f64 * END_FRAC) as usize).max(1).min(costs.len());
            let first = median(costs[..end].iter().copied());
            let last = median(costs[costs.len() - end..].iter().copied());
            let slope = 1e4 * slope(&costs);
            lines.push(format!(
                "a {name}: {first:.2} ms in the first quarter, {last:.2} ms in the last (median), \
                 {slope:+.3} ms per 10,000 frames (least squares), {} of them",
                costs.len()
            ));
        }
        lines
    }
}

/// The median of the costs.
fn median(costs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let mut sorted: Vec<f64> = costs.map(|(_, ms)| ms).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The slope of the straight line through the costs.
fn slope(costs: &[(f64, f64)]) -> f64 {
    let count = costs.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| costs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|c| c.0), mean(|c| c.1));
    let sums = costs.iter().map(|c| ((c.0 - x) * (c.1 - y), (c.0 - x) * (c.0 - x)));
    let (up, across) = sums.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    up / across.max(1e-12)
}

/// Resident memory of this process, where the system tells (Linux).
fn memory_mb() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}
