//! Image pyramids: intensity, its gradient and depth side by side at halving sizes.

use std::sync::Arc;

use nalgebra::Vector2;

use crate::frame::{Frame, mean_of_nearest_surface};
use crate::geometry::Camera;
use crate::raster::Raster;

/// One level of a pyramid.
#[derive(Debug, Clone)]
pub struct Level {
    /// Camera of this image size.
    pub camera: Camera,
    /// Per pixel: intensity (0..255), its derivatives by column and row, depth (metres, 0 = none).
    /// Together, because a projected point needs all four at once.
    samples: Raster<[f32; 4]>,
}

/// What a level shows at a sub-pixel position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Intensity, 0..255.
    pub intensity: f32,
    /// Derivative of the intensity by column and row, per pixel.
    pub gradient: Vector2<f32>,
    /// Depth in metres, where the surface is continuous around the position.
    pub depth_m: Option<f32>,
}

/// A frame at halving sizes, finest first. Clones share the images.
#[derive(Debug, Clone)]
pub struct Pyramid {
    levels: Arc<Vec<Level>>,
}

/// Depths further apart than this share belong to different surfaces.
const DEPTH_STEP_FRAC: f32 = 0.05;

impl Pyramid {
    /// Returns up to `max_levels` levels of the frame, none lower or narrower than 12 pixels but the first.
    pub fn new(frame: &Frame, camera: &Camera, max_levels: usize) -> Self {
        let mut intensity = intensity(frame);
        let mut depth = match &frame.depth {
            Some(depth) => depth.raster().clone(),
            None => Raster::filled(intensity.width(), intensity.height(), 0.0),
        };
        let mut levels = vec![Level::new(*camera, &intensity, &depth)];
        while levels.len() < max_levels && intensity.width().min(intensity.height()) >= 24 {
            intensity = halved(&intensity, mean);
            depth = halved(&depth, |block| mean_of_nearest_surface(&block));
            let camera = levels[levels.len() - 1].camera.reduced(2);
            levels.push(Level::new(camera, &intensity, &depth));
        }
        Self { levels: Arc::new(levels) }
    }

    /// Returns the pyramid with `offset_m` added to each depth that there is.
    pub fn with_depth_offset(&self, offset_m: f64) -> Self {
        let shift = |sample: [f32; 4]| match sample {
            [intensity, dx, dy, depth] if depth > 0.0 => {
                [intensity, dx, dy, (depth + offset_m as f32).max(0.0)]
            }
            without_depth => without_depth,
        };
        let shifted = |level: &Level| Level { samples: level.samples.map(shift), ..level.clone() };
        Self { levels: Arc::new(self.levels.iter().map(shifted).collect()) }
    }

    /// Returns the pyramid with other depths (metres, 0 = none) of the finest level's size.
    pub fn with_depth(&self, depth_m: &Raster<f32>) -> Self {
        let mut depth = depth_m.clone();
        let mut levels = Vec::with_capacity(self.levels.len());
        for (index, level) in self.levels.iter().enumerate() {
            if index > 0 {
                depth = halved(&depth, |block| mean_of_nearest_surface(&block));
            }
            let (width, height) = (level.width(), level.height());
            let samples = Raster::from_fn(width, height, |x, y| {
                let [intensity, dx, dy, _] = level.samples.at(x, y);
                [intensity, dx, dy, depth.at(x, y)]
            });
            levels.push(Level { samples, ..level.clone() });
        }
        Self { levels: Arc::new(levels) }
    }

    /// Returns the same images with another camera for the finest of them.
    pub fn with_camera(&self, camera: &Camera) -> Self {
        let mut camera = *camera;
        let mut levels = Vec::with_capacity(self.levels.len());
        for level in self.levels.iter() {
            levels.push(Level { camera, ..level.clone() });
            camera = camera.reduced(2);
        }
        Self { levels: Arc::new(levels) }
    }

    /// Returns the levels, finest first.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }
}

