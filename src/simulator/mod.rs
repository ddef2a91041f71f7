//! Synthetic RGB-D recordings, rendered in process: worlds, a camera that goes round them, and the
//! truth about both.
//!
//! A frame is a function of the configuration and its index alone, whatever was rendered before
//! it and on however many threads.

mod building;
mod config;
mod corridor;
mod depth_sensor;
mod lens;
mod light;
mod material;
mod mover;
mod oracle;
mod path;
mod projection;
mod random;
mod render;
mod room;
mod scene;
mod shadow;
mod shape;
mod survey;
mod texture;
mod walk;
mod world;

pub use config::SimulatorConfig;
pub use depth_sensor::{BASELINE_M, DISPARITY_NOISE_PX, RANGE_M, STEPS_PER_PX};
pub use material::{Material, Pattern, Rgb};
pub use oracle::{Failure, OracleConfig, OracleModel, PriorEffects};
pub use room::furnished_room;
pub use scene::Scene;
pub use shape::{Rectangle, Shape};
pub use world::World;

use std::sync::Arc;

use image::RgbImage;
use nalgebra::Point3;

use crate::cloud::PointCloud;
use crate::error::{Error, Result};
use crate::frame::{DepthImage, Frame};
use crate::geometry::{Camera, Se3};
use crate::raster::Raster;
use crate::source::{FrameSource, SourceInfo, SourceItem};
use crate::stamp::Stamp;
use crate::trajectory::{StampedPose, Trajectory};

use depth_sensor::DepthSensor;
use lens::{Exposure, Motion};
use random::derive;
use render::{Picture, Renderer};
use world::Route;

/// Renders a recording of a scene, frame by frame as it is asked for.
pub struct Simulator {
    config: SimulatorConfig,
    camera: Camera,
    stated_camera: Camera,
    path: Route,
    renderer: Renderer,
    info: SourceInfo,
    picture: Picture,
    next: usize,
}

impl Simulator {
    /// Returns a recording of the world that the configuration names.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a configuration that cannot be simulated.
    pub fn new(config: SimulatorConfig) -> Result<Self> {
        config.validate()?;
        let scene = config.world.scene();
        Self::with_scene(config, scene)
    }

    /// Returns a recording of `scene`, along the path of the configured world.
    ///
    /// # Errors
    /// As [`Simulator::new`], and for more surfaces than can be told apart.
    pub fn with_scene(config: SimulatorConfig, scene: Scene) -> Result<Self> {
        config.validate()?;
        if scene.surfaces.len() >= usize::from(u16::MAX) {
            let reason = format!("{} surfaces, at most 65534 can be drawn", scene.surfaces.len());
            return Err(Error::config("simulator.scene", reason));
        }
        let path = config.world.route(config.loop_secs);
        Ok(Self {
            camera: config.camera()?,
            stated_camera: config.stated_camera()?,
            renderer: Renderer::new(scene, config.seed),
            info: info(&config, &path),
            path,
            picture: Picture::default(),
            next: 0,
            config,
        })
    }

    /// Returns the true calibration of all frames; what they say differs from it by the
    /// configured error.
    pub fn camera(&self) -> &Camera {
        &self.camera
    }

    /// Returns the true `world_from_camera` of frame `index`, in the middle of its exposure.
    pub fn true_pose(&self, index: usize) -> Se3 {
        self.path.pose(self.config.time_secs(index))
    }

    /// Returns the exact depth of frame `index` in metres, 0 where nothing is.
    ///
    /// # Errors
    /// None for the sizes that a configuration can have.
    pub fn true_depth(&self, index: usize) -> Result<Raster<f32>> {
        let (pose, time_secs) = (self.true_pose(index), self.config.time_secs(index));
        let inverse_depth = self.renderer.inverse_depth(&self.camera, &pose, Some(time_secs));
        self.raster(inverse_depth.iter().map(|&w| depth_m(w)).collect())
    }

    /// Returns the distance in metres from a point in the world to the nearest surface that stays
    /// where it is, exactly.
    pub fn distance_to_surface_m(&self, point_in_world: &Point3<f64>) -> f64 {
        self.renderer.scene().distance_to_surface_m(point_in_world)
    }

    /// Returns the distance in metres from a point in the world to the nearest surface of what
    /// moves, as it is in frame `index`; infinity where nothing moves.
    pub fn distance_to_moving_m(&self, point_in_world: &Point3<f64>, index: usize) -> f64 {
        let time_secs = self.config.time_secs(index);
        self.renderer.scene().distance_to_moving_m(point_in_world, time_secs)
    }

    /// Returns points about every centimetre on all surfaces that stay where they are and that the
    /// camera sees in one round, in world coordinates and without colour. A point of the true surface is 4 mm from the
    /// nearest of them on average: use [`Simulator::distance_to_surface_m`] for exact distances.
    pub fn surface(&self) -> PointCloud {
        survey::seen_surface(&self.renderer, &self.path, self.config.loop_secs, &self.camera)
    }

