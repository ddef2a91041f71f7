//! Patches: small pieces of a view that are found again in another one, each by itself.
//!
//! Where a pose puts a patch its image is laid over the other, warped as its surface is seen from there,
//! and moved until the two agree up to contrast and brightness, which may differ from patch to patch
//! (Lucas and Kanade, 1981, in the form that Baker and Matthews call forwards additive: "Lucas-Kanade 20
//! years on", IJCV 2004). What is found is a pixel, and by the camera a ray, that owes nothing to the
//! depth of the point.

use nalgebra::{Matrix2, Point3, Vector2, Vector3};

use crate::geometry::{Camera, Se3};
use crate::pointmap::Pointmap;
use crate::pyramid::Level;

/// Pixels to each side of a patch's middle.
const REACH: usize = 4;
/// Pixels of a side.
const SIDE: usize = 2 * REACH + 1;
const PIXELS: usize = SIDE * SIDE;
/// Every so many pixels a patch may begin.
const STEP: usize = 3;
/// A patch holds in both directions that shows at least this mean squared gradient in each, (0..255)².
const MIN_TEXTURE: f32 = 10.0;
/// Depths within a patch that differ by more are of several surfaces.
const SAME_SURFACE_FRAC: f32 = 0.05;
/// Steps until a patch lies still.
const MAX_STEPS: usize = 8;
/// A step shorter than this is the last, pixels.
const SMALL_STEP_PX: f64 = 0.01;
/// Found further than this from where it should be, it is another one, pixels.
const MAX_WAY_PX: f64 = 4.0;
/// Less alike than this (correlation), it is not found.
const MIN_CORRELATION: f32 = 0.9;

/// A piece of a view.
#[derive(Debug, Clone)]
pub struct Patch {
    /// The point in its middle, in the view's optical frame.
    pub point_in_reference: Vector3<f32>,
    /// Variance of that point's depth, m².
    pub depth_variance_m2: f32,
    /// The points a pixel to the right and a pixel below, on one plane with it.
    beside: [Vector3<f32>; 2],
    /// Intensities less their mean, row by row.
    values: [f32; PIXELS],
}

/// Where a patch was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoundPatch {
    /// The pixel on which its middle is.
    pub pixel: Vector2<f64>,
    /// How alike it is there (correlation).
    pub correlation: f32,
}

/// The step by which a patch agrees better with another view, and how it is there before.
struct Step {
    step: Vector2<f64>,
    correlation: f32,
}

/// Returns about `max_patches` patches of a level, of each cell of a grid the one that holds best in
/// both directions (Shi and Tomasi, 1994), in row order.
pub fn select_patches(level: &Level, pointmap: &Pointmap, max_patches: usize) -> Vec<Patch> {
    let pixels = level.width() * level.height();
    let cell = (pixels as f64 / max_patches.max(1) as f64).sqrt().ceil() as usize;
    let cell = cell.max(REACH);
    let (width, height) = (level.width(), level.height());
    let mut patches = Vec::with_capacity(max_patches);
    for top in (0..height).step_by(cell) {
        for left in (0..width).step_by(cell) {
            let rows = top.max(REACH + 1)..(top + cell).min(height.saturating_sub(REACH + 1));
            let columns = left.max(REACH + 1)..(left + cell).min(width.saturating_sub(REACH + 1));
            let best = rows
                .step_by(STEP)
                .flat_map(|y| columns.clone().step_by(STEP).map(move |x| (x, y)))
                .map(|(x, y)| ((x, y), texture(level, x, y)))
                .filter(|&((x, y), texture)| texture > MIN_TEXTURE && is_plane(pointmap, x, y))
                .max_by(|a, b| a.1.total_cmp(&b.1));
            patches.extend(best.and_then(|((x, y), _)| patch(level, pointmap, x, y)));
        }
    }
    patches
}

/// The smaller eigenvalue of the mean of products of the gradient.
fn texture(level: &Level, x: usize, y: usize) -> f32 {
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for row in y - REACH..=y + REACH {
        for column in x - REACH..=x + REACH {
            let [dx, dy] = level.gradient(column, row);
            xx += dx * dx;
            xy += dx * dy;
            yy += dy * dy;
        }
    }
    let (mean, half) = (0.5 * (xx + yy), 0.5 * (xx - yy));
    (mean - half.hypot(xy)) / PIXELS as f32
}

/// Whether all of a patch is of one surface, by its corners.
fn is_plane(pointmap: &Pointmap, x: usize, y: usize) -> bool {
    let Some(middle) = pointmap.point(x, y) else { return false };
    let corners = [(x - REACH, y - REACH), (x + REACH, y - REACH), (x - REACH, y + REACH)];
    let corners = corners.into_iter().chain([(x + REACH, y + REACH)]);
    corners.into_iter().all(|(x, y)| {
        let depth_m = pointmap.point(x, y).map(|point| point.z);
        depth_m.is_some_and(|z| (z - middle.z).abs() <= SAME_SURFACE_FRAC * middle.z)
    })
}

