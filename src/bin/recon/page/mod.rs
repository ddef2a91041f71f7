//! `recon report`: the results of runs as one HTML page that needs nothing else.

mod chart;
mod figures;
mod html;
mod run;

use std::io::Write;
use std::path::PathBuf;

use recon_node::error::{Error, Result};
use recon_node::export::write_atomically;

use run::Run;

/// What `recon report` is asked.
#[derive(clap::Args)]
pub struct Args {
    /// Folders that 'recon replay' or 'recon demo' has left; several are shown side by side
    #[arg(required = true, value_name = "RESULTS")]
    results: Vec<PathBuf>,
    /// The page to write
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let runs = args.results.iter().map(|folder| Run::read(folder)).collect::<Result<Vec<_>>>()?;
    if args.out.is_dir() {
        let problem = format!("{}: is a folder; name a file with --out", args.out.display());
        return Err(Error::Usage(problem).into());
    }
    let page = html::page(&runs);
    write_atomically(&args.out, |file| file.write_all(page.as_bytes()))?;
    Ok(writeln!(std::io::stdout(), "report in {}", args.out.display())?)
}
