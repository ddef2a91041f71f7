//! Pairs of keyframes: one looks up its points in the other.

use nalgebra::{Matrix6, Vector6};
use rayon::prelude::*;

use super::AlignmentConfig;
use crate::constraint::Constraint;
use crate::dense_residual::{
    Comparison, Exposure, NormalEquations, OffsetEquations, ReferencePoint, RelativeView,
    ResidualScale, ResidualSettings,
};
use crate::geometry::Se3;
use crate::geometry::se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::pyramid::Level;
use crate::reference::{measured, select_points};
use crate::sensor::DepthNoise;

/// A keyframe as alignment needs it: sampled points, and the image that others are looked up in.
pub struct AlignmentView<'a> {
    id: KeyframeId,
    points: Vec<ReferencePoint>,
    /// Few of them, by which it shows whether another view shares anything.
    sparse_points: Vec<ReferencePoint>,
    level: &'a Level,
}

/// A view with fewer points than this times [`SPARSE_STEP`] shares nothing worth aligning.
const MIN_SPARSE_POINTS: usize = 10;
/// One in so many points is among the sparse ones.
const SPARSE_STEP: usize = 7;

impl<'a> AlignmentView<'a> {
    /// Returns the view of a keyframe.
    pub fn new(keyframe: &'a Keyframe, config: &AlignmentConfig) -> Self {
        let index = config.pyramid_level.min(keyframe.pyramid.levels().len() - 1);
        let level = &keyframe.pyramid.levels()[index];
        let mut pointmap = measured(&keyframe.pyramid, &keyframe.pointmap);
        for _ in 0..index {
            pointmap = pointmap.halved();
        }
        let points = select_points(level, &pointmap, config.max_points);
        let sparse_points = points.iter().step_by(SPARSE_STEP).copied().collect();
        Self { id: keyframe.id, points, sparse_points, level }
    }
}

/// `source`'s points looked up in `target`; indices into the window.
pub(super) struct Pair {
    source: usize,
    target: usize,
    settings: ResidualSettings,
    exposure: Exposure,
    /// Spread of its residuals, from the first round.
    scale: Option<ResidualScale>,
}

/// A pair's residuals at the current poses.
pub(super) struct Factor {
    pub source: usize,
    pub target: usize,
    pub target_from_source: Se3,
    pub hessian: Matrix6<f64>,
    pub gradient: Vector6<f64>,
    pub normal: NormalEquations,
}

