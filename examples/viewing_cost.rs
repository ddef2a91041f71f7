//! What watching a run costs: a recording is replayed with the viewer and without, by turns.
//!
//!     cargo run --release --features viz --example viewing_cost -- RECORDING [ROUNDS]
//!
//! Prints what a frame takes with and without the viewer, which writes into a file, by the clock and of
//! the processor's time (the same on a busy machine; only where there is /proc), and how much more the
//! median run takes with it; 5 times each unless told.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result};
use recon_node::config::Config;
use recon_node::dataset::{self, OpenOptions};
use recon_node::model;
use recon_node::observer::Observer;
use recon_node::pipeline::Pipeline;
use recon_node::runtime::replay;
use recon_node::viz::rerun::{Destination, Viewer};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let recording = arguments.next().context("give a recording")?;
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let scratch = std::env::temp_dir().join(format!("viewing_cost_{}.rrd", std::process::id()));
    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    // Once for the caches.
    run(&recording, None)?;
    for round in 0..rounds {
        // Whoever comes first changes, so that a machine that warms up favours neither.
        for is_watched in if round % 2 == 0 { [false, true] } else { [true, false] } {
            let cost = run(&recording, is_watched.then_some(scratch.as_path()))?;
            if is_watched { &mut watched } else { &mut alone }.push(cost);
        }
    }
    let bytes = std::fs::metadata(&scratch)?.len();
    std::fs::remove_file(&scratch)?;
    for (what, part) in [("by the clock", 0), ("of the processor", 1)] {
        let [alone, watched] =
            [&alone, &watched].map(|runs| median(runs.iter().map(|cost| cost[part]).collect()));
        println!(
            "{what}: alone {:.2} ms a frame, watched {:.2} ms: {:+.1} %",
            1e3 * alone,
            1e3 * watched,
            100.0 * (watched / alone - 1.0),
        );
    }
    println!("{:.1} MB written", bytes as f64 / 1e6);
    Ok(())
}

/// Seconds for each frame until all of it is written, by the clock and of the processor.
fn run(recording: &str, watched: Option<&Path>) -> Result<[f64; 2]> {
    let config = Config::default();
    let mut pipeline = Pipeline::new(config.clone(), model::open(&config)?);
    let mut source = dataset::open_repeated(Path::new(recording), &OpenOptions::default(), 1)?;
    let open = |path: &Path| Viewer::open(&Destination::Save(path.to_owned()), source.info());
    let mut viewer = watched.map(open).transpose()?;
    let mut observers: Vec<&mut dyn Observer> = Vec::new();
    observers.extend(viewer.as_mut().map(|viewer| viewer as &mut dyn Observer));
    let (begun, spent_secs) = (Instant::now(), processor_secs());
    let report = replay(source.as_mut(), &mut pipeline, &mut observers, &AtomicBool::new(false))?;
    if let Some(viewer) = &mut viewer {
        viewer.finish(&pipeline.view())?;
    }
    let secs = [begun.elapsed().as_secs_f64(), processor_secs() - spent_secs];
    let cost = secs.map(|secs| secs / report.frames as f64);
    println!(
        "{:8} {:.2} ms a frame, {:.2} ms of the processor, {} frames, {} tracked",
        if watched.is_some() { "watched" } else { "alone" },
        1e3 * cost[0],
        1e3 * cost[1],
        report.frames,
        report.tracked,
    );
    Ok(cost)
}

/// The processor's time that this program has used, user and system; 0 where it is not known.
fn processor_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program, which may hold blanks, ends with the last parenthesis.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / 100.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
