//! What a structured-light depth camera makes of true depth: quantised, noisy disparity, wobbling
//! edges, holes beside edges and at a slant, and a limited range.

use rayon::prelude::*;

use super::random::{derive, gaussian_triple, hash, normals, unit};
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
const PATCH_PX: usize = 8;
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
    focal_px: [f32; 2],
    principal_px: [f32; 2],
    /// Disparity in pixels of a point at one metre.
    scale: f32,
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
        let near_edge = near_edges(inverse_depth, width, edge_bend);
        let errors = [1, 2, 3].map(|part| PatchNoise::new(width, height, derive(seed, part)));
        let k = camera.intrinsics();
        let focal_px = [k.fx as f32, k.fy as f32];
        let principal_px = [k.cx as f32, k.cy as f32];
        let scale = disparity_scale(camera);
        Self { camera, focal_px, principal_px, scale, inverse_depth, near_edge, errors, seed }
    }

    /// Returns the measured depth in metres, 0 where there is none.
    pub(super) fn measure(&self) -> Vec<f32> {
        let width = self.camera.width() as usize;
        let mut depth = vec![0.0; self.inverse_depth.len()];
        depth.par_chunks_mut(width).enumerate().for_each(|(y, row)| self.measure_row(y, row));
        depth
    }

    fn measure_row(&self, y: usize, row: &mut [f32]) {
        let width = row.len();
        let seen = &self.inverse_depth[y * width..(y + 1) * width];
        let (mut smooth, mut cosines2) = (vec![0.0; width], vec![1.0; width]);
        self.errors[0].fill_row(y, &mut smooth);
        self.incidence(y, &mut cosines2);
        let fine = normals(derive(self.seed, y as u64), width);
        for (x, depth) in row.iter_mut().enumerate() {
            let error = DISPARITY_NOISE_PX * (0.6 * fine[x] + 0.8 * smooth[x]);
            let whole = !self.near_edge[y * width + x] && cosines2[x] >= GRAZING[0] * GRAZING[0];
            let kept = if whole { seen[x] } else { self.beside_or_aslant(x, y, cosines2[x]) };
            *depth = self.quantised(kept, error);
        }
    }

    /// The depth in metres that is told from an inverse depth, 0 for none and out of range.
    #[inline]
    fn quantised(&self, inverse_depth: f32, error_px: f32) -> f32 {
        let steps = ((inverse_depth * self.scale + error_px) * STEPS_PER_PX + 0.5) as i32;
        let depth = self.scale * STEPS_PER_PX / steps.max(1) as f32;
        let within = inverse_depth > 0.0 && (RANGE_M[0]..=RANGE_M[1]).contains(&depth);
        if within { depth } else { 0.0 }
    }

    /// Inverse depth of a pixel near an edge or on a surface seen at a slant, 0 if it is lost.
    fn beside_or_aslant(&self, x: usize, y: usize, cosine2: f32) -> f32 {
        let (width, height) = (self.camera.width() as i32, self.camera.height() as i32);
        let index = y * width as usize + x;
        let chance = unit(hash(self.seed ^ index as u64));
        if !self.near_edge[index] {
            let lost = (GRAZING[0] - cosine2.sqrt()) / (GRAZING[0] - GRAZING[1]);
            return if chance < lost { 0.0 } else { self.inverse_depth[index] };
        }
        let [dx, dy] = [1, 2].map(|axis: usize| self.errors[axis].at(x, y) * WOBBLE_PX);
        // The holes come in patches too.
        if chance + 0.25 * dx < EDGE_LOSS {
            return 0.0;
        }
        let column = (x as i32 + dx.round() as i32).clamp(0, width - 1);
        let row = (y as i32 + dy.round() as i32).clamp(0, height - 1);
        self.inverse_depth[(row * width + column) as usize]
    }

    /// Fills in the squared cosines of the angles between rays and the normals of what they meet,
    /// as far as the row above and the pixel to the left see the same plane.
    fn incidence(&self, y: usize, cosines2: &mut [f32]) {
        let width = cosines2.len();
        if y == 0 {
            return;
        }
        let above = &self.inverse_depth[(y - 1) * width..y * width];
        let here = &self.inverse_depth[y * width..(y + 1) * width];
        let ray_y = (y as f32 - self.principal_px[1]) / self.focal_px[1];
        for x in 1..width {
            // On a plane inverse depth is linear in the pixel: its slopes are the plane's normal.
            let w = here[x];
            let (dx, dy) =
                ((w - here[x - 1]) * self.focal_px[0], (w - above[x]) * self.focal_px[1]);
            let ray_x = (x as f32 - self.principal_px[0]) / self.focal_px[0];
            let dz = w - dx * ray_x - dy * ray_y;
            let ray2 = ray_x * ray_x + ray_y * ray_y + 1.0;
            cosines2[x] = w * w / ((dx * dx + dy * dy + dz * dz) * ray2 + 1e-20);
        }
    }
}