/// Returns all ordered pairs whose points fall into each other's image often enough.
pub(super) fn pairs(
    views: &[AlignmentView<'_>],
    poses: &[Se3],
    noise: DepthNoise,
    config: &AlignmentConfig,
) -> Vec<Pair> {
    let all = (0..views.len()).flat_map(|s| (0..views.len()).map(move |t| [s, t]));
    let apart: Vec<[usize; 2]> = all.filter(|[source, target]| source != target).collect();
    sharing(&apart, views, poses, noise, config)
}

/// Returns those of the pairs (source, target) whose points fall into the target's image often
/// enough.
pub(super) fn sharing(
    candidates: &[[usize; 2]],
    views: &[AlignmentView<'_>],
    poses: &[Se3],
    noise: DepthNoise,
    config: &AlignmentConfig,
) -> Vec<Pair> {
    let settings = ResidualSettings {
        depth_noise: noise,
        depth_gate_frac: config.depth_gate_frac,
        intensity_inlier: 25.0,
        depth_inlier_frac: 0.02,
        geometric_weight: config.geometric_weight,
    };
    let pair = |&[source, target]: &[usize; 2]| Pair {
        source,
        target,
        settings,
        exposure: Exposure::default(),
        scale: None,
    };
    candidates
        .par_iter()
        .map(pair)
        .filter(|pair| pair.shared_frac(views, poses) >= config.min_pair_overlap_frac)
        .collect()
}

/// Returns the residuals of all pairs at `poses`; each pair keeps its exposure for the next round.
pub(super) fn linearize_all(
    pairs: &mut [Pair],
    views: &[AlignmentView<'_>],
    poses: &[Se3],
) -> Vec<Factor> {
    pairs.par_iter_mut().map(|pair| pair.linearize(views, poses)).collect()
}

impl Pair {
    /// The source and the target.
    pub(super) fn ends(&self) -> [usize; 2] {
        [self.source, self.target]
    }

    fn comparison<'a>(&self, views: &'a [AlignmentView<'a>]) -> Comparison<'a> {
        Comparison {
            points: &views[self.source].points,
            target: views[self.target].level,
            settings: self.settings,
        }
    }

    /// Share of the source's points that the target sees, and that lie where it sees them.
    fn shared_frac(&self, views: &[AlignmentView<'_>], poses: &[Se3]) -> f64 {
        let points = &views[self.source].sparse_points;
        let loose = ResidualScale { intensity: 20.0, depth: 3.0 };
        let comparison = Comparison { points, ..self.comparison(views) };
        let normal = comparison.linearize(&self.view(poses), &loose);
        let shared = normal.visible.saturating_sub(normal.contradicting);
        shared as f64 / points.len().max(MIN_SPARSE_POINTS) as f64
    }

    fn view(&self, poses: &[Se3]) -> RelativeView {
        RelativeView {
            target_from_reference: poses[self.target].inv_mul(&poses[self.source]),
            exposure: self.exposure,
        }
    }

    /// As [`linearize_all`], with an offset that is added to all depths as a further unknown.
    pub(super) fn linearize_with_offset(
        &mut self,
        views: &[AlignmentView<'_>],
        poses: &[Se3],
        offset_m: f64,
    ) -> OffsetEquations {
        let comparison = self.comparison(views);
        let equations = |view: &RelativeView, scale: &ResidualScale| {
            comparison.linearize_with_offset(view, scale, offset_m)
        };
        let mut exposure = self.exposure;
        if self.scale.is_none() {
            let view = RelativeView { exposure, ..self.view(poses) };
            exposure = exposure.stepped(&equations(&view, &comparison.scale(&view)).exposure_step);
        }
        let view = RelativeView { exposure, ..self.view(poses) };
        let scale = self.scale.unwrap_or_else(|| comparison.scale(&view));
        let found = equations(&view, &scale);
        self.scale = Some(scale);
        self.exposure = exposure.stepped(&found.exposure_step);
        found
    }

    /// The exposure takes a step of its own first: whatever the poses, it can be read off, and a
    /// wrong one would pass for motion.
    fn linearize(&mut self, views: &[AlignmentView<'_>], poses: &[Se3]) -> Factor {
        let comparison = self.comparison(views);
        if self.scale.is_none() {
            let view = self.view(poses);
            let normal = comparison.linearize(&view, &comparison.scale(&view));
            self.exposure = self.exposure.stepped(&normal.exposure_step(&Vector6::zeros()));
        }
        let view = self.view(poses);
        let scale = self.scale.unwrap_or_else(|| comparison.scale(&view));
        let normal = comparison.linearize(&view, &scale);
        self.scale = Some(scale);
        self.exposure = self.exposure.stepped(&normal.exposure_step(&Vector6::zeros()));
        let (hessian, gradient) = normal.pose_only();
        let (source, target) = (self.source, self.target);
        let target_from_source = view.target_from_reference;
        Factor { source, target, target_from_source, hessian, gradient, normal }
    }
}

impl Factor {
    /// The pair's own optimum as a constraint, or `None` where it leaves a direction open.
    pub fn constraint(&self, views: &[AlignmentView<'_>]) -> Option<Constraint> {
        let step = -self.hessian.cholesky()?.solve(&self.gradient);
        // A long step means that the pair is not near an optimum of its own.
        (step.amax() < 0.05).then(|| Constraint {
            target: views[self.target].id,
            source: views[self.source].id,
            target_from_source: se3::exp(&step) * self.target_from_source,
            information: self.hessian,
        })
    }
}
