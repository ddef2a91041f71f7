//! A room that can be seen from anywhere: walls, a box and a ball, painted by a function of space.
//! A ray meets them in closed form, so every view is exact and costs a few milliseconds.

use std::sync::Arc;

use image::{Rgb, RgbImage};
use nalgebra::{Point3, Vector2, Vector3, Vector6};
use recon_node::config::Config;
use recon_node::frame::{DepthImage, Frame};
use recon_node::geometry::{Camera, Intrinsics, Se3, se3};
use recon_node::inference::{ReconstructionModel, View};
use recon_node::keyframe::{Keyframe, KeyframeId};
use recon_node::model::SensorDepth;
use recon_node::pipeline::{PreparedFrame, prepare};
use recon_node::raster::Raster;
use recon_node::stamp::Stamp;
use recon_node::tracking::Tracker;

/// Size of most images here: small, yet large enough for four pyramid levels.
pub const SIZE: (u32, u32) = (240, 180);
/// Frames per second of the sequences here.
pub const RATE_HZ: f64 = 30.0;

/// Returns a pinhole camera of 62 degrees.
pub fn camera_of((width, height): (u32, u32)) -> Camera {
    let focal = 525.0 * f64::from(width) / 640.0;
    let (cx, cy) = (f64::from(width - 1) / 2.0, f64::from(height - 1) / 2.0);
    Camera::pinhole(Intrinsics { fx: focal, fy: focal, cx, cy }, width, height).unwrap()
}

/// Returns the transform at a turn (degrees about x, y, z) and a shift (metres).
pub fn pose(turn_deg: [f64; 3], shift_m: [f64; 3]) -> Se3 {
    let turn = Vector3::from(turn_deg).map(f64::to_radians);
    let rotation = se3::exp(&Vector6::new(turn.x, turn.y, turn.z, 0.0, 0.0, 0.0)).rotation;
    Se3::from_parts(Vector3::from(shift_m).into(), rotation)
}

/// How far apart two poses are.
#[derive(Debug, Clone, Copy)]
pub struct PoseError {
    pub metres: f64,
    pub degrees: f64,
}

impl PoseError {
    /// Returns whether the poses are within both limits.
    pub fn is_within(&self, metres: f64, degrees: f64) -> bool {
        self.metres <= metres && self.degrees <= degrees
    }
}

/// Returns how far `found` is from `truth`.
pub fn pose_error(found: &Se3, truth: &Se3) -> PoseError {
    let gap = found.inv_mul(truth);
    PoseError { metres: gap.translation.vector.norm(), degrees: se3::angle_rad(&gap).to_degrees() }
}

/// Returns a frame of the given grey values and depths (metres).
pub fn frame_of(
    size: (u32, u32),
    grey: impl Fn(u32, u32) -> u8,
    depth_m: impl Fn(usize, usize) -> f32,
) -> Frame {
    let color = RgbImage::from_fn(size.0, size.1, |x, y| Rgb([grey(x, y); 3]));
    let depth = Raster::from_fn(size.0 as usize, size.1 as usize, depth_m);
    Frame {
        id: 0,
        stamp: Stamp::from_nanos(0),
        color: Arc::new(color),
        depth: Some(Arc::new(DepthImage::new(depth))),
        camera: Some(camera_of(size)),
        odometry: None,
    }
}

/// Returns the frame with other grey values.
pub fn repainted(frame: &Frame, change: impl Fn(u8) -> u8) -> Frame {
    let mut color = RgbImage::clone(&frame.color);
    color.iter_mut().for_each(|value| *value = change(*value));
    Frame { color: Arc::new(color), ..frame.clone() }
}

/// Returns what the pipeline makes of a frame before it looks at it.
pub fn prepared(frame: &Frame) -> PreparedFrame {
    prepare(frame, &Config::default()).unwrap()
}

/// Returns a tracker as the pipeline has it.
pub fn tracker() -> Tracker {
    let config = Config::default();
    Tracker::new(config.tracking.clone(), config.sensor.noise())
}

/// Returns the keyframe that a frame becomes at a pose.
pub fn keyframe_of(id: u32, frame: &Frame, world_from_camera: Se3) -> Keyframe {
    let PreparedFrame { frame, camera, pyramid, .. } = prepared(frame);
    let mut model = SensorDepth::new(Config::default().sensor);
    let view = View::measured(&frame);
    let pointmap = model.infer(&[view]).unwrap().views.remove(0).pointmap;
    Keyframe { id: KeyframeId(id), frame, camera, pyramid, pointmap, world_from_camera }
}

/// Returns what `work` returns on so many threads.
pub fn on_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

/// The room; another seed is another paint on the same walls.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub seed: u32,
    pub size: (u32, u32),
}

/// Half the room's extent, metres.
const HALF_ROOM_M: [f64; 3] = [2.5, 1.4, 2.2];
/// Corners of the box, metres.
const BOX_M: [[f64; 3]; 2] = [[0.5, 0.5, 0.9], [1.2, 1.4, 1.5]];
/// Centre and radius of the ball, metres.
const BALL_M: ([f64; 3], f64) = ([-0.7, 0.2, 1.4], 0.35);
/// Sizes of the spots of paint (metres), and how strong they are (grey values).
const PAINT: [(f64, f64); 3] = [(1.1, 170.0), (0.35, 110.0), (0.13, 100.0)];

