//! DUSt3R's way: all pointmaps of all pairs at once.

use super::{OwnMaps, PairGeometry, ReconstructedView, Reconstruction};
use crate::alignment::Watch;
use crate::alignment::global::{GlobalConfig, GlobalView, PairwiseMaps, align_global_watched};
use crate::error::{Error, Result};
use crate::geometry::{Intrinsics, Se3};
use crate::raster::Raster;

/// Returns the scene of views of these sizes from all pairs; `watch` is told of the iterations of
/// their alignment.
///
/// # Errors
/// Where a pair has not kept all of its pixels, a view is in no pair, or the pairs do not tie all
/// views together.
pub fn reconstruct_global(
    sizes: &[(usize, usize)],
    pairs: &[([usize; 2], PairGeometry)],
    config: &GlobalConfig,
    watch: Watch<'_>,
) -> Result<Reconstruction> {
    if pairs.iter().any(|(_, pair)| pair.matches.is_some()) {
        return Err(Error::Usage("global alignment needs pairs of DUSt3R, with all pixels".into()));
    }
    let maps: Vec<PairwiseMaps<'_>> = pairs.iter().flat_map(both).collect();
    let aligned = align_global_watched(sizes, &maps, config, watch)?;
    let views = aligned.views.iter().enumerate().map(|(i, view)| {
        let confidence = best_confidence(i, &maps, view);
        reconstructed(view, confidence)
    });
    let reconstruction = Reconstruction {
        views: views.collect(),
        tracks: Vec::new(),
        is_metric: false,
        loss: Some(aligned.loss),
    };
    Ok(reconstruction.in_first_view())
}

fn both((views, pair): &([usize; 2], PairGeometry)) -> [PairwiseMaps<'_>; 2] {
    let [a, b] = *views;
    [
        of_order([a, b], &pair.first, &pair.second_in_first),
        of_order([b, a], &pair.second, &pair.first_in_second),
    ]
}

fn of_order<'a>(views: [usize; 2], first: &'a OwnMaps, second: &'a OwnMaps) -> PairwiseMaps<'a> {
    PairwiseMaps {
        views,
        points: [&first.points, &second.points],
        confidence: [&first.confidence, &second.confidence],
    }
}

/// The largest confidence that any pair has in each pixel.
fn best_confidence(index: usize, maps: &[PairwiseMaps<'_>], view: &GlobalView) -> Raster<f32> {
    let (width, height) = (view.depth.width(), view.depth.height());
    let own: Vec<&Raster<f32>> = maps
        .iter()
        .flat_map(|pair| (0..2).filter(|&s| pair.views[s] == index).map(|s| pair.confidence[s]))
        .collect();
    Raster::from_fn(width, height, |x, y| own.iter().map(|c| c.at(x, y)).fold(0.0, f32::max))
}

fn reconstructed(view: &GlobalView, confidence: Raster<f32>) -> ReconstructedView {
    let (width, height) = (view.depth.width() as f64, view.depth.height() as f64);
    let pose: Se3 = view.world_from_camera;
    ReconstructedView {
        depth: view.depth.map(|z| z as f32),
        confidence,
        intrinsics: Intrinsics {
            fx: view.focal_px,
            fy: view.focal_px,
            cx: width / 2.0,
            cy: height / 2.0,
        },
        world_from_camera: pose,
    }
}
