//! What a structured-light depth camera makes of true depth: quantised, noisy disparity, wobbling
//! edges, holes beside edges and at a slant, and a limited range.

use rayon::prelude::*;

use super::random::{derive, gaussian_pair, hash, unit};
use crate::geometry::Camera;

/// Distance of projector and camera in metres.
pub const BASELINE_M: f64 = 0.075;
/// Steps of disparity per pixel.
pub const STEPS_PER_PX: f32 = 8.0;
/// Standard deviation of disparity before quantisation, in pixels.
pub const DISPARITY_NOISE_PX: f32 = 0.04;
/// Nearest and farthest depth that is measured, in metres.
pub const RANGE_M: [f32; 2] = [0.4, 8.0];

/// Side in pixels of the patches whose errors go together: disparity is matched by patches.
const PATCH_PX: usize = 6;
/// A bend of disparity by more than this, from pixel to pixel, is an edge.
const EDGE_PX: f32 = 0.6;
/// How far from an edge its effects reach, in pixels.
const EDGE_REACH: usize = 2;
/// Share of pixels lost beside an edge.
const EDGE_LOSS: f32 = 0.45;
/// How far an edge wobbles sideways (standard deviation), in pixels.
const WOBBLE_PX: f32 = 1.0;
/// Cosine of the angle of incidence from which pixels get lost, and at which all are.
const GRAZING: [f32; 2] = [0.22, 0.08];

/// The sensor, measuring one frame.
pub(super) struct DepthSensor<'a> {
    camera: &'a Camera,
    inverse_depth: &'a [f32],
    /// Whether an edge is near, for each pixel.
    near_edge: Vec<bool>,
    errors: [PatchNoise; 3],
    seed: u64,
}

impl<'a> DepthSensor<'a> {
    /// Returns a sensor that sees one over the true depth (1/m, 0 for nothing) in front of it.
    pub(super) fn new(camera: &'a Camera, inverse_depth: &'a [f32], seed: u64) -> Self {
        let (width, height) = (camera.width() as usize, camera.height() as usize);
        let edge_bend = EDGE_PX / disparity_scale(camera);
        let near_edge = near_edges(inverse_depth, width, height, edge_bend);
        let errors = [1, 2, 3].map(|part| PatchNoise::new(width, height, derive(seed, part)));
        Self { camera, inverse_depth, near_edge, errors, seed }
    }

    /// Returns the measured depth in metres, 0 where there is none.
    pub(super) fn measure(&self) -> Vec<f32> {
        let width = self.camera.width() as usize;
        let mut depth = vec![0.0; self.inverse_depth.len()];
        depth.par_chunks_mut(width).enumerate().for_each(|(y, row)| {
            for (x, pixel) in row.iter_mut().enumerate() {
                *pixel = self.pixel(x, y).unwrap_or(0.0);
            }
        });
        depth
    }

    fn pixel(&self, x: usize, y: usize) -> Option<f32> {
        let index = y * self.camera.width() as usize + x;
        let bits = hash(self.seed ^ index as u64);
        let inverse_depth = if self.near_edge[index] {
            self.beside_edge(x, y, bits)?
        } else {
            self.on_surface(x, y, bits)?
        };
        let scale = disparity_scale(self.camera);
        let [fine, _] = gaussian_pair(bits);
        let error = DISPARITY_NOISE_PX * (0.6 * fine + 0.8 * self.errors[0].at(x, y));
        let steps = ((inverse_depth * scale + error) * STEPS_PER_PX + 0.5) as i32;
        let disparity = steps as f32 / STEPS_PER_PX;
        let depth = scale / disparity;
        (disparity > 0.0 && (RANGE_M[0]..=RANGE_M[1]).contains(&depth)).then_some(depth)
    }

