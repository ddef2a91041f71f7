//! Windows of large images: where a network that takes small images should look for fine matches
//! (coarse-to-fine matching of Leroy, Cabon and Revaud, "Grounding image matching in 3D with
//! MASt3R", ECCV 2024, section 3.4).

use nalgebra::{Matrix3, Vector2, Vector3};

/// Sides of windows are multiples of this.
const PATCH: usize = 16;

/// A rectangle of pixels; `right` and `bottom` are exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First column.
    pub left: i64,
    /// First row.
    pub top: i64,
    /// Column after the last.
    pub right: i64,
    /// Row after the last.
    pub bottom: i64,
}

/// Width and height of an image in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSize {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Window {
    /// Returns whether a pixel lies in the window.
    pub fn contains(&self, pixel: &Vector2<f64>) -> bool {
        let bounds = [self.left, self.top, self.right, self.bottom].map(|v| v as f64);
        pixel.x >= bounds[0] && pixel.x < bounds[2] && pixel.y >= bounds[1] && pixel.y < bounds[3]
    }

    /// Returns how much a match at `pixel` counts for the window: 1 in its centre, falling off as
    /// `exp(-2 d²)`, where `d` is the distance in window sides.
    pub fn weight(&self, pixel: &Vector2<f64>) -> f64 {
        let centre =
            Vector2::new(self.left + self.right, self.top + self.bottom).cast::<f64>() / 2.0;
        let offset = (pixel - centre).component_div(&self.size());
        (-2.0 * offset.norm_squared()).exp()
    }

    /// Returns width and height.
    pub fn size(&self) -> Vector2<f64> {
        Vector2::new(self.right - self.left, self.bottom - self.top).cast()
    }
}

/// Returns the windows that cover an image, each overlapping the next by about half, in row
/// order: as large as the image would be with `long_side` pixels on its long side (512 for released
/// networks), in multiples of 16.
pub fn window_grid(image: ImageSize, long_side: usize) -> Vec<Window> {
    let image_side = image.width.max(image.height).max(1);
    let side = |pixels: usize| pixels * long_side / image_side / PATCH * PATCH;
    let (width, height) = (side(image.width) as i64, side(image.height) as i64);
    let columns = positions(image.width as i64, width);
    let rows = positions(image.height as i64, height);
    let window =
        |left: i64, top: i64| Window { left, top, right: left + width, bottom: top + height };
    rows.iter().flat_map(|&y| columns.iter().map(move |&x| window(x, y))).collect()
}

/// Evenly spread starts of windows of `window` pixels on a line of `length`, half a window apart
/// or less, rounded to even in the middle.
fn positions(length: i64, window: i64) -> Vec<i64> {
    if window <= 0 || length <= window {
        return vec![0];
    }
    let spacing = window as f64 * 0.5;
    let count = 2 + ((length - window - 1) as f64 / spacing).floor() as i64;
    let step = (length - window) as f64 / (count - 1) as f64;
    (0..count).map(|i| (i as f64 * step).round_ties_even() as i64).collect()
}

/// Returns the window of `size` around `centre` in whole pixels at a `resolution`, shifted into an
/// image: the edges are rounded down, the left and upper ones then give way.
pub(super) fn fitted(
    centre: &Vector2<f64>,
    size: &Vector2<f64>,
    resolution: ImageSize,
    image: ImageSize,
) -> Window {
    let along = |axis: usize, target: usize, limit: usize| {
        // In the steps of the original, whose rounding this has to share.
        let (start, end) = (centre[axis] - size[axis] / 2.0, centre[axis] + size[axis] / 2.0);
        let grow = (target as f64 - (end - start)) / 2.0;
        let end = (end + grow).floor() as i64;
        let start = end - target as i64;
        let shift = -start.min(0) - (end - start.min(0) - limit as i64).max(0);
        (start + shift, end + shift)
    };
    let (left, right) = along(0, resolution.width, image.width);
    let (top, bottom) = along(1, resolution.height, image.height);
    Window { left, top, right, bottom }
}

/// Returns `window` at a `resolution` about the same centre, shifted into the image.
pub fn fit_window(window: &Window, resolution: ImageSize, image: ImageSize) -> Window {
    let size = window.size();
    let corner = Vector2::new(window.left, window.top).cast::<f64>();
    fitted(&(corner + size / 2.0), &size, resolution, image)
}

/// Returns the pixel in a full image of a pixel in a resized crop of it. `full_from_crop` maps
/// coordinates that count from the corners of the images, ours from the centre of the first pixel.
pub fn pixel_in_full(pixel: &Vector2<f64>, full_from_crop: &Matrix3<f64>) -> Vector2<f64> {
    let full = full_from_crop * Vector3::new(pixel.x + 0.5, pixel.y + 0.5, 1.0);
    Vector2::new(full.x / full.z - 0.5, full.y / full.z - 0.5)
}
