//! How surfaces appear in one image: which pixels they cover, and what is linear there.

use std::ops::Range;

use nalgebra::{Point3, Vector3};

use super::shape::{Rectangle, Shape};
use crate::geometry::{Camera, Se3};

/// Nothing nearer than this is drawn, metres.
const NEAR_M: f64 = 0.03;
/// Neighbouring surfaces are drawn this much over their common edge, so that no gap shows.
const OVERLAP_PX: f64 = 1e-3;

/// A function of the pixel that is linear: `dx * x + dy * y + at_origin`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Linear {
    pub(super) dx: f32,
    pub(super) dy: f32,
    at_origin: f32,
}

impl Linear {
    /// Returns the function whose value at a pixel is the dot product of `vector` with its ray.
    pub(super) fn along_ray(vector: &Vector3<f64>, camera: &Camera) -> Self {
        let k = camera.intrinsics();
        let (dx, dy) = (vector.x / k.fx, vector.y / k.fy);
        let at_origin = vector.z - dx * k.cx - dy * k.cy;
        Self { dx: dx as f32, dy: dy as f32, at_origin: at_origin as f32 }
    }

    #[inline]
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        self.dx * x + self.row(y)
    }

    /// Returns the value at column 0 of row `y`.
    #[inline]
    pub(super) fn row(&self, y: f32) -> f32 {
        self.dy * y + self.at_origin
    }
}

/// A surface in one image.
pub(super) enum Projected {
    Rectangle(ProjectedRectangle),
    Sphere(ProjectedSphere),
}

/// A rectangle in one image. Its surface coordinates are `s = z * s_by_z - s_at_camera`, and so
/// for `t`, in 0..1.
pub(super) struct ProjectedRectangle {
    outline: Vec<[f64; 2]>,
    pub(super) inverse_depth: Linear,
    pub(super) by_z: [Linear; 2],
    pub(super) at_camera: [f32; 2],
}

/// A sphere in one image.
pub(super) struct ProjectedSphere {
    columns: [f64; 2],
    rows: [f64; 2],
    pub(super) center_in_camera: Vector3<f32>,
    pub(super) radius_m: f32,
}

impl Projected {
    /// Returns how `shape` appears in the image of `camera`, or `None` where it does not.
    pub(super) fn new(shape: &Shape, camera_from_world: &Se3, camera: &Camera) -> Option<Self> {
        match shape {
            Shape::Rectangle(rectangle) => {
                ProjectedRectangle::new(rectangle, camera_from_world, camera).map(Self::Rectangle)
            }
            Shape::Sphere { center, radius_m } => {
                let center = camera_from_world * center;
                ProjectedSphere::new(&center, *radius_m, camera).map(Self::Sphere)
            }
        }
    }

    /// Returns the rows of the image that the surface may cover.
    pub(super) fn rows(&self, height: usize) -> Range<usize> {
        let [top, bottom] = match self {
            Self::Rectangle(r) => extent(r.outline.iter().map(|p| p[1])),
            Self::Sphere(sphere) => sphere.rows,
        };
        pixels(top, bottom, height)
    }

    /// Returns the columns of row `y` that the surface may cover.
    pub(super) fn columns(&self, y: usize, width: usize) -> Range<usize> {
        let [left, right] = match self {
            Self::Rectangle(rectangle) => rectangle.span(y as f64),
            Self::Sphere(sphere) => sphere.columns,
        };
        pixels(left, right, width)
    }
}

impl ProjectedRectangle {
    fn new(shape: &Rectangle, camera_from_world: &Se3, camera: &Camera) -> Option<Self> {
        let origin = camera_from_world * shape.origin;
        let [right, down] = [shape.right, shape.down].map(|d| camera_from_world * d.into_inner());
        let normal = camera_from_world * shape.normal();
        let towards = normal.dot(&origin.coords);
        if towards > -1e-9 {
            return None;
        }
        let (wide, high) = (right * shape.size_m[0], down * shape.size_m[1]);
        let corners = [origin, origin + wide, origin + wide + high, origin + high];
        let outline = outline(&corners, camera)?;
        let unit = [right / shape.size_m[0], down / shape.size_m[1]];
        Some(Self {
            outline,
            inverse_depth: Linear::along_ray(&(normal / towards), camera),
            by_z: unit.map(|direction| Linear::along_ray(&direction, camera)),
            at_camera: unit.map(|direction| direction.dot(&origin.coords) as f32),
        })
    }

