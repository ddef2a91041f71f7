//! What is really there: depth and pose of a view, from its stamp.

use super::super::config::SimulatorConfig;
use super::super::render::Renderer;
use super::super::world::Route;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::geometry::{Camera, Se3};
use crate::stamp::Stamp;

/// A world, and the way of the camera through it.
pub(super) struct Truth {
    renderer: Renderer,
    route: Route,
    camera: Camera,
}

/// The truth about one view.
pub(super) struct TrueView {
    pub(super) stamp: Stamp,
    /// The camera of the frame's image.
    pub(super) camera: Camera,
    pub(super) world_from_camera: Se3,
    /// One over the depth in 1/m, 0 where nothing is.
    pub(super) inverse_depth: Vec<f32>,
    pub(super) mean_depth_m: f64,
}

impl Truth {
    pub(super) fn new(config: &SimulatorConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            renderer: Renderer::new(config.world.scene(), config.seed),
            route: config.world.route(config.loop_secs),
            camera: config.camera()?,
        })
    }

    /// Returns the truth about a frame of this world, whatever its image has been reduced to.
    pub(super) fn view(&self, frame: &Frame) -> Result<TrueView> {
        let time_secs = frame.stamp.secs();
        let camera = self.camera_of(frame)?;
        let world_from_camera = self.route.pose(time_secs);
        let inverse_depth =
            self.renderer.inverse_depth(&camera, &world_from_camera, Some(time_secs));
        let mean_depth_m = mean_depth_m(&inverse_depth);
        Ok(TrueView { stamp: frame.stamp, camera, world_from_camera, inverse_depth, mean_depth_m })
    }

    /// The true camera for the size of the frame's image.
    fn camera_of(&self, frame: &Frame) -> Result<Camera> {
        let (width, height) = frame.color.dimensions();
        let factor = (self.camera.width() / width.max(1)).max(1);
        let reduced = self.camera.reduced(factor);
        if (reduced.width(), reduced.height()) == (width, height) {
            return Ok(reduced);
        }
        Err(Error::ShapeMismatch {
            what: "image for the oracle, which knows only the simulated recording and its reductions",
            expected: format!("{}x{}", reduced.width(), reduced.height()),
            found: format!("{width}x{height}"),
        })
    }
}

impl TrueView {
    /// Returns the true depth of pixel `index` in metres, where there is anything.
    pub(super) fn depth_m(&self, index: usize) -> Option<f64> {
        let inverse = self.inverse_depth[index];
        (inverse > 0.0).then(|| 1.0 / f64::from(inverse))
    }
}

fn mean_depth_m(inverse_depth: &[f32]) -> f64 {
    let seen = inverse_depth.iter().filter(|&&w| w > 0.0);
    let (sum, count) =
        seen.fold((0.0, 0usize), |(sum, count), &w| (sum + 1.0 / f64::from(w), count + 1));
    sum / count.max(1) as f64
}
