//! Where geometry comes from.

use crate::inference::SENSOR_DEPTH;

/// Where geometry comes from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Name of the back end: sensor-depth (the camera's own depth), mapanything, mast3r, dust3r or
    /// fast3r; or auto for mapanything where its weights and the device are there, else
    /// sensor-depth.
    pub name: String,
    /// Weights of a feed-forward model: a folder, or a name from 'recon weights list'; empty for
    /// the one whose licence allows commercial use.
    pub weights: String,
    /// Where a feed-forward model computes: cpu, cuda (the first NVIDIA GPU), cuda:NUMBER, or auto for
    /// a GPU if there is one.
    pub device: String,
    /// How a feed-forward model computes with its matrices; all else is in f32.
    pub dtype: DtypeChoice,
    /// Longest side of the images that a feed-forward model sees, pixels; a multiple of 14, or of 16
    /// for mast3r, dust3r and fast3r. The released models have learned with 518, and those with 512,
    /// for which 518 stands as well; less is faster.
    #[schemars(range(min = 56, max = 2044))]
    pub resolution_px: u32,
    /// Most views that a feed-forward model is given at once.
    #[schemars(range(min = 1, max = 256))]
    pub max_views: usize,
    /// Milliseconds that the answer about a window may take, live: windows are given fewer views while
    /// it takes longer, and mapanything sees smaller images where two views take longer still; 0 for no
    /// such limit. A replay knows no clock, and leaves windows whole.
    #[schemars(range(min = 0.0, max = 600_000.0))]
    pub budget_ms: f64,
    /// Frames of a replay that are tracked on before the answer of a feed-forward model is taken up,
    /// as they are live, where it is taken up when it is there; 0 waits for each answer.
    #[schemars(range(min = 0, max = 1000))]
    pub late_frames: usize,
    /// What a feed-forward model is told of its views beside the images.
    pub priors: PriorsConfig,
    /// Whether relative rotations are given to the model with w >= 0. The sign of a quaternion
    /// means nothing, but a network sees it; with false it is left to chance, as in the reference.
    pub standardize_rotations: bool,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            name: SENSOR_DEPTH.to_owned(),
            weights: String::new(),
            device: "cpu".to_owned(),
            dtype: DtypeChoice::Auto,
            resolution_px: 518,
            max_views: 8,
            budget_ms: 0.0,
            late_frames: 0,
            priors: PriorsConfig::default(),
            standardize_rotations: true,
        }
    }
}

/// What a feed-forward model is told of its views beside the images.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PriorsConfig {
    /// The camera: auto or always where it is known, or never.
    pub intrinsics: PriorUse,
    /// Depth, measured or from the map: auto where the evidence is for it, always, or never.
    pub depth: PriorUse,
    /// The map's poses: auto where the evidence is for them, always, or never.
    pub poses: PriorUse,
    /// With auto a prior is given up once the mean of what it was found to be good for is this many of
    /// its standard errors below zero.
    #[schemars(range(min = 0.0, max = 10.0))]
    pub closing_sigmas: f64,
}

impl Default for PriorsConfig {
    fn default() -> Self {
        let [intrinsics, depth, poses] = [PriorUse::Auto; 3];
        Self { intrinsics, depth, poses, closing_sigmas: 1.0 }
    }
}

/// Whether a prior is used. (Not "on" and "off", which YAML takes for truth values.)
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PriorUse {
    /// Where the evidence is for it.
    #[default]
    Auto,
    /// Wherever it is known.
    Always,
    /// Not at all.
    Never,
}

/// The type of a model's matrices.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum DtypeChoice {
    /// f32 on the CPU, bf16 on a GPU.
    Auto,
    /// Single precision.
    F32,
    /// Half precision with the range of single precision.
    Bf16,
    /// IEEE half precision.
    F16,
}
