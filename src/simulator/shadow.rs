//! What stands in the way of light.

use nalgebra::{Point3, Vector3};

use super::scene::Scene;
use super::shape::{Rectangle, Shape};

/// A surface as an obstacle, from both sides, made ready for many rays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Obstacle {
    form: Form,
    center: Point3<f32>,
    /// No point of it is farther from its centre, metres.
    radius_m: f32,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    /// The points whose dot products with `across` and `along`, from the centre, are in -1..1.
    Flat {
        normal: Vector3<f32>,
        across: Vector3<f32>,
        along: Vector3<f32>,
    },
    Round,
}

impl Obstacle {
    /// Returns the obstacles that a scene consists of; what moves is none.
    pub(super) fn all(scene: &Scene) -> Vec<Self> {
        scene.fixed().map(|surface| Self::new(&surface.shape)).collect()
    }

    fn new(shape: &Shape) -> Self {
        match shape {
            Shape::Rectangle(rectangle) => Self::flat(rectangle, shape.point([0.5, 0.5]).cast()),
            Shape::Sphere { center, radius_m } => {
                Self { form: Form::Round, center: center.cast(), radius_m: *radius_m as f32 }
            }
        }
    }

    fn flat(rectangle: &Rectangle, center: Point3<f32>) -> Self {
        let [width, height] = rectangle.size_m.map(|metres| metres as f32);
        let form = Form::Flat {
            normal: rectangle.normal().cast(),
            across: rectangle.right.into_inner().cast() * (2.0 / width),
            along: rectangle.down.into_inner().cast() * (2.0 / height),
        };
        Self { form, center, radius_m: width.hypot(height) / 2.0 }
    }

    /// Returns whether it may come within `reach_m` of `point`.
    pub(super) fn is_near(&self, point: &Point3<f32>, reach_m: f32) -> bool {
        (self.center - point).norm_squared() <= (self.radius_m + reach_m).powi(2)
    }

    /// Returns whether it lies on the way from `start` along `path`, ends excluded.
    #[inline]
    pub(super) fn blocks(&self, start: &Point3<f32>, path: &Vector3<f32>) -> bool {
        let offset = self.center - start;
        match &self.form {
            Form::Flat { normal, across, along } => {
                let share = offset.dot(normal) / path.dot(normal);
                (1e-4..0.999).contains(&share) && {
                    let met = path * share - offset;
                    met.dot(across).abs() <= 1.0 && met.dot(along).abs() <= 1.0
                }
            }
            Form::Round => {
                let (a, b) = (path.norm_squared(), path.dot(&offset));
                let under_root = b * b - a * (offset.norm_squared() - self.radius_m.powi(2));
                under_root > 0.0 && (1e-4..0.999).contains(&((b - under_root.sqrt()) / a))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::material::{Material, Pattern};
    use super::*;

    #[test]
    fn an_obstacle_blocks_only_what_is_behind_it() {
        let grey = Material::tiled(Pattern::Plaster, [0.5; 3], [0.5; 3]);
        let scenes = [
            Scene::new().sphere([0.0; 3], 0.5, grey),
            Scene::new().picture([0.0; 3], 0.0, [1.0, 1.0], grey),
        ];
        // Start, path, whether it is blocked.
        let cases = [
            ([-2.0, 0.1, 0.1], [4.0, 0.0, 0.0], true),
            ([2.0, 0.1, 0.1], [-4.0, 0.0, 0.0], true),
            ([-2.0, 0.1, 0.1], [1.0, 0.0, 0.0], false),
            ([2.0, 0.1, 0.1], [4.0, 0.0, 0.0], false),
            ([-2.0, 0.8, 0.1], [4.0, 0.0, 0.0], false),
        ];
        for scene in &scenes {
            for (start, path, expected) in cases {
                let obstacle = Obstacle::all(scene)[0];
                assert_eq!(obstacle.blocks(&start.into(), &path.into()), expected, "{start:?}");
                assert!(
                    obstacle.is_near(&start.into(), 1.7) && !obstacle.is_near(&start.into(), 1.2)
                );
            }
        }
    }
}
