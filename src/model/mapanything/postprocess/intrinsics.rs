//! The pinhole camera that fits predicted rays.

use nalgebra::Vector3;

use crate::geometry::Intrinsics;
use crate::raster::Raster;

/// Images with more pixels are fitted by five rays only.
const MAX_PIXELS_FITTED: usize = 1_000_000;
/// About so many samples are taken along each side.
const SAMPLES: usize = 50;

/// Returns the intrinsics by which `rays`, of any length, best fit a pinhole camera: least squares
/// in pixels over a grid of samples, or for images of more than a million pixels the mean of two
/// differences on the middle row and two on the middle column. They are not finite where the rays
/// do not spread.
pub fn intrinsics_from_rays(rays: &Raster<Vector3<f32>>) -> Intrinsics {
    if rays.width() * rays.height() > MAX_PIXELS_FITTED {
        return from_five_rays(rays);
    }
    let (mut across, mut down) = (Line::default(), Line::default());
    for y in (0..rays.height()).step_by((rays.height() / SAMPLES).max(1)) {
        for x in (0..rays.width()).step_by((rays.width() / SAMPLES).max(1)) {
            let slope = slope(rays, x, y);
            across.add(slope[0], x as f64);
            down.add(slope[1], y as f64);
        }
    }
    let ((fx, cx), (fy, cy)) = (across.fit(), down.fit());
    Intrinsics { fx, fy, cx, cy }
}

/// The ray's x and y at depth one.
fn slope(rays: &Raster<Vector3<f32>>, x: usize, y: usize) -> [f64; 2] {
    let ray = rays.at(x, y).cast::<f64>();
    [ray.x / ray.z, ray.y / ray.z]
}

/// Sums for the line `pixel = center + focal * slope`.
#[derive(Default)]
struct Line {
    count: f64,
    slopes: f64,
    squares: f64,
    pixels: f64,
    products: f64,
}

impl Line {
    fn add(&mut self, slope: f64, pixel: f64) {
        self.count += 1.0;
        self.slopes += slope;
        self.squares += slope * slope;
        self.pixels += pixel;
        self.products += slope * pixel;
    }

    /// Focal length and centre by the normal equations.
    fn fit(&self) -> (f64, f64) {
        let determinant = self.count * self.squares - self.slopes * self.slopes;
        let focal = (self.count * self.products - self.slopes * self.pixels) / determinant;
        let center = (self.squares * self.pixels - self.slopes * self.products) / determinant;
        (focal, center)
    }
}

fn from_five_rays(rays: &Raster<Vector3<f32>>) -> Intrinsics {
    let (width, height) = (rays.width(), rays.height());
    let (x, y) = (width / 2, height / 2);
    let middle = slope(rays, x, y);
    let focal = |at: [(f64, f64); 2], center: f64, slope: f64| {
        0.5 * at.map(|(pixel, s)| (pixel - center) / (s - slope)).iter().sum::<f64>()
    };
    let columns = [width / 4, 3 * width / 4].map(|q| (q as f64, slope(rays, q, y)[0]));
    let rows = [height / 4, 3 * height / 4].map(|q| (q as f64, slope(rays, x, q)[1]));
    let fx = focal(columns, x as f64, middle[0]);
    let fy = focal(rows, y as f64, middle[1]);
    Intrinsics { fx, fy, cx: x as f64 - fx * middle[0], cy: y as f64 - fy * middle[1] }
}
