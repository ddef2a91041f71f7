//! What is kept of a pair.

use nalgebra::Vector3;

use super::super::maps::ViewMaps;
use super::super::pair::SymmetricMaps;
use crate::alignment::sparse::CELL_PX;
use crate::error::Result;
use crate::matching::{ConfidentMap, ConfidentMatch, DescriptorMap, symmetric_matches};
use crate::raster::Raster;

/// Distance of the seeds of matches.
pub(super) const SEED_STEP_PX: usize = 8;

/// Places of one point in what the network sees of two views, and how far that can be trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlacedMatch {
    /// Column and row in either view; between pixels where matching has looked closer.
    pub places: [[f32; 2]; 2],
    /// Confidence, in the units of the network's.
    pub confidence: f32,
}

impl From<ConfidentMatch> for PlacedMatch {
    fn from(found: ConfidentMatch) -> Self {
        let places = [found.pixels.a, found.pixels.b].map(|pixel| pixel.map(|v| v as f32));
        Self { places, confidence: found.confidence }
    }
}

/// Points with their confidences.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnMaps {
    /// The points.
    pub points: Raster<Vector3<f32>>,
    /// Their confidences.
    pub confidence: Raster<f32>,
}

impl OwnMaps {
    fn of(maps: &ViewMaps) -> Self {
        Self { points: maps.points.clone(), confidence: maps.confidence.clone() }
    }

    fn every(maps: &ViewMaps, step: usize) -> Self {
        let (width, height) = (maps.points.width(), maps.points.height());
        let size = (width.div_ceil(step), height.div_ceil(step));
        let pick = |x: usize, y: usize| (x * step, y * step);
        Self {
            points: Raster::from_fn(size.0, size.1, |x, y| {
                let (x, y) = pick(x, y);
                maps.points.at(x, y)
            }),
            confidence: Raster::from_fn(size.0, size.1, |x, y| {
                let (x, y) = pick(x, y);
                maps.confidence.at(x, y)
            }),
        }
    }
}

/// What is kept of a pair that a network has seen in both orders.
#[derive(Debug, Clone, PartialEq)]
pub struct PairGeometry {
    /// The first view in its own frame.
    pub first: OwnMaps,
    /// The second view in its own frame.
    pub second: OwnMaps,
    /// The second view in the first one's frame; of pairs with matches one pixel of each cell.
    pub second_in_first: OwnMaps,
    /// The first view in the second one's frame; likewise.
    pub first_in_second: OwnMaps,
    /// Places that show the same point, from networks with descriptors.
    pub matches: Option<Vec<PlacedMatch>>,
}

impl PairGeometry {
    /// Returns what is to be kept of `maps`.
    ///
    /// # Errors
    /// Where descriptors of the two views do not fit each other.
    pub fn of(maps: &SymmetricMaps) -> Result<Self> {
        let matches = matches(maps)?;
        let step = if matches.is_some() { CELL_PX } else { 1 };
        Ok(Self {
            first: OwnMaps::of(&maps.forward.first),
            second: OwnMaps::of(&maps.backward.first),
            second_in_first: OwnMaps::every(&maps.forward.second, step),
            first_in_second: OwnMaps::every(&maps.backward.second, step),
            matches,
        })
    }
}

fn matches(maps: &SymmetricMaps) -> Result<Option<Vec<PlacedMatch>>> {
    let all =
        [&maps.forward.first, &maps.forward.second, &maps.backward.second, &maps.backward.first];
    let [Some(a1), Some(b1), Some(a2), Some(b2)] = all.map(confident_map) else { return Ok(None) };
    let found = symmetric_matches([[a1?, b1?], [a2?, b2?]], SEED_STEP_PX)?;
    Ok(Some(found.into_iter().map(PlacedMatch::from).collect()))
}

/// The descriptors of a view, if it has any.
pub(super) fn confident_map(maps: &ViewMaps) -> Option<Result<ConfidentMap<'_>>> {
    let grid = maps.descriptors.as_ref()?;
    let (width, height) = (maps.points.width(), maps.points.height());
    let map = DescriptorMap::new(width, height, grid.dim, &grid.values);
    Some(map.and_then(|map| ConfidentMap::new(map, &grid.confidence)))
}
