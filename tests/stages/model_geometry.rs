//! The pipeline with geometry from a model: of another size than the frame's, and seeing less of it.

use nalgebra::Vector3;
use recon_node::config::Config;
use recon_node::error::Result;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::frame::Frame;
use recon_node::inference::{Prediction, ReconstructionModel, View, ViewGeometry};
use recon_node::model::SensorDepth;
use recon_node::observer::TrackingState;
use recon_node::pipeline::Pipeline;
use recon_node::pointmap::Pointmap;
use recon_node::raster::Raster;
use recon_node::simulator::{Simulator, SimulatorConfig};
use recon_node::source::FrameSource;

use crate::pipeline::{process, small_scene};

/// Frames of the recording, and what is seen of them.
const FRAMES: usize = 60;
const SIZE: (u32, u32) = (320, 240);

fn simulator(width: u32, height: u32) -> Simulator {
    let config = SimulatorConfig { width, height, ..SimulatorConfig::default() };
    Simulator::with_scene(config, small_scene()).unwrap()
}

/// Knows the true geometry of each frame of the recording, at a size of its own, times a factor.
struct Oracle {
    simulator: Simulator,
    scale: f32,
}

impl Oracle {
    fn of_size(width: u32, height: u32) -> Self {
        Self { simulator: simulator(width, height), scale: 1.0 }
    }

    fn view_geometry(&self, frame: &Frame) -> Result<ViewGeometry> {
        let camera = *self.simulator.camera();
        let depth = self.simulator.true_depth(frame.id as usize)?;
        let noise = Config::default().sensor.noise();
        let (width, height) = (depth.width(), depth.height());
        let point = |(ray, depth_m): (Vector3<f32>, &f32)| ray * (self.scale * depth_m);
        let points = camera.rays().into_iter().zip(depth.values()).map(point).collect();
        let confidence = depth.map(|z| noise.sigma_m(f64::from(z)).powi(-2) as f32);
        let pointmap = Pointmap::new(Raster::new(width, height, points)?, confidence)?;
        Ok(ViewGeometry { pointmap, camera, window_from_camera: None, descriptor: None })
    }
}

impl ReconstructionModel for Oracle {
    fn name(&self) -> &'static str {
        "oracle"
    }

    fn max_views(&self) -> usize {
        1
    }

    fn infer(&mut self, views: &[View<'_>]) -> Result<Prediction> {
        let views = views.iter().map(|view| self.view_geometry(view.frame)).collect::<Result<_>>();
        Ok(Prediction { views: views?, is_metric: true })
    }
}

fn recording() -> Vec<Frame> {
    let mut simulator = simulator(SIZE.0, SIZE.1);
    (0..FRAMES).map(|index| simulator.render(index).unwrap()).collect()
}

/// How far off a run is, metres, and how many keyframes it left; every frame must have a pose.
fn run(frames: &[Frame], model: Box<dyn ReconstructionModel>, config: Config) -> (f64, usize) {
    let mut pipeline = Pipeline::new(config, model);
    for update in process(&mut pipeline, frames) {
        assert_eq!(update.state, TrackingState::Tracking, "frame {}", update.frame_id);
    }
    let truth = simulator(SIZE.0, SIZE.1).info().reference.clone().unwrap();
    let found = pipeline.trajectory();
    let judged = evaluate_trajectory(&found, &truth, None, DEFAULT_MAX_DIFFERENCE_SECS).unwrap();
    (judged.metrics.ate_se3, pipeline.map().len())
}

#[test]
fn true_geometry_of_any_size_tracks_as_well_as_the_sensors() {
    let frames = recording();
    let sensor = SensorDepth::new(Config::default().sensor);
    let (sensor_ate_m, keyframes) = run(&frames, Box::new(sensor), Config::default());
    assert!(keyframes > 2, "the recording is too short to show anything");
    // What the sensor measures must not mend what the model got wrong.
    let mut no_fusion = Config::default();
    no_fusion.map.max_fused_measurements = 1.0;
    // The same, larger and cut off above and below, smaller, and no whole ratio.
    for (width, height) in [SIZE, (518, 378), (224, 168), (350, 266)] {
        let (ate_m, keyframes) =
            run(&frames, Box::new(Oracle::of_size(width, height)), no_fusion.clone());
        println!(
            "{width}x{height}: ATE {ate_m:.5} m, {keyframes} keyframes; sensor {sensor_ate_m:.5} m"
        );
        assert!(
            ate_m < 1.25 * sensor_ate_m + 0.0005,
            "{width}x{height}: {ate_m} m, sensor {sensor_ate_m} m"
        );
        assert!(keyframes > 2);
    }
}

/// The frame is placed by its image alone: what the sensor measures contradicts the model.
#[test]
fn the_map_has_the_scale_of_the_model() {
    let mut frames = recording();
    frames.truncate(20);
    frames.iter_mut().skip(1).for_each(|frame| frame.depth = None);
    let oracle = Oracle { scale: 1.5, ..Oracle::of_size(350, 266) };
    let mut pipeline = Pipeline::new(Config::default(), Box::new(oracle));
    let updates = process(&mut pipeline, &frames);
    assert!(updates.iter().all(|update| update.state.has_pose()));
    let truth = simulator(SIZE.0, SIZE.1).info().reference.clone().unwrap();
    let judged =
        evaluate_trajectory(&pipeline.trajectory(), &truth, None, DEFAULT_MAX_DIFFERENCE_SECS);
    // `scale` brings the estimate to the truth.
    let scale = judged.unwrap().metrics.scale;
    assert!((1.5 * scale - 1.0).abs() < 0.05, "scale {scale}");
}
