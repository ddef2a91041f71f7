//! One run of the pipeline over a recording, and how good it was.

use anyhow::Result;
use recon_node::config::Config;
use recon_node::evaluation::{
    DEFAULT_MAX_DIFFERENCE_SECS, MapOptions, evaluate_map, evaluate_trajectory,
};
use recon_node::inference::{Models, ReconstructionModel};
use recon_node::pipeline::Pipeline;
use recon_node::runtime::{Answers, Pace};
use recon_node::simulator::OracleModel;

use super::recording::{Recording, stripped};

/// A run with fewer frames placed is lost.
const MIN_TRACKED_FRAC: f64 = 0.9;

/// What the camera gives beside images.
#[derive(Clone, Copy)]
pub struct Mode {
    pub name: &'static str,
    has_camera: bool,
    has_depth: bool,
    has_odometry: bool,
}

/// The input modes.
pub const MODES: [Mode; 6] = [
    Mode { name: "mono", has_camera: false, has_depth: false, has_odometry: false },
    Mode { name: "mono_odometry", has_camera: false, has_depth: false, has_odometry: true },
    Mode { name: "mono_k", has_camera: true, has_depth: false, has_odometry: false },
    Mode { name: "mono_k_odometry", has_camera: true, has_depth: false, has_odometry: true },
    Mode { name: "rgbd", has_camera: true, has_depth: true, has_odometry: false },
    Mode { name: "rgbd_odometry", has_camera: true, has_depth: true, has_odometry: true },
];

/// What the pipeline does with priors from its own map.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// As it is by default: priors where the evidence is for them.
    Full,
    /// Without priors from the map: what the camera itself measures is still given.
    NoFeedback,
    /// With priors whatever they do.
    NoGate,
}

/// All variants.
pub const VARIANTS: [Variant; 3] = [Variant::Full, Variant::NoFeedback, Variant::NoGate];

impl Variant {
    /// Returns its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoFeedback => "no feedback",
            Self::NoGate => "no gate",
        }
    }

    /// Where depth is measured, it is not the map's.
    fn settings(self, mode: Mode) -> &'static [&'static str] {
        match self {
            Self::Full => &[],
            Self::NoFeedback if mode.has_depth => &["model.priors.poses=never"],
            Self::NoFeedback => &["model.priors.poses=never", "model.priors.depth=never"],
            Self::NoGate => &["model.priors.poses=always", "model.priors.depth=always"],
        }
    }
}

/// How good a run was.
pub struct Run {
    pub seed: u64,
    pub world: &'static str,
    pub mode: &'static str,
    pub variant: Variant,
    pub tracked_frac: f64,
    pub keyframes: usize,
    /// Nothing for a run that was lost, with the reason.
    pub figures: Result<Figures, String>,
}

/// The figures of a run that was not lost.
#[derive(Clone, Copy)]
pub struct Figures {
    pub ate_sim3_over_extent: f64,
    pub ate_se3_m: f64,
    /// How far the best scale of the trajectory is from one.
    pub scale_error: f64,
    pub chamfer_m: f64,
}

impl Run {
    /// Returns how the pipeline does with what the mode gives.
    pub fn of(
        recording: &Recording,
        mode: Mode,
        variant: Variant,
        model: OracleModel,
        settings: &[String],
    ) -> Result<Self> {
        let mut run = Self {
            seed: recording.seed,
            world: recording.world,
            mode: mode.name,
            variant,
            tracked_frac: 0.0,
            keyframes: 0,
            figures: Err(String::new()),
        };
        let own = variant.settings(mode).iter().map(|setting| (*setting).to_owned());
        let all: Vec<String> = settings.iter().cloned().chain(own).collect();
        run.figures = match Config::from_sources(None, &all) {
            Ok(config) => run.figures(recording, mode, config, model),
            Err(error) => Err(error.to_string()),
        };
        Ok(run)
    }

    fn figures(
        &mut self,
        recording: &Recording,
        mode: Mode,
        config: Config,
        model: OracleModel,
    ) -> Result<Figures, String> {
        let pace = Pace::AfterFrames(config.model.late_frames);
        let mut pipeline = Pipeline::new(config, with_features(model)?);
        let mut answers = Answers::new(pace, &mut pipeline);
        let mut last = String::new();
        for frame in &recording.frames {
            let frame = stripped(frame, mode.has_camera, mode.has_depth, mode.has_odometry);
            answers.before_frame(&mut pipeline).map_err(|error| error.to_string())?;
            let update = pipeline.process(&frame).map_err(|error| error.to_string())?;
            answers.after_frame(&mut pipeline);
            if !update.state.has_pose() {
                last = format!("{:?}", update.state);
            }
        }
        answers.finish(&mut pipeline).map_err(|error| error.to_string())?;
        let found = pipeline.trajectory();
        self.keyframes = pipeline.map().len();
        self.tracked_frac = found.poses().len() as f64 / recording.frames.len() as f64;
        if self.tracked_frac < MIN_TRACKED_FRAC {
            return Err(format!("{:.0} % tracked: {last}", 100.0 * self.tracked_frac));
        }
        evaluate(recording, mode, &pipeline).map_err(|error| error.to_string())
    }
}

fn with_features(model: OracleModel) -> Result<Models, String> {
    let features = recon_node::model::open_features(&Config::default());
    let geometry: Box<dyn ReconstructionModel> = Box::new(model);
    Ok(Models { geometry, features: features.map_err(|error| error.to_string())? })
}

fn evaluate(recording: &Recording, mode: Mode, pipeline: &Pipeline) -> Result<Figures> {
    let found = pipeline.trajectory();
    let evaluation =
        evaluate_trajectory(&found, &recording.truth, None, DEFAULT_MAX_DIFFERENCE_SECS)?;
    // A map without metres is compared as the trajectory is: after the best scale.
    let truth_from_map = match mode.has_depth || mode.has_odometry {
        true => evaluation.reference_from_estimate_rigid,
        false => evaluation.reference_from_estimate_scaled,
    };
    let cloud = pipeline.map().cloud(&pipeline.config().map);
    let map = evaluate_map(&cloud, &recording.surface, &truth_from_map, &MapOptions::default())?;
    let metrics = evaluation.metrics;
    Ok(Figures {
        ate_sim3_over_extent: metrics.ate_sim3 / recording.extent_m(),
        ate_se3_m: metrics.ate_se3,
        scale_error: (metrics.scale - 1.0).abs(),
        chamfer_m: map.aligned.distances.map_or(f64::NAN, |d| 0.01 * d.chamfer_cm),
    })
}
