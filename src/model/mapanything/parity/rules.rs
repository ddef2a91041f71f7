//! How far from the reference is too far.

use super::{Recorded, Values};
use crate::error::{Error, Result};
use crate::model::mapanything::outputs::ViewOutput;
use crate::model::mapanything::postprocess::intrinsics_from_rays;

/// Which limits hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// Those of the small models in the tests: absolute, a few times the reference's own rounding.
    Absolute,
    /// The same times the magnitude of what is compared, where that is above one: for models of any
    /// size.
    Scaled,
    /// For weights in 16 or fewer bits: depth within 2 % and scale within 1 %, all else for
    /// information.
    Reduced,
}

/// How a result of the reference compares with ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Name of the result.
    pub name: String,
    /// The worst difference, or the share of pixels that differ.
    pub error: f64,
    /// What it may be; `None` where it does not matter.
    pub limit: Option<f64>,
}

impl Comparison {
    /// Returns whether the limit holds; an error that is not a number breaks it.
    pub fn holds(&self) -> bool {
        self.limit.is_none_or(|limit| self.error <= limit)
    }
}

/// What is measured.
#[derive(Clone, Copy)]
enum Rule {
    /// The largest difference.
    Absolute(f64),
    /// The largest difference, relative to one and the value.
    Mixed(f64),
    /// The largest difference relative to the value.
    Relative(f64),
    /// The share of values that are not the same.
    Share(f64),
    /// The largest difference in pixels of a camera that was fitted to rays.
    Camera(f64),
}

fn rule(name: &str) -> Rule {
    let name = name.rsplit('.').next().unwrap_or(name);
    match name {
        "pts3d" | "pts3d_cam" | "depth_along_ray" | "depth_z" | "cam_trans" | "camera_poses" => {
            Rule::Mixed(1e-4)
        }
        "conf" => Rule::Relative(1e-4),
        "metric_scaling_factor" => Rule::Relative(1e-5),
        "intrinsics" => Rule::Camera(2e-2),
        "non_ambiguous_mask" | "mask" | "mask_no_edges" => Rule::Share(5e-3),
        _ if name.starts_with("mask_conf")
            || name.starts_with("mv_conf")
            || name.starts_with("rel") =>
        {
            Rule::Share(5e-3)
        }
        _ => Rule::Absolute(5e-5),
    }
}

/// Compares under the chosen limits.
pub(super) struct Judge {
    limits: Limits,
    /// Largest exponent that the dense head and the scale head gave: rounding errors grow with
    /// numbers, and exponentials turn them into relative ones.
    exponent: f64,
}

impl Judge {
    pub(super) fn new(limits: Limits, outputs: &[ViewOutput]) -> Self {
        let exponents = outputs.iter().flat_map(|view| {
            let scale = f64::from(view.metric_scale);
            let depths = view.depth_along_ray.values().iter();
            let confidences = view.confidence.values().iter();
            let depth_exponents = depths.map(move |&d| (f64::from(d) / scale).ln().abs());
            let confidence_exponents = confidences.map(|&c| (f64::from(c) - 1.0).ln().abs());
            let all = depth_exponents.chain(confidence_exponents).chain([scale.ln().abs()]);
            all.filter(|exponent| exponent.is_finite())
        });
        Self { limits, exponent: exponents.fold(1.0, f64::max) }
    }

    /// Compares a result with ours, of which there is at least one number.
    pub(super) fn compare(
        &self,
        recorded: &Recorded,
        ours: &Values,
        outputs: &[ViewOutput],
    ) -> Result<Comparison> {
        let pairs = pairs(recorded, ours)?;
        let rule = rule(&recorded.name);
        if self.limits == Limits::Reduced {
            return Ok(reduced(&recorded.name, &pairs));
        }
        let magnitude = pairs.iter().map(|&(_, reference)| reference.abs()).fold(1.0, f64::max);
        let is_scaled = self.limits == Limits::Scaled;
        let (magnitude, exponent) = if is_scaled { (magnitude, self.exponent) } else { (1.0, 1.0) };
        let worst = |error: &dyn Fn(f64, f64) -> f64| largest(&pairs, error);
        let (error, limit) = match rule {
            Rule::Absolute(limit) => (worst(&|a, b| (a - b).abs()), limit * magnitude),
            Rule::Mixed(limit) if is_scaled => {
                (worst(&|a, b| (a - b).abs()), limit * (1.0 + magnitude) * exponent)
            }
            Rule::Mixed(limit) => (worst(&|a, b| (a - b).abs() / (1.0 + b.abs())), limit),
            Rule::Relative(limit) => (worst(&|a, b| (a - b).abs() / b.abs()), limit * exponent),
            Rule::Share(limit) => (share(&pairs), limit),
            Rule::Camera(limit) => {
                let noise = if is_scaled { camera_noise(&recorded.name, outputs) } else { 0.0 };
                (worst(&|a, b| (a - b).abs()), limit.max(noise))
            }
        };
        Ok(Comparison { name: recorded.name.clone(), error, limit: Some(limit) })
    }
}

