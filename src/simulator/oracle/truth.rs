//! What is really there: depth and pose of a view, from its stamp.

use nalgebra::{Point3, Vector2};

use super::super::config::SimulatorConfig;
use super::super::render::Renderer;
use super::super::world::Route;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::geometry::{Camera, Se3};
use crate::stamp::Stamp;

/// Every so many pixels in both directions are looked up in other views.
const SHARED_STEP: usize = 8;
/// Depths that differ by less than this are of one surface.
const SAME_SURFACE_FRAC: f64 = 0.1;

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

    /// Which share of what this view sees is seen by another one, too.
    fn shared_frac(&self, other: &Self) -> f64 {
        let there = other.world_from_camera.inv_mul(&self.world_from_camera);
        let (width, height) = (self.camera.width() as usize, self.camera.height() as usize);
        let (mut points, mut shared) = (0u32, 0u32);
        for y in (SHARED_STEP / 2..height).step_by(SHARED_STEP) {
            for x in (SHARED_STEP / 2..width).step_by(SHARED_STEP) {
                let pixel = Vector2::new(x as f64, y as f64);
                let seen = self.camera.ray(&pixel).zip(self.depth_m(y * width + x));
                let Some((ray, depth_m)) = seen else { continue };
                points += 1;
                shared += u32::from(other.sees(&(there * Point3::from(ray * depth_m))));
            }
        }
        f64::from(shared) / f64::from(points.max(1))
    }

    /// Whether a point of a surface is in sight.
    fn sees(&self, point_in_camera: &Point3<f64>) -> bool {
        let Some(pixel) = self.camera.project(point_in_camera) else { return false };
        let (x, y) = (pixel.x.round(), pixel.y.round());
        let (width, height) = (f64::from(self.camera.width()), f64::from(self.camera.height()));
        if x < 0.0 || y < 0.0 || x >= width || y >= height {
            return false;
        }
        let index = y as usize * self.camera.width() as usize + x as usize;
        self.depth_m(index).is_some_and(|z| (z / point_in_camera.z - 1.0).abs() < SAME_SURFACE_FRAC)
    }
}

/// Which views have a place among the others: those that share at least `least` of what they see with
/// the first, or with one that has.
pub(super) fn placed(views: &[TrueView], least: f64) -> Vec<bool> {
    let mut is_placed = vec![false; views.len()];
    let mut open: Vec<usize> = if views.is_empty() { Vec::new() } else { vec![0] };
    while let Some(index) = open.pop() {
        is_placed[index] = true;
        let shares = |other: usize| {
            let (a, b) = (&views[index], &views[other]);
            a.shared_frac(b).min(b.shared_frac(a)) >= least
        };
        open.extend((0..views.len()).filter(|&other| !is_placed[other] && shares(other)));
    }
    is_placed
}

fn mean_depth_m(inverse_depth: &[f32]) -> f64 {
    let seen = inverse_depth.iter().filter(|&&w| w > 0.0);
    let (sum, count) =
        seen.fold((0.0, 0usize), |(sum, count), &w| (sum + 1.0 / f64::from(w), count + 1));
    sum / count.max(1) as f64
}
