//! Cameras without depth: what a model that is wrong in each window makes of them.

use nalgebra::Vector3;
use recon_node::config::Config;
use recon_node::error::Result;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, TrajectoryMetrics, evaluate_trajectory};
use recon_node::frame::Frame;
use recon_node::geometry::{Camera, Se3};
use recon_node::inference::{Prediction, ReconstructionModel, View, ViewGeometry};
use recon_node::observer::MapUpdate;
use recon_node::pipeline::Pipeline;
use recon_node::pointmap::Pointmap;
use recon_node::raster::Raster;
use recon_node::simulator::{Simulator, SimulatorConfig};
use recon_node::source::FrameSource;

use crate::pipeline::{process, small_scene};

/// Frames of the recording, and what is seen of them.
const FRAMES: usize = 90;
const SIZE: (u32, u32) = (320, 240);

pub fn simulator() -> Simulator {
    let config = SimulatorConfig { width: SIZE.0, height: SIZE.1, ..SimulatorConfig::default() };
    Simulator::with_scene(config, small_scene()).unwrap()
}

/// What a [`Wobbly`] model gets wrong.
#[derive(Clone, Copy)]
pub struct Wrong {
    /// Greatest share by which a window is too large or too small.
    scale: f64,
    /// Greatest share by which depth is off somewhere in the image.
    warp: f64,
    /// Each so many windows one is wrong altogether; 0 for none.
    fails_each: usize,
    /// Share by which a focal length is too long where none is given.
    focal: f64,
}

/// Knows the true geometry, and gets each window wrong in its own way.
pub struct Wobbly {
    simulator: Simulator,
    wrong: Wrong,
    windows: usize,
}

impl Wobbly {
    pub fn new(wrong: Wrong) -> Self {
        Self::knowing(simulator(), wrong)
    }

    /// Knows the geometry of another recording.
    pub fn knowing(simulator: Simulator, wrong: Wrong) -> Self {
        Self { simulator, wrong, windows: 0 }
    }

    /// Something between -1 and 1 that looks like chance.
    fn chance(&self, salt: usize) -> f64 {
        (12.9898 * self.windows as f64 + 78.233 * salt as f64).sin()
    }

    fn camera(&self, view: &View<'_>) -> Camera {
        let truth = *self.simulator.camera();
        let factor = 1.0 + self.wrong.focal * self.chance(5);
        let mut k = *truth.intrinsics();
        (k.fx, k.fy) = (factor * k.fx, factor * k.fy);
        view.priors.camera.unwrap_or(Camera::pinhole(k, SIZE.0, SIZE.1).unwrap())
    }

    fn view(&self, index: usize, view: &View<'_>, scale: f64, warp: f64) -> Result<ViewGeometry> {
        let frame: &Frame = view.frame;
        let depth = self.simulator.true_depth(frame.id as usize)?;
        let (width, height) = (depth.width(), depth.height());
        let rays = self.simulator.camera().rays();
        let phases = [1, 2, 3].map(|salt| 3.0 * self.chance(10 * index + salt));
        let point = |i: usize| -> Vector3<f32> {
            let (u, v) = ((i % width) as f64 / width as f64, (i / width) as f64 / height as f64);
            let wave = (4.0 * u + phases[0]).sin() * (3.0 * v + phases[1]).sin();
            let factor = scale * (1.0 + warp * wave);
            rays[i] * depth.values()[i] * factor as f32
        };
        let points = Raster::new(width, height, (0..width * height).map(point).collect())?;
        let sigma = 0.5 * warp.max(0.01);
        let confidence = depth.map(|z| (sigma * scale * f64::from(z)).powi(-2) as f32);
        let truth = &self.simulator.info().reference.as_ref().unwrap().poses()[frame.id as usize];
        let mut pose: Se3 = truth.world_from_camera;
        pose.translation.vector *= scale;
        Ok(ViewGeometry {
            pointmap: Pointmap::new(points, confidence)?,
            camera: self.camera(view),
            window_from_camera: Some(pose),
            descriptor: None,
        })
    }
}

