//! Watching sessions in rerun's viewer.

use recon_node::error::Result;
use recon_node::frame::Frame;
use recon_node::observer::{MapUpdate, Observation, Observer};
use recon_node::pipeline::PreparedFrame;
use recon_node::ros::config::NodeConfig;
use recon_node::ros::session::Session;
use recon_node::source::SourceInfo;
use recon_node::viz::rerun::{Destination, Viewer};

use crate::node::NAME;

/// Shows each session as a recording of its own.
pub struct Watching {
    destination: Option<Destination>,
    viewer: Option<Viewer>,
    /// The first viewer, which serves, while later sessions are shown at the same address.
    server: Option<Viewer>,
    sessions: usize,
}

impl Watching {
    /// Opens the viewer where one is asked for, and says where to find it.
    pub fn begin(node: &NodeConfig) -> Result<Self> {
        let text = node.rerun.trim();
        let destination = (!text.is_empty()).then(|| Destination::from_text(text)).transpose()?;
        let viewer = destination.as_ref().map(|to| Viewer::open(to, &info(0))).transpose()?;
        if let Some(address) = viewer.as_ref().and_then(Viewer::address) {
            r2r::log_info!(NAME, "watch with: rerun --connect {address}");
        }
        Ok(Self { destination, viewer, server: None, sessions: 0 })
    }

    /// Returns what of a frame is shown, if anything is shown at all.
    pub fn wanted(&self, prepared: &Result<PreparedFrame>) -> Option<Frame> {
        self.viewer.as_ref()?;
        prepared.as_ref().ok().map(|prepared| prepared.frame.clone())
    }

    /// Shows what has become of a frame.
    pub fn show(
        &mut self,
        frame: Option<&Frame>,
        update: &MapUpdate,
        session: &Session,
        latency_secs: f64,
    ) {
        let Some(viewer) = &mut self.viewer else { return };
        let seen = Observation { frame, update, view: session.view(), latency_secs };
        if let Err(problem) = viewer.observe(&seen) {
            self.give_up(&problem.to_string());
        }
    }

    /// Ends a session's recording, and begins the next one's. The session must still have its map.
    pub fn begin_anew(&mut self, session: &Session) {
        self.end(session);
        let Some(destination) = &self.destination else { return };
        self.sessions += 1;
        match Viewer::open(&destination.after(self.sessions), &info(self.sessions)) {
            Ok(viewer) => self.viewer = Some(viewer),
            Err(problem) => self.give_up(&problem.to_string()),
        }
    }

    /// Shows what is not shown yet, and ends the session's recording.
    pub fn end(&mut self, session: &Session) {
        let Some(mut viewer) = self.viewer.take() else { return };
        if let Err(problem) = viewer.finish(&session.view()) {
            r2r::log_warn!(NAME, "{problem}");
        }
        if viewer.address().is_some() {
            self.server = Some(viewer);
        }
    }

    /// The mapping goes on where nobody can be shown it.
    fn give_up(&mut self, problem: &str) {
        r2r::log_warn!(NAME, "no viewer is shown the session any more: {problem}");
        self.viewer = None;
    }
}

fn info(session: usize) -> SourceInfo {
    SourceInfo { name: format!("{NAME}, session {session}"), ..SourceInfo::default() }
}
