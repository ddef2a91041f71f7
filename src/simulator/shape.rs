//! The shapes that a scene is made of: rectangles and spheres, both exact.

use nalgebra::{Point3, Unit, Vector3};

/// A surface without thickness, seen from its front.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// A rectangle.
    Rectangle(Rectangle),
    /// A sphere seen from outside.
    Sphere {
        /// Centre in the world, metres.
        center: Point3<f64>,
        /// Radius in metres.
        radius_m: f64,
    },
}

/// A rectangle in the world; who sees its front sees `right` to the right and `down` down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rectangle {
    /// The upper left corner.
    pub origin: Point3<f64>,
    /// Direction of its width.
    pub right: Unit<Vector3<f64>>,
    /// Direction of its height, at a right angle to `right`.
    pub down: Unit<Vector3<f64>>,
    /// Width and height in metres.
    pub size_m: [f64; 2],
}

impl Rectangle {
    /// Returns the rectangle about `center` whose front looks along `normal`; `right` must be at
    /// a right angle to `normal`.
    pub fn facing(
        center: Point3<f64>,
        normal: Unit<Vector3<f64>>,
        right: Unit<Vector3<f64>>,
        size_m: [f64; 2],
    ) -> Self {
        let down = Unit::new_normalize(right.cross(&normal));
        let half = right.scale(size_m[0] / 2.0) + down.scale(size_m[1] / 2.0);
        Self { origin: center - half, right, down, size_m }
    }

    /// Returns the direction that its front looks to.
    pub fn normal(&self) -> Vector3<f64> {
        self.down.cross(&self.right)
    }

    fn nearest(&self, point: &Point3<f64>) -> Point3<f64> {
        let offset = point - self.origin;
        let across = offset.dot(&self.right).clamp(0.0, self.size_m[0]);
        let along = offset.dot(&self.down).clamp(0.0, self.size_m[1]);
        self.origin + self.right.scale(across) + self.down.scale(along)
    }
}

impl Shape {
    /// Returns the shape moved by `offset` metres.
    pub(super) fn moved(&self, offset: &Vector3<f64>) -> Self {
        match *self {
            Self::Rectangle(r) => Self::Rectangle(Rectangle { origin: r.origin + offset, ..r }),
            Self::Sphere { center, radius_m } => Self::Sphere { center: center + offset, radius_m },
        }
    }

    /// Returns the extents in metres along the two surface coordinates.
    pub fn size_m(&self) -> [f64; 2] {
        match self {
            Self::Rectangle(rectangle) => rectangle.size_m,
            Self::Sphere { radius_m, .. } => {
                [std::f64::consts::TAU * radius_m, std::f64::consts::PI * radius_m]
            }
        }
    }

    /// Returns the point at surface coordinate `[s, t]`, each 0 to 1.
    pub fn point(&self, [s, t]: [f64; 2]) -> Point3<f64> {
        match self {
            Self::Rectangle(r) => {
                r.origin + r.right.scale(s * r.size_m[0]) + r.down.scale(t * r.size_m[1])
            }
            Self::Sphere { center, radius_m } => center + self.normal([s, t]) * *radius_m,
        }
    }

    /// Returns the outward unit normal at surface coordinate `[s, t]`.
    pub fn normal(&self, [s, t]: [f64; 2]) -> Vector3<f64> {
        match self {
            Self::Rectangle(rectangle) => rectangle.normal(),
            Self::Sphere { .. } => {
                let (longitude, polar) =
                    ((s - 0.5) * std::f64::consts::TAU, t * std::f64::consts::PI);
                let across = polar.sin();
                Vector3::new(across * longitude.cos(), across * longitude.sin(), polar.cos())
            }
        }
    }

    /// Returns the distance in metres from `point` to the surface.
    pub fn distance_m(&self, point: &Point3<f64>) -> f64 {
        match self {
            Self::Rectangle(rectangle) => (point - rectangle.nearest(point)).norm(),
            Self::Sphere { center, radius_m } => ((point - center).norm() - radius_m).abs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shapes() -> [Shape; 2] {
        let center = Point3::new(0.3, -0.2, 1.0);
        let normal = Unit::new_normalize(Vector3::new(0.0, -0.6, 0.8));
        [
            Shape::Rectangle(Rectangle::facing(center, normal, Vector3::x_axis(), [1.2, 0.7])),
            Shape::Sphere { center, radius_m: 0.4 },
        ]
    }

    proptest! {
        #[test]
        fn a_point_off_the_surface_is_as_far_away_as_it_was_moved(
            s in 0.01..0.99f64, t in 0.01..0.99f64, height in -0.05..0.3f64,
        ) {
            for shape in shapes() {
                let moved = shape.point([s, t]) + shape.normal([s, t]) * height;
                prop_assert!((shape.distance_m(&moved) - height.abs()).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_rectangle_looks_where_it_was_told_to() {
        let rectangle =
            Rectangle::facing(Point3::origin(), -Vector3::y_axis(), Vector3::x_axis(), [1.0, 1.0]);
        assert!((rectangle.normal() + *Vector3::y_axis()).norm() < 1e-12);
        assert!((rectangle.down.into_inner() + *Vector3::z_axis()).norm() < 1e-12);
    }
}
