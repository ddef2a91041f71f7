//! Absolute and relative error of a trajectory.

use super::association::{PosePair, associate, secs_as_written, tracked_frac};
use crate::error::{Error, Result};
use crate::geometry::{Alignment, Se3, Sim3, align_rigid, align_similarity};
use crate::stamp::Stamp;
use crate::trajectory::Trajectory;

/// How far apart the poses of a relative error are, and how exactly.
const RELATIVE_STEP_SECS: f64 = 1.0;
const RELATIVE_STEP_TOLERANCE_SECS: f64 = 0.1;

/// The figures of a trajectory. Errors are root mean squares over the matched poses.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrajectoryMetrics {
    /// How many stamps were expected to have a pose.
    pub frames: usize,
    /// How many poses the estimate has.
    pub poses: usize,
    /// Share of the expected stamps that have a pose, 0 to 1.
    pub tracked: f64,
    /// How many poses have a partner in the reference.
    pub matched: usize,
    /// Length of the matched part of the reference in metres.
    pub gt_path_m: f64,
    /// Absolute position error in metres after the best rigid alignment of the positions.
    pub ate_se3: f64,
    /// Absolute rotation error in degrees after the same alignment.
    pub are_deg_se3: f64,
    /// Relative translation error over one second in metres; `None` for less than a second.
    pub rpe1s_t_se3: Option<f64>,
    /// Relative rotation error over one second in degrees.
    pub rpe1s_rot_deg: Option<f64>,
    /// Absolute position error in metres after the best similarity alignment of the positions.
    pub ate_sim3: f64,
    /// Absolute rotation error in degrees after the same alignment.
    pub are_deg_sim3: f64,
    /// The scale of that alignment: reference metres for one unit of the estimate.
    pub scale: f64,
    /// Relative translation error over one second in metres, the estimate scaled.
    pub rpe1s_t_sim3: Option<f64>,
}

/// A trajectory's figures with the alignments and pairs behind them.
#[derive(Debug, Clone, PartialEq)]
pub struct TrajectoryEvaluation {
    /// The figures.
    pub metrics: TrajectoryMetrics,
    /// The best rigid alignment of the estimate's world.
    pub reference_from_estimate_rigid: Sim3,
    /// The best similarity alignment of the estimate's world.
    pub reference_from_estimate_scaled: Sim3,
    /// The matched poses, not aligned, in order of time.
    pub pairs: Vec<PosePair>,
}

impl TrajectoryEvaluation {
    /// Returns the distance in metres of each matched pose from its partner after the rigid
    /// alignment, with the stamp of the pose.
    pub fn position_errors_m(&self) -> Vec<(Stamp, f64)> {
        let aligned = aligned(&self.reference_from_estimate_rigid, &self.pairs);
        aligned.iter().map(|pair| (pair.stamp, position_error_m(pair))).collect()
    }
}

/// Returns the error of `estimate` against `reference`, matched within `max_difference_secs`;
/// `frame_stamps` are the stamps that should have a pose, or `None` for those of the reference.
///
/// # Errors
/// [`Error::TooFewCorrespondences`] for fewer than three pairs, and
/// [`GeometryError::Degenerate`](crate::geometry::GeometryError::Degenerate) where either
/// trajectory stands still or is exactly straight, so that no alignment is best.
pub fn evaluate_trajectory(
    estimate: &Trajectory,
    reference: &Trajectory,
    frame_stamps: Option<&[Stamp]>,
    max_difference_secs: f64,
) -> Result<TrajectoryEvaluation> {
    let pairs = associate(estimate, reference, max_difference_secs);
    if pairs.len() < 3 {
        let what = "poses of the estimate that have a partner in the reference";
        return Err(Error::TooFewCorrespondences { what, got: pairs.len(), need: 3 });
    }
    let reference_stamps: Vec<Stamp> = reference.poses().iter().map(|p| p.stamp).collect();
    let expected = frame_stamps.unwrap_or(&reference_stamps);
    let rigid = alignment(&pairs, false)?.transform;
    let scaled = alignment(&pairs, true)?.transform;
    let (rigid_pairs, scaled_pairs) = (aligned(&rigid, &pairs), aligned(&scaled, &pairs));
    let rigid_steps = relative_errors(&rigid_pairs);
    let metrics = TrajectoryMetrics {
        frames: expected.len(),
        poses: estimate.poses().len(),
        tracked: tracked_frac(estimate, expected, max_difference_secs),
        matched: pairs.len(),
        gt_path_m: reference_path_m(&pairs),
        ate_se3: rms_of(&rigid_pairs, position_error_m),
        are_deg_se3: rms_of(&rigid_pairs, rotation_error_deg),
        rpe1s_t_se3: rms(rigid_steps.iter().map(|e| e.translation.vector.norm())),
        rpe1s_rot_deg: rms(rigid_steps.iter().map(|e| e.rotation.angle().to_degrees())),
        ate_sim3: rms_of(&scaled_pairs, position_error_m),
        are_deg_sim3: rms_of(&scaled_pairs, rotation_error_deg),
        scale: scaled.scale,
        rpe1s_t_sim3: rms(relative_errors(&scaled_pairs)
            .iter()
            .map(|e| e.translation.vector.norm())),
    };
    Ok(TrajectoryEvaluation {
        metrics,
        reference_from_estimate_rigid: rigid,
        reference_from_estimate_scaled: scaled,
        pairs,
    })
}

