//! Points as small discs in a picture with a depth buffer, shaded by the depth around them.

use image::{Rgb, RgbImage};
use nalgebra::{Point3, Vector2};
use rayon::prelude::*;

use super::framing::{View, bounds};

/// What is behind the cloud.
pub(super) const BACKGROUND: [u8; 3] = [24, 26, 31];
const MARGIN_FRAC: f64 = 0.04;
const MAX_RADIUS_PX: i32 = 5;
/// How dark a pixel becomes behind an edge, and up to which depth difference (as a share of the
/// scene's depth) that grows.
const EDGE_STRENGTH: f32 = 1.6;
const EDGE_LIMIT_FRAC: f32 = 0.02;
/// How far the farthest points fade.
const HAZE: f32 = 0.35;

/// A picture in the making.
pub(super) struct Splats {
    width: i32,
    height: i32,
    view: View,
    px_per_m: f64,
    /// Where the picture's top left corner is, in metres along the view's axes.
    corner: Vector2<f64>,
    depths: Vec<f32>,
    colors: Vec<[u8; 3]>,
}

impl Splats {
    /// Returns an empty picture that most of `sample` fits into.
    pub(super) fn framing(view: View, sample: &[Point3<f64>], (width, height): (u32, u32)) -> Self {
        let (left, right) = bounds(sample.iter().map(|p| p.coords.dot(&view.right)));
        let (top, bottom) = bounds(sample.iter().map(|p| p.coords.dot(&view.down)));
        let room = 1.0 - 2.0 * MARGIN_FRAC;
        let scale_x = room * f64::from(width) / (right - left).max(1e-3);
        let scale_y = room * f64::from(height) / (bottom - top).max(1e-3);
        let px_per_m = scale_x.min(scale_y);
        let center = Vector2::new(left + right, top + bottom) * 0.5;
        let corner = center - Vector2::new(f64::from(width), f64::from(height)) * (0.5 / px_per_m);
        let pixels = (width * height) as usize;
        Self {
            width: width as i32,
            height: height as i32,
            view,
            px_per_m,
            corner,
            depths: vec![f32::INFINITY; pixels],
            colors: vec![BACKGROUND; pixels],
        }
    }

    /// Returns the scale of the picture.
    pub(super) fn px_per_m(&self) -> f64 {
        self.px_per_m
    }

    /// Draws the points with their colours, those in front over those behind.
    pub(super) fn draw(&mut self, points: &[(Point3<f64>, [u8; 3])]) {
        let placed: Vec<_> = points.par_iter().map(|(p, _)| self.place(p)).collect();
        let radius = self.radius_px(&placed);
        for ((x, y, depth), (_, color)) in placed.into_iter().zip(points) {
            self.disc((x, y), radius, depth, *color);
        }
    }

    /// Returns the picture, shaded.
    pub(super) fn shaded(&self) -> RgbImage {
        let seen = self.depths.iter().copied().filter(|d| d.is_finite());
        let (near, far) = bounds(seen.step_by(101).map(f64::from));
        let range = ((far - near) as f32).max(1e-3);
        let mut image = RgbImage::new(self.width as u32, self.height as u32);
        let row_bytes = 3 * self.width as usize;
        image.par_chunks_mut(row_bytes).enumerate().for_each(|(y, row)| {
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let color = self.shaded_pixel(x as i32, y as i32, near as f32, range);
                pixel.copy_from_slice(&color.0);
            }
        });
        image
    }

    fn place(&self, point: &Point3<f64>) -> (i32, i32, f32) {
        let x = (point.coords.dot(&self.view.right) - self.corner.x) * self.px_per_m;
        let y = (point.coords.dot(&self.view.down) - self.corner.y) * self.px_per_m;
        (x as i32, y as i32, point.coords.dot(&self.view.forward) as f32)
    }

    /// The radius at which the points, spread over the part of the picture that they cover, leave
    /// few holes: the coverage is counted in blocks of pixels.
    fn radius_px(&self, placed: &[(i32, i32, f32)]) -> i32 {
        const BLOCK: i32 = 16;
        let columns = self.width / BLOCK + 1;
        let mut blocks = vec![0_u32; (columns * (self.height / BLOCK + 1)) as usize];
        for &(x, y, _) in placed.iter().filter(|&&(x, y, _)| self.is_inside(x, y)) {
            blocks[(y / BLOCK * columns + x / BLOCK) as usize] += 1;
        }
        let mut counts: Vec<u32> = blocks.into_iter().filter(|&n| n > 0).collect();
        counts.sort_unstable();
        let typical = counts.get(counts.len() / 3).copied().unwrap_or(1);
        let spacing = f64::from(BLOCK) / f64::from(typical).sqrt();
        (spacing.ceil() as i32).clamp(1, MAX_RADIUS_PX)
    }

    fn is_inside(&self, x: i32, y: i32) -> bool {
        (0..self.width).contains(&x) && (0..self.height).contains(&y)
    }

    fn disc(&mut self, (x, y): (i32, i32), radius: i32, depth: f32, color: [u8; 3]) {
        for dy in -radius..=radius {
            for dx in -radius..=radius {
                let (u, v) = (x.saturating_add(dx), y.saturating_add(dy));
                if dx * dx + dy * dy > radius * radius || !self.is_inside(u, v) {
                    continue;
                }
                let index = (v * self.width + u) as usize;
                if depth < self.depths[index] {
                    self.depths[index] = depth;
                    self.colors[index] = color;
                }
            }
        }
    }

    fn shaded_pixel(&self, x: i32, y: i32, near: f32, range: f32) -> Rgb<u8> {
        let index = (y * self.width + x) as usize;
        let depth = self.depths[index];
        if depth.is_infinite() {
            return Rgb(BACKGROUND);
        }
        let light = (-EDGE_STRENGTH * self.occlusion(x, y, depth, EDGE_LIMIT_FRAC * range)).exp();
        let haze = HAZE * ((depth - near) / range).clamp(0.0, 1.0);
        let color = self.colors[index];
        Rgb(std::array::from_fn(|i| {
            let lit = f32::from(color[i]) * light;
            (lit + (f32::from(BACKGROUND[i]) - lit) * haze) as u8
        }))
    }

    /// How much of the neighbourhood stands in front of a pixel, 0 to 1 ("eye-dome lighting").
    fn occlusion(&self, x: i32, y: i32, depth: f32, limit: f32) -> f32 {
        const AROUND: [(i32, i32); 8] =
            [(3, 0), (2, 2), (0, 3), (-2, 2), (-3, 0), (-2, -2), (0, -3), (2, -2)];
        let in_front = |(dx, dy): &(i32, i32)| {
            let (u, v) = (x + dx, y + dy);
            let neighbor = match self.is_inside(u, v) {
                true => self.depths[(v * self.width + u) as usize],
                false => depth,
            };
            (depth - neighbor).clamp(0.0, limit) / limit
        };
        AROUND.iter().map(in_front).sum::<f32>() / AROUND.len() as f32
    }
}
