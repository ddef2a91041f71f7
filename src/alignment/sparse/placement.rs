//! Where the views start: along a tree of the strongest pairs, by closed-form similarities.

use nalgebra::{Point3, Vector3};

use super::loss::GammaLoss;
use super::scene::{MatchedPair, PairPointmap, SparseScene, SparseView};
use super::state::SceneState;
use crate::error::{Error, Result};
use crate::geometry::{GeometryError, Sim3, align_similarity};

/// Matches that a view needs before a similarity says anything.
const MIN_MATCHES: usize = 4;
/// Points whose second singular value is below this share of the first lie on a line.
const MIN_SPREAD: f64 = 1e-4;
const REWEIGHTINGS: usize = 8;

/// A similarity between two views, and how much speaks for it.
struct Link {
    views: [usize; 2],
    first_from_second: Sim3,
    support: f64,
}

/// Puts every view into the frame of the root, by the links of most support first.
///
/// # Errors
/// [`Error::TooFewCorrespondences`] for a view that nothing ties to the others, and
/// [`GeometryError::Degenerate`] where all that ties it lies on a line.
pub fn place(
    scene: &SparseScene,
    pairs: &[&MatchedPair],
    pointmaps: &[&PairPointmap],
    state: &mut SceneState,
) -> Result<()> {
    let (links, failures) = links(scene, pairs, pointmaps, state);
    let mut world_from: Vec<Option<Sim3>> = vec![None; scene.views.len()];
    world_from[scene.root] = Some(Sim3::identity());
    while let Some((view, pose)) = next(&links, &world_from) {
        world_from[view] = Some(pose);
    }
    for (view, pose) in world_from.iter().enumerate() {
        let Some(pose) = pose else { return Err(unplaced(view, &failures)) };
        state.views[view].world_from_camera = pose.rigid();
        state.views[view].size = pose.scale;
    }
    let (_, smallest) = state.smallest();
    state.scale(smallest.recip());
    Ok(())
}

/// The view to place next: of all links from a placed view to another, that of most support.
fn next(links: &[Link], world_from: &[Option<Sim3>]) -> Option<(usize, Sim3)> {
    let open = links.iter().filter_map(|link| {
        let [first, second] = link.views;
        match (world_from[first], world_from[second]) {
            (Some(pose), None) => Some((link.support, second, pose * link.first_from_second)),
            (None, Some(pose)) => {
                Some((link.support, first, pose * link.first_from_second.inverse()))
            }
            _ => None,
        }
    });
    open.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, view, pose)| (view, pose))
}

/// All links that can be had, and for each that cannot its views with the reason.
fn links(
    scene: &SparseScene,
    pairs: &[&MatchedPair],
    pointmaps: &[&PairPointmap],
    state: &SceneState,
) -> (Vec<Link>, Vec<([usize; 2], Error)>) {
    let own = |view: usize, sample: usize| -> Point3<f64> {
        state.views[view].point(&scene.views[view].samples[sample]).into()
    };
    let of_pair = |pair: &&MatchedPair| {
        let points = |side: usize| -> Vec<Point3<f64>> {
            pair.matches.iter().map(|m| own(pair.views[side], m.samples[side])).collect()
        };
        let weights: Vec<f64> = pair.matches.iter().map(|m| m.weight).collect();
        (pair.views, link(pair.views, &points(1), &points(0), &weights, 1.0))
    };
    let of_pointmap = |map: &&PairPointmap| {
        let samples = 0..scene.views[map.view].samples.len();
        let points: Vec<Point3<f64>> = samples.map(|s| own(map.view, s)).collect();
        let views = [map.seen_from, map.view];
        // Matches say more than a pointmap that is there because matching failed.
        (views, link(views, &points, &map.points, &map.weights, 1e-6))
    };
    let all = pairs.iter().map(of_pair).chain(pointmaps.iter().map(of_pointmap));
    let (mut links, mut failures) = (Vec::new(), Vec::new());
    for (views, link) in all {
        match link {
            Ok(link) => links.push(link),
            Err(error) => failures.push((views, error)),
        }
    }
    (links, failures)
}

fn unplaced(view: usize, failures: &[([usize; 2], Error)]) -> Error {
    let degenerate = failures.iter().find_map(|(views, error)| match error {
        Error::Geometry(error) if views.contains(&view) => Some(error.clone()),
        _ => None,
    });
    let what = "tying a view to the others";
    degenerate.map_or(Error::TooFewCorrespondences { what, got: 0, need: MIN_MATCHES }, Error::from)
}

/// The similarity of least robust distance that takes the second view's points to the first's.
fn link(
    views: [usize; 2],
    second: &[Point3<f64>],
    first: &[Point3<f64>],
    weights: &[f64],
    trust: f64,
) -> Result<Link> {
    let what = "aligning two views";
    let got = weights.iter().filter(|w| **w > 0.0).count();
    if got < MIN_MATCHES {
        return Err(Error::TooFewCorrespondences { what, got, need: MIN_MATCHES });
    }
    // Closeness counts relative to how far away things are.
    let extent = median_norm(first).max(f64::MIN_POSITIVE);
    let loss = GammaLoss::new(0.5);
    let mut current = weights.to_vec();
    let mut best = align_similarity(second, first, Some(&current))?;
    for _ in 0..REWEIGHTINGS {
        let distance = |i: usize| {
            let off: Vector3<f64> = best.transform.transform_point(&second[i]) - first[i];
            (off.norm() / (0.02 * extent)).max(1e-2)
        };
        for (i, weight) in current.iter_mut().enumerate() {
            let length = distance(i);
            *weight = weights[i] * loss.derivatives(length)[1] / length;
        }
        best = align_similarity(second, first, Some(&current))?;
    }
    let [largest, middle, _] = best.singular_values;
    if middle < MIN_SPREAD * largest {
        let what = "aligning two views needs matches that do not lie on a line";
        let singular_values = best.singular_values;
        return Err(GeometryError::Degenerate { what, count: got, singular_values }.into());
    }
    let support = current.iter().sum::<f64>() * trust;
    Ok(Link { views, first_from_second: best.transform, support })
}

fn median_norm(points: &[Point3<f64>]) -> f64 {
    let mut norms: Vec<f64> = points.iter().map(|p| p.coords.norm()).collect();
    let middle = norms.len() / 2;
    if norms.is_empty() { 0.0 } else { *norms.select_nth_unstable_by(middle, f64::total_cmp).1 }
}

/// Returns how many matches each view has in the given pairs.
pub fn matches_of(views: &[SparseView], pairs: &[&MatchedPair]) -> Vec<usize> {
    let mut counts = vec![0; views.len()];
    for pair in pairs {
        for view in pair.views {
            counts[view] += pair.matches.len();
        }
    }
    counts
}