impl Room {
    /// Returns the room that most tests look at.
    pub fn new() -> Self {
        Self { seed: 1, size: SIZE }
    }

    /// Returns what a camera at `world_from_camera` sees.
    pub fn frame(&self, world_from_camera: &Se3) -> Frame {
        let camera = camera_of(self.size);
        let eye = Point3::from(world_from_camera.translation.vector);
        let width = self.size.0 as usize;
        let seen = |x: usize, y: usize| {
            let ray = camera.ray(&Vector2::new(x as f64, y as f64)).unwrap();
            let direction = world_from_camera.rotation * ray;
            let depth_m = nearest_hit(&eye, &direction);
            (self.paint(&(eye + direction * depth_m)), depth_m as f32)
        };
        let seen = Raster::from_fn(width, self.size.1 as usize, seen);
        let grey = |x: u32, y: u32| seen.at(x as usize, y as usize).0;
        frame_of(self.size, grey, |x, y| seen.at(x, y).1)
    }

    /// Returns frame number `index` of a sequence, seen from `world_from_camera`.
    pub fn numbered(&self, index: usize, world_from_camera: &Se3) -> Frame {
        let stamp = Stamp::from_secs(index as f64 / RATE_HZ);
        Frame { id: index as u64, stamp, ..self.frame(world_from_camera) }
    }

    /// Returns the keyframe at a pose.
    pub fn keyframe(&self, id: u32, world_from_camera: &Se3) -> Keyframe {
        keyframe_of(id, &self.frame(world_from_camera), *world_from_camera)
    }

    fn paint(&self, point: &Point3<f64>) -> u8 {
        let spots = PAINT.iter().zip(0..).map(|(&(size_m, strength), octave)| {
            strength * (smooth_noise(&(point / size_m), self.seed + 100 * octave) - 0.5)
        });
        (128.0 + spots.sum::<f64>()).round() as u8
    }
}

/// Distance, in lengths of `direction`, to what a ray meets first.
fn nearest_hit(eye: &Point3<f64>, direction: &Vector3<f64>) -> f64 {
    let half = Vector3::from(HALF_ROOM_M);
    let wall = slab(eye, direction, &-half, &half).1;
    let (near, far) = slab(eye, direction, &BOX_M[0].into(), &BOX_M[1].into());
    let cuboid = if near < far && near > 0.0 { near } else { f64::INFINITY };
    wall.min(cuboid).min(ball(eye, direction))
}

/// Where a ray enters and leaves a box.
fn slab(
    eye: &Point3<f64>,
    direction: &Vector3<f64>,
    low: &Vector3<f64>,
    high: &Vector3<f64>,
) -> (f64, f64) {
    let (mut enter, mut leave) = (f64::NEG_INFINITY, f64::INFINITY);
    for axis in 0..3 {
        let (a, b) =
            ((low[axis] - eye[axis]) / direction[axis], (high[axis] - eye[axis]) / direction[axis]);
        (enter, leave) = (enter.max(a.min(b)), leave.min(a.max(b)));
    }
    (enter, leave)
}

fn ball(eye: &Point3<f64>, direction: &Vector3<f64>) -> f64 {
    let to_eye = eye.coords - Vector3::from(BALL_M.0);
    let (a, b) = (direction.norm_squared(), to_eye.dot(direction));
    let root = b * b - a * (to_eye.norm_squared() - BALL_M.1 * BALL_M.1);
    let near = (-b - root.max(0.0).sqrt()) / a;
    if root > 0.0 && near > 0.0 { near } else { f64::INFINITY }
}

/// Random values 0..1 at whole coordinates, smooth between them.
fn smooth_noise(point: &Point3<f64>, seed: u32) -> f64 {
    let cell = point.map(f64::floor);
    let within = (point - cell).map(|t| t * t * (3.0 - 2.0 * t));
    let corner = |i: usize| {
        let at = [0, 1, 2].map(|axis| cell[axis] as i32 + ((i >> axis) & 1) as i32);
        let share =
            |axis: usize| if (i >> axis) & 1 == 1 { within[axis] } else { 1.0 - within[axis] };
        share(0) * share(1) * share(2) * random(at, seed)
    };
    (0..8).map(corner).sum()
}

/// A value of 0..1 that looks like chance, always the same for the same place.
fn random(at: [i32; 3], seed: u32) -> f64 {
    let mix = |hash: u32, value: i32| {
        let mixed = (hash ^ value as u32).wrapping_mul(0x9E37_79B1);
        (mixed ^ (mixed >> 15)).wrapping_mul(0x85EB_CA77)
    };
    let hash = at.iter().fold(seed.wrapping_mul(0xC2B2_AE3D), |hash, &value| mix(hash, value));
    f64::from(hash ^ (hash >> 13)) / f64::from(u32::MAX)
}
