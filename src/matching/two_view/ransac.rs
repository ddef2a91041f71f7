//! A first pose that many correspondences agree on: random minimal samples, the best kept.
//! (Fischler and Bolles, "Random sample consensus", 1981, with the truncated cost of Torr and
//! Zisserman's MSAC and the adaptive stop of Hartley and Zisserman, section 4.7.1.)

use nalgebra::{Point3, Vector3};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::TwoViewConfig;
use super::observation::Correspondence;
use super::p3p::p3p;
use super::residual::Views;
use crate::geometry::{Se3, align_rigid};

/// Chance of missing the right sample at which the search stops.
const MISS_PROBABILITY: f64 = 1e-4;
/// Draws for one sample, most of which cheap tests turn down.
const DRAWS_PER_SAMPLE: usize = 20;

/// What a minimal sample is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Minimal {
    /// Points of both views.
    Points,
    /// Points of the source, pixels of the target.
    SourcePoints,
    /// Points of the target, pixels of the source.
    TargetPoints,
}

/// Returns the pose `target_from_source` of least truncated cost, or `None` where no sample gave
/// one. Deterministic.
pub(super) fn search(
    views: &Views<'_>,
    seen: &[Correspondence],
    config: &TwoViewConfig,
) -> Option<Se3> {
    let (kind, usable) = sampled(seen);
    if usable.len() < 3 {
        return None;
    }
    let gate = config.max_residual_sigmas.powi(2);
    let mut random = SmallRng::seed_from_u64(0x7265_636f_6e5f_6e6f);
    let mut best: Option<(f64, Se3)> = None;
    let (mut draw, mut needed) = (0, config.max_samples * DRAWS_PER_SAMPLE);
    let mut samples = 0;
    while draw < needed && samples < config.max_samples {
        draw += 1;
        let sample = [(); 3].map(|()| &seen[usable[random.random_range(0..usable.len())]]);
        let poses = solve(kind, sample, views, gate);
        samples += usize::from(!poses.is_empty());
        for pose in poses {
            let limit = best.map_or(f64::INFINITY, |(cost, _)| cost);
            let Some(cost) = cost_below(limit, views, &pose, seen, gate) else { continue };
            best = Some((cost, pose));
            needed = needed.min(draws_needed(inlier_frac(views, &pose, seen, &usable, gate)));
        }
    }
    best.map(|(_, pose)| pose)
}

/// The kind of sample of which there are the most, and the correspondences that fit; samples of
/// points on both sides where there are enough, since they leave no ambiguity.
fn sampled(seen: &[Correspondence]) -> (Minimal, Vec<usize>) {
    let with = |usable: &dyn Fn(&Correspondence) -> bool| -> Vec<usize> {
        (0..seen.len()).filter(|&i| usable(&seen[i])).collect()
    };
    let source = with(&|c| c.source.depth.is_some());
    let target = with(&|c| c.target.depth.is_some());
    let both = with(&|c| c.source.depth.is_some() && c.target.depth.is_some());
    if 2 * both.len() >= source.len().max(target.len()) {
        (Minimal::Points, both)
    } else if source.len() >= target.len() {
        (Minimal::SourcePoints, source)
    } else {
        (Minimal::TargetPoints, target)
    }
}

/// The poses that explain a sample.
fn solve(kind: Minimal, sample: [&Correspondence; 3], views: &Views<'_>, gate: f64) -> Vec<Se3> {
    let poses = match kind {
        Minimal::Points => from_points(&sample).into_iter().collect(),
        Minimal::SourcePoints => points(sample.map(|c| c.source.point()))
            .map(|points| p3p(&points, &sample.map(|c| c.target.ray)))
            .unwrap_or_default(),
        Minimal::TargetPoints => {
            let poses = points(sample.map(|c| c.target.point()))
                .map(|points| p3p(&points, &sample.map(|c| c.source.ray)))
                .unwrap_or_default();
            poses.into_iter().map(|pose| pose.inverse()).collect()
        }
    };
    let explains = |pose: &Se3| sample.iter().all(|c| views.squared(pose, c) <= gate);
    poses.into_iter().filter(explains).collect()
}

/// The rigid motion of three points, if their triangle has kept its size.
fn from_points(sample: &[&Correspondence; 3]) -> Option<Se3> {
    let source = points(sample.map(|c| c.source.point()))?;
    let target = points(sample.map(|c| c.target.point()))?;
    let sides = |p: &[Point3<f64>; 3]| [(0, 1), (1, 2), (2, 0)].map(|(i, j)| (p[i] - p[j]).norm());
    let slack = |i: usize| {
        let sigma = |c: &Correspondence| {
            c.source.depth.map_or(0.0, |d| d.1) + c.target.depth.map_or(0.0, |d| d.1)
        };
        3.0 * (sigma(sample[i]) + sigma(sample[(i + 1) % 3])) + 0.02
    };
    let kept = sides(&source).into_iter().zip(sides(&target)).enumerate();
    let rigid = kept.into_iter().all(|(i, (a, b))| (a - b).abs() <= slack(i));
    let spread: Vector3<f64> = (source[1] - source[0]).cross(&(source[2] - source[0]));
    // A thin triangle leaves the rotation about its long side open.
    let longest = sides(&source).into_iter().fold(0.0, f64::max);
    let wide = spread.norm() > 0.05 * longest * longest && longest > 1e-6;
    (rigid && wide)
        .then(|| align_rigid(&source, &target, None).ok().map(|a| a.transform.rigid()))?
}

fn points(points: [Option<Point3<f64>>; 3]) -> Option<[Point3<f64>; 3]> {
    let [a, b, c] = points;
    Some([a?, b?, c?])
}

/// The truncated cost of a pose, unless it exceeds `limit`.
fn cost_below(
    limit: f64,
    views: &Views<'_>,
    pose: &Se3,
    seen: &[Correspondence],
    gate: f64,
) -> Option<f64> {
    let mut cost = 0.0;
    for c in seen {
        cost += views.squared(pose, c).min(gate);
        if cost >= limit {
            return None;
        }
    }
    Some(cost)
}

fn inlier_frac(
    views: &Views<'_>,
    pose: &Se3,
    seen: &[Correspondence],
    usable: &[usize],
    gate: f64,
) -> f64 {
    let inliers = usable.iter().filter(|&&i| views.squared(pose, &seen[i]) <= gate).count();
    inliers as f64 / usable.len() as f64
}

/// Draws after which a sample of three inliers has been missed with [`MISS_PROBABILITY`].
fn draws_needed(inlier_frac: f64) -> usize {
    let hit = inlier_frac.powi(3).clamp(1e-9, 1.0 - 1e-9);
    // Some samples of inliers alone are turned down too: thin or small triangles.
    4 * (MISS_PROBABILITY.ln() / (-hit).ln_1p()).ceil() as usize
}
