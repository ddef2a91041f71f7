//! How right the priors of a window are, by the truth, and what a model makes of them.

use nalgebra::Vector3;

use super::config::PriorEffects;
use super::draws::WindowDraws;
use super::truth::TrueView;
use crate::frame::DepthImage;
use crate::geometry::{Camera, Se3, se3};
use crate::inference::View;

/// Every so many pixels of a depth prior are compared with the truth.
const DEPTH_STEP: usize = 7;
/// Cameras nearer to the first than this share of the mean depth say nothing of the scale.
const MIN_BASELINE_DEPTHS: f64 = 0.002;

/// What the priors of a window come to.
pub(super) struct Judgement {
    /// Logarithm of how many times as long as in truth the lengths of depth and pose priors are.
    pub(super) log_scale: f64,
    /// Whether those lengths claim to be metres.
    pub(super) is_metric: bool,
    /// Logarithm of how many times as long as in truth the given focal lengths are, where any are.
    pub(super) log_focal: Option<f64>,
    /// Pose of each view in the frame of the first, in the unit of the priors.
    pub(super) first_from_camera: Vec<Option<Se3>>,
    /// Factor on warp and pose noise.
    pub(super) error_factor: f64,
    /// Factor on the share of windows that fail.
    pub(super) failure_factor: f64,
}

impl Judgement {
    pub(super) fn new(
        effects: &PriorEffects,
        views: &[View<'_>],
        truth: &[TrueView],
        draws: &WindowDraws,
    ) -> Self {
        let log_focals = log_focals(views, truth);
        let log_depths = log_depth_ratios(views, truth);
        let poses = first_from_camera(views, truth);
        let log_depth = median(log_depths.iter().flatten().copied().collect());
        let log_baseline = log_baseline_ratio(&poses, truth);
        let is_metric =
            views.iter().any(|view| view.priors.is_metric) && log_depth.or(log_baseline).is_some();
        let log_scale = log_depth.or(log_baseline).unwrap_or(0.0);
        let wrongs = [
            (log_focals.len() == views.len()).then(|| root_mean_square(&log_focals)),
            log_depth.map(|_| spread(&log_depths, log_scale)),
            log_baseline.map(|_| pose_error(&poses, truth, log_scale)),
        ]
        .map(|error| error.map(|error| wrongness(error, effects.half_wrong_frac)));
        Self {
            log_scale,
            is_metric,
            log_focal: mean(&log_focals),
            error_factor: error_factor(effects, &wrongs, draws),
            failure_factor: failure_factor(effects, &wrongs),
            first_from_camera: poses,
        }
    }
}

/// 0 for a prior that is right, towards 1 for one that is wrong.
fn wrongness(error: f64, half_wrong: f64) -> f64 {
    error * error / (error * error + half_wrong * half_wrong)
}

/// The product of what intrinsics, depth and poses do, each by how wrong it is, where it is given.
fn error_factor(effects: &PriorEffects, wrongs: &[Option<f64>; 3], draws: &WindowDraws) -> f64 {
    let poses = match draws.upset() < effects.upset_frac {
        true => effects.upset_factor,
        false => effects.poses_factor,
    };
    let right = [effects.intrinsics_factor, effects.depth_factor, poses];
    let of_prior = |(wrong, right): (&Option<f64>, f64)| {
        wrong.map(|wrong| right.powf(1.0 - wrong) * effects.wrong_factor.powf(wrong))
    };
    wrongs.iter().zip(right).filter_map(of_prior).product()
}

/// Geometry that is given, and right, keeps windows from failing.
fn failure_factor(effects: &PriorEffects, wrongs: &[Option<f64>; 3]) -> f64 {
    let least_wrong = wrongs[1..].iter().flatten().copied().fold(1.0, f64::min);
    effects.failure_factor.powf(1.0 - least_wrong)
}

fn log_focals(views: &[View<'_>], truth: &[TrueView]) -> Vec<f64> {
    let of_view = |(view, truth): (&View<'_>, &TrueView)| {
        let camera: &Camera = view.priors.camera.as_ref()?;
        Some((camera.intrinsics().fx / truth.camera.intrinsics().fx).ln())
    };
    views.iter().zip(truth).filter_map(of_view).collect()
}

/// For each view, logarithms of given over true depth at some pixels.
fn log_depth_ratios(views: &[View<'_>], truth: &[TrueView]) -> Vec<Vec<f64>> {
    let of_view = |(view, truth): (&View<'_>, &TrueView)| {
        // Depth without a camera means nothing to a network.
        let depth: Option<&DepthImage> = view.priors.depth.filter(|_| view.priors.camera.is_some());
        let given = depth.map_or(&[][..], |depth| depth.raster().values());
        let pixels = given.iter().enumerate().step_by(DEPTH_STEP).filter(|(_, z)| **z > 0.0);
        pixels.filter_map(|(i, &z)| Some((f64::from(z) / truth.depth_m(i)?).ln())).collect()
    };
    views.iter().zip(truth).map(of_view).collect()
}

/// The poses relative to the first; none where the first has none.
fn first_from_camera(views: &[View<'_>], truth: &[TrueView]) -> Vec<Option<Se3>> {
    let pose = |view: &View<'_>| view.priors.world_from_camera;
    let Some(world_from_first) = views.first().and_then(pose) else {
        return vec![None; truth.len()];
    };
    views.iter().map(|view| Some(world_from_first.inv_mul(&pose(view)?))).collect()
}

/// Given and true position of each view relative to the first.
fn positions<'a>(
    poses: &'a [Option<Se3>],
    truth: &'a [TrueView],
) -> impl Iterator<Item = (Vector3<f64>, Vector3<f64>)> + 'a {
    let first = truth.first().map_or_else(Se3::identity, |first| first.world_from_camera);
    poses.iter().zip(truth).filter_map(move |(pose, truth)| {
        let first_from_camera = first.inv_mul(&truth.world_from_camera);
        Some(((*pose)?.translation.vector, first_from_camera.translation.vector))
    })
}

/// Logarithm of given over true distances, where there are any.
fn log_baseline_ratio(poses: &[Option<Se3>], truth: &[TrueView]) -> Option<f64> {
    let (given, true_m) = positions(poses, truth)
        .map(|(given, truth)| (given.norm(), truth.norm()))
        .fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    let least = MIN_BASELINE_DEPTHS * truth.first()?.mean_depth_m;
    (given > 0.0 && true_m > least).then(|| (given / true_m).ln())
}

/// Error of positions relative to their distance, and of rotations in radians, both squared and
/// averaged.
fn pose_error(poses: &[Option<Se3>], truth: &[TrueView], log_scale: f64) -> f64 {
    let (mut off, mut length) = (0.0, 0.0);
    for (given, true_m) in positions(poses, truth) {
        off += (given / log_scale.exp() - true_m).norm_squared();
        length += true_m.norm_squared();
    }
    let first = truth.first().map_or_else(Se3::identity, |first| first.world_from_camera);
    let turned = poses.iter().zip(truth).filter_map(|(pose, truth)| {
        Some(se3::angle_rad(&(*pose)?.inv_mul(&first.inv_mul(&truth.world_from_camera))))
    });
    let turned: Vec<f64> = turned.collect();
    (off / length.max(1e-12) + root_mean_square(&turned).powi(2)).sqrt()
}

/// How far depths are from the truth after one factor for all: the median.
fn spread(log_ratios: &[Vec<f64>], log_scale: f64) -> f64 {
    let off = log_ratios.iter().flatten().map(|ratio| (ratio - log_scale).abs());
    median(off.collect()).unwrap_or(0.0)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn root_mean_square(values: &[f64]) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