impl Level {
    fn new(camera: Camera, intensity: &Raster<f32>, depth: &Raster<f32>) -> Self {
        let (width, height) = (intensity.width(), intensity.height());
        let samples = Raster::from_fn(width, height, |x, y| {
            let (left, right) = (x.saturating_sub(1), (x + 1).min(width - 1));
            let (up, down) = (y.saturating_sub(1), (y + 1).min(height - 1));
            let dx = (intensity.at(right, y) - intensity.at(left, y)) * 0.5;
            let dy = (intensity.at(x, down) - intensity.at(x, up)) * 0.5;
            [intensity.at(x, y), dx, dy, depth.at(x, y)]
        });
        Self { camera, samples }
    }

    /// Returns the number of columns.
    pub fn width(&self) -> usize {
        self.samples.width()
    }

    /// Returns the number of rows.
    pub fn height(&self) -> usize {
        self.samples.height()
    }

    /// Returns the intensity of a pixel.
    pub fn intensity(&self, x: usize, y: usize) -> f32 {
        self.samples.at(x, y)[0]
    }

    /// Returns the depth of a pixel in metres, 0 where there is none.
    pub fn depth_m(&self, x: usize, y: usize) -> f32 {
        self.samples.at(x, y)[3]
    }

    /// Returns the squared gradient of a pixel.
    pub fn gradient_squared(&self, x: usize, y: usize) -> f32 {
        let [_, dx, dy, _] = self.samples.at(x, y);
        dx * dx + dy * dy
    }

    /// Returns what is seen at `pixel` by bilinear interpolation, or `None` outside the image.
    #[inline(always)]
    pub fn sample(&self, pixel: &Vector2<f64>) -> Option<Sample> {
        let inside = pixel.x >= 0.0
            && pixel.y >= 0.0
            && pixel.x < (self.samples.width() - 1) as f64
            && pixel.y < (self.samples.height() - 1) as f64;
        if !inside {
            return None;
        }
        let (x0, y0) = (pixel.x as usize, pixel.y as usize);
        let (fx, fy) = ((pixel.x - x0 as f64) as f32, (pixel.y - y0 as f64) as f32);
        let first = y0 * self.samples.width() + x0;
        let values = self.samples.values();
        let below = first + self.samples.width();
        let corners = [values[first], values[first + 1], values[below], values[below + 1]];
        let weights = [(1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy];
        let blend = |k: usize| -> f32 { (0..4).map(|i| corners[i][k] * weights[i]).sum() };
        Some(Sample {
            intensity: blend(0),
            gradient: Vector2::new(blend(1), blend(2)),
            depth_m: continuous_depth(&corners).then(|| blend(3)),
        })
    }
}

/// Whether all four corners lie on one surface.
fn continuous_depth(corners: &[[f32; 4]; 4]) -> bool {
    let depths = corners.map(|c| c[3]);
    let nearest = depths.iter().fold(f32::INFINITY, |a, &b| a.min(b));
    let furthest = depths.iter().fold(0.0f32, |a, &b| a.max(b));
    nearest > 0.0 && furthest - nearest <= DEPTH_STEP_FRAC * nearest
}

/// Intensity by the luma weights of ITU-R BT.601.
fn intensity(frame: &Frame) -> Raster<f32> {
    let (width, height) = frame.color.dimensions();
    let pixels = frame.color.as_raw();
    Raster::from_fn(width as usize, height as usize, |x, y| {
        let i = 3 * (y * width as usize + x);
        let [r, g, b] = [pixels[i], pixels[i + 1], pixels[i + 2]].map(f32::from);
        0.299 * r + 0.587 * g + 0.114 * b
    })
}

fn halved(raster: &Raster<f32>, merge: impl Fn([f32; 4]) -> f32) -> Raster<f32> {
    Raster::from_fn(raster.width() / 2, raster.height() / 2, |x, y| {
        let (x, y) = (2 * x, 2 * y);
        merge([raster.at(x, y), raster.at(x + 1, y), raster.at(x, y + 1), raster.at(x + 1, y + 1)])
    })
}

fn mean(values: [f32; 4]) -> f32 {
    values.iter().sum::<f32>() * 0.25
}
