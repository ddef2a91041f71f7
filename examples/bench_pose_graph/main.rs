//! How long the pose graph takes, on worlds of a seeded generator:
//!
//! - `bench_pose_graph bars`: all worlds at the sizes of the bars, with costs and errors;
//! - `bench_pose_graph generate WORLD OUT.g2o`: a world as a file, for other solvers;
//! - `bench_pose_graph solve IN.g2o OUT.g2o`: the last line is one JSON object.
//!
//! `benches/compare_gtsam.py` runs the last two against GTSAM.

#![allow(clippy::print_stdout, reason = "a program prints")]

mod g2o;
mod worlds;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use nalgebra::Point3;
use recon_node::constraint::Constraint;
use recon_node::geometry::{Se3, align_rigid};
use recon_node::keyframe::KeyframeId;
use recon_node::pose_graph::{Optimized, PoseGraph, PoseGraphConfig};
use serde_json::json;
use worlds::{Recipe, World, make};

/// Solves made-up pose graphs.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Solves all worlds at the sizes of the bars.
    Bars {
        /// Solves each so often, and tells of the fastest.
        #[arg(long, default_value_t = 1)]
        repeat: usize,
        #[command(flatten)]
        noise: Noise,
    },
    /// Writes a world.
    Generate {
        world: World,
        out: PathBuf,
        #[arg(long, default_value_t = 1000)]
        keyframes: usize,
        #[arg(long, default_value_t = 10_000)]
        edges: usize,
        #[command(flatten)]
        noise: Noise,
    },
    /// Solves a file without robust kernels.
    Solve { input: PathBuf, out: PathBuf },
}

#[derive(clap::Args, Clone, Copy)]
struct Noise {
    /// Standard deviation of a measured rotation.
    #[arg(long, default_value_t = 0.01)]
    noise_rad: f64,
    /// Standard deviation of a measured position.
    #[arg(long, default_value_t = 0.05)]
    noise_m: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

type Poses = BTreeMap<KeyframeId, Se3>;

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Bars { repeat, noise } => bars(repeat, noise),
        Command::Generate { world, out, keyframes, edges, noise } => {
            let made = make(&recipe(world, keyframes, edges, noise));
            g2o::write(&out, &made.start, &made.constraints)
        }
        Command::Solve { input, out } => {
            let (poses, edges) = g2o::read(&input)?;
            let (found, seconds) = solve(&poses, &edges);
            g2o::write(&out, &found.poses, &[])?;
            println!(
                "{}",
                json!({
                    "seconds": seconds, "cost": found.cost, "iterations": found.iterations,
                    "converged": found.converged, "keyframes": poses.len(), "edges": edges.len(),
                })
            );
            Ok(())
        }
    }
}

fn recipe(world: World, keyframes: usize, edges: usize, noise: Noise) -> Recipe {
    let Noise { noise_rad, noise_m, seed } = noise;
    Recipe { world, keyframes, edges, noise_rad, noise_m, seed }
}

/// The solution, and the seconds that it took from the constraints on.
fn solve(poses: &Poses, edges: &[Constraint]) -> (Optimized<Se3>, f64) {
    let config =
        PoseGraphConfig { max_iterations: 100, kernel_sigmas: 1e9, ..PoseGraphConfig::default() };
    let begin = Instant::now();
    let mut graph = PoseGraph::default();
    graph.update(edges);
    let found = graph.solve(poses.clone(), &config);
    (found, begin.elapsed().as_secs_f64())
}

fn bars(repeat: usize, noise: Noise) -> Result<()> {
    for (keyframes, edges, limit) in [(1000, 10_000, 1.0), (10_000, 100_000, 15.0)] {
        for world in World::value_variants() {
            let made = make(&recipe(*world, keyframes, edges, noise));
            let runs = (0..repeat.max(1)).map(|_| solve(&made.start, &made.constraints));
            let fastest = runs.min_by(|a, b| a.1.total_cmp(&b.1));
            let (found, seconds) = fastest.context("no run")?;
            println!(
                "{world:?}, {keyframes} keyframes, {} edges: {seconds:.3} s (bar {limit} s), {} iterations, \
                 cost {:.6e} -> {:.6e}, error {:.3} m -> {:.4} m",
                made.constraints.len(),
                found.iterations,
                found.cost[0],
                found.cost[1],
                error_m(&made.start, &made.truth)?,
                error_m(&found.poses, &made.truth)?,
            );
        }
    }
    Ok(())
}

/// Root mean square distance of the positions after the best rigid motion.
fn error_m(poses: &Poses, truth: &Poses) -> Result<f64> {
    let points = |poses: &Poses| -> Vec<Point3<f64>> {
        poses.values().map(|pose| pose.translation.vector.into()).collect()
    };
    Ok(align_rigid(&points(poses), &points(truth), None)?.rmse_m)
}
