//! Aligns a scene that MASt3R-SfM's optimiser was given, and compares with what it made of it:
//! `align_fixture LEVELB.safetensors RESULTS.safetensors`. The last line is one JSON object.

#![allow(clippy::print_stdout, reason = "a program prints")]

mod fixture;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use comfy_table::{Table, presets};
use fixture::{Errors, Fixture, ReferenceRun, errors, poses, read_runs, read_scene, with_options};
use recon_node::alignment::sparse::{StageResult, align_coarse, align_fine};
use serde_json::{Value, json};

/// Aligns a scene in two stages and compares with the reference.
#[derive(Parser)]
struct Arguments {
    /// The scene: what the optimiser receives, with ground truth.
    scene: PathBuf,
    /// What the reference made of it.
    results: PathBuf,
    /// Runs of the reference whose options are tried; all by default.
    #[arg(long)]
    only: Vec<String>,
    /// Repetitions, of which the fastest is told.
    #[arg(long, default_value_t = 1)]
    repeat: usize,
}

/// One stage's figures.
struct Figures {
    loss: f64,
    errors: Errors,
    seconds: f64,
    iterations: usize,
}

impl Figures {
    fn of(result: &StageResult, fixture: &Fixture, seconds: f64) -> Result<Self> {
        let errors = errors(&poses(&result.state), &fixture.world_from_camera)?;
        let evidence = &result.evidence;
        Ok(Self { loss: evidence.loss[1], errors, seconds, iterations: evidence.iterations })
    }

    fn json(&self) -> Value {
        json!({
            "loss": self.loss,
            "ate": self.errors.ate,
            "rot_deg": self.errors.rotation_deg,
            "seconds": self.seconds,
        })
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let fixture = read_scene(&arguments.scene)?;
    let runs = read_runs(&arguments.results)?;
    let wanted =
        |run: &&ReferenceRun| arguments.only.is_empty() || arguments.only.contains(&run.name);
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "options",
        "stage",
        "loss",
        "reference",
        "ratio",
        "ATE",
        "reference",
        "rotation deg",
        "reference",
        "iterations",
        "ms",
    ]);
    let mut last = None;
    for run in runs.iter().filter(wanted) {
        let ours = align(&fixture, &run.name, arguments.repeat)?;
        add_rows(&mut table, run, &ours, &fixture)?;
        if last.is_none() || run.name == "default" {
            last = Some((run, ours));
        }
    }
    println!("{table}");
    let (run, [coarse, fine]) = last.context("no run to compare with: check --only")?;
    let mut reference = reference(run, &fixture)?;
    for long in runs.iter().filter(|run| run.name == "long") {
        reference["long"] = self::reference(long, &fixture)?;
    }
    println!("{}", json!({ "coarse": coarse.json(), "fine": fine.json(), "reference": reference }));
    Ok(())
}

/// Both stages with the options of one run, timed.
fn align(fixture: &Fixture, options: &str, repeat: usize) -> Result<[Figures; 2]> {
    let (scene, config) = with_options(fixture, options);
    let mut best: Option<[Figures; 2]> = None;
    for _ in 0..repeat.max(1) {
        let start = Instant::now();
        let coarse = align_coarse(&scene, &[], &config)?;
        let between = Instant::now();
        let fine = align_fine(&scene, &coarse.state, &[], &config)?;
        let seconds = [between - start, between.elapsed()].map(|time| time.as_secs_f64());
        let figures =
            [Figures::of(&coarse, fixture, seconds[0])?, Figures::of(&fine, fixture, seconds[1])?];
        let total = |f: &[Figures; 2]| f[0].seconds + f[1].seconds;
        if best.as_ref().is_none_or(|best| total(&figures) < total(best)) {
            best = Some(figures);
        }
    }
    best.context("no repetition")
}

fn reference(run: &ReferenceRun, fixture: &Fixture) -> Result<Value> {
    let stage = |stage: usize| -> Result<Value> {
        let errors = errors(&run.world_from_camera[stage], &fixture.world_from_camera)?;
        Ok(json!({
            "loss": run.loss[stage], "ate": errors.ate, "rot_deg": errors.rotation_deg
        }))
    };
    Ok(json!({ "coarse": stage(0)?, "fine": stage(1)? }))
}

fn add_rows(
    table: &mut Table,
    run: &ReferenceRun,
    ours: &[Figures; 2],
    fixture: &Fixture,
) -> Result<()> {
    for (stage, name) in ["coarse", "fine"].into_iter().enumerate() {
        let theirs = errors(&run.world_from_camera[stage], &fixture.world_from_camera)?;
        let our = &ours[stage];
        table.add_row([
            run.name.clone(),
            name.to_owned(),
            format!("{:.6}", our.loss),
            format!("{:.6}", run.loss[stage]),
            format!("{:.5}", our.loss / run.loss[stage]),
            format!("{:.5}", our.errors.ate),
            format!("{:.5}", theirs.ate),
            format!("{:.3}", our.errors.rotation_deg),
            format!("{:.3}", theirs.rotation_deg),
            our.iterations.to_string(),
            format!("{:.1}", our.seconds * 1e3),
        ]);
    }
    Ok(())
}