fn patch(level: &Level, pointmap: &Pointmap, x: usize, y: usize) -> Option<Patch> {
    let middle = pointmap.point(x, y)?;
    let across = |a: (usize, usize), b: (usize, usize)| -> Option<Vector3<f32>> {
        Some((pointmap.point(b.0, b.1)? - pointmap.point(a.0, a.1)?) / (2 * REACH) as f32)
    };
    let mut values = [0.0; PIXELS];
    for (i, value) in values.iter_mut().enumerate() {
        *value = level.intensity(x + i % SIDE - REACH, y + i / SIDE - REACH);
    }
    let mean = values.iter().sum::<f32>() / PIXELS as f32;
    values.iter_mut().for_each(|value| *value -= mean);
    Some(Patch {
        point_in_reference: middle,
        depth_variance_m2: 1.0 / pointmap.confidence(x, y),
        beside: [
            middle + across((x - REACH, y), (x + REACH, y))?,
            middle + across((x, y - REACH), (x, y + REACH))?,
        ],
        values,
    })
}

impl Patch {
    /// Returns where the patch is in a level of another view that stands about where
    /// `target_from_reference` says; `None` where it is not found.
    pub fn find(&self, target: &Level, target_from_reference: &Se3) -> Option<FoundPatch> {
        let (middle, warp) = self.warp(&target.camera, target_from_reference)?;
        let mut pixel = middle;
        for _ in 0..MAX_STEPS {
            let Step { step, correlation } = self.step(target, &pixel, &warp)?;
            let is_last = step.norm() < SMALL_STEP_PX;
            if is_last && correlation < MIN_CORRELATION {
                return None;
            }
            pixel += step;
            if (pixel - middle).norm() > MAX_WAY_PX {
                return None;
            }
            if is_last {
                return Some(FoundPatch { pixel, correlation });
            }
        }
        None
    }

    /// Returns whether all of the patch should be in a level of another view by its pose.
    pub fn is_visible(&self, target: &Level, target_from_reference: &Se3) -> bool {
        let reach = (REACH + 1) as f64;
        let (width, height) = (target.width() as f64, target.height() as f64);
        self.warp(&target.camera, target_from_reference).is_some_and(|(middle, _)| {
            let [x, y] = [middle.x, middle.y];
            x > reach && y > reach && x < width - reach && y < height - reach
        })
    }

    /// Where a pose puts the middle, and how pixels beside it move with pixels of the patch.
    fn warp(&self, camera: &Camera, pose: &Se3) -> Option<(Vector2<f64>, Matrix2<f64>)> {
        let project = |point: &Vector3<f32>| camera.project(&(pose * Point3::from(point.cast())));
        let middle = project(&self.point_in_reference)?;
        let [right, down] = &self.beside;
        Some((middle, Matrix2::from_columns(&[project(right)? - middle, project(down)? - middle])))
    }

    /// The step by which the patch agrees better with the target, and how well it agrees before.
    fn step(&self, target: &Level, pixel: &Vector2<f64>, warp: &Matrix2<f64>) -> Option<Step> {
        let mut seen = [[0.0f32; 3]; PIXELS];
        for (i, seen) in seen.iter_mut().enumerate() {
            let offset =
                Vector2::new((i % SIDE) as f64, (i / SIDE) as f64).add_scalar(-(REACH as f64));
            let sample = target.sample(&(pixel + warp * offset))?;
            *seen = [sample.intensity, sample.gradient.x, sample.gradient.y];
        }
        let mean = |k: usize| seen.iter().map(|s| s[k]).sum::<f32>() / PIXELS as f32;
        let means = [mean(0), mean(1), mean(2)];
        seen.iter_mut().for_each(|s| (0..3).for_each(|k| s[k] -= means[k]));
        let own: f32 = self.values.iter().map(|v| v * v).sum();
        let across: f32 = self.values.iter().zip(&seen).map(|(v, s)| v * s[0]).sum();
        let theirs: f32 = seen.iter().map(|s| s[0] * s[0]).sum();
        let gain = across / own.max(1e-6);
        let (mut hessian, mut gradient) = (Matrix2::<f32>::zeros(), Vector2::<f32>::zeros());
        for (value, [intensity, dx, dy]) in self.values.iter().zip(seen) {
            let slope = Vector2::new(dx, dy);
            hessian += slope * slope.transpose();
            gradient += slope * (intensity - gain * value);
        }
        let step = -(hessian.try_inverse()? * gradient).cast::<f64>();
        let correlation = across / (own * theirs).sqrt().max(1e-6);
        let is_finite = step.iter().all(|v| v.is_finite());
        is_finite.then_some(Step { step, correlation })
    }
}
