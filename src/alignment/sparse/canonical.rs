//! One view from many: what several pairs say of a view's own geometry, put together.

use nalgebra::{Point2, Vector2, Vector3};

use super::scene::{Sample, SparseView};
use crate::error::{Error, Result};
use crate::geometry::focal::{focal_from_sightings, ordinary_focal_px, sighting};
use crate::raster::Raster;

/// Side of the cells of pixels that share a depth anchor.
pub const CELL_PX: usize = 8;
/// Confidences begin at one, which says nothing.
const NO_CONFIDENCE: f64 = 0.999;
/// Limits of the focal length, in multiples of the ordinary one.
const FOCAL_RANGE: [f64; 2] = [0.5, 3.5];
const FOCAL_ITERATIONS: usize = 10;
/// The nearest that an anchor is taken to be, as a share of the median depth.
const MIN_DEPTH_SHARE: f64 = 1e-3;

/// Sums over the pairs of a pixel.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    weighted_point: Vector3<f64>,
    weight: f64,
    squared_weight: f64,
    radius: f64,
    weighted_angle: f64,
}

/// Takes the pointmaps of a view one by one.
#[derive(Debug, Clone)]
pub struct CanonicalBuilder {
    width: usize,
    height: usize,
    maps: usize,
    sums: Vec<Sums>,
}

impl CanonicalBuilder {
    /// Returns a builder for images of this size, whose sides are multiples of [`CELL_PX`].
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for other sides.
    pub fn new(width: usize, height: usize) -> Result<Self> {
        let fits = |side: usize| side > 0 && side.is_multiple_of(CELL_PX);
        if fits(width) && fits(height) {
            let sums = vec![Sums::default(); width * height];
            return Ok(Self { width, height, maps: 0, sums });
        }
        Err(size_mismatch("sides that are multiples of 8".into(), width, height))
    }

    /// Adds what one pair says: points in the view's own frame with their confidences.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for maps of another size.
    pub fn add(&mut self, points: &Raster<Vector3<f32>>, confidence: &Raster<f32>) -> Result<()> {
        for (width, height) in
            [(points.width(), points.height()), (confidence.width(), confidence.height())]
        {
            if (width, height) != (self.width, self.height) {
                return Err(size_mismatch(
                    format!("{}x{}", self.width, self.height),
                    width,
                    height,
                ));
            }
        }
        for (i, sums) in self.sums.iter_mut().enumerate() {
            let (x, y) = (i % self.width, i / self.width);
            let point = points.at(x, y).cast::<f64>();
            let anchor = points.at(anchor_of(x), anchor_of(y)).cast::<f64>();
            let weight = f64::from(confidence.at(x, y)) - NO_CONFIDENCE;
            let radius = (point.xy() - anchor.xy()).norm().max(1e-8);
            sums.weighted_point += point * weight;
            sums.weight += weight;
            sums.squared_weight += weight * weight;
            sums.radius += radius;
            sums.weighted_angle += ((point.z - anchor.z) / radius).atan() * weight;
        }
        self.maps += 1;
        Ok(())
    }

    /// Returns the view, or `None` where no pair has said anything.
    pub fn finish(self) -> Option<CanonicalView> {
        if self.maps == 0 {
            return None;
        }
        let (width, height) = (self.width, self.height);
        let point = |s: &Sums| s.weighted_point / s.weight;
        let points = Raster::from_fn(width, height, |x, y| point(&self.sums[y * width + x]));
        // Depth over that of the anchor, by the mean slope between the two: slopes of different
        // pairs agree where their scales do not.
        let depth_ratio = Raster::from_fn(width, height, |x, y| {
            let sums = &self.sums[y * width + x];
            let anchor_z = points.at(anchor_of(x), anchor_of(y)).z.max(f64::from(f32::EPSILON));
            let slope = (sums.weighted_angle / sums.weight).tan();
            let ratio = 1.0 + sums.radius / self.maps as f64 * slope / anchor_z;
            if ratio.is_finite() { ratio } else { 1.0 }
        });
        let confidence = Raster::from_fn(width, height, |x, y| {
            let sums = &self.sums[y * width + x];
            sums.squared_weight / sums.weight
        });
        let focal_px = focal_px(&points);
        Some(CanonicalView { points, depth_ratio, confidence, focal_px })
    }
}

/// What all pairs say of a view together.
#[derive(Debug, Clone)]
pub struct CanonicalView {
    /// Mean points in the view's frame.
    pub points: Raster<Vector3<f64>>,
    /// Depth of each pixel over that of its cell's anchor.
    pub depth_ratio: Raster<f64>,
    /// Mean confidence, less one.
    pub confidence: Raster<f64>,
    /// The focal length that the points show.
    pub focal_px: f64,
}

impl CanonicalView {
    /// Returns the sample of a pixel of the view.
    pub fn sample(&self, x: usize, y: usize) -> Sample {
        let ratio = self.depth_ratio.at(x, y) / self.depth_ratio.at(anchor_of(x), anchor_of(y));
        Sample {
            anchor: y / CELL_PX * (self.points.width() / CELL_PX) + x / CELL_PX,
            depth_ratio: if ratio.is_finite() { ratio } else { 1.0 },
            pixel: Point2::new(x as f64, y as f64),
        }
    }

    /// Returns the view for alignment with these samples.
    pub fn sparse_view(&self, samples: Vec<Sample>) -> SparseView {
        let (width, height) = (self.points.width(), self.points.height());
        let size = Vector2::new(width as f64, height as f64);
        let confidences = self.confidence.values();
        SparseView {
            image_size_px: size,
            base_focal_px: self.focal_px,
            principal_point_px: Point2::from(size / 2.0),
            anchor_depths: self.anchor_depths(),
            confidence: confidences.iter().sum::<f64>() / confidences.len() as f64,
            samples,
        }
    }

    /// Depths at the anchors; what is not in front of the camera is put close to it.
    fn anchor_depths(&self) -> Vec<f64> {
        let middle = CELL_PX / 2;
        let rows = (middle..self.points.height()).step_by(CELL_PX);
        let columns = || (middle..self.points.width()).step_by(CELL_PX);
        let mut depths: Vec<f64> =
            rows.flat_map(|y| columns().map(move |x| self.points.at(x, y).z)).collect();
        let mut sorted: Vec<f64> = depths.iter().copied().filter(|z| *z > 0.0).collect();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or(1.0);
        for depth in &mut depths {
            *depth = if depth.is_finite() { depth.max(MIN_DEPTH_SHARE * median) } else { median };
        }
        depths
    }
}

/// The coordinate of the anchor of a pixel's cell.
fn anchor_of(pixel: usize) -> usize {
    pixel / CELL_PX * CELL_PX + CELL_PX / 2
}

fn focal_px(points: &Raster<Vector3<f64>>) -> f64 {
    let (width, height) = (points.width(), points.height());
    let centre = Vector2::new(width as f64, height as f64) / 2.0;
    let seen = points.values().iter().enumerate().map(|(i, point)| {
        sighting(Vector2::new((i % width) as f64, (i / width) as f64) - centre, point)
    });
    let ordinary = ordinary_focal_px(width, height);
    let found = focal_from_sightings(&seen.collect::<Vec<_>>(), FOCAL_ITERATIONS);
    found.unwrap_or(ordinary).clamp(FOCAL_RANGE[0] * ordinary, FOCAL_RANGE[1] * ordinary)
}

fn size_mismatch(expected: String, width: usize, height: usize) -> Error {
    let found = format!("{width}x{height}");
    Error::ShapeMismatch { what: "a pointmap of a canonical view", expected, found }
}