    /// Returns frame `index`, which may lie beyond the end of the recording.
    ///
    /// # Errors
    /// None for the sizes that a configuration can have.
    pub fn render(&mut self, index: usize) -> Result<Frame> {
        self.render_view(index, &self.true_pose(index), self.motion(index))
    }

    /// Returns frame `index` as it would be if the camera, carried there by nobody knows what way,
    /// stood still at `world_from_camera`.
    ///
    /// # Errors
    /// None for the sizes that a configuration can have.
    pub fn render_from(&mut self, index: usize, world_from_camera: &Se3) -> Result<Frame> {
        self.render_view(index, world_from_camera, None)
    }

    fn render_view(&mut self, index: usize, pose: &Se3, motion: Option<Motion>) -> Result<Frame> {
        let mut picture = std::mem::take(&mut self.picture);
        self.renderer.draw(&self.camera, pose, self.config.time_secs(index), &mut picture);
        let color = Arc::new(self.color(index, motion, &mut picture)?);
        let depth = Arc::new(DepthImage::new(self.raster(self.depth(index, &picture))?));
        self.picture = picture;
        Frame {
            id: index as u64,
            stamp: Stamp::from_secs(self.config.time_secs(index)),
            color,
            depth: Some(depth),
            camera: Some(self.stated_camera),
            odometry: None,
        }
        .checked()
    }

    fn color(
        &self,
        index: usize,
        motion: Option<Motion>,
        picture: &mut Picture,
    ) -> Result<RgbImage> {
        let (width, height) = (self.camera.width(), self.camera.height());
        let exposure = Exposure {
            config: &self.config,
            motion,
            gain: lens::exposure_gain(&self.config, self.config.time_secs(index)),
            seed: self.noise_seed(index, 1),
        };
        lens::blur(&picture.light, width as usize, &mut picture.blurred);
        let bytes = exposure.develop(&picture.blurred, &picture.inverse_depth);
        let found = bytes.len();
        RgbImage::from_raw(width, height, bytes).ok_or_else(|| Error::ShapeMismatch {
            what: "bytes of a simulated image",
            expected: format!("{width}x{height} pixels"),
            found: format!("{found} bytes"),
        })
    }

    fn depth(&self, index: usize, picture: &Picture) -> Vec<f32> {
        let mut depths = if self.config.depth_noise {
            let seed = self.noise_seed(index, 2);
            DepthSensor::new(&self.camera, &picture.inverse_depth, seed).measure()
        } else {
            picture.inverse_depth.iter().map(|&w| depth_m(w)).collect()
        };
        let factor = (1.0 + self.config.depth_error_frac) as f32;
        depths.iter_mut().for_each(|depth| *depth *= factor);
        depths
    }

    fn motion(&self, index: usize) -> Option<Motion> {
        let shutter_secs = self.config.shutter_secs;
        let end = self.path.pose(self.config.time_secs(index) + shutter_secs / 2.0);
        let end_from_middle = end.inverse() * self.true_pose(index);
        (shutter_secs > 0.0).then(|| Motion::new(&self.camera, &end_from_middle))
    }

    fn noise_seed(&self, index: usize, sensor: u64) -> u64 {
        derive(derive(self.config.seed, sensor), index as u64)
    }

    fn raster(&self, values: Vec<f32>) -> Result<Raster<f32>> {
        Raster::new(self.camera.width() as usize, self.camera.height() as usize, values)
    }
}

impl FrameSource for Simulator {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_item(&mut self) -> Result<Option<SourceItem>> {
        if self.next == self.config.frame_count() {
            return Ok(None);
        }
        let frame = self.render(self.next)?;
        self.next += 1;
        Ok(Some(SourceItem::Frame(Box::new(frame))))
    }
}

/// Returns points about every centimetre on all surfaces of the configured world that the camera
/// sees, as [`Simulator::surface`] does.
///
/// # Errors
/// As [`Simulator::new`].
pub fn surface(config: &SimulatorConfig) -> Result<PointCloud> {
    Ok(Simulator::new(config.clone())?.surface())
}

fn info(config: &SimulatorConfig, path: &Route) -> SourceInfo {
    let truth = (0..config.frame_count()).map(|index| {
        let time_secs = config.time_secs(index);
        StampedPose { stamp: Stamp::from_secs(time_secs), world_from_camera: path.pose(time_secs) }
    });
    SourceInfo {
        name: config.world.recording().to_owned(),
        frame_count: Some(config.frame_count()),
        has_depth: true,
        reference: Some(Trajectory::new(truth.collect())),
    }
}

fn depth_m(inverse_depth: f32) -> f32 {
    if inverse_depth > 0.0 { 1.0 / inverse_depth } else { 0.0 }
}
