//! A simulated recording, rendered once for all runs over it.

use std::sync::Arc;

use anyhow::{Context, Result};
use nalgebra::{Point3, Vector2, Vector6};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use recon_node::cloud::PointCloud;
use recon_node::frame::{Frame, OdometryPrior};
use recon_node::geometry::{Se3, se3};
use recon_node::simulator::{OracleConfig, OracleModel, Simulator, SimulatorConfig, World};
use recon_node::trajectory::{StampedPose, Trajectory};

/// The worlds that the seeds go through by turns.
const WORLDS: [World; 4] =
    [World::Room, World::Building { side_m: 8.0 }, World::MovingBox, World::Corridor { rooms: 2 }];
/// Small, so that many seeds take minutes.
const SIZE: (u32, u32) = (192, 144);
const RATE_HZ: f64 = 15.0;
/// What wheels or an inertial unit drift by, per metre and per second.
const ODOMETRY_TRANSLATION_SIGMA_FRAC: f64 = 0.01;
const ODOMETRY_ROTATION_SIGMA_RAD: f64 = 0.002;
/// Every so many pixels, and frames, of the true depth make the reference surface.
const SURFACE_STEP_PX: usize = 2;
const SURFACE_STEP_FRAMES: usize = 5;
/// What is nearer than this to something that moves belongs to it.
const MOVING_MARGIN_M: f64 = 0.03;

/// Frames, and the truth about them.
pub struct Recording {
    pub seed: u64,
    pub world: &'static str,
    pub frames: Vec<Frame>,
    pub truth: Trajectory,
    /// What the camera saw that stays where it is.
    pub surface: PointCloud,
    config: SimulatorConfig,
}

impl Recording {
    /// Returns the recording of a seed: world, start, noise and the odometry's drift depend on it.
    pub fn new(seed: u64, secs: f64) -> Result<Self> {
        let world = WORLDS[seed as usize % WORLDS.len()];
        let config = SimulatorConfig {
            width: SIZE.0,
            height: SIZE.1,
            rate_hz: RATE_HZ,
            seed,
            ..SimulatorConfig::round_of(world)
        };
        let mut rng = SmallRng::seed_from_u64(seed);
        let start = (rng.random::<f64>() * config.loop_secs * RATE_HZ) as usize;
        let mut simulator = Simulator::new(config.clone())?;
        let indices = start..start + (secs * RATE_HZ) as usize;
        let mut frames: Vec<Frame> =
            indices.clone().map(|index| simulator.render(index)).collect::<Result<_, _>>()?;
        let poses: Vec<Se3> = indices.clone().map(|index| simulator.true_pose(index)).collect();
        add_odometry(&mut frames, &poses, &mut rng);
        let truth = frames
            .iter()
            .zip(&poses)
            .map(|(frame, pose)| StampedPose { stamp: frame.stamp, world_from_camera: *pose });
        Ok(Self {
            seed,
            world: name(world),
            truth: Trajectory::new(truth.collect()),
            surface: surface(&simulator, indices)?,
            frames,
            config,
        })
    }

    /// Returns the model that knows this recording.
    pub fn model(&self, is_exact: bool) -> Result<OracleModel> {
        let ordinary = if is_exact { OracleConfig::exact() } else { OracleConfig::default() };
        Ok(OracleModel::new(&self.config, OracleConfig { seed: self.seed, ..ordinary })?)
    }

    /// Returns the diagonal of the box around the true trajectory, metres.
    pub fn extent_m(&self) -> f64 {
        let places = || self.truth.poses().iter().map(|p| p.world_from_camera.translation.vector);
        let Some(first) = places().next() else { return 0.0 };
        let low = places().fold(first, |low, p| low.inf(&p));
        let high = places().fold(first, |high, p| high.sup(&p));
        (high - low).norm()
    }
}

fn name(world: World) -> &'static str {
    match world {
        World::Room => "room",
        World::MovingBox => "moving box",
        World::Corridor { .. } => "corridor",
        World::Building { .. } => "building",
    }
}

/// True motions with noise in proportion to what was moved, added up.
fn add_odometry(frames: &mut [Frame], poses: &[Se3], rng: &mut SmallRng) {
    let mut odom_from_camera = Se3::identity();
    let mut last = poses.first().copied().unwrap_or_else(Se3::identity);
    for (frame, pose) in frames.iter_mut().zip(poses) {
        let moved = last.inv_mul(pose);
        let sigma_m = ODOMETRY_TRANSLATION_SIGMA_FRAC * moved.translation.vector.norm();
        let sigma_rad = ODOMETRY_ROTATION_SIGMA_RAD / RATE_HZ.sqrt();
        let noise = Vector6::from_fn(|i, _| {
            // Of variance one, and bounded.
            let even = (rng.random::<f64>() - 0.5) * 12f64.sqrt();
            even * if i < 3 { sigma_rad } else { sigma_m }
        });
        odom_from_camera *= moved * se3::exp(&noise);
        frame.odometry = Some(OdometryPrior { odom_from_camera, covariance: None });
        last = *pose;
    }
}

/// The surface that the frames see, without what moves.
fn surface(simulator: &Simulator, indices: std::ops::Range<usize>) -> Result<PointCloud> {
    let camera = simulator.camera();
    let mut points = Vec::new();
    for index in indices.step_by(SURFACE_STEP_FRAMES) {
        let (depth, pose) = (simulator.true_depth(index)?, simulator.true_pose(index));
        for y in (0..depth.height()).step_by(SURFACE_STEP_PX) {
            for x in (0..depth.width()).step_by(SURFACE_STEP_PX) {
                let ray = camera.ray(&Vector2::new(x as f64, y as f64)).context("a pinhole")?;
                let point = pose * Point3::from(ray * f64::from(depth.at(x, y)));
                let is_fixed = simulator.distance_to_moving_m(&point, index) > MOVING_MARGIN_M;
                if is_fixed && depth.at(x, y) > 0.0 {
                    points.push(point.cast());
                }
            }
        }
    }
    Ok(PointCloud { points, colors: Vec::new() })
}

/// Returns the frame with only what a mode gives.
pub fn stripped(frame: &Frame, has_camera: bool, has_depth: bool, has_odometry: bool) -> Frame {
    Frame {
        camera: frame.camera.filter(|_| has_camera),
        depth: frame.depth.as_ref().filter(|_| has_depth).map(Arc::clone),
        odometry: frame.odometry.filter(|_| has_odometry),
        ..frame.clone()
    }
}
