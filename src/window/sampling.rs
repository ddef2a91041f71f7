//! Which keyframes make a window with the newest one.

use nalgebra::Point3;

use super::CovisibilityGraph;
use crate::keyframe::KeyframeId;

/// How windows are put together.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WindowConfig {
    /// Keyframes of a window, the newest included.
    #[schemars(range(min = 2, max = 64))]
    pub max_keyframes: usize,
    /// Of these, the ones that share most with the newest come in any case; the rest is spread out.
    #[schemars(range(min = 1, max = 64))]
    pub closest_keyframes: usize,
    /// Keyframes that share less than this with the newest stay out.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_overlap_frac: f64,
    /// Keyframes of places that look like the newest one's and that nothing ties to it, for the model
    /// to say whether the camera has come back there; at most one for each four views.
    #[schemars(range(min = 0, max = 16))]
    pub max_loop_keyframes: usize,
}

impl Default for WindowConfig {
    fn default() -> Self {
        Self {
            max_keyframes: 8,
            closest_keyframes: 4,
            min_overlap_frac: 0.25,
            max_loop_keyframes: 1,
        }
    }
}

/// Returns the window of `newest`, itself first: the keyframes that share most with it, then those
/// among the covisible that stand furthest from the ones already chosen (farthest-point sampling
/// of `position`, the point a keyframe looks at), so that the window spans what can be seen.
pub fn sample_window(
    graph: &CovisibilityGraph,
    newest: KeyframeId,
    position: impl Fn(KeyframeId) -> Point3<f64>,
    config: &WindowConfig,
) -> Vec<KeyframeId> {
    let mut candidates: Vec<KeyframeId> = graph
        .neighbours(newest)
        .into_iter()
        .filter(|&(_, overlap)| overlap >= config.min_overlap_frac)
        .map(|(id, _)| id)
        .collect();
    let close = candidates.len().min(config.closest_keyframes).min(config.max_keyframes - 1);
    let mut window = vec![newest];
    window.extend(candidates.drain(..close));
    while window.len() < config.max_keyframes && !candidates.is_empty() {
        let furthest = furthest_from(&window, &candidates, &position);
        window.push(candidates.remove(furthest));
    }
    window
}

/// Index of the candidate whose nearest chosen position is furthest away; the first of equals.
fn furthest_from(
    chosen: &[KeyframeId],
    candidates: &[KeyframeId],
    position: &impl Fn(KeyframeId) -> Point3<f64>,
) -> usize {
    let distance = |id: KeyframeId| {
        let here = position(id);
        chosen
            .iter()
            .map(|&other| (position(other) - here).norm_squared())
            .fold(f64::INFINITY, f64::min)
    };
    let mut best = (0, f64::NEG_INFINITY);
    for (index, &id) in candidates.iter().enumerate() {
        let found = distance(id);
        if found > best.1 {
            best = (index, found);
        }
    }
    best.0
}
