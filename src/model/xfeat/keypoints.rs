//! From the network's maps to lists of features.

use rayon::prelude::*;

use super::conv::FeatureMap;
use super::sampling::{bicubic, bilinear, normalize, place};
use super::{CELL_PX, DESCRIPTOR_DIM, DenseFeatures};
use crate::error::Result;
use crate::raster::Raster;

/// How far a keypoint's probability has to be the largest, in pixels to each side.
const SUPPRESSION_PX: usize = 2;

/// Which keypoints are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseConfig {
    /// At most this many, the best first.
    pub max_keypoints: usize,
    /// Least probability of a keypoint, 0..1.
    pub min_probability: f32,
}

impl Default for SparseConfig {
    fn default() -> Self {
        Self { max_keypoints: 4096, min_probability: 0.05 }
    }
}

/// A list of features, the best first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LocalFeatures {
    /// Where they are in the given image: column and row, of centres of pixels.
    pub pixels: Vec<[f32; 2]>,
    /// How good they are, 0..1.
    pub scores: Vec<f32>,
    /// 64 numbers for each: of unit length for keypoints, of any length for cells.
    pub descriptors: Vec<f32>,
    /// Pixels of the given image for each pixel that the network saw.
    pub scales: Vec<f32>,
}

impl LocalFeatures {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.pixels.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Returns the descriptor of a feature.
    pub fn descriptor(&self, index: usize) -> &[f32] {
        &self.descriptors[index * DESCRIPTOR_DIM..(index + 1) * DESCRIPTOR_DIM]
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.pixels.append(&mut other.pixels);
        self.scores.append(&mut other.scores);
        self.descriptors.append(&mut other.descriptors);
        self.scales.append(&mut other.scales);
    }
}

impl DenseFeatures {
    /// Returns columns and rows of the dense maps: an eighth of the resized image.
    pub fn size(&self) -> (usize, usize) {
        (self.descriptors.width, self.descriptors.height)
    }

    /// Returns the unit descriptors of all cells, 64 numbers for each in row order.
    pub fn descriptors(&self) -> Vec<f32> {
        let mut values = self.descriptors.to_values();
        values.par_chunks_exact_mut(DESCRIPTOR_DIM).for_each(normalize);
        values
    }

    /// Returns how reliable each cell's descriptor is, 0..1, in row order.
    pub fn reliability(&self) -> Vec<f32> {
        self.reliability.to_values()
    }

    /// Returns how likely each pixel of the resized image is a keypoint, 0..1.
    pub fn keypoint_probability(&self) -> &Raster<f32> {
        &self.keypoint_probability
    }

    /// Returns where the centre of a cell is in the given image.
    pub fn cell_centre(&self, column: usize, row: usize) -> [f32; 2] {
        let centre = (CELL_PX as f32 - 1.0) / 2.0;
        let at =
            |cell: usize, scale: f32| (cell as f32 * CELL_PX as f32 + centre + 0.5) * scale - 0.5;
        [at(column, self.image_scale[0]), at(row, self.image_scale[1])]
    }

    /// Returns the keypoints: where the probability is the largest of 5×5 pixels, the best by
    /// probability times reliability first, with unit descriptors.
    pub fn keypoints(&self, config: &SparseConfig) -> LocalFeatures {
        let mut found = self.scored_peaks(config.min_probability);
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        found.truncate(config.max_keypoints);
        let unit = self.unit_descriptors();
        let mut descriptors = vec![0.0; found.len() * DESCRIPTOR_DIM];
        descriptors.par_chunks_exact_mut(DESCRIPTOR_DIM).zip(&found).for_each(|(out, peak)| {
            bicubic(&unit, self.place(peak.1), out);
            normalize(out);
        });
        let width = self.keypoint_probability.width();
        let pixel = |i: usize| {
            [(i % width) as f32 * self.image_scale[0], (i / width) as f32 * self.image_scale[1]]
        };
        LocalFeatures {
            pixels: found.iter().map(|&(_, i)| pixel(i)).collect(),
            scores: found.iter().map(|&(score, _)| score).collect(),
            scales: vec![1.0; found.len()],
            descriptors,
        }
    }

