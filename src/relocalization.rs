//! Relocalisation: where am I, when nothing is known but the image.
//!
//! Keyframes whose small, blurred picture resembles the frame's (zero-mean normalised correlation,
//! as in PTAM: Klein and Murray, "Improving the agility of keyframe-based SLAM", ECCV 2008) are
//! tried one by one by the tracker itself; the first that it accepts with better evidence than
//! usual wins.

use crate::dense_residual::RelativeView;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::pyramid::Pyramid;
use crate::reference::Reference;
use crate::tracking::{Tracked, Tracker, Verdict};

/// How lost frames are found again.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RelocalizationConfig {
    /// Keyframes that are tried for one frame.
    #[schemars(range(min = 1, max = 1000))]
    pub max_candidates: usize,
    /// Keyframes that resemble the frame less than this (correlation, -1..1) are not tried.
    #[schemars(range(min = -1.0, max = 1.0))]
    pub min_similarity: f64,
    /// Least share of the keyframe's points in view.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_overlap_frac: f64,
    /// Least share of points that look as they should.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_inlier_frac: f64,
    /// Least correlation between what is seen and what should be seen.
    #[schemars(range(min = -1.0, max = 1.0))]
    pub min_correlation: f64,
    /// Least share of points that lie where they should.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_depth_inlier_frac: f64,
}

impl Default for RelocalizationConfig {
    fn default() -> Self {
        Self {
            max_candidates: 5,
            min_similarity: 0.3,
            min_overlap_frac: 0.4,
            min_inlier_frac: 0.75,
            min_correlation: 0.75,
            min_depth_inlier_frac: 0.75,
        }
    }
}

impl RelocalizationConfig {
    /// Returns whether the evidence is good enough for a pose that no motion led up to: where the
    /// reference shows no pattern and has no depth to compare, there is none.
    pub fn accepts(&self, tracked: &Tracked) -> bool {
        let has_evidence = tracked.correlation.is_some() || tracked.depth_inlier_frac.is_some();
        has_evidence
            && tracked.verdict == Verdict::Tracked
            && tracked.overlap_frac >= self.min_overlap_frac
            && tracked.inlier_frac >= self.min_inlier_frac
            && tracked.correlation.is_none_or(|c| c >= self.min_correlation)
            && tracked.depth_inlier_frac.is_none_or(|frac| frac >= self.min_depth_inlier_frac)
    }
}

/// A frame found again.
#[derive(Debug, Clone, Copy)]
pub struct Relocalized {
    /// The keyframe that it was found by.
    pub keyframe: KeyframeId,
    /// Its pose relative to that keyframe.
    pub tracked: Tracked,
}

/// Returns where the frame is relative to one of `keyframes`, or `None` where none of them fits.
pub fn relocalize<'a>(
    tracker: &Tracker,
    frame: &Pyramid,
    keyframes: impl Iterator<Item = &'a Keyframe>,
    reference_of: impl Fn(&Keyframe) -> Reference,
    config: &RelocalizationConfig,
) -> Option<Relocalized> {
    let picture = thumbnail(frame);
    let mut candidates: Vec<(f64, &Keyframe)> = keyframes
        .map(|keyframe| (similarity(&picture, &thumbnail(&keyframe.pyramid)), keyframe))
        .filter(|(similarity, _)| *similarity >= config.min_similarity)
        .collect();
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.id.cmp(&b.1.id)));
    candidates.iter().take(config.max_candidates).find_map(|(_, keyframe)| {
        let start = [RelativeView::identity()];
        let tracked = tracker.search(&reference_of(keyframe), frame, &start);
        config.accepts(&tracked).then_some(Relocalized { keyframe: keyframe.id, tracked })
    })
}

/// The coarsest level's intensities, zero mean and unit length.
fn thumbnail(pyramid: &Pyramid) -> Vec<f64> {
    let mut values: Vec<f64> = pyramid.coarsest().values().iter().map(|&v| f64::from(v)).collect();
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    values.iter_mut().for_each(|v| *v -= mean);
    let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-9);
    values.iter_mut().for_each(|v| *v /= norm);
    values
}

/// Correlation of two thumbnails, 0 where their sizes differ.
fn similarity(a: &[f64], b: &[f64]) -> f64 {
    if a.len() == b.len() { a.iter().zip(b).map(|(a, b)| a * b).sum() } else { 0.0 }
}
