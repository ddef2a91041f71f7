//! `recon`: recordings in, trajectories and maps out.

mod eval;
mod eval_table;
mod info;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use recon_node::error::Error;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Judge a trajectory, and a map, against a reference
    Eval(eval::Args),
    /// Say what is in a recording, and what would be used of it
    Info(info::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Eval(args) => eval::run(&args),
        Command::Info(args) => info::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            exit_code(&error)
        }
    }
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