/// Ours and the reference's, number by number.
fn pairs(recorded: &Recorded, ours: &Values) -> Result<Vec<(f64, f64)>> {
    let taken: Vec<_> = ours.0.iter().step_by(recorded.stride).collect();
    if taken.len() != recorded.values.len() {
        return Err(Error::ShapeMismatch {
            what: "numbers of a recorded result",
            expected: format!("{} of '{}'", taken.len(), recorded.name),
            found: recorded.values.len().to_string(),
        });
    }
    let pair =
        |(ours, &theirs): (&Option<f32>, &f32)| Some((f64::from((*ours)?), f64::from(theirs)));
    Ok(taken.into_iter().zip(&recorded.values).filter_map(pair).collect())
}

/// The largest error; NaN where one is, lest it be passed over.
fn largest(pairs: &[(f64, f64)], error: &dyn Fn(f64, f64) -> f64) -> f64 {
    let worse =
        |worst: f64, error: f64| if error > worst || error.is_nan() { error } else { worst };
    pairs
        .iter()
        .map(|&(ours, theirs)| error(ours, theirs))
        .fold(0.0, |worst, error| if worst.is_nan() { worst } else { worse(worst, error) })
}

/// The share of values that are further apart than rounding.
fn share(pairs: &[(f64, f64)]) -> f64 {
    let is_same = |&&(ours, theirs): &&(f64, f64)| (ours - theirs).abs() < 1e-3;
    let same = pairs.iter().filter(is_same).count();
    (pairs.len() - same) as f64 / pairs.len().max(1) as f64
}

fn reduced(name: &str, pairs: &[(f64, f64)]) -> Comparison {
    let relative = |a: f64, b: f64| (a - b).abs() / b.abs();
    let mean = pairs.iter().map(|&(a, b)| relative(a, b)).sum::<f64>() / pairs.len().max(1) as f64;
    let (error, limit) = match name.rsplit('.').next() {
        Some("depth_along_ray") => (mean, Some(2e-2)),
        Some("metric_scaling_factor") => (mean, Some(1e-2)),
        _ => (largest(pairs, &|a, b| (a - b).abs()), None),
    };
    Comparison { name: name.to_owned(), error, limit }
}

/// What noise within the limit of rays does to the camera that is fitted to them: rays of random
/// weights can be such that no camera fits well.
fn camera_noise(name: &str, outputs: &[ViewOutput]) -> f64 {
    let view = name.split('.').nth(1).and_then(|view| view.parse::<usize>().ok());
    let Some(rays) = view.and_then(|view| outputs.get(view)).map(|view| &view.ray_directions)
    else {
        return 0.0;
    };
    let camera = |k: crate::geometry::Intrinsics| [k.fx, k.fy, k.cx, k.cy];
    let exact = camera(intrinsics_from_rays(rays));
    let shift = |seed: u32| {
        let mut noisy = rays.clone();
        for (i, ray) in noisy.values_mut().iter_mut().enumerate() {
            for (c, value) in ray.iter_mut().enumerate() {
                // Bits of a hash, as good as random here.
                let bits = (i as u32 * 3 + c as u32 + seed).wrapping_mul(0x9E37_79B1) >> 15;
                *value += if bits & 1 == 0 { 5e-5 } else { -5e-5 };
            }
        }
        let noisy = camera(intrinsics_from_rays(&noisy));
        exact.iter().zip(noisy).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    (1..=4).map(|seed| shift(seed * 7919)).fold(0.0, f64::max)
}