    /// Inverse depth of a pixel near an edge: lost, or taken from where the edge wobbles to.
    fn beside_edge(&self, x: usize, y: usize, bits: u64) -> Option<f32> {
        let (width, height) = (self.camera.width() as i32, self.camera.height() as i32);
        let [dx, dy] = [1, 2].map(|axis: usize| self.errors[axis].at(x, y) * WOBBLE_PX);
        // The holes come in patches too.
        if unit(hash(bits)) + 0.25 * dx < EDGE_LOSS {
            return None;
        }
        let column = (x as i32 + dx.round() as i32).clamp(0, width - 1);
        let row = (y as i32 + dy.round() as i32).clamp(0, height - 1);
        Some(self.inverse_depth[(row * width + column) as usize])
    }

    /// Inverse depth of a pixel within a surface, unless the surface is seen at too much of a
    /// slant.
    fn on_surface(&self, x: usize, y: usize, bits: u64) -> Option<f32> {
        let k = self.camera.intrinsics();
        let width = self.camera.width() as usize;
        let index = y * width + x;
        let w = self.inverse_depth[index];
        // On a plane inverse depth is linear in the pixel, and its slopes are the plane's normal.
        let before_x = if x > 0 { index - 1 } else { index + 1 };
        let before_y = if y > 0 { index - width } else { index + width };
        let turn = |before: usize| if before < index { 1.0 } else { -1.0 };
        let dx = (w - self.inverse_depth[before_x]) * turn(before_x) * k.fx as f32;
        let dy = (w - self.inverse_depth[before_y]) * turn(before_y) * k.fy as f32;
        let ray_x = (x as f32 - k.cx as f32) / k.fx as f32;
        let ray_y = (y as f32 - k.cy as f32) / k.fy as f32;
        let dz = w - dx * ray_x - dy * ray_y;
        let normal2 = dx * dx + dy * dy + dz * dz;
        let cosine2 = w * w / (normal2 * (ray_x * ray_x + ray_y * ray_y + 1.0)).max(1e-12);
        if cosine2 >= GRAZING[0] * GRAZING[0] {
            return Some(w);
        }
        let lost = (GRAZING[0] - cosine2.sqrt()) / (GRAZING[0] - GRAZING[1]);
        (unit(hash(bits)) >= lost).then_some(w)
    }
}

/// Disparity in pixels of a point at one metre.
fn disparity_scale(camera: &Camera) -> f32 {
    (camera.intrinsics().fx * BASELINE_M) as f32
}

/// Which pixels have within reach an inverse depth that bends by more than `edge_bend`. On a
/// plane, seen at whatever slant, it does not bend at all.
fn near_edges(inverse_depth: &[f32], width: usize, height: usize, edge_bend: f32) -> Vec<bool> {
    let bends = |a: usize, b: usize, c: usize| {
        (inverse_depth[a] - 2.0 * inverse_depth[b] + inverse_depth[c]).abs() > edge_bend
    };
    let is_edge = |i: usize| {
        let (x, y) = (i % width, i / width);
        (x > 0 && x + 1 < width && bends(i - 1, i, i + 1))
            || (y > 0 && y + 1 < height && bends(i - width, i, i + width))
    };
    let mut edges = vec![false; inverse_depth.len()];
    edges.par_iter_mut().enumerate().for_each(|(i, edge)| *edge = is_edge(i));
    widened_along_columns(&widened_along_rows(&edges, width), width)
}

fn widened_along_rows(values: &[bool], width: usize) -> Vec<bool> {
    let mut wide = vec![false; values.len()];
    wide.par_chunks_mut(width).zip(values.par_chunks(width)).for_each(|(out, row)| {
        for (x, near) in out.iter_mut().enumerate() {
            let last = (x + EDGE_REACH).min(width - 1);
            *near = row[x.saturating_sub(EDGE_REACH)..=last].contains(&true);
        }
    });
    wide
}

fn widened_along_columns(values: &[bool], width: usize) -> Vec<bool> {
    let height = values.len() / width;
    let mut wide = vec![false; values.len()];
    wide.par_chunks_mut(width).enumerate().for_each(|(y, out)| {
        let last = (y + EDGE_REACH).min(height - 1);
        for row in values[y.saturating_sub(EDGE_REACH) * width..(last + 1) * width].chunks(width) {
            out.iter_mut().zip(row).for_each(|(near, &edge)| *near |= edge);
        }
    });
    wide
}