    /// Returns the most reliable cells with their descriptors of any length, for matching with
    /// refinement. As the network was trained, a cell lies at its first pixel.
    pub fn cells(&self, max_cells: usize) -> LocalFeatures {
        let reliability = self.reliability();
        let mut order: Vec<usize> = (0..reliability.len()).collect();
        order.sort_by(|&a, &b| reliability[b].total_cmp(&reliability[a]).then(a.cmp(&b)));
        order.truncate(max_cells);
        let width = self.descriptors.width;
        let at = |cell: usize, scale: f32| (cell * CELL_PX) as f32 * scale;
        let [scale_x, scale_y] = self.image_scale;
        let descriptor = |&i: &usize| {
            &self.descriptors.row(i / width)[i % width * DESCRIPTOR_DIM..][..DESCRIPTOR_DIM]
        };
        LocalFeatures {
            pixels: order
                .iter()
                .map(|i| [at(i % width, scale_x), at(i / width, scale_y)])
                .collect(),
            scores: order.iter().map(|&i| reliability[i]).collect(),
            descriptors: order.iter().flat_map(descriptor).copied().collect(),
            scales: vec![1.0; order.len()],
        }
    }

    /// Score and index of every pixel that stands out.
    fn scored_peaks(&self, min_probability: f32) -> Vec<(f32, usize)> {
        let probability = &self.keypoint_probability;
        let largest = windowed_max(probability);
        let (width, height) = (probability.width(), probability.height());
        let stands_out = |i: usize| {
            let value = probability.values()[i];
            value > min_probability && value >= largest[i]
        };
        // The reference reads probabilities beyond the last column and row as zero, and the first
        // pixel of all is what it fills lists up with.
        let readable = |i: usize| i > 0 && i % width + 1 < width && i / width + 1 < height;
        (0..width * height)
            .into_par_iter()
            .filter(|&i| stands_out(i) && readable(i))
            .map(|i| {
                let reliability = bilinear(&self.reliability, self.place(i));
                (probability.values()[i] * reliability, i)
            })
            .filter(|&(score, _)| score > 0.0)
            .collect()
    }

    /// Where a pixel of the resized image lies in the dense maps.
    fn place(&self, index: usize) -> [f32; 2] {
        let (width, height) =
            (self.keypoint_probability.width(), self.keypoint_probability.height());
        let (x, y) = ((index % width) as f32, (index / width) as f32);
        [place(x, width, self.descriptors.width), place(y, height, self.descriptors.height)]
    }

    fn unit_descriptors(&self) -> FeatureMap {
        let mut unit = self.descriptors.clone();
        unit.par_rows_mut().for_each(|row| {
            row.chunks_exact_mut(DESCRIPTOR_DIM).for_each(normalize);
        });
        unit
    }
}

/// Returns the logistic function of all numbers of a map.
pub(super) fn sigmoid(mut map: FeatureMap) -> FeatureMap {
    map.par_rows_mut().for_each(|row| row.iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp())));
    map
}

/// Returns the probability of each pixel, from the logits of each cell's 64 pixels and of "none".
pub(super) fn probability(logits: &FeatureMap) -> Result<Raster<f32>> {
    let (width, height) = (logits.width * CELL_PX, logits.height * CELL_PX);
    let mut values = vec![0.0; width * height];
    values.par_chunks_exact_mut(CELL_PX * width).enumerate().for_each(|(row, out)| {
        for (column, cell) in logits.row(row).chunks_exact(logits.channels).enumerate() {
            let shares = softmax(cell);
            for (dy, part) in shares.chunks_exact(CELL_PX).take(CELL_PX).enumerate() {
                let start = dy * width + column * CELL_PX;
                out[start..start + CELL_PX].copy_from_slice(part);
            }
        }
    });
    Raster::new(width, height, values)
}

/// Exponentials of the logits over their sum.
pub(super) fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut shares: Vec<f32> = logits.iter().map(|v| (v - largest).exp()).collect();
    let sum: f32 = shares.iter().sum();
    shares.iter_mut().for_each(|v| *v /= sum);
    shares
}

/// The largest value of the square around each pixel.
fn windowed_max(raster: &Raster<f32>) -> Vec<f32> {
    let (width, height) = (raster.width(), raster.height());
    let window =
        |i: usize, n: usize| i.saturating_sub(SUPPRESSION_PX)..(i + SUPPRESSION_PX + 1).min(n);
    let mut along = vec![0.0; width * height];
    along.par_chunks_exact_mut(width).zip(raster.values().par_chunks_exact(width)).for_each(
        |(out, row)| {
            for (x, out) in out.iter_mut().enumerate() {
                *out = row[window(x, width)].iter().copied().fold(0.0, f32::max);
            }
        },
    );
    let mut largest = vec![0.0f32; width * height];
    largest.par_chunks_exact_mut(width).enumerate().for_each(|(y, out)| {
        for row in window(y, height) {
            let row = &along[row * width..(row + 1) * width];
            out.iter_mut().zip(row).for_each(|(out, &v)| *out = out.max(v));
        }
    });
    largest
}
