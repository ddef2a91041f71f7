//! A recording, run through the pipeline and held against its truth.

use recon_node::config::Config;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::features::FeatureExtractor;
use recon_node::frame::Frame;
use recon_node::geometry::{Se3, se3};
use recon_node::inference::Models;
use recon_node::model;
use recon_node::observer::MapUpdate;
use recon_node::pipeline::Pipeline;
use recon_node::simulator::{Simulator, SimulatorConfig};
use recon_node::trajectory::{StampedPose, Trajectory};

/// Returns a pipeline with the defaults, but for some settings (`key=value`).
pub fn pipeline(settings: &[&str]) -> Pipeline {
    let config = config(settings);
    let model = model::open(&config).unwrap();
    Pipeline::new(config, model)
}

fn config(settings: &[&str]) -> Config {
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    Config::from_sources(None, &settings).unwrap()
}

/// What has become of a recording.
pub struct Run {
    pub pipeline: Pipeline,
    pub updates: Vec<MapUpdate>,
    /// Where the camera was in each frame, the first frame's pose being the world.
    pub truth: Vec<StampedPose>,
    first: Option<Se3>,
}

impl Run {
    /// Returns what has become of nothing yet.
    pub fn new(settings: &[&str]) -> Self {
        Self { pipeline: pipeline(settings), updates: Vec::new(), truth: Vec::new(), first: None }
    }

    /// Returns what has become of a whole recording.
    pub fn of(config: &SimulatorConfig, settings: &[&str]) -> Self {
        Self::new(settings).through(config)
    }

    /// Returns what has become of a whole recording whose places other features were to find.
    pub fn by(features: impl FeatureExtractor + 'static, config: &SimulatorConfig) -> Self {
        let defaults = self::config(&[]);
        let geometry = model::open_geometry(&defaults).unwrap();
        let models = Models { geometry, features: Some(Box::new(features)) };
        Self { pipeline: Pipeline::new(defaults, models), ..Self::new(&[]) }.through(config)
    }

    fn through(self, config: &SimulatorConfig) -> Self {
        let mut simulator = Simulator::new(config.clone()).unwrap();
        let mut run = self;
        for index in 0..config.frame_count() {
            let frame = simulator.render(index).unwrap();
            run.process(&frame, &simulator.true_pose(index));
        }
        run
    }

    /// Processes one more frame, which was taken from `world_from_camera`.
    pub fn process(&mut self, frame: &Frame, world_from_camera: &Se3) {
        self.updates.push(self.pipeline.process(frame).unwrap());
        let first = *self.first.get_or_insert(*world_from_camera);
        let pose = first.inv_mul(world_from_camera);
        self.truth.push(StampedPose { stamp: frame.stamp, world_from_camera: pose });
    }

    /// Returns how far the frame's published pose is from the truth, in metres and degrees; `None`
    /// where none was published.
    pub fn error(&self, index: usize) -> Option<(f64, f64)> {
        let found = self.updates[index].world_from_camera?;
        let gap = self.truth[index].world_from_camera.inv_mul(&found);
        Some((gap.translation.vector.norm(), se3::angle_rad(&gap).to_degrees()))
    }

    /// Returns the root mean square error of all poses, by the map as it is now, after rigid
    /// alignment, metres.
    pub fn ate_m(&self) -> f64 {
        let truth = Trajectory::new(self.truth.clone());
        let found = self.pipeline.trajectory();
        let evaluation =
            evaluate_trajectory(&found, &truth, None, DEFAULT_MAX_DIFFERENCE_SECS).unwrap();
        evaluation.metrics.ate_se3
    }

    /// Returns how many frames have a pose.
    pub fn tracked(&self) -> usize {
        self.updates.iter().filter(|update| update.state.has_pose()).count()
    }

    /// Returns how many loops were closed.
    pub fn loops(&self) -> usize {
        self.updates.iter().map(|update| update.loops_closed).sum()
    }
}
