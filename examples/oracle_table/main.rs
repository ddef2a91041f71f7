//! How well feed-forward SLAM does with a model that is as wrong as real ones are, over many seeds:
//! a table of accuracy by what the camera gives, with and without the map's priors and their gate.
//!
//! `cargo run --release --example oracle_table -- --seeds 20 [--json]`. Options: `--only MODE`,
//! `--secs S` (length of each recording), `--first SEED`, `--exact` (a model that is always right),
//! `--runs` (a line for each run), and `key=value` settings of the pipeline for all runs.
//! With `--json` the last line is one JSON object: for each input mode the means over all seeds.

#![allow(clippy::print_stdout, reason = "this program's output")]

mod recording;
mod run;
mod table;

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use recording::Recording;
use run::{MODES, Mode, Run, VARIANTS};

/// What is asked for.
struct Options {
    seeds: u64,
    first: u64,
    secs: f64,
    only: Option<String>,
    is_exact: bool,
    shows_runs: bool,
    as_json: bool,
    settings: Vec<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            seeds: 20,
            first: 1,
            secs: 10.0,
            only: None,
            is_exact: false,
            shows_runs: false,
            as_json: false,
            settings: Vec::new(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--seeds" => options.seeds = value()?.parse().context("--seeds: a whole number")?,
                "--first" => options.first = value()?.parse().context("--first: a whole number")?,
                "--secs" => options.secs = value()?.parse().context("--secs: a number")?,
                "--only" => options.only = Some(value()?),
                "--exact" => options.is_exact = true,
                "--runs" => options.shows_runs = true,
                "--json" => options.as_json = true,
                setting if setting.contains('=') => options.settings.push(word),
                other => bail!("unknown option {other}: see the head of examples/oracle_table"),
            }
        }
        Ok(options)
    }

    fn modes(&self) -> Result<Vec<Mode>> {
        let is_wanted = |mode: &&Mode| self.only.as_deref().is_none_or(|name| name == mode.name);
        let modes: Vec<Mode> = MODES.iter().filter(is_wanted).copied().collect();
        if modes.is_empty() {
            let names: Vec<&str> = MODES.iter().map(|mode| mode.name).collect();
            bail!("no such mode: choose among {}", names.join(", "));
        }
        Ok(modes)
    }
}

/// All runs of one seed, mode by mode and variant by variant.
fn runs_of(seed: u64, modes: &[Mode], options: &Options) -> Result<Vec<Run>> {
    let recording = Recording::new(seed, options.secs)?;
    let mut runs = Vec::new();
    for mode in modes {
        for variant in VARIANTS {
            let model = recording.model(options.is_exact)?;
            runs.push(Run::of(&recording, *mode, variant, model, &options.settings)?);
        }
    }
    Ok(runs)
}

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let modes = options.modes()?;
    let seeds: Vec<u64> = (options.first..options.first + options.seeds).collect();
    // One after the other on each thread, since a recording takes some memory; the order of the
    // results is that of the seeds.
    let runs: Vec<Vec<Run>> =
        seeds.par_iter().map(|&seed| runs_of(seed, &modes, &options)).collect::<Result<_>>()?;
    let runs: Vec<Run> = runs.into_iter().flatten().collect();
    if options.shows_runs {
        println!("{}", table::of_runs(&runs));
    }
    println!("{}", table::of_modes(&modes, &runs));
    if options.as_json {
        println!("{}", table::json(&modes, &runs));
    }
    Ok(())
}
