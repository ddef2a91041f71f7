//! Scenes: surfaces with materials, and the lamps that light them.

use std::f64::consts::TAU;

use nalgebra::{Point3, Rotation3, Unit, Vector3};

use super::material::Material;
use super::mover::Shuttle;
use super::shape::{Rectangle, Shape};

/// One surface of a scene.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surface {
    pub(super) shape: Shape,
    /// Index into the scene's materials.
    pub(super) material: usize,
    /// Whether it moves as the scene's shuttle does.
    pub(super) moves: bool,
}

/// A rectangle that gives light from its front.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lamp {
    pub(super) area: Rectangle,
    /// Radiance per channel.
    pub(super) light: [f32; 3],
}

/// A world, z up, metres. Built by adding to an empty one.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    pub(super) surfaces: Vec<Surface>,
    pub(super) materials: Vec<Material>,
    pub(super) lamps: Vec<Lamp>,
    pub(super) shuttle: Option<Shuttle>,
}

impl Scene {
    /// Returns a scene with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the scene with one more surface.
    pub fn with(mut self, shape: Shape, material: Material) -> Self {
        let known = self.materials.iter().position(|m| *m == material);
        let index = known.unwrap_or(self.materials.len());
        if known.is_none() {
            self.materials.push(material);
        }
        self.surfaces.push(Surface { shape, material: index, moves: false });
        self
    }

    /// Returns the scene with a sphere about `center` (metres).
    pub fn sphere(self, center: [f64; 3], radius_m: f64, material: Material) -> Self {
        self.with(Shape::Sphere { center: center.into(), radius_m }, material)
    }

    /// Returns the scene with an upright picture about `center` that looks along the horizontal
    /// direction `yaw_rad` (0 is x, a right angle is y).
    pub fn picture(
        self,
        center: [f64; 3],
        yaw_rad: f64,
        size_m: [f64; 2],
        material: Material,
    ) -> Self {
        let normal = turned(&Vector3::x_axis(), yaw_rad);
        let right = turned(&Vector3::y_axis(), yaw_rad);
        self.with(
            Shape::Rectangle(Rectangle::facing(center.into(), normal, right, size_m)),
            material,
        )
    }

    /// Returns the scene with a box that stands on `base` (the centre of its lower face), turned
    /// by `yaw_rad`. A box on the floor (z = 0) has no lower face.
    pub fn cuboid(
        mut self,
        base: [f64; 3],
        size_m: [f64; 3],
        yaw_rad: f64,
        material: Material,
    ) -> Self {
        let center = Point3::new(base[0], base[1], base[2] + size_m[2] / 2.0);
        for face in box_faces(center, size_m, yaw_rad) {
            let hidden = base[2] <= 0.0 && face.normal().z < -0.5;
            if !hidden {
                self = self.with(Shape::Rectangle(face), material);
            }
        }
        self
    }

    /// Returns the scene with an upright round body of `sides` flat sides, without caps.
    pub fn column(
        mut self,
        base: [f64; 3],
        radius_m: f64,
        height_m: f64,
        sides: usize,
        material: Material,
    ) -> Self {
        let step = TAU / sides as f64;
        let (inner, width) = (radius_m * (step / 2.0).cos(), 2.0 * radius_m * (step / 2.0).sin());
        for side in 0..sides {
            let yaw = step * side as f64;
            let center = [
                base[0] + inner * yaw.cos(),
                base[1] + inner * yaw.sin(),
                base[2] + height_m / 2.0,
            ];
            self = self.picture(center, yaw, [width, height_m], material);
        }
        self
    }

    /// Returns the scene inside a box-shaped room whose floor is centred at the origin.
    pub fn room(
        mut self,
        size_m: [f64; 3],
        walls: Material,
        floor: Material,
        ceiling: Material,
    ) -> Self {
        let center = Point3::new(0.0, 0.0, size_m[2] / 2.0);
        for outside in box_faces(center, size_m, 0.0) {
            let inward = Unit::new_unchecked(-outside.normal());
            let middle = Shape::Rectangle(outside).point([0.5, 0.5]);
            let inside = Rectangle::facing(middle, inward, -outside.right, outside.size_m);
            let material = match inward.z {
                z if z > 0.5 => floor,
                z if z < -0.5 => ceiling,
                _ => walls,
            };
            self = self.with(Shape::Rectangle(inside), material);
        }
        self
    }

    /// Returns the scene lit by the front of `area` with radiance `light`.
    pub fn lamp(mut self, area: Rectangle, light: [f32; 3]) -> Self {
        self.lamps.push(Lamp { area, light });
        self
    }

