//! Watching a session in rerun's viewer.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use recon_node::error::Result;
use recon_node::observer::{MapView, Observation, Observer};
use recon_node::source::SourceInfo;
use recon_node::viz::rerun::{Destination, Viewer};

/// How a session is watched.
#[derive(clap::Args)]
pub struct WatchArgs {
    /// Show the session in rerun's viewer: 'save FILE.rrd', 'serve ADDRESS:PORT' or 'connect URL'
    #[arg(long, num_args = 1..=2, value_names = ["HOW", "WHERE"])]
    rerun: Vec<String>,
}

impl WatchArgs {
    /// Returns where the session is shown, if anywhere.
    pub fn destination(&self) -> Result<Option<Destination>> {
        (!self.rerun.is_empty()).then(|| Destination::parse(&self.rerun)).transpose()
    }
}

/// The viewer of a session that runs, if there is one.
pub struct Watching(Option<Viewer>);

impl Watching {
    /// Opens the viewer, and says where to find it.
    #[expect(clippy::print_stderr, reason = "the user reads the address here")]
    pub fn begin(args: &WatchArgs, info: &SourceInfo) -> Result<Self> {
        let open = |destination| Viewer::open(&destination, info);
        let viewer = args.destination()?.map(open).transpose()?;
        if let Some(address) = viewer.as_ref().and_then(Viewer::address) {
            eprintln!("watch with: rerun --connect {address}");
        }
        Ok(Self(viewer))
    }

    /// Shows what is not shown yet.
    pub fn finish(&mut self, view: &MapView<'_>) -> Result<()> {
        self.0.as_mut().map_or(Ok(()), |viewer| viewer.finish(view))
    }

    /// Goes on serving what was recorded until the session is stopped.
    pub fn linger(&self, stop: &AtomicBool) -> std::io::Result<()> {
        if self.0.as_ref().and_then(Viewer::address).is_none() {
            return Ok(());
        }
        writeln!(std::io::stdout(), "serving goes on until Ctrl-C")?;
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Observer for Watching {
    fn observe(&mut self, seen: &Observation<'_>) -> Result<()> {
        self.0.as_mut().map_or(Ok(()), |viewer| viewer.observe(seen))
    }
}
