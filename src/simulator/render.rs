//! Draws a scene: depth exactly, colour as linear light, both at the centres of the pixels.
//!
//! Every row is drawn by itself, so the result does not depend on how rows are shared out.

use std::ops::Range;
use std::sync::OnceLock;

use nalgebra::Vector3;
use rayon::prelude::*;

use super::light::Lightmap;
use super::projection::{Linear, Projected, ProjectedRectangle, ProjectedSphere};
use super::random::derive;
use super::scene::Scene;
use super::texture::{Light, Texture, blend};
use crate::geometry::{Camera, Se3};

const NOTHING: u16 = u16::MAX;
/// A texture seen at a slant is averaged over the shorter side of a pixel's footprint as long as
/// the longer side is at most this many times as long: a compromise of blur and aliasing.
const ANISOTROPY: f32 = 2.5;
/// Pixels that are coloured together.
const BLOCK: usize = 8;

/// A scene made ready to be drawn.
pub(super) struct Renderer {
    scene: Scene,
    seed: u64,
    /// Baked when light is drawn first: depth does without.
    paint: OnceLock<Paint>,
}

/// Textures of the materials and illumination of the surfaces.
struct Paint {
    textures: Vec<Texture>,
    lightmaps: Vec<Lightmap>,
    /// How often the texture repeats along each side of each surface.
    repeats: Vec<[f32; 2]>,
}

/// What a perfect camera sees.
#[derive(Default)]
pub(super) struct Picture {
    /// One over the depth in 1/m, 0 where nothing is.
    pub(super) inverse_depth: Vec<f32>,
    pub(super) light: Vec<Light>,
    /// The light behind the lens.
    pub(super) blurred: Vec<Light>,
    surface: Vec<u16>,
}

impl Picture {
    fn resize(&mut self, pixels: usize) {
        self.inverse_depth.resize(pixels, 0.0);
        self.surface.resize(pixels, NOTHING);
        self.light.resize(pixels, [0.0; 4]);
        self.blurred.resize(pixels, [0.0; 4]);
    }
}

/// One surface in the current image.
struct Visible {
    index: usize,
    material: usize,
    rows: Range<usize>,
    projected: Projected,
}

impl Renderer {
    pub(super) fn new(scene: Scene, seed: u64) -> Self {
        Self { scene, seed, paint: OnceLock::new() }
    }

    pub(super) fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Draws depth and light at `time_secs` as seen from `world_from_camera` into `picture`.
    pub(super) fn draw(
        &self,
        camera: &Camera,
        world_from_camera: &Se3,
        time_secs: f64,
        picture: &mut Picture,
    ) {
        let visible = self.visible(camera, world_from_camera, Some(time_secs));
        let width = camera.width() as usize;
        picture.resize(width * camera.height() as usize);
        let view = View { camera, world_from_camera, visible: &visible };
        let paint = self.paint.get_or_init(|| Paint::bake(&self.scene, self.seed));
        picture
            .inverse_depth
            .par_chunks_mut(width)
            .zip(picture.surface.par_chunks_mut(width))
            .zip(picture.light.par_chunks_mut(width))
            .enumerate()
            .for_each(|(y, ((inverse_depth, surface), light))| {
                view.cover_row(y, inverse_depth, surface);
                paint.shade_row(&view, y, (inverse_depth, surface), light);
            });
    }

    /// Draws depth only, with what moves as it is at a time, or without it: one over the depth in
    /// 1/m, 0 where nothing is.
    pub(super) fn inverse_depth(
        &self,
        camera: &Camera,
        world_from_camera: &Se3,
        time_secs: Option<f64>,
    ) -> Vec<f32> {
        let visible = self.visible(camera, world_from_camera, time_secs);
        let view = View { camera, world_from_camera, visible: &visible };
        let width = camera.width() as usize;
        let mut inverse_depth = vec![0.0; width * camera.height() as usize];
        inverse_depth.par_chunks_mut(width).enumerate().for_each(|(y, row)| {
            view.cover_row(y, row, &mut vec![NOTHING; width]);
        });
        inverse_depth
    }

    fn visible(
        &self,
        camera: &Camera,
        world_from_camera: &Se3,
        time_secs: Option<f64>,
    ) -> Vec<Visible> {
        let camera_from_world = world_from_camera.inverse();
        let height = camera.height() as usize;
        let offset = time_secs.map(|time_secs| self.scene.offset(time_secs));
        let surfaces = self.scene.surfaces.iter().enumerate();
        surfaces
            .filter_map(|(index, surface)| {
                let shape =
                    if surface.moves { surface.shape.moved(&offset?) } else { surface.shape };
                let projected = Projected::new(&shape, &camera_from_world, camera)?;
                let rows = projected.rows(height);
                let material = surface.material;
                (!rows.is_empty()).then_some(Visible { index, material, rows, projected })
            })
            .collect()
    }
}