    /// Returns the scene with what `add` adds to it going back and forth. It throws no shadow and
    /// stands in the light of the middle of its way.
    pub(super) fn moving(self, shuttle: Shuttle, add: impl FnOnce(Self) -> Self) -> Self {
        let before = self.surfaces.len();
        let mut scene = Self { shuttle: Some(shuttle), ..add(self) };
        scene.surfaces[before..].iter_mut().for_each(|surface| surface.moves = true);
        scene
    }

    /// Returns how far what moves is from the middle of its way at `time_secs`.
    pub(super) fn offset(&self, time_secs: f64) -> Vector3<f64> {
        self.shuttle.map_or_else(Vector3::zeros, |shuttle| shuttle.offset(time_secs))
    }

    /// Returns the surfaces that stay where they are.
    pub(super) fn fixed(&self) -> impl Iterator<Item = &Surface> {
        self.surfaces.iter().filter(|surface| !surface.moves)
    }

    /// Returns the distance in metres from a point in the world to the nearest surface of what
    /// moves, as it is at `time_secs`; infinity where nothing moves.
    pub(super) fn distance_to_moving_m(&self, point_in_world: &Point3<f64>, time_secs: f64) -> f64 {
        let point = point_in_world - self.offset(time_secs);
        let moving = self.surfaces.iter().filter(|surface| surface.moves);
        moving.map(|s| s.shape.distance_m(&point)).fold(f64::INFINITY, f64::min)
    }

    /// Returns the distance in metres from a point in the world to the nearest surface that stays
    /// where it is, exactly; infinity in an empty scene.
    pub fn distance_to_surface_m(&self, point_in_world: &Point3<f64>) -> f64 {
        let distances = self.fixed().map(|s| s.shape.distance_m(point_in_world));
        distances.fold(f64::INFINITY, f64::min)
    }
}

fn box_faces(center: Point3<f64>, size_m: [f64; 3], yaw_rad: f64) -> [Rectangle; 6] {
    let [x, y] = [Vector3::x_axis(), Vector3::y_axis()].map(|axis| turned(&axis, yaw_rad));
    let z = Vector3::z_axis();
    let [sx, sy, sz] = size_m;
    // Normal, the direction to the right of who looks at that face, depth, width, height.
    let faces = [
        (x, y, sx, sy, sz),
        (-x, -y, sx, sy, sz),
        (y, -x, sy, sx, sz),
        (-y, x, sy, sx, sz),
        (z, x, sz, sx, sy),
        (-z, x, sz, sx, sy),
    ];
    faces.map(|(normal, right, depth, width, height)| {
        Rectangle::facing(center + normal.scale(depth / 2.0), normal, right, [width, height])
    })
}

fn turned(axis: &Unit<Vector3<f64>>, yaw_rad: f64) -> Unit<Vector3<f64>> {
    Rotation3::from_axis_angle(&Vector3::z_axis(), yaw_rad) * axis
}

#[cfg(test)]
mod tests {
    use super::super::material::Pattern;
    use super::*;

    fn grey() -> Material {
        Material::tiled(Pattern::Plaster, [0.5; 3], [0.4; 3])
    }

    #[test]
    fn a_box_looks_outward_and_a_room_inward() {
        let inside = Point3::new(0.0, 0.0, 0.5);
        let cases = [
            (Scene::new().cuboid([0.0, 0.0, 0.01], [1.0, 2.0, 1.0], 0.4, grey()), 1.0),
            (Scene::new().room([1.0, 2.0, 1.0], grey(), grey(), grey()), -1.0),
            (Scene::new().column([0.0; 3], 0.3, 1.0, 12, grey()), 1.0),
        ];
        for (scene, outward) in cases {
            for surface in &scene.surfaces {
                let middle = surface.shape.point([0.5, 0.5]);
                let normal = surface.shape.normal([0.5, 0.5]);
                assert!((middle - inside).dot(&normal) * outward > 0.0, "{middle}");
            }
        }
    }

    #[test]
    fn distance_is_to_the_nearest_surface() {
        let scene = Scene::new().cuboid([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], 0.0, grey()).sphere(
            [3.0, 0.0, 0.5],
            0.5,
            grey(),
        );
        let cases = [([0.75, 0.0, 0.5], 0.25), ([2.3, 0.0, 0.5], 0.2), ([0.5, 0.5, 0.5], 0.0)];
        for (point, expected) in cases {
            assert!((scene.distance_to_surface_m(&point.into()) - expected).abs() < 1e-12);
        }
        assert!(Scene::new().distance_to_surface_m(&Point3::origin()).is_infinite());
    }

    #[test]
    fn equal_materials_share_one_texture() {
        let scene = Scene::new().cuboid([0.0; 3], [1.0; 3], 0.0, grey());
        assert_eq!((scene.surfaces.len(), scene.materials.len()), (5, 1));
    }
}
