//! The points of a view that other views are compared with.

use crate::dense_residual::ReferencePoint;
use crate::patches::{Patch, select_patches};
use crate::pointmap::Pointmap;
use crate::pyramid::{Level, Pyramid};
use crate::raster::Raster;

/// The points of a view at the sizes of its pyramid, finest first.
#[derive(Debug, Clone)]
pub struct Reference {
    levels: Vec<Vec<ReferencePoint>>,
    patches: Vec<Vec<Patch>>,
}

impl Reference {
    /// Returns the points of each level of the pyramid: of each cell of a grid the pixel of the
    /// strongest gradient, so that texture counts and the view is covered. The finest level has
    /// about `max_points`, each coarser one half as many, but a tenth at least.
    pub fn new(pyramid: &Pyramid, pointmap: &Pointmap, max_points: usize) -> Self {
        let mut pointmap = measured(pyramid, pointmap);
        let mut levels = Vec::with_capacity(pyramid.levels().len());
        for (index, level) in pyramid.levels().iter().enumerate() {
            if index > 0 {
                pointmap = pointmap.halved();
            }
            let points = (max_points >> index).max(max_points / 10);
            levels.push(select_points(level, &pointmap, points));
        }
        Self { levels, patches: Vec::new() }
    }

    /// Returns the reference with pieces of its image that are to be found in others, about
    /// `max_patches` of each level.
    #[must_use]
    pub fn with_patches(self, pyramid: &Pyramid, pointmap: &Pointmap, max_patches: usize) -> Self {
        let mut pointmap = measured(pyramid, pointmap);
        let mut patches = Vec::with_capacity(pyramid.levels().len());
        for (index, level) in pyramid.levels().iter().enumerate() {
            if index > 0 {
                pointmap = pointmap.halved();
            }
            patches.push(select_patches(level, &pointmap, max_patches));
        }
        Self { patches, ..self }
    }

    /// Returns the pieces of the image that are looked for in others, finest level first; nothing where
    /// none were asked for.
    pub fn patches(&self) -> &[Vec<Patch>] {
        &self.patches
    }

    /// Returns the points of each level, finest first.
    pub fn levels(&self) -> &[Vec<ReferencePoint>] {
        &self.levels
    }
}

/// Where a larger share of a view's pixels has a point that was measured, others are left out.
const MEASURED_FRAC: f64 = 0.05;

/// Returns the points of a view at pixels to which its pyramid knows a depth; all points where there are
/// hardly any such. What a model adds beside a sensor is too uncertain to be compared with.
pub fn measured(pyramid: &Pyramid, pointmap: &Pointmap) -> Pointmap {
    let Some(level) = pyramid.levels().first() else { return pointmap.clone() };
    let confidence = Raster::from_fn(pointmap.width(), pointmap.height(), |x, y| {
        if level.depth_m(x, y) > 0.0 { pointmap.confidence(x, y) } else { 0.0 }
    });
    let measured = pointmap.with_confidence(confidence);
    measured.filter(|m| m.valid_frac() >= MEASURED_FRAC).unwrap_or_else(|| pointmap.clone())
}

/// Returns about `max_points` points of one level, one of each cell of a grid, in row order; cells
/// that the border cuts may be more.
pub fn select_points(level: &Level, pointmap: &Pointmap, max_points: usize) -> Vec<ReferencePoint> {
    let pixels = level.width() * level.height();
    let cell = (pixels as f64 / max_points.max(1) as f64).sqrt().ceil().max(1.0) as usize;
    let reach = if cell > 1 { 2 } else { 1 };
    let mut points = Vec::with_capacity(max_points);
    for top in (0..level.height()).step_by(cell) {
        for left in (0..level.width()).step_by(cell) {
            let best = strongest_pixel(level, pointmap, (left, top), cell);
            points.extend(best.and_then(|(x, y)| reference_point(level, pointmap, x, y, reach)));
        }
    }
    points
}

fn strongest_pixel(
    level: &Level,
    pointmap: &Pointmap,
    (left, top): (usize, usize),
    cell: usize,
) -> Option<(usize, usize)> {
    let (right, bottom) = ((left + cell).min(level.width()), (top + cell).min(level.height()));
    let mut best = None;
    for y in top..bottom {
        for x in left..right {
            let strength = level.gradient_squared(x, y);
            let stronger = best.is_none_or(|(_, s)| strength > s);
            if stronger && pointmap.confidence(x, y) > 0.0 {
                best = Some(((x, y), strength));
            }
        }
    }
    best.map(|(pixel, _)| pixel)
}

fn reference_point(
    level: &Level,
    pointmap: &Pointmap,
    x: usize,
    y: usize,
    reach: usize,
) -> Option<ReferencePoint> {
    Some(ReferencePoint {
        point_in_reference: pointmap.point(x, y)?,
        normal_in_reference: pointmap.normal(x, y, reach),
        intensity: level.intensity(x, y),
        depth_variance_m2: 1.0 / pointmap.confidence(x, y),
    })
}
