//! From light to a colour image: the lens's blur, motion during exposure, automatic exposure,
//! vignetting, noise and rounding.

use std::f64::consts::TAU;

use nalgebra::{Matrix3, Vector3};
use rayon::prelude::*;

use super::config::SimulatorConfig;
use super::random::{derive, normals};
use super::texture::Light;
use crate::geometry::{Camera, Se3};

/// Weight of a pixel's own light, and of each neighbour along one axis: the lens's blur.
const OWN: f32 = 0.72;
const NEIGHBOUR: f32 = (1.0 - OWN) / 2.0;
/// Longest motion to either side that is blurred, in pixels.
const MAX_STEPS: usize = 12;
/// Pixels of a row that are blurred alike.
const BLOCK: usize = 8;

/// Where the points of an image move while the shutter is open.
pub(super) struct Motion {
    /// Pixel (homogeneous) at the end of the exposure: `turn * pixel + shift * inverse_depth`.
    turn: Matrix3<f32>,
    shift: Vector3<f32>,
}

impl Motion {
    /// Returns the motion from the middle of the exposure to its end.
    pub(super) fn new(camera: &Camera, end_from_middle: &Se3) -> Self {
        let k = camera.intrinsics();
        let pixel_from_ray = Matrix3::new(k.fx, 0.0, k.cx, 0.0, k.fy, k.cy, 0.0, 0.0, 1.0);
        let ray_from_pixel = Matrix3::new(
            1.0 / k.fx,
            0.0,
            -k.cx / k.fx,
            0.0,
            1.0 / k.fy,
            -k.cy / k.fy,
            0.0,
            0.0,
            1.0,
        );
        let rotation = end_from_middle.rotation.to_rotation_matrix();
        Self {
            turn: (pixel_from_ray * rotation.matrix() * ray_from_pixel).cast(),
            shift: (pixel_from_ray * end_from_middle.translation.vector).cast(),
        }
    }

    /// Returns by how many pixels a point moves from the middle of the exposure to its end.
    #[inline]
    fn at(&self, x: f32, y: f32, inverse_depth: f32) -> [f32; 2] {
        let moved = self.turn * Vector3::new(x, y, 1.0) + self.shift * inverse_depth;
        [moved.x / moved.z - x, moved.y / moved.z - y]
    }
}

/// Writes the light behind the lens to `blurred`.
pub(super) fn blur(light: &[Light], width: usize, blurred: &mut [Light]) {
    let height = light.len() / width;
    let row = |y: usize| &light[y * width..(y + 1) * width];
    blurred.par_chunks_mut(width).enumerate().for_each(|(y, out)| {
        blur_row([row(y.saturating_sub(1)), row(y), row((y + 1).min(height - 1))], out);
    });
}

fn blur_row([above, here, below]: [&[Light]; 3], out: &mut [Light]) {
    let column = |x: usize| weighted(above[x], here[x], below[x]);
    let (mut left, mut middle) = (column(0), column(0));
    let last = out.len() - 1;
    for (x, pixel) in out.iter_mut().enumerate() {
        let right = column((x + 1).min(last));
        *pixel = weighted(left, middle, right);
        (left, middle) = (middle, right);
    }
}

#[inline]
fn weighted(before: Light, own: Light, after: Light) -> Light {
    std::array::from_fn(|c| OWN * own[c] + NEIGHBOUR * (before[c] + after[c]))
}

/// Everything that turns light into the values of one image.
pub(super) struct Exposure<'a> {
    pub(super) config: &'a SimulatorConfig,
    pub(super) motion: Option<Motion>,
    /// Factor on light by automatic exposure.
    pub(super) gain: f32,
    /// Seed of this frame's noise.
    pub(super) seed: u64,
}

impl Exposure<'_> {
    /// Returns the displayed image (red, green, blue in row order). Display is the square root of
    /// light, which also makes the photons' noise alike at all brightness.
    pub(super) fn develop(&self, light: &[Light], inverse_depth: &[f32]) -> Vec<u8> {
        let (width, height) = (self.config.width as usize, self.config.height as usize);
        let image = Grid { light, width, height };
        let mut bytes = vec![0; width * height * 3];
        let rows = bytes.par_chunks_mut(width * 3).zip(inverse_depth.par_chunks(width));
        rows.enumerate().for_each(|(y, (row, depths))| self.develop_row(&image, y, depths, row));
        bytes
    }

    fn develop_row(&self, image: &Grid, y: usize, inverse_depth: &[f32], row: &mut [u8]) {
        let noise = normals(derive(self.seed, y as u64), 4 * image.width);
        let blocks = row.chunks_mut(3 * BLOCK).zip(noise.chunks(4 * BLOCK));
        for (x, (block, noise)) in (0..).step_by(BLOCK).zip(blocks) {
            let middle = x + block.len() / 6;
            let travel = self.travel((middle, y), inverse_depth[middle]);
            let factor = self.gain * self.vignetting(image, middle, y);
            let mut seen = [[0.0; 4]; BLOCK];
            image.average_along(travel, (x, y), &mut seen[..block.len() / 3]);
            let pixels = block.chunks_exact_mut(3).zip(noise.chunks_exact(4));
            for ((pixel, noise), light) in pixels.zip(seen) {
                pixel.copy_from_slice(&self.displayed(light, factor, noise)[..3]);
            }
        }
    }

    fn travel(&self, (x, y): (usize, usize), inverse_depth: f32) -> [f32; 2] {
        let motion = self.motion.as_ref();
        motion.map_or([0.0; 2], |motion| motion.at(x as f32, y as f32, inverse_depth))
    }

    #[inline]
    fn vignetting(&self, image: &Grid, x: usize, y: usize) -> f32 {
        let (half_width, half_height) = (image.width as f32 / 2.0, image.height as f32 / 2.0);
        let (dx, dy) = (x as f32 + 0.5 - half_width, y as f32 + 0.5 - half_height);
        let corner2 = half_width * half_width + half_height * half_height;
        let displayed = 1.0 - self.config.vignetting_frac * (dx * dx + dy * dy) / corner2;
        displayed * displayed
    }

    #[inline]
    fn displayed(&self, light: Light, factor: f32, noise: &[f32]) -> [u8; 4] {
        let display: Light = std::array::from_fn(|c| {
            255.0 * (light[c] * factor).sqrt() + self.config.color_noise_levels * noise[c] + 0.5
        });
        display.map(|value| value as u8)
    }
}

