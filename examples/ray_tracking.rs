//! What ray residuals do for a camera whose depth comes more rarely than its images: a recording is
//! replayed with the depth of every N-th frame only, with and without them.
//!
//!     cargo run --release --example ray_tracking -- RECORDING [--every N] [--uneven SHARE] [KEY=VALUE ...]
//!
//! `--every` is 10 unless told, 0 for all depth; `--uneven` makes a gradient of so much brightness go round
//! over the images, as light does that comes from where the camera looks. Prints for each weight the frames
//! placed, the error against the recording's ground truth, and what a frame takes.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use recon_node::config::Config;
use recon_node::dataset::{OpenOptions, open, read_trajectory};
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::frame::Frame;
use recon_node::model;
use recon_node::pipeline::Pipeline;
use recon_node::source::SourceItem;
use recon_node::trajectory::Trajectory;

/// Seconds in which the gradient goes round once.
const ROUND_SECS: f64 = 3.0;

struct Options {
    recording: String,
    every: usize,
    uneven: f64,
    settings: Vec<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut recording, mut every, mut uneven, mut settings) = (None, 10, 0.0, Vec::new());
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--every" => every = value()?.parse().context("--every: a whole number")?,
                "--uneven" => uneven = value()?.parse().context("--uneven: a share")?,
                setting if setting.contains('=') => settings.push(word),
                path if recording.is_none() => recording = Some(path.to_owned()),
                other => bail!("unknown option {other}: see the head of examples/ray_tracking.rs"),
            }
        }
        let recording = recording.context("give a recording")?;
        Ok(Self { recording, every, uneven, settings })
    }
}

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let folder = Path::new(&options.recording);
    let mut source = open(folder, &OpenOptions::default())?;
    let mut frames = Vec::new();
    while let Some(item) = source.next_item()? {
        if let SourceItem::Frame(frame) = item {
            frames.push(shown(*frame, frames.len(), &options));
        }
    }
    let sfm = folder.join("groundtruth_sfm.txt");
    let truth = if sfm.is_file() { sfm } else { folder.join("groundtruth.txt") };
    let truth = read_trajectory(&truth)?;
    for max_patches in [0, 300] {
        run(&frames, &truth, max_patches, &options)?;
    }
    Ok(())
}

/// A frame as the options show it.
fn shown(frame: Frame, index: usize, options: &Options) -> Frame {
    let keeps_depth = options.every == 0 || index.is_multiple_of(options.every);
    let angle = std::f64::consts::TAU * frame.stamp.secs() / ROUND_SECS;
    let mut color = (*frame.color).clone();
    let (width, height) = color.dimensions();
    let along = |x: u32, of: u32| 2.0 * f64::from(x) / f64::from(of.max(2) - 1) - 1.0;
    for (x, y, pixel) in color.enumerate_pixels_mut() {
        let place = angle.cos() * along(x, width) + angle.sin() * along(y, height);
        let factor = options.uneven.mul_add(0.5 * place, 1.0);
        pixel.0 = pixel.0.map(|v| (f64::from(v) * factor).round().clamp(0.0, 255.0) as u8);
    }
    Frame { color: Arc::new(color), depth: frame.depth.clone().filter(|_| keeps_depth), ..frame }
}

fn run(frames: &[Frame], truth: &Trajectory, max_patches: usize, options: &Options) -> Result<()> {
    let mut settings = options.settings.clone();
    settings.push(format!("tracking.max_patches={max_patches}"));
    let config = Config::from_sources(None, &settings)?;
    let mut pipeline = Pipeline::new(config.clone(), model::open(&config)?);
    let started = Instant::now();
    let mut placed = 0;
    for frame in frames {
        placed += usize::from(pipeline.process(frame)?.state.has_pose());
    }
    let took_ms = 1e3 * started.elapsed().as_secs_f64() / frames.len().max(1) as f64;
    let found = pipeline.trajectory();
    let metrics = evaluate_trajectory(&found, truth, None, DEFAULT_MAX_DIFFERENCE_SECS)?.metrics;
    println!(
        "max_patches {max_patches}: {placed} of {} placed, {} keyframes, ATE {:.3} cm and {:.3} degrees, \
         over a second {:.3} cm and {:.3} degrees, {took_ms:.1} ms a frame",
        frames.len(),
        pipeline.map().len(),
        100.0 * metrics.ate_se3,
        metrics.are_deg_se3,
        100.0 * metrics.rpe1s_t_se3.unwrap_or(f64::NAN),
        metrics.rpe1s_rot_deg.unwrap_or(f64::NAN),
    );
    Ok(())
}
