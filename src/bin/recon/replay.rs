//! `recon replay`: maps a recording.

use recon_node::dataset::{self, OpenOptions, Selection};

use crate::info::RecordingArgs;
use crate::session::{self, SessionArgs};

/// What `recon replay` is asked.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    recording: RecordingArgs,
    /// Use only every N-th frame
    #[arg(long, value_name = "N", default_value_t = 1)]
    every: usize,
    /// Leave out the first seconds
    #[arg(long, value_name = "SECS", default_value_t = 0.0)]
    start: f64,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECS")]
    duration: Option<f64>,
    /// Stop after so many frames
    #[arg(long, value_name = "N")]
    max_frames: Option<usize>,
    /// Play the recording so many times in a row, as one long recording
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: usize,
    #[command(flatten)]
    session: SessionArgs,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let selection = Selection {
        every: args.every,
        start_secs: args.start,
        duration_secs: args.duration,
        max_frames: args.max_frames,
    };
    let options = OpenOptions { selection, ..args.recording.options() };
    // What is wrong with the configuration is said before anything is read.
    args.session.config()?;
    let mut source = dataset::open_repeated(&args.recording.path, &options, args.repeat)?;
    session::run(source.as_mut(), &args.session, None)
}
