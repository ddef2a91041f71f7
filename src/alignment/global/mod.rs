//! Global alignment of pairwise pointmaps: after DUSt3R (Wang et al., 2024, section 3.4), with a
//! second-order solver for its Adam.
//!
//! Each pair says where the points of its two views are, in a frame of its own and up to scale.
//! Found are cameras, focal lengths and depths that all pairs agree with best: the sum of
//! distances, weighed by the logarithm of confidence.

mod minimize;
mod normal;
mod start;
mod state;

use nalgebra::Vector3;

pub use state::{GlobalView, global_loss};

use super::progress::Watch;
use crate::error::{Error, Result};
use crate::geometry::Sim3;
use crate::raster::Raster;

/// The geometric mean of the pairs' scales: what fixes the size of the world.
pub const MEAN_SCALE: f64 = 0.5;

/// What a model says of a pair of views, in the frame of the first.
#[derive(Debug, Clone, Copy)]
pub struct PairwiseMaps<'a> {
    /// Indices of the views.
    pub views: [usize; 2],
    /// Points of either view.
    pub points: [&'a Raster<Vector3<f32>>; 2],
    /// Confidences of either view, at least one.
    pub confidence: [&'a Raster<f32>; 2],
}

/// How alignment is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GlobalConfig {
    /// Iterations at most.
    pub iterations: usize,
    /// Pixels of a view that decide on cameras; all pixels get a depth.
    pub pixels_per_view: usize,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        Self { iterations: 100, pixels_per_view: 4000 }
    }
}

/// A scene that all pairs agree with.
#[derive(Debug, Clone)]
pub struct GlobalAlignment {
    /// The views.
    pub views: Vec<GlobalView>,
    /// Where the frame of each pair is.
    pub world_from_pairs: Vec<Sim3>,
    /// The reference's loss before and after.
    pub loss: [f64; 2],
    /// Iterations that were done.
    pub iterations: usize,
}

/// Returns the scene that pairs agree with best; `sizes` are the columns and rows of the views.
///
/// # Errors
/// Where maps do not have the views' sizes, a view is first in no pair, or nothing ties some views
/// to the others.
pub fn align_global(
    sizes: &[(usize, usize)],
    pairs: &[PairwiseMaps<'_>],
    config: &GlobalConfig,
) -> Result<GlobalAlignment> {
    align_global_watched(sizes, pairs, config, &|_| ())
}

/// Does the same, and tells `watch` of each iteration.
///
/// # Errors
/// As [`align_global`].
pub fn align_global_watched(
    sizes: &[(usize, usize)],
    pairs: &[PairwiseMaps<'_>],
    config: &GlobalConfig,
    watch: Watch<'_>,
) -> Result<GlobalAlignment> {
    check(sizes, pairs)?;
    let start = start::start(sizes, pairs)?;
    let before = global_loss(&start.views, pairs, &start.world_from_pairs);
    let (mut found, iterations) = minimize::minimize(start, pairs, config, watch);
    minimize::settle_depths(&mut found, pairs);
    let after = global_loss(&found.views, pairs, &found.world_from_pairs);
    Ok(GlobalAlignment {
        views: found.views,
        world_from_pairs: found.world_from_pairs,
        loss: [before, after],
        iterations,
    })
}

fn check(sizes: &[(usize, usize)], pairs: &[PairwiseMaps<'_>]) -> Result<()> {
    for pair in pairs {
        for side in 0..2 {
            let (points, confidence) = (pair.points[side], pair.confidence[side]);
            let found =
                [(points.width(), points.height()), (confidence.width(), confidence.height())];
            let size = sizes.get(pair.views[side]);
            if found.iter().any(|found| Some(found) != size) {
                return Err(Error::ShapeMismatch {
                    what: "maps of a pair",
                    expected: format!("{size:?}"),
                    found: format!("{found:?}"),
                });
            }
        }
    }
    let lacking = (0..sizes.len()).find(|view| !pairs.iter().any(|pair| pair.views[0] == *view));
    match lacking {
        None if !sizes.is_empty() => Ok(()),
        _ => {
            let what = "aligning views of which each is first in a pair";
            Err(Error::TooFewCorrespondences { what, got: pairs.len(), need: sizes.len().max(2) })
        }
    }
}
