//! What is kept of a pair.

use nalgebra::Vector3;

use super::super::maps::{DescriptorGrid, ViewMaps};
use super::super::pair::SymmetricMaps;
use crate::alignment::sparse::CELL_PX;
use crate::error::Result;
use crate::matching::{ConfidentMap, ConfidentMatch, DescriptorMap, symmetric_matches};
use crate::raster::Raster;

/// Distance of the seeds of matches.
const SEED_STEP_PX: usize = 8;

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
    /// Pixels that show the same point, from networks with descriptors.
    pub matches: Option<Vec<ConfidentMatch>>,
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

fn matches(maps: &SymmetricMaps) -> Result<Option<Vec<ConfidentMatch>>> {
    let all =
        [&maps.forward.first, &maps.forward.second, &maps.backward.second, &maps.backward.first];
    let grids = all.map(|maps| maps.descriptors.as_ref().map(|grid| (maps, grid)));
    let [Some(a1), Some(b1), Some(a2), Some(b2)] = grids else { return Ok(None) };
    let orders = [[map(a1)?, map(b1)?], [map(a2)?, map(b2)?]];
    symmetric_matches(orders, SEED_STEP_PX).map(Some)
}

fn map<'a>((maps, grid): (&ViewMaps, &'a DescriptorGrid)) -> Result<ConfidentMap<'a>> {
    let (width, height) = (maps.points.width(), maps.points.height());
    let descriptors = DescriptorMap::new(width, height, grid.dim, &grid.values)?;
    ConfidentMap::new(descriptors, &grid.confidence)
}