impl Paint {
    fn bake(scene: &Scene, seed: u64) -> Self {
        let textures = (0u64..).zip(&scene.materials);
        let repeats = scene.surfaces.iter().map(|surface| {
            let size_m = surface.shape.size_m();
            let tile_m = scene.materials[surface.material].tile_m;
            size_m.map(|metres| tile_m.map_or(1.0, |tile_m| metres as f32 / tile_m))
        });
        Self {
            repeats: repeats.collect(),
            textures: textures.map(|(i, m)| m.texture(derive(seed, i))).collect(),
            lightmaps: Lightmap::bake_all(scene, derive(seed, u64::MAX)),
        }
    }

    /// Fills a row with light, one run of pixels of the same surface after the other.
    fn shade_row(&self, view: &View, y: usize, seen: (&[f32], &[u16]), light: &mut [Light]) {
        let (inverse_depth, surface) = seen;
        let mut start = 0;
        for run in surface.chunk_by(|a, b| a == b) {
            let columns = start..start + run.len();
            start = columns.end;
            let pixels = &mut light[columns.clone()];
            let Some(visible) = view.visible.get(usize::from(run[0])) else {
                pixels.fill([0.0; 4]);
                continue;
            };
            let shader = self.shader(visible);
            let row = Run { y: y as f32, first: columns.start, depth: &inverse_depth[columns] };
            match &visible.projected {
                Projected::Rectangle(rectangle) => shader.rectangle(rectangle, &row, pixels),
                Projected::Sphere(sphere) => shader.sphere(view, sphere, &row, pixels),
            }
        }
    }

    fn shader(&self, visible: &Visible) -> Shader<'_> {
        let texture = &self.textures[visible.material];
        let repeats = self.repeats[visible.index];
        let texels = repeats.map(|repeats| repeats * texture.size() as f32);
        Shader { texture, lightmap: &self.lightmaps[visible.index], repeats, texels }
    }
}

/// One image being drawn.
struct View<'a> {
    camera: &'a Camera,
    world_from_camera: &'a Se3,
    visible: &'a [Visible],
}

impl View<'_> {
    /// Finds the nearest surface at each pixel of row `y`: its inverse depth and its place in
    /// `visible`.
    fn cover_row(&self, y: usize, inverse_depth: &mut [f32], surface: &mut [u16]) {
        inverse_depth.fill(0.0);
        surface.fill(NOTHING);
        for (id, visible) in (0u16..).zip(self.visible) {
            if !visible.rows.contains(&y) {
                continue;
            }
            let columns = visible.projected.columns(y, inverse_depth.len());
            let row = (&mut inverse_depth[columns.clone()], &mut surface[columns.clone()]);
            match &visible.projected {
                Projected::Rectangle(rectangle) => {
                    cover_plane(&rectangle.inverse_depth, columns.start, y, id, row);
                }
                Projected::Sphere(sphere) => self.cover_sphere(sphere, columns.start, y, id, row),
            }
        }
    }

    fn cover_sphere(
        &self,
        sphere: &ProjectedSphere,
        first: usize,
        y: usize,
        id: u16,
        (inverse_depth, surface): (&mut [f32], &mut [u16]),
    ) {
        for (i, (nearest, owner)) in inverse_depth.iter_mut().zip(surface).enumerate() {
            let ray = self.ray((first + i) as f32, y as f32);
            let Some(depth) = sphere.depth(&ray) else { continue };
            if 1.0 / depth > *nearest {
                (*nearest, *owner) = (1.0 / depth, id);
            }
        }
    }

    fn ray(&self, x: f32, y: f32) -> Vector3<f32> {
        let k = self.camera.intrinsics();
        let (x, y) = ((x - k.cx as f32) / k.fx as f32, (y - k.cy as f32) / k.fy as f32);
        Vector3::new(x, y, 1.0)
    }
}

fn cover_plane(
    plane: &Linear,
    first: usize,
    y: usize,
    id: u16,
    (inverse_depth, surface): (&mut [f32], &mut [u16]),
) {
    let start = plane.row(y as f32);
    for (i, (nearest, owner)) in inverse_depth.iter_mut().zip(surface).enumerate() {
        let here = start + plane.dx * (first + i) as f32;
        let nearer = here > *nearest;
        *nearest = if nearer { here } else { *nearest };
        *owner = if nearer { id } else { *owner };
    }
}

/// Neighbouring pixels of one row that see the same surface.
struct Run<'a> {
    y: f32,
    first: usize,
    depth: &'a [f32],
}

impl Run<'_> {
    /// Columns and inverse depths.
    fn pixels(&self) -> impl Iterator<Item = (f32, f32)> {
        let columns = (self.first..).map(|x| x as f32);
        columns.zip(self.depth.iter().copied())
    }
}

/// What is needed to colour one surface.
struct Shader<'a> {
    texture: &'a Texture,
    lightmap: &'a Lightmap,
    repeats: [f32; 2],
    /// Texels along each side of the surface.
    texels: [f32; 2],
}