impl ReconstructionModel for Wobbly {
    fn name(&self) -> &'static str {
        "wobbly"
    }

    fn max_views(&self) -> usize {
        6
    }

    fn infer(&mut self, views: &[View<'_>]) -> Result<Prediction> {
        self.windows += 1;
        let each = self.wrong.fails_each;
        let fails = each > 0 && self.windows % each == 1;
        let (scale, warp) = match fails {
            true => (3.0, 0.8),
            false => ((self.wrong.scale * self.chance(7)).exp(), self.wrong.warp),
        };
        let view = |(index, view)| self.view(index, view, scale, warp);
        let mut views: Vec<_> = views.iter().enumerate().map(view).collect::<Result<_>>()?;
        let first = views[0].window_from_camera.unwrap();
        for view in &mut views {
            view.window_from_camera = view.window_from_camera.map(|pose| first.inv_mul(&pose));
        }
        Ok(Prediction { views, is_metric: true })
    }
}

pub fn recording() -> Vec<Frame> {
    let mut simulator = simulator();
    (0..FRAMES).map(|index| simulator.render(index).unwrap()).collect()
}

pub fn without_depth(frames: Vec<Frame>) -> Vec<Frame> {
    frames.into_iter().map(|frame| Frame { depth: None, ..frame }).collect()
}

pub fn judged(pipeline: &Pipeline) -> TrajectoryMetrics {
    judged_by(pipeline, &simulator())
}

pub fn judged_by(pipeline: &Pipeline, simulator: &Simulator) -> TrajectoryMetrics {
    let truth = simulator.info().reference.clone().unwrap();
    let found = pipeline.trajectory();
    evaluate_trajectory(&found, &truth, None, DEFAULT_MAX_DIFFERENCE_SECS).unwrap().metrics
}

/// The longest way between two places of the true trajectory, metres.
pub fn extent_m() -> f64 {
    let truth = simulator().info().reference.clone().unwrap();
    let places: Vec<_> =
        truth.poses()[..FRAMES].iter().map(|p| p.world_from_camera.translation.vector).collect();
    let ways = places.iter().flat_map(|a| places.iter().map(move |b| (a - b).norm()));
    ways.fold(0.0, f64::max)
}

fn run(frames: &[Frame], wrong: Wrong) -> (Pipeline, Vec<MapUpdate>) {
    let mut pipeline = Pipeline::new(Config::default(), Box::new(Wobbly::new(wrong)));
    let updates = process(&mut pipeline, frames);
    (pipeline, updates)
}

pub fn assert_placed(updates: &[MapUpdate]) {
    for update in updates {
        assert!(update.state.has_pose(), "frame {}: {:?}", update.frame_id, update.state);
    }
}

pub const RIGHT: Wrong = Wrong { scale: 0.0, warp: 0.0, fails_each: 0, focal: 0.0 };
pub const SLIGHT: Wrong = Wrong { scale: 0.2, warp: 0.02, fails_each: 0, focal: 0.0 };
pub const USUAL: Wrong = Wrong { scale: 0.2, warp: 0.06, fails_each: 0, focal: 0.05 };

#[test]
fn a_camera_without_depth_is_placed_by_images_alone() {
    let frames = without_depth(recording());
    let (pipeline, updates) = run(&frames, RIGHT);
    assert_placed(&updates);
    let metrics = judged(&pipeline);
    println!("ATE {:.4} m of {:.2} m, scale {:.4}", metrics.ate_sim3, extent_m(), metrics.scale);
    assert!(metrics.ate_sim3 < 0.004 * extent_m(), "{}", metrics.ate_sim3);
    assert!((metrics.scale - 1.0).abs() < 0.01, "{}", metrics.scale);
    assert!(pipeline.map().len() > 2);
}

#[test]
fn windows_of_any_scale_make_one_map() {
    let frames = without_depth(recording());
    let (pipeline, updates) = run(&frames, USUAL);
    assert_placed(&updates);
    let metrics = judged(&pipeline);
    println!("ATE {:.4} m of {:.2} m, scale {:.4}", metrics.ate_sim3, extent_m(), metrics.scale);
    assert!(metrics.ate_sim3 < 0.015 * extent_m(), "{}", metrics.ate_sim3);
    // The first window is a fifth too large; the mean of all is not.
    let scale = updates.last().unwrap().scale;
    assert!((metrics.scale / scale.metres_per_unit).ln().abs() < 3.0 * scale.sigma_log);
    assert!((0.02..0.1).contains(&scale.sigma_log), "{scale:?}");
}

