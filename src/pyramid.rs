//! Image pyramids: intensity, its gradient and depth side by side at halving sizes.
//!
//! A pyramid takes as much memory as all else about a keyframe, and is a function of its image,
//! depth and camera: those of keyframes are made when they are looked at, and may be forgotten.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use image::RgbImage;
use nalgebra::Vector2;

use crate::frame::{DepthImage, Frame, mean_of_nearest_surface};
use crate::geometry::Camera;
use crate::pointmap::Pointmap;
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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    origin: Origin,
    levels: OnceLock<Vec<Level>>,
    /// The coarsest level's intensities, once somebody has asked for them alone.
    coarsest: OnceLock<Raster<f32>>,
    /// Whether somebody has looked at the levels since [`Pyramid::forget_unless_used`].
    is_used: AtomicBool,
}

/// What a pyramid is made of.
#[derive(Debug, Clone)]
struct Origin {
    color: Arc<RgbImage>,
    depth: Depth,
    camera: Camera,
    max_levels: usize,
}

#[derive(Debug, Clone)]
enum Depth {
    Unknown,
    Image(Arc<DepthImage>),
    Points(Pointmap),
}

/// Depths further apart than this share belong to different surfaces.
const DEPTH_STEP_FRAC: f32 = 0.05;

impl Pyramid {
    /// Returns up to `max_levels` levels of the frame, none lower or narrower than 12 pixels but the first.
    pub fn new(frame: &Frame, camera: &Camera, max_levels: usize) -> Self {
        let pyramid = Self::later(frame, camera, max_levels);
        pyramid.levels();
        pyramid
    }

    /// Returns the same pyramid, whose levels are made when they are looked at.
    pub fn later(frame: &Frame, camera: &Camera, max_levels: usize) -> Self {
        let depth = frame.depth.clone().map_or(Depth::Unknown, Depth::Image);
        Self::of(Origin { color: Arc::clone(&frame.color), depth, camera: *camera, max_levels })
    }

    fn of(origin: Origin) -> Self {
        let (levels, coarsest) = (OnceLock::new(), OnceLock::new());
        Self { shared: Arc::new(Shared { origin, levels, coarsest, is_used: false.into() }) }
    }

    fn origin(&self) -> Origin {
        self.shared.origin.clone()
    }

    /// Returns the pyramid with the depths of another frame of the same image; its levels are made
    /// when they are looked at.
    pub fn with_depth_of(&self, frame: &Frame) -> Self {
        let depth = frame.depth.clone().map_or(Depth::Unknown, Depth::Image);
        Self::of(Origin { depth, ..self.origin() })
    }

    /// Returns the pyramid with the depths of a pointmap of the same view; its levels are made when
    /// they are looked at.
    pub fn with_points(&self, pointmap: &Pointmap) -> Self {
        Self::of(Origin { depth: Depth::Points(pointmap.clone()), ..self.origin() })
    }

    /// Returns the same images with another camera for the finest of them; its levels are made when
    /// they are looked at.
    pub fn with_camera(&self, camera: &Camera) -> Self {
        Self::of(Origin { camera: *camera, ..self.origin() })
    }

    /// Gives up the memory of the levels, which are made anew when they are looked at, unless
    /// somebody has looked at them since this was asked the last time. Clones keep theirs.
    pub fn forget_unless_used(&mut self) {
        if self.shared.is_used.swap(false, Ordering::Relaxed) || !self.is_made() {
            return;
        }
        let forgotten = Self::of(self.origin());
        if let Some(coarsest) = self.shared.coarsest.get() {
            forgotten.shared.coarsest.get_or_init(|| coarsest.clone());
        }
        *self = forgotten;
    }

    /// Returns whether the levels are there, and need not be made when they are looked at.
    pub fn is_made(&self) -> bool {
        self.shared.levels.get().is_some()
    }

    /// Returns the levels, finest first.
    pub fn levels(&self) -> &[Level] {
        self.shared.is_used.store(true, Ordering::Relaxed);
        self.shared.levels.get_or_init(|| self.shared.origin.levels())
    }

    /// Returns the intensities of the coarsest level, without making the others.
    pub fn coarsest(&self) -> &Raster<f32> {
        self.shared.coarsest.get_or_init(|| self.shared.origin.coarsest())
    }
}

impl Origin {
    fn levels(&self) -> Vec<Level> {
        let mut intensity = intensity(&self.color);
        let mut depth = match &self.depth {
            Depth::Image(depth) => depth.raster().clone(),
            Depth::Points(pointmap) => pointmap.depths(),
            Depth::Unknown => Raster::filled(intensity.width(), intensity.height(), 0.0),
        };
        let mut levels = vec![Level::new(self.camera, &intensity, &depth)];
        while levels.len() < self.max_levels && is_halved(&intensity) {
            intensity = halved(&intensity, mean);
            depth = halved(&depth, |block| mean_of_nearest_surface(&block));
            let camera = levels[levels.len() - 1].camera.reduced(2);
            levels.push(Level::new(camera, &intensity, &depth));
        }
        levels
    }

    fn coarsest(&self) -> Raster<f32> {
        let mut intensity = intensity(&self.color);
        for _ in 1..self.max_levels {
            if !is_halved(&intensity) {
                break;
            }
            intensity = halved(&intensity, mean);
        }
        intensity
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

    /// Returns the derivatives of the intensity by column and row at a pixel.
    pub fn gradient(&self, x: usize, y: usize) -> [f32; 2] {
        let [_, dx, dy, _] = self.samples.at(x, y);
        [dx, dy]
    }

    /// Returns the squared gradient of a pixel.
    pub fn gradient_squared(&self, x: usize, y: usize) -> f32 {
        let [dx, dy] = self.gradient(x, y);
        dx * dx + dy * dy
    }

    /// Returns the depth (metres) at `pixel`: interpolated within a surface; at its edge, that of the
    /// four pixels around which is nearest to the one that is expected. `None` where there is none.
    pub fn depth_near_m(&self, pixel: &Vector2<f64>, expected_m: f64) -> Option<f64> {
        if let Some(depth_m) = self.sample(pixel)?.depth_m {
            return Some(f64::from(depth_m));
        }
        let first = pixel.y as usize * self.samples.width() + pixel.x as usize;
        let values = self.samples.values();
        let below = first + self.samples.width();
        let around = [first, first + 1, below, below + 1].map(|at| f64::from(values[at][3]));
        let measured = around.into_iter().filter(|&depth_m| depth_m > 0.0);
        measured.min_by(|a, b| (a - expected_m).abs().total_cmp(&(b - expected_m).abs()))
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
fn intensity(color: &RgbImage) -> Raster<f32> {
    let (width, height) = color.dimensions();
    let pixels = color.as_raw();
    Raster::from_fn(width as usize, height as usize, |x, y| {
        let i = 3 * (y * width as usize + x);
        let [r, g, b] = [pixels[i], pixels[i + 1], pixels[i + 2]].map(f32::from);
        0.299 * r + 0.587 * g + 0.114 * b
    })
}

/// Whether there is a level below one of this size.
fn is_halved(raster: &Raster<f32>) -> bool {
    raster.width().min(raster.height()) >= 24
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
