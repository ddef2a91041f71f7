//! Baked illumination: how much light falls on each surface, with soft shadows. It does not
//! depend on where the camera is.

use std::f32::consts::PI;

use nalgebra::{Point3, Rotation3, Unit, Vector3};
use rayon::prelude::*;

use super::random::fractal;
use super::scene::{Lamp, Scene, Surface};
use super::shadow::Obstacle;
use super::shape::Shape;
use super::texture::{Light, blend};

/// Distance of the samples of illumination in metres; between them it is interpolated.
const SPACING_M: f64 = 0.15;
const MAX_SAMPLES: usize = 64;
/// How far a point looks for what shades it from the light that comes from everywhere.
const AMBIENT_REACH_M: f32 = 0.8;
/// How far from a surface its light is measured, so that neither it nor what is mounted flat on it
/// throws a shadow on all between two samples.
const CLEARANCE_M: f32 = 0.012;
/// Share of the light from everywhere that arrives, reflected, in the narrowest corner.
const REFLECTED_FRAC: f32 = 0.3;
const AMBIENT: [f32; 3] = [0.50, 0.50, 0.53];
const AMBIENT_RAYS: usize = 12;

/// Light that falls on one surface.
pub(super) struct Lightmap {
    size: [usize; 2],
    samples: Vec<Light>,
}

impl Lightmap {
    /// Returns the illumination of every surface of the scene, in their order.
    pub(super) fn bake_all(scene: &Scene, seed: u64) -> Vec<Self> {
        let world = World { scene, obstacles: Obstacle::all(scene) };
        let surfaces: Vec<_> = scene.surfaces.iter().enumerate().collect();
        surfaces.par_iter().map(|&(i, s)| Self::bake(&world, s, seed ^ i as u64)).collect()
    }

    fn bake(world: &World, surface: &Surface, seed: u64) -> Self {
        let size = surface
            .shape
            .size_m()
            .map(|metres| ((metres / SPACING_M).ceil() as usize + 1).clamp(2, MAX_SAMPLES));
        // Samples sit slightly inside the edges, where a neighbouring surface would hide them.
        let at = |i: usize, n: usize| 0.01 + 0.98 * i as f64 / (n - 1) as f64;
        let sample = |i: usize| {
            let st = [at(i % size[0], size[0]), at(i / size[0], size[1])];
            let dirt = 1.0 + 0.10 * fractal(seed, st.map(|x| x as f32), [4, 4], 3);
            world.illumination(surface, st).map(|c| c * dirt)
        };
        Self { size, samples: (0..size[0] * size[1]).map(sample).collect() }
    }

    /// Returns the light at surface coordinate `[s, t]` in 0..1.
    #[inline]
    pub(super) fn sample(&self, [s, t]: [f32; 2]) -> Light {
        let split = |x: f32, n: usize| {
            let x = x.clamp(0.0, 1.0) * (n - 1) as f32;
            let whole = (x as i32 as usize).min(n - 2);
            (whole, x - whole as f32)
        };
        let ((x, dx), (y, dy)) = (split(s, self.size[0]), split(t, self.size[1]));
        let first = y * self.size[0] + x;
        let below = first + self.size[0];
        let top = blend(self.samples[first], self.samples[first + 1], dx);
        blend(top, blend(self.samples[below], self.samples[below + 1], dx), dy)
    }
}

/// A scene and what stands in the way of its light.
struct World<'a> {
    scene: &'a Scene,
    obstacles: Vec<Obstacle>,
}

impl World<'_> {
    fn illumination(&self, surface: &Surface, st: [f64; 2]) -> Light {
        let normal = surface.shape.normal(st).cast();
        let point = surface.shape.point(st).cast() + normal * CLEARANCE_M;
        let open = REFLECTED_FRAC + (1.0 - REFLECTED_FRAC) * self.openness(&point, &normal);
        let glow = self.scene.materials[surface.material].glow;
        let mut light = AMBIENT.map(|c| c * open + glow);
        for lamp in &self.scene.lamps {
            let received = self.received(lamp, &point, &normal);
            light = std::array::from_fn(|c| light[c] + lamp.light[c] * received);
        }
        [light[0], light[1], light[2], 0.0]
    }

    /// Share of a lamp's light that arrives: a sum over four parts of its area.
    fn received(&self, lamp: &Lamp, point: &Point3<f32>, normal: &Vector3<f32>) -> f32 {
        let shape = Shape::Rectangle(lamp.area);
        let part_m2 = (lamp.area.size_m[0] * lamp.area.size_m[1]) as f32 / 4.0;
        let front: Vector3<f32> = lamp.area.normal().cast();
        let from_part = |st: [f64; 2]| {
            let path = shape.point(st).cast() - point;
            let distance2 = path.norm_squared();
            let (arriving, leaving) = (path.dot(normal), -path.dot(&front));
            let dark = arriving <= 0.0
                || leaving <= 0.0
                || self.obstacles.iter().any(|obstacle| obstacle.blocks(point, &path));
            let facing = arriving * leaving / distance2;
            if dark { 0.0 } else { facing / distance2.max(0.05) * part_m2 }
        };
        let parts = [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]];
        parts.into_iter().map(from_part).sum()
    }

    /// Share of directions in which nothing is near.
    fn openness(&self, point: &Point3<f32>, normal: &Vector3<f32>) -> f32 {
        let turn = Rotation3::rotation_between(&Vector3::z_axis(), &Unit::new_normalize(*normal))
            .unwrap_or_else(|| Rotation3::from_axis_angle(&Vector3::x_axis(), PI));
        let near = self.obstacles.iter().filter(|o| o.is_near(point, AMBIENT_REACH_M));
        let near: Vec<&Obstacle> = near.collect();
        let free = (0..AMBIENT_RAYS).filter(|&i| {
            let path = turn * cosine_direction(i) * AMBIENT_REACH_M;
            !near.iter().any(|obstacle| obstacle.blocks(point, &path))
        });
        free.count() as f32 / AMBIENT_RAYS as f32
    }
}

/// The `index`-th of evenly spread directions about z, denser towards z by the cosine.
fn cosine_direction(index: usize) -> Vector3<f32> {
    let height2 = (index as f32 + 0.5) / AMBIENT_RAYS as f32;
    let angle = index as f32 * 2.399_963;
    let across = (1.0 - height2).sqrt();
    Vector3::new(across * angle.cos(), across * angle.sin(), height2.sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::material::{Material, Pattern};
    use super::super::shape::Rectangle;
    use super::*;

    #[test]
    fn a_box_throws_a_shadow() {
        let grey = Material::tiled(Pattern::Plaster, [0.5; 3], [0.5; 3]);
        let lamp = Rectangle::facing(
            Point3::new(0.0, 0.0, 2.7),
            -Vector3::z_axis(),
            Vector3::x_axis(),
            [0.2, 0.2],
        );
        let scene = Scene::new()
            .room([4.0, 4.0, 2.8], grey, grey, grey)
            .cuboid([1.0, 0.0, 0.5], [0.8, 0.8, 0.4], 0.0, grey)
            .lamp(lamp, [4.0; 3]);
        let world = World { scene: &scene, obstacles: Obstacle::all(&scene) };
        let floor = scene.surfaces.iter().find(|s| s.shape.normal([0.5; 2]).z > 0.9).unwrap();
        let at = |x: f64| world.illumination(floor, [0.5 + x / 4.0, 0.5])[0];
        let (right, left) = (at(1.2).min(at(-1.2)), at(1.2).max(at(-1.2)));
        assert!(right < 0.75 * left, "{right} in the shadow, {left} in the light");
    }
}
