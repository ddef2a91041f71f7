//! `recon`: recordings in, trajectories and maps out.

mod demo;
mod eval;
mod eval_table;
mod export;
mod infer;
mod info;
mod map;
mod maps;
mod page;
mod progress;
mod replay;
mod report;
mod session;
mod sfm;
mod watch;
mod weights;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use recon_node::config::Config;
use recon_node::error::Error;

/// Metric poses and a dense map from a moving RGB-D camera.
///
/// Start with 'recon demo', which needs no data. Then 'recon info PATH' says what is in a recording
/// of yours, 'recon replay PATH' maps it, and 'recon eval' compares the result with a reference.
/// 'recon infer IMAGES' reconstructs a few photographs, 'recon sfm IMAGES' many.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Map a built-in synthetic recording, whose truth is known
    Demo(Box<demo::Args>),
    /// Map a recording: a TUM RGB-D folder, an image folder or a rosbag2
    Replay(Box<replay::Args>),
    /// Judge a trajectory, and a map, against a reference
    Eval(eval::Args),
    /// Reconstruct a few images: points, depths, cameras
    Infer(Box<infer::Args>),
    /// Reconstruct unordered photographs with DUSt3R, MASt3R or Fast3R
    Sfm(Box<sfm::Args>),
    /// Say what is in a recording, and what would be used of it
    Info(info::Args),
    /// Look into saved maps, and change them
    Map(map::Args),
    /// Hand a saved map on to other programs: clouds, meshes, COLMAP, trajectories, plans
    Export(export::Args),
    /// Show the results of runs as one HTML page
    Report(page::Args),
    /// Fetch, check, make and shrink the weights of feed-forward models
    Weights(weights::Args),
    /// Print the default configuration as YAML, with a comment for each key
    Config,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Infer(args) => infer::run(&args),
        Command::Sfm(args) => sfm::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Map(args) => map::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Report(args) => page::run(&args),
        Command::Weights(args) => weights::run(&args),
        Command::Config => print_config(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            exit_code(&error)
        }
    }
}

fn print_config() -> anyhow::Result<()> {
    Ok(write!(std::io::stdout(), "{}", Config::default().to_yaml())?)
}

/// The one place where an error of the program is printed.
#[expect(clippy::print_stderr, reason = "the user reads errors here")]
fn report(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// 2 for what the command line or the configuration got wrong, 1 for everything else.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Error>() {
        Some(Error::InvalidConfig { .. } | Error::Usage(_)) => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}
