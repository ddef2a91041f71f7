//! What stands for the viewer in programs that are built without it.

use super::Destination;
use crate::error::{Error, Result};
use crate::observer::{MapView, Observation, Observer};
use crate::source::SourceInfo;

/// There is none.
pub enum Viewer {}

impl Viewer {
    /// Returns why there is none.
    ///
    /// # Errors
    /// Always.
    pub fn open(_: &Destination, _: &SourceInfo) -> Result<Self> {
        let problem = "rerun: this program was built without the viewer; build it with \
                       'cargo build --release --features viz' (the node with colcon's \
                       '--cmake-args -DRECON_NODE_VIZ=ON')";
        Err(Error::Usage(problem.to_owned()))
    }

    /// Returns where viewers find it; never called.
    pub fn address(&self) -> Option<&str> {
        match *self {}
    }

    /// Ends the recording; never called.
    ///
    /// # Errors
    /// None.
    pub fn finish(&mut self, _: &MapView<'_>) -> Result<()> {
        match *self {}
    }
}

impl Observer for Viewer {
    fn observe(&mut self, _: &Observation<'_>) -> Result<()> {
        match *self {}
    }
}
