//! Whether two cameras can look at the same place.

use nalgebra::{Point3, Vector3};

use crate::geometry::{Intrinsics, Se3};

/// Below this, a segment is parallel to a triangle or begins on it.
const EPSILON: f64 = 1e-6;

/// The faces of the box, two triangles each; the corners are in the order of [`Frustum::new`].
const TRIANGLES: [[usize; 3]; 12] = [
    [0, 1, 2],
    [0, 2, 3],
    [4, 5, 6],
    [4, 6, 7],
    [0, 1, 5],
    [0, 5, 4],
    [1, 2, 6],
    [1, 6, 5],
    [2, 3, 7],
    [2, 7, 6],
    [3, 0, 4],
    [3, 4, 7],
];

/// A camera's field of view between a near and a far plane.
///
/// As in the reference, it extends as far on either side of the optical axis as the principal point
/// is from the image's first column and row, whatever the size of the image.
#[derive(Debug, Clone, PartialEq)]
pub struct Frustum {
    camera_from_world: Se3,
    /// Half extents at depth one.
    slopes: [f64; 2],
    range_m: (f64, f64),
    corners: [Point3<f64>; 8],
}

impl Frustum {
    /// Returns the field of view of a camera between the depths `range_m`.
    pub fn new(k: &Intrinsics, world_from_camera: &Se3, range_m: (f64, f64)) -> Self {
        let slopes = [k.cx / k.fx, k.cy / k.fy];
        let corner = |z: f64, x: f64, y: f64| {
            world_from_camera * Point3::new(x * slopes[0] * z, y * slopes[1] * z, z)
        };
        let plane = |z: f64| {
            [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)].map(|(x, y)| corner(z, x, y))
        };
        let ([a, b, c, d], [e, f, g, h]) = (plane(range_m.0), plane(range_m.1));
        let camera_from_world = world_from_camera.inverse();
        Self { camera_from_world, slopes, range_m, corners: [a, b, c, d, e, f, g, h] }
    }

    /// Returns whether the two have a place in common.
    pub fn meets(&self, other: &Self) -> bool {
        let contains = |frustum: &Self, points: &Self| {
            points.corners.iter().any(|corner| frustum.contains(corner))
        };
        contains(self, other) || contains(other, self) || self.pierces(other) || other.pierces(self)
    }

    fn contains(&self, point_in_world: &Point3<f64>) -> bool {
        let point = self.camera_from_world * point_in_world;
        let [x, y] = self.slopes.map(|slope| slope.abs() * point.z);
        let (near, far) = self.range_m;
        (near..=far).contains(&point.z) && point.x.abs() <= x && point.y.abs() <= y
    }

    /// Whether an edge of this one goes through a face of the other.
    fn pierces(&self, other: &Self) -> bool {
        let sides = TRIANGLES.iter().flat_map(|&[a, b, c]| [(a, b), (b, c), (c, a)]);
        let mut segments = sides.map(|(a, b)| (self.corners[a], self.corners[b]));
        segments.any(|(start, end)| {
            let faces = TRIANGLES.iter().map(|corners| corners.map(|c| other.corners[c]));
            faces.into_iter().any(|face| crosses(&start, &end, &face))
        })
    }
}

/// Whether the segment goes through the triangle (Möller and Trumbore 1997).
fn crosses(start: &Point3<f64>, end: &Point3<f64>, [a, b, c]: &[Point3<f64>; 3]) -> bool {
    let direction: Vector3<f64> = end - start;
    let (ab, ac) = (b - a, c - a);
    let normal = direction.cross(&ac);
    let determinant = ab.dot(&normal);
    if determinant.abs() <= EPSILON {
        return false;
    }
    let from_a = start - a;
    let u = from_a.dot(&normal) / determinant;
    let across = from_a.cross(&ab);
    let v = direction.dot(&across) / determinant;
    let t = ac.dot(&across) / determinant;
    u >= 0.0 && v >= 0.0 && u + v <= 1.0 && (EPSILON..=1.0).contains(&t)
}
