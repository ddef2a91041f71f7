//! Semi-dense matching: cells at two sizes of the image, and the offset of each match.

use super::conv::FeatureMap;
use super::image::resized;
use super::keypoints::{LocalFeatures, softmax};
use super::{CELL_PX, DESCRIPTOR_DIM, XFeat};
use crate::error::Result;
use crate::raster::Raster;

/// Sizes at which cells are found, and the share of cells that each gives.
const SCALES: [(f64, f64); 2] = [(0.6, 0.2), (1.3, 0.8)];
/// Sharpens the network's vote for an offset.
const SHARPNESS: f32 = 3.0;
/// Least share of the vote that the best offset must have.
const MIN_VOTE: f32 = 0.25;

/// Matches that are refined side by side.
const ROW_LEN: usize = 32;

/// A match of two cells, refined.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RefinedMatch {
    /// Index of the feature in the first list.
    pub a: usize,
    /// Index of the feature in the second list.
    pub b: usize,
    /// Column and row in the first image, where the second's cell is seen.
    pub pixel_a: [f32; 2],
    /// Column and row in the second image.
    pub pixel_b: [f32; 2],
}

impl XFeat {
    /// Returns the most reliable cells of an image at two sizes, the smaller size's first.
    ///
    /// # Errors
    /// As [`XFeat::features`], for the smaller size.
    pub fn cells_at_two_sizes(
        &self,
        image: &Raster<f32>,
        max_cells: usize,
    ) -> Result<LocalFeatures> {
        let mut all = LocalFeatures::default();
        for (scale, share) in SCALES {
            let size = |pixels: usize| (scale * pixels as f64).floor() as usize;
            let size = (size(image.width()), size(image.height()));
            let step = (1.0 / scale) as f32;
            let features = self.features(&resized(image, size, (step, step)))?;
            let mut cells = features.cells((max_cells as f64 * share) as usize);
            cells.pixels.iter_mut().for_each(|p| *p = p.map(|v| v / scale as f32));
            cells.scales.fill(step);
            all.append(cells);
        }
        Ok(all)
    }

    /// Returns those of `matches` (pairs of indices) for which the network sees how far the cell of
    /// the first image lies from that of the second, moved by that.
    pub fn refine(
        &self,
        a: &LocalFeatures,
        b: &LocalFeatures,
        matches: &[(u32, u32)],
    ) -> Vec<RefinedMatch> {
        // Rows of pairs, so that there is work for several threads.
        let mut pairs =
            FeatureMap::zeros(ROW_LEN, matches.len().div_ceil(ROW_LEN), 2 * DESCRIPTOR_DIM);
        for (row, matches) in pairs.rows_mut().zip(matches.chunks(ROW_LEN)) {
            for (pair, &(i, j)) in row.chunks_exact_mut(2 * DESCRIPTOR_DIM).zip(matches) {
                pair[..DESCRIPTOR_DIM].copy_from_slice(a.descriptor(i as usize));
                pair[DESCRIPTOR_DIM..].copy_from_slice(b.descriptor(j as usize));
            }
        }
        let votes = self.fine.forward(&pairs).to_values();
        let votes = votes.chunks_exact(CELL_PX * CELL_PX).zip(matches);
        votes
            .filter_map(|(votes, &(i, j))| {
                let (i, j) = (i as usize, j as usize);
                let offset = offset(votes)?.map(|v| v * a.scales[i]);
                let pixel_a = [a.pixels[i][0] + offset[0], a.pixels[i][1] + offset[1]];
                Some(RefinedMatch { a: i, b: j, pixel_a, pixel_b: b.pixels[j] })
            })
            .collect()
    }
}

/// The mean offset of a vote over 8×8 pixels about the fifth of each axis, unless nobody agrees.
fn offset(votes: &[f32]) -> Option<[f32; 2]> {
    let sharp: Vec<f32> = votes.iter().map(|v| SHARPNESS * v).collect();
    let shares = softmax(&sharp);
    let best = shares.iter().copied().fold(0.0, f32::max);
    let centre = (CELL_PX / 2) as f32;
    let mut mean = [0.0; 2];
    for (i, share) in shares.iter().enumerate() {
        mean[0] += share * ((i % CELL_PX) as f32 - centre);
        mean[1] += share * ((i / CELL_PX) as f32 - centre);
    }
    (best > MIN_VOTE).then_some(mean)
}