/// Noise of unit strength at the corners of patches, smooth between them.
struct PatchNoise {
    width: usize,
    corners: Vec<f32>,
}

impl PatchNoise {
    fn new(width: usize, height: usize, seed: u64) -> Self {
        let (width, height) = (width / PATCH_PX + 2, height / PATCH_PX + 2);
        // Interpolation averages: 1.5 restores the mean square (each axis takes a third).
        let corner = |i: usize| 1.5 * gaussian_pair(hash(seed ^ i as u64))[0];
        Self { width, corners: (0..width * height).map(corner).collect() }
    }

    #[inline]
    fn at(&self, x: usize, y: usize) -> f32 {
        let share = |i: usize| (i % PATCH_PX) as f32 / PATCH_PX as f32;
        let first = (y / PATCH_PX) * self.width + x / PATCH_PX;
        let row = |first: usize| {
            let (a, b) = (self.corners[first], self.corners[first + 1]);
            a + (b - a) * share(x)
        };
        let (top, bottom) = (row(first), row(first + self.width));
        top + (bottom - top) * share(y)
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::SimulatorConfig;
    use super::*;

    fn camera() -> Camera {
        let config = SimulatorConfig { width: 64, height: 48, ..SimulatorConfig::default() };
        config.camera().unwrap()
    }

    /// Inverse depths of 64x48 pixels.
    fn seen(inverse_depth: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        (0..64 * 48).map(|i| inverse_depth(i % 64, i / 64)).collect()
    }

    fn measured(inverse_depth: &[f32]) -> Vec<f32> {
        DepthSensor::new(&camera(), inverse_depth, 5).measure()
    }

    #[test]
    fn disparities_are_whole_steps_about_the_truth() {
        let scale = disparity_scale(&camera());
        let depths = measured(&seen(|_, _| 1.0));
        let errors: Vec<f32> = depths.iter().map(|z| (scale / z - scale) * STEPS_PER_PX).collect();
        assert!(errors.iter().all(|e| (e + scale * STEPS_PER_PX).fract() < 1e-2
            || (e + scale * STEPS_PER_PX).fract() > 0.99));
        let rms = (errors.iter().map(|e| e * e).sum::<f32>() / errors.len() as f32).sqrt();
        let expected = DISPARITY_NOISE_PX * STEPS_PER_PX;
        assert!((0.6 * expected..2.0 * expected).contains(&rms), "{rms} steps");
    }

    #[test]
    fn nothing_is_measured_out_of_range() {
        for depth in [0.3, 9.0] {
            assert!(measured(&seen(|_, _| 1.0 / depth)).iter().all(|&z| z == 0.0), "{depth}");
        }
        assert!(measured(&seen(|_, _| 0.0)).iter().all(|&z| z == 0.0));
    }

    #[test]
    fn holes_are_beside_edges_only() {
        let depths = measured(&seen(|x, _| if x < 32 { 1.0 } else { 0.4 }));
        let lost = |columns: std::ops::Range<usize>| {
            let count = columns.len() * 48;
            let pixels = (0..48).flat_map(|y| columns.clone().map(move |x| y * 64 + x));
            pixels.filter(|&i| depths[i] == 0.0).count() as f32 / count as f32
        };
        assert!((0.2..0.7).contains(&lost(30..34)), "{}", lost(30..34));
        assert!(lost(0..28) == 0.0 && lost(36..64) == 0.0);
    }

    #[test]
    fn a_surface_at_a_slant_is_lost() {
        let slanted = seen(|x, _| 0.5 + 0.2 * x as f32);
        let share = measured(&slanted).iter().filter(|&&z| z == 0.0).count() as f32 / 3072.0;
        assert!(share > 0.5, "{share}");
    }
}