    /// Leftmost and rightmost column of the outline at row `y`.
    fn span(&self, y: f64) -> [f64; 2] {
        let next = self.outline.iter().cycle().skip(1);
        let crossings = self.outline.iter().zip(next).filter_map(|(a, b)| {
            let (low, high) = if a[1] < b[1] { (a, b) } else { (b, a) };
            let crossed = low[1] - OVERLAP_PX <= y && y <= high[1] + OVERLAP_PX;
            let share = ((y - low[1]) / (high[1] - low[1]).max(1e-12)).clamp(0.0, 1.0);
            crossed.then(|| low[0] + (high[0] - low[0]) * share)
        });
        extent(crossings)
    }

    /// Returns the surface coordinate at a pixel with depth `z`.
    #[inline]
    pub(super) fn coordinate(&self, x: f32, y: f32, z: f32) -> [f32; 2] {
        std::array::from_fn(|k| z * self.by_z[k].at(x, y) - self.at_camera[k])
    }
}

impl ProjectedSphere {
    fn new(center: &Point3<f64>, radius_m: f64, camera: &Camera) -> Option<Self> {
        let k = camera.intrinsics();
        if center.z - radius_m < NEAR_M {
            return None;
        }
        let edges = |across: f64, focal: f64, principal: f64| {
            let (middle, half) =
                (across.atan2(center.z), (radius_m / across.hypot(center.z)).min(1.0).asin());
            [middle - half, middle + half].map(|angle| focal * angle.tan() + principal)
        };
        let columns = edges(center.x, k.fx, k.cx);
        let rows = edges(center.y, k.fy, k.cy);
        let center_in_camera = center.coords.cast();
        Some(Self { columns, rows, center_in_camera, radius_m: radius_m as f32 })
    }

    /// Returns the depth at which `ray` (z = 1) meets the sphere.
    #[inline]
    pub(super) fn depth(&self, ray: &Vector3<f32>) -> Option<f32> {
        let (a, b) = (ray.norm_squared(), ray.dot(&self.center_in_camera));
        let c = self.center_in_camera.norm_squared() - self.radius_m * self.radius_m;
        let under_root = b * b - a * c;
        (under_root > 0.0).then(|| (b - under_root.sqrt()) / a)
    }
}

/// The outline in pixels of the polygon's part in front of the camera, if there is any.
fn outline(corners: &[Point3<f64>], camera: &Camera) -> Option<Vec<[f64; 2]>> {
    let k = camera.intrinsics();
    let pixel = |p: &Point3<f64>| [k.fx * p.x / p.z + k.cx, k.fy * p.y / p.z + k.cy];
    let mut pixels = Vec::with_capacity(corners.len() + 1);
    for (a, b) in corners.iter().zip(corners.iter().cycle().skip(1)) {
        if a.z >= NEAR_M {
            pixels.push(pixel(a));
        }
        if (a.z < NEAR_M) != (b.z < NEAR_M) {
            pixels.push(pixel(&(a + (b - a) * ((NEAR_M - a.z) / (b.z - a.z)))));
        }
    }
    (!pixels.is_empty()).then_some(pixels)
}

/// Smallest and largest of `values`; reversed infinities without any.
fn extent(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [low.min(v), high.max(v)])
}

/// The pixels of `0..count` whose centres are between two coordinates.
fn pixels(low: f64, high: f64, count: usize) -> Range<usize> {
    let start = (low - OVERLAP_PX).ceil().clamp(0.0, count as f64) as usize;
    let end = ((high + OVERLAP_PX).floor() + 1.0).clamp(0.0, count as f64) as usize;
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_between_two_coordinates() {
        let cases = [
            (0.2, 3.1, 1..4),
            (2.0, 4.0, 2..5),
            (-9.0, 99.0, 0..10),
            (3.2, 3.7, 4..4),
            (-5.0, -2.0, 0..0),
            (f64::INFINITY, f64::NEG_INFINITY, 10..10),
        ];
        for (low, high, expected) in cases {
            assert_eq!(pixels(low, high, 10), expected, "{low} to {high}");
        }
    }
}