fn alignment(pairs: &[PosePair], with_scale: bool) -> Result<Alignment> {
    let estimated: Vec<_> = pairs.iter().map(|p| p.estimate.translation.vector.into()).collect();
    let true_ones: Vec<_> = pairs.iter().map(|p| p.reference.translation.vector.into()).collect();
    let align = if with_scale { align_similarity } else { align_rigid };
    let alignment = align(&estimated, &true_ones, None)?;
    if alignment.singular_values[1] > f64::EPSILON {
        return Ok(alignment);
    }
    Err(Error::Geometry(crate::geometry::GeometryError::Degenerate {
        what: "aligning trajectories needs positions that do not lie on one line",
        count: pairs.len(),
        singular_values: alignment.singular_values,
    }))
}

/// The pairs with the estimate moved into the reference's world.
fn aligned(reference_from_estimate: &Sim3, pairs: &[PosePair]) -> Vec<PosePair> {
    let align = |pair: &PosePair| {
        let pose = *reference_from_estimate * Sim3::from(pair.estimate);
        PosePair { estimate: pose.rigid(), ..*pair }
    };
    pairs.iter().map(align).collect()
}

fn position_error_m(pair: &PosePair) -> f64 {
    (pair.estimate.translation.vector - pair.reference.translation.vector).norm()
}

fn rotation_error_deg(pair: &PosePair) -> f64 {
    pair.estimate.rotation.angle_to(&pair.reference.rotation).to_degrees()
}

/// What is left of each motion over one second, `reference⁻¹ * estimate` of the two motions, for
/// all pairs that have another one second (± a tenth) later.
fn relative_errors(aligned: &[PosePair]) -> Vec<Se3> {
    let times: Vec<f64> = aligned.iter().map(|p| secs_as_written(p.stamp)).collect();
    let mut errors = Vec::new();
    for (i, start) in aligned.iter().enumerate() {
        let j = times.partition_point(|&t| t < times[i] + RELATIVE_STEP_SECS);
        let Some(end) = aligned.get(j) else { break };
        let off_step_secs = (times[j] - times[i] - RELATIVE_STEP_SECS).abs();
        if off_step_secs < RELATIVE_STEP_TOLERANCE_SECS {
            let true_motion = start.reference.inv_mul(&end.reference);
            let motion = start.estimate.inv_mul(&end.estimate);
            errors.push(true_motion.inv_mul(&motion));
        }
    }
    errors
}

fn reference_path_m(pairs: &[PosePair]) -> f64 {
    let step =
        |w: &[PosePair]| w[1].reference.translation.vector - w[0].reference.translation.vector;
    pairs.windows(2).map(|w| step(w).norm()).sum()
}

fn rms_of(pairs: &[PosePair], error: impl Fn(&PosePair) -> f64) -> f64 {
    rms(pairs.iter().map(error)).unwrap_or(0.0)
}

fn rms(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| (values.map(|v| v * v).sum::<f64>() / count as f64).sqrt())
}