/// Disparity in pixels of a point at one metre.
fn disparity_scale(camera: &Camera) -> f32 {
    (camera.intrinsics().fx * BASELINE_M) as f32
}

/// Which pixels have within reach an inverse depth that bends by more than `edge_bend`. On a
/// plane, seen at whatever slant, it does not bend at all.
fn near_edges(inverse_depth: &[f32], width: usize, edge_bend: f32) -> Vec<bool> {
    let last = inverse_depth.len() / width - 1;
    let row = |y: usize| &inverse_depth[y * width..(y + 1) * width];
    let mut edges = vec![false; inverse_depth.len()];
    edges.par_chunks_mut(width).enumerate().for_each(|(y, out)| {
        let here = row(y);
        let bent = |a: f32, b: f32, c: f32| (a - 2.0 * b + c).abs() > edge_bend;
        for (edge, three) in out[1..].iter_mut().zip(here.windows(3)) {
            *edge = bent(three[0], three[1], three[2]);
        }
        if (1..last).contains(&y) {
            let (above, below) = (row(y - 1), row(y + 1));
            for (x, edge) in out.iter_mut().enumerate() {
                *edge |= bent(above[x], here[x], below[x]);
            }
        }
    });
    widened(&edges, width)
}

/// Which pixels have a true one within reach along both axes.
fn widened(edges: &[bool], width: usize) -> Vec<bool> {
    let height = edges.len() / width;
    let mut wide = vec![false; edges.len()];
    wide.par_chunks_mut(width).enumerate().for_each(|(y, out)| {
        let last = (y + EDGE_REACH).min(height - 1);
        let mut column = vec![false; width];
        for row in edges[y.saturating_sub(EDGE_REACH) * width..(last + 1) * width].chunks(width) {
            column.iter_mut().zip(row).for_each(|(near, &edge)| *near |= edge);
        }
        for shift in 0..=EDGE_REACH {
            out[shift..].iter_mut().zip(&column).for_each(|(near, &edge)| *near |= edge);
            out.iter_mut().zip(&column[shift..]).for_each(|(near, &edge)| *near |= edge);
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
        let corner = |i: usize| 1.5 * gaussian_triple(hash(seed ^ i as u64))[0];
        Self { width, corners: (0..width * height).map(corner).collect() }
    }

    /// Fills in a row of pixels.
    fn fill_row(&self, y: usize, row: &mut [f32]) {
        let first = (y / PATCH_PX) * self.width;
        let down = (y % PATCH_PX) as f32 / PATCH_PX as f32;
        let corner = |x: usize| {
            let (a, b) = (self.corners[first + x], self.corners[first + self.width + x]);
            a + (b - a) * down
        };
        for (patch, pixels) in row.chunks_mut(PATCH_PX).enumerate() {
            let (left, right) = (corner(patch), corner(patch + 1));
            for (i, pixel) in pixels.iter_mut().enumerate() {
                *pixel = left + (right - left) * (i as f32 / PATCH_PX as f32);
            }
        }
    }

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
        for depth in [0.3, 20.0] {
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
