//! What can be chosen about the pose graph.

use super::descend::Limits;

/// How the pose graph is solved.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PoseGraphConfig {
    /// Iterations at most.
    #[schemars(range(min = 1, max = 1000))]
    pub max_iterations: usize,
    /// Constraints that miss by more than this many standard deviations lose influence; those
    /// between consecutive keyframes keep what they have there.
    #[schemars(range(min = 0.1, max = 1e9))]
    pub kernel_sigmas: f64,
    /// Loops that miss by more than this many standard deviations, when all is said, are dropped.
    #[schemars(range(min = 0.1, max = 1e9))]
    pub loop_sigmas: f64,
    /// Keyframes around a change that are moved first; more follow as long as the outermost move.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub local_keyframes: usize,
}

impl Default for PoseGraphConfig {
    fn default() -> Self {
        Self { max_iterations: 20, kernel_sigmas: 20.0, loop_sigmas: 20.0, local_keyframes: 40 }
    }
}

impl PoseGraphConfig {
    pub(super) fn limits(&self) -> Limits {
        Limits { max_iterations: self.max_iterations, min_gain: 1e-7 }
    }
}