impl Shader<'_> {
    /// Colours in blocks: within one, the size of texture is the same and illumination is
    /// straight from one end to the other.
    fn rectangle(&self, plane: &ProjectedRectangle, run: &Run, light: &mut [Light]) {
        for (start, pixels) in (0..).step_by(BLOCK).zip(light.chunks_mut(BLOCK)) {
            let depths = &run.depth[start..start + pixels.len()];
            let at =
                |i: usize| plane.coordinate((run.first + start + i) as f32, run.y, 1.0 / depths[i]);
            let last = pixels.len() - 1;
            let level = self.level(plane, at(last / 2), 1.0 / depths[last / 2]);
            let (before, after) = (self.lightmap.sample(at(0)), self.lightmap.sample(at(last)));
            let step = 1.0 / last.max(1) as f32;
            for (i, pixel) in pixels.iter_mut().enumerate() {
                let illumination = blend(before, after, i as f32 * step);
                *pixel = product(self.albedo(at(i), level), illumination);
            }
        }
    }

    /// The size of texture at a surface coordinate.
    fn level(&self, plane: &ProjectedRectangle, st: [f32; 2], z: f32) -> usize {
        // s = z L - c, with z and L functions of the pixel: ds/dx = z (dL/dx - dw/dx (s + c)).
        let slope = |k: usize, by_pixel: fn(&Linear) -> f32| {
            let shift = by_pixel(&plane.inverse_depth) * (st[k] + plane.at_camera[k]);
            self.texels[k] * z * (by_pixel(&plane.by_z[k]) - shift)
        };
        let across = [slope(0, |l| l.dx), slope(1, |l| l.dx)];
        let along = [slope(0, |l| l.dy), slope(1, |l| l.dy)];
        nearest_level(level_of_detail(across, along))
    }

    fn sphere(&self, view: &View, sphere: &ProjectedSphere, run: &Run, light: &mut [Light]) {
        let world_from_camera = view.world_from_camera.rotation.cast::<f32>();
        let pixel_m = 1.0 / view.camera.intrinsics().fx as f32;
        for ((x, inverse_depth), pixel) in run.pixels().zip(light) {
            let z = 1.0 / inverse_depth;
            let offset = view.ray(x, run.y) * z - sphere.center_in_camera;
            let normal = world_from_camera * offset / sphere.radius_m;
            let longitude = normal.y.atan2(normal.x) / std::f32::consts::TAU + 0.5;
            let polar = normal.z.clamp(-1.0, 1.0).acos() / std::f32::consts::PI;
            let texels_per_m = self.texels[1] / (std::f32::consts::PI * sphere.radius_m);
            let facing = (-offset.dot(&view.ray(x, run.y)) / sphere.radius_m).max(0.2);
            let level = nearest_level(fast_log2(z * pixel_m * texels_per_m / facing));
            let st = [longitude, polar];
            *pixel = product(self.albedo(st, level), self.lightmap.sample(st));
        }
    }

    #[inline]
    fn albedo(&self, st: [f32; 2], level: usize) -> Light {
        self.texture.sample([st[0] * self.repeats[0], st[1] * self.repeats[1]], level)
    }
}

#[inline]
fn product(albedo: Light, illumination: Light) -> Light {
    std::array::from_fn(|c| albedo[c] * illumination[c])
}

fn nearest_level(level_of_detail: f32) -> usize {
    (level_of_detail + 0.5).max(0.0) as usize
}

/// The mipmap level whose texels are as large as a pixel, given the steps in texels from this
/// pixel to the next column and to the next row.
#[inline]
fn level_of_detail(across: [f32; 2], along: [f32; 2]) -> f32 {
    let norm2 = |v: [f32; 2]| v[0] * v[0] + v[1] * v[1];
    let longer2 = norm2(across).max(norm2(along));
    let area = (across[0] * along[1] - across[1] * along[0]).abs();
    let shorter2 = area * area / longer2.max(1e-12);
    0.5 * fast_log2(shorter2.max(longer2 / (ANISOTROPY * ANISOTROPY)))
}

/// The logarithm to base 2 of a positive number, straight between powers of two: off by at most
/// 0.09, continuous, and several times as fast as the exact one.
#[inline]
fn fast_log2(x: f32) -> f32 {
    x.to_bits() as f32 * (1.0 / (1u32 << 23) as f32) - 127.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_log2_is_close_and_exact_at_powers_of_two() {
        for i in 1..1000 {
            let x = i as f32 * 0.01;
            assert!((fast_log2(x) - x.log2()).abs() < 0.09);
        }
        assert!((fast_log2(8.0) - 3.0).abs() < 1e-5);
    }

    #[test]
    fn the_level_of_detail_follows_the_footprint() {
        let cases = [
            ([1.0, 0.0], [0.0, 1.0], 0.0),
            ([4.0, 0.0], [0.0, 4.0], 2.0),
            ([0.0, 2.0], [2.0, 0.0], 1.0),
            ([2.0, 0.0], [0.0, 4.0], 1.0),
            ([1.0, 0.0], [0.0, 40.0], 4.0),
        ];
        for (across, along, expected) in cases {
            let found = level_of_detail(across, along);
            assert!((found - expected).abs() < 0.1, "{across:?} {along:?}: {found}");
        }
    }
}
