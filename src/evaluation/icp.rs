//! Point-to-point ICP, which takes a wrong alignment out of a map's error so that its shape alone
//! is judged (Besl and McKay, "A method for registration of 3-D shapes", PAMI 1992).

use nalgebra::Point3;

use super::neighbors::{Neighbor, Neighbors};
use crate::geometry::{Sim3, align_rigid, align_similarity};

/// Largest distances of correspondences, one round after another.
const ROUNDS_M: [f64; 3] = [0.2, 0.1, 0.05];
const MAX_ITERATIONS: usize = 30;
/// A round ends when neither the share of matched points nor their error changes by this much.
const CONVERGED: f64 = 1e-6;

/// Returns the transform that refines the place of `source` on `target`; identity where they have
/// nothing in common.
pub(super) fn refine(source: &[Point3<f64>], target: &Neighbors, with_scale: bool) -> Sim3 {
    ROUNDS_M.iter().fold(Sim3::identity(), |start, &max_distance_m| {
        refine_round(source, target, with_scale, (start, max_distance_m))
    })
}

fn refine_round(
    source: &[Point3<f64>],
    target: &Neighbors,
    with_scale: bool,
    (start, max_distance_m): (Sim3, f64),
) -> Sim3 {
    let mut target_from_source = start;
    let mut matches = Matches::of(source, target, &target_from_source, max_distance_m);
    for _ in 0..MAX_ITERATIONS {
        let Some(step) = matches.step(with_scale) else { break };
        target_from_source = step * target_from_source;
        let next = Matches::of(source, target, &target_from_source, max_distance_m);
        let converged = (next.matched_frac - matches.matched_frac).abs() < CONVERGED
            && (next.rmse_m - matches.rmse_m).abs() < CONVERGED;
        matches = next;
        if converged {
            break;
        }
    }
    target_from_source
}

/// The points that have a partner, moved, with that partner.
struct Matches {
    moved: Vec<Point3<f64>>,
    partners: Vec<Point3<f64>>,
    matched_frac: f64,
    rmse_m: f64,
}

impl Matches {
    fn of(
        source: &[Point3<f64>],
        target: &Neighbors,
        target_from_source: &Sim3,
        max_distance_m: f64,
    ) -> Self {
        let moved: Vec<_> = source.iter().map(|p| target_from_source.transform_point(p)).collect();
        let near = |(_, n): &(_, Neighbor)| n.distance_m <= max_distance_m;
        let pairs: Vec<_> =
            moved.iter().copied().zip(target.nearest(&moved)).filter(near).collect();
        let squares: f64 = pairs.iter().map(|(_, n)| n.distance_m.powi(2)).sum();
        Self {
            matched_frac: pairs.len() as f64 / source.len().max(1) as f64,
            rmse_m: (squares / pairs.len().max(1) as f64).sqrt(),
            moved: pairs.iter().map(|(p, _)| *p).collect(),
            partners: pairs.iter().map(|(_, n)| n.point).collect(),
        }
    }

    fn step(&self, with_scale: bool) -> Option<Sim3> {
        let align = if with_scale { align_similarity } else { align_rigid };
        align(&self.moved, &self.partners, None).ok().map(|alignment| alignment.transform)
    }
}
