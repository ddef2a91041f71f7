//! The dice: everything that is left to chance in a window is a hash of the seed, the stamps of its
//! views and what it is used for. The same window meets the same chance with and without priors.

use nalgebra::Vector3;

use super::super::random::{derive, fractal, gaussian_triple, hash, unit};
use super::config::OracleConfig;
use super::truth::TrueView;

/// Root mean square of [`fractal`]: of values uniform in -1..1 at the corners, eased between them.
const FRACTAL_RMS: f32 = 0.4524;
/// Cells after which the warp would repeat, far beyond the image.
const PERIOD_CELLS: i32 = 256;

/// What a draw is used for.
#[derive(Clone, Copy)]
enum Use {
    Scale = 1,
    Warp,
    Focal,
    Failure,
    Upset,
    ViewOfWindow,
    Image,
    Rotation,
    Translation,
    Confidence,
    TooSure,
    Mistaken,
}

/// The chance that a window meets.
pub(super) struct WindowDraws {
    key: u64,
}

impl WindowDraws {
    pub(super) fn new(config: &OracleConfig, views: &[TrueView]) -> Self {
        let stamps = views.iter().map(|view| view.stamp.nanos() as u64);
        Self { key: stamps.fold(derive(config.seed, 0), derive) }
    }

    /// Normally distributed; for the scale.
    pub(super) fn scale(&self) -> f64 {
        normal(self.key, Use::Scale).x
    }

    /// Normally distributed; for the focal length.
    pub(super) fn focal(&self) -> f64 {
        normal(self.key, Use::Focal).x
    }

    /// Uniform in 0..1; for how strong the warp is.
    pub(super) fn warp(&self) -> f64 {
        uniform(self.key, Use::Warp)
    }

    /// Uniform in 0..1; below the share of failures the window fails.
    pub(super) fn failure(&self) -> f64 {
        uniform(self.key, Use::Failure)
    }

    /// Uniform in 0..1; below the share of them, priors upset the model.
    pub(super) fn upset(&self) -> f64 {
        uniform(self.key, Use::Upset)
    }

    /// The chance that view `index` meets.
    pub(super) fn view(&self, config: &OracleConfig, index: usize, view: &TrueView) -> ViewDraws {
        let image = derive(derive(config.seed, Use::Image as u64), view.stamp.nanos() as u64);
        let share = config.warp_of_image_share as f32;
        ViewDraws {
            key: derive(derive(self.key, Use::ViewOfWindow as u64), index as u64),
            image,
            shares: [share.sqrt(), (1.0 - share).sqrt()],
            cells: config.warp_cells as f32,
        }
    }
}

/// The chance that a view of a window meets.
pub(super) struct ViewDraws {
    key: u64,
    image: u64,
    /// Of the warp, by its parts: of the image, and of the window.
    shares: [f32; 2],
    cells: f32,
}

impl ViewDraws {
    /// Three normally distributed numbers; for the rotation.
    pub(super) fn rotation(&self) -> Vector3<f64> {
        normal(self.key, Use::Rotation)
    }

    /// Three normally distributed numbers; for the position.
    pub(super) fn translation(&self) -> Vector3<f64> {
        normal(self.key, Use::Translation)
    }

    /// Uniform in 0..1; below the share of such mistakes, a view without a place is taken for the first.
    pub(super) fn mistaken(&self) -> f64 {
        uniform(self.key, Use::Mistaken)
    }

    /// A smooth function over the image with root mean square one, `(u, v)` in image widths.
    pub(super) fn warp(&self, uv: [f32; 2]) -> f32 {
        let at = uv.map(|x| x * self.cells / PERIOD_CELLS as f32);
        let part = |seed| fractal(seed, at, [PERIOD_CELLS; 2], 2) / FRACTAL_RMS;
        self.shares[0] * part(self.image) + self.shares[1] * part(self.key)
    }

    /// Uniform in 0..1 for each pixel; for wrong confidence.
    pub(super) fn confidence(&self, pixel: usize) -> f64 {
        uniform(derive(self.key, pixel as u64), Use::Confidence)
    }

    /// Normally distributed for each pixel; for depth that the model is too sure of.
    pub(super) fn too_sure(&self, pixel: usize) -> f64 {
        normal(derive(self.key, pixel as u64), Use::TooSure).x
    }
}

fn uniform(key: u64, purpose: Use) -> f64 {
    f64::from(unit(derive(key, purpose as u64)))
}

fn normal(key: u64, purpose: Use) -> Vector3<f64> {
    Vector3::from(gaussian_triple(hash(derive(key, purpose as u64)))).cast()
}