/// A window that overlaps with nothing would bring a scale of its own, up to a fifth off here, and each
/// keyframe after it, too. What the map shows where the view looks tells the map's scale.
#[test]
fn a_window_without_a_view_of_the_map_is_brought_to_its_scale_all_the_same() {
    let frames = without_depth(recording());
    // No other view shares so much with a frame: each keyframe goes through the model alone.
    let config = Config::from_sources(None, &["window.min_overlap_frac=1.0".to_owned()]).unwrap();
    let mut pipeline = Pipeline::new(config, Box::new(Wobbly::new(USUAL)));
    let updates = process(&mut pipeline, &frames);
    assert_placed(&updates);
    let metrics = judged(&pipeline);
    println!("ATE {:.4} m of {:.2} m, {:?}", metrics.ate_sim3, extent_m(), pipeline.inference());
    assert!(pipeline.map().len() > 3);
    assert!(metrics.ate_sim3 < 0.015 * extent_m(), "{}", metrics.ate_sim3);
}

#[test]
fn a_camera_without_calibration_finds_its_focal_length() {
    let plain = |frame: Frame| Frame { camera: None, ..frame };
    let frames: Vec<Frame> = without_depth(recording()).into_iter().map(plain).collect();
    let (pipeline, updates) = run(&frames, USUAL);
    assert_placed(&updates);
    let metrics = judged(&pipeline);
    let truth = simulator().camera().intrinsics().fx;
    let focals: Vec<f64> = pipeline.map().keyframes().map(|k| k.camera.intrinsics().fx).collect();
    println!("ATE {:.4} m of {:.2} m, focal {focals:?} {truth}", metrics.ate_sim3, extent_m());
    assert!(metrics.ate_sim3 < 0.015 * extent_m(), "{}", metrics.ate_sim3);
    assert!(focals.iter().all(|f| (f - focals[0]).abs() < 1e-9));
    // One window alone is off by up to a twentieth.
    assert!((focals[0] / truth - 1.0).abs() < 0.04, "{}", focals[0]);
}

#[test]
fn priors_are_put_to_the_test_and_reported() {
    let (_, updates) = run(&without_depth(recording()), USUAL);
    let report = updates.last().unwrap().inference.unwrap();
    println!("{report:?}");
    assert!(report.merged > 4 && report.refused == 0);
    assert!(report.depth.tests + report.poses.tests > 0);
    let [gain, error] = [report.depth.mean_gain, report.depth.gain_error];
    assert_eq!(error.is_finite(), report.depth.tests > 0);
    assert_eq!(report.depth.is_told, report.depth.tests == 0 || gain >= -error);
}

#[test]
fn windows_that_fail_stay_out_of_the_map() {
    let frames = without_depth(recording());
    // The first one fails, too.
    let (pipeline, updates) = run(&frames, Wrong { fails_each: 5, ..USUAL });
    assert_placed(&updates);
    let metrics = judged(&pipeline);
    println!("ATE {:.4} m of {:.2} m, scale {:.4}", metrics.ate_sim3, extent_m(), metrics.scale);
    assert!(metrics.ate_sim3 < 0.015 * extent_m(), "{}", metrics.ate_sim3);
}

#[test]
fn the_sensors_depth_stands_above_the_models() {
    let frames = recording();
    let (pipeline, updates) = run(&frames, USUAL);
    assert_placed(&updates);
    let metrics = judged(&pipeline);
    println!("ATE {:.4} m, scale {:.4}", metrics.ate_se3, metrics.scale);
    assert!(metrics.ate_se3 < 0.01, "{}", metrics.ate_se3);
}

#[test]
fn two_runs_are_the_same_bit_for_bit() {
    let frames: Vec<Frame> = without_depth(recording()).into_iter().take(40).collect();
    let [first, second] = [(); 2].map(|()| run(&frames, USUAL).1);
    assert_eq!(first, second);
}