struct Grid<'a> {
    light: &'a [Light],
    width: usize,
    height: usize,
}

impl Grid<'_> {
    /// Averages the light at the pixels from `start` on along `travel` (pixels) to both sides; the
    /// border is continued.
    #[inline]
    fn average_along(&self, travel: [f32; 2], start: (usize, usize), seen: &mut [Light]) {
        let reach = travel[0].abs().max(travel[1].abs());
        let steps = ((reach + 0.5) as i32).min(MAX_STEPS as i32);
        let scale = 1.0 / (2 * steps + 1) as f32;
        for step in -steps..=steps {
            let share = step as f32 / steps.max(1) as f32;
            let [dx, dy] = travel.map(|t| rounded(t * share));
            let y = (start.1 as i32 + dy).clamp(0, self.height as i32 - 1) as usize;
            let row = &self.light[y * self.width..(y + 1) * self.width];
            for (x, sum) in (start.0 as i32 + dx..).zip(seen.iter_mut()) {
                let light = row[x.clamp(0, self.width as i32 - 1) as usize];
                *sum = std::array::from_fn(|c| sum[c] + scale * light[c]);
            }
        }
    }
}

/// The nearest whole number, halves away from zero: the same to both sides.
fn rounded(x: f32) -> i32 {
    (x + 0.5f32.copysign(x)) as i32
}

/// Returns the factor of automatic exposure on light at `time_secs`: displayed brightness wanders
/// smoothly by up to `exposure_change_frac`, the same in every round.
pub(super) fn exposure_gain(config: &SimulatorConfig, time_secs: f64) -> f32 {
    let phase = (derive(config.seed, 77) % 1000) as f64 / 1000.0;
    let wave = |cycles: f64| (TAU * (cycles * time_secs / config.loop_secs + phase)).sin();
    let swing = 0.5 * wave(2.0) + 0.35 * wave(5.0) + 0.15 * wave(9.0);
    (1.0 + config.exposure_change_frac * swing).powi(2) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Point3;

    fn camera() -> Camera {
        SimulatorConfig::default().camera().unwrap()
    }

    #[test]
    fn motion_is_that_of_projected_points() {
        let end_from_middle =
            Se3::new(Vector3::new(0.01, -0.02, 0.005), Vector3::new(0.01, 0.02, 0.0));
        let motion = Motion::new(&camera(), &end_from_middle);
        for (x, y, z) in [(0.0, 0.0, 1.0), (320.0, 240.0, 0.6), (639.0, 100.0, 4.0)] {
            let point = Point3::from(camera().ray(&[x, y].into()).unwrap() * z);
            let moved = camera().project(&(end_from_middle * point)).unwrap();
            let [dx, dy] = motion.at(x as f32, y as f32, 1.0 / z as f32);
            assert!((f64::from(dx) - (moved.x - x)).abs() < 1e-2);
            assert!((f64::from(dy) - (moved.y - y)).abs() < 1e-2);
        }
    }

    #[test]
    fn exposure_stays_within_its_range_and_is_smooth() {
        let config = SimulatorConfig::default();
        let displayed = |i: i32| exposure_gain(&config, f64::from(i) / 30.0).sqrt();
        let (low, high) =
            (0..600).map(displayed).fold((9.0f32, 0.0f32), |r, g| (r.0.min(g), r.1.max(g)));
        assert!(low >= 0.75 && high <= 1.25 && high - low > 0.2, "{low} to {high}");
        assert!((1..600).all(|i| (displayed(i) - displayed(i - 1)).abs() < 0.03));
    }

    #[test]
    fn blur_keeps_even_light_and_spreads_a_point() {
        let mut light = vec![[0.5; 4]; 25];
        let blurred = |light: &[Light]| {
            let mut blurred = vec![[0.0; 4]; 25];
            blur(light, 5, &mut blurred);
            blurred
        };
        assert!(blurred(&light).iter().all(|l| (l[0] - 0.5).abs() < 1e-6));
        light[12] = [1.5; 4];
        let spread = blurred(&light);
        assert!(spread[12][0] < 1.5 && spread[11][0] > 0.5 && spread[0][0] < 0.5 + 1e-6);
    }
}
