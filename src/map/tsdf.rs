//! A truncated signed distance field of what the keyframes see, kept where there is a surface.
//!
//! After Curless and Levoy, "A volumetric method for building complex models from range images"
//! (SIGGRAPH 1996): each voxel is the weighted mean of how far in front of the measured surfaces it
//! is. Voxels that nobody has looked at stay unknown, which dense grids of the crates for meshing
//! have no word for: a surface would end in walls around the unknown.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::{Point3, Vector3};
use rayon::prelude::*;

use super::cloud::voxel_of;
use crate::geometry::Se3;
use crate::keyframe::Keyframe;
use crate::pointmap::Pointmap;

/// Voxels along an edge of a block.
pub(super) const BLOCK: i32 = 8;
const BLOCK_VOXELS: usize = (BLOCK * BLOCK * BLOCK) as usize;
/// How far from a surface the field reaches, in voxels.
const REACH_VOXELS: f64 = 4.0;
/// Blocks at most: at some 10 kB each, they are 400 MB.
const MAX_BLOCKS: usize = 40_000;

/// What is known at one corner of the grid.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Corner {
    /// Distance in front of the surface in units of the reach, at most 1.
    pub(super) distance: f32,
    pub(super) weight: f32,
    /// Mean colour near the surface.
    pub(super) color: Vector3<f32>,
    color_weight: f32,
}

/// A view: a keyframe, and what it measured.
pub(super) struct View<'a> {
    keyframe: &'a Keyframe,
    pointmap: Pointmap,
    camera_from_world: Se3,
}

/// The field.
pub(super) struct Field {
    pub(super) voxel_size_m: f64,
    blocks: BTreeMap<[i32; 3], Vec<Corner>>,
}

impl<'a> View<'a> {
    pub(super) fn new(keyframe: &'a Keyframe, pointmap: Pointmap) -> Self {
        Self { keyframe, pointmap, camera_from_world: keyframe.world_from_camera.inverse() }
    }

    /// The blocks that the surface and what is near it lie in.
    fn touched(&self, voxel_size_m: f64) -> BTreeSet<[i32; 3]> {
        let (block_m, reach_m) = (f64::from(BLOCK) * voxel_size_m, REACH_VOXELS * voxel_size_m);
        let mut touched = BTreeSet::new();
        for y in 0..self.pointmap.height() {
            for x in 0..self.pointmap.width() {
                let Some(point) = self.pointmap.point(x, y) else { continue };
                let point = point.cast::<f64>();
                for shift_m in [-reach_m, 0.0, reach_m] {
                    let moved = Point3::from(point * (1.0 + shift_m / point.norm()));
                    touched.insert(voxel_of(&(self.keyframe.world_from_camera * moved), block_m));
                }
            }
        }
        touched
    }

    /// Whether a ball may be in sight.
    fn may_see(&self, centre_in_world: &Point3<f64>, radius_m: f64) -> bool {
        let centre = self.camera_from_world * centre_in_world;
        let k = self.keyframe.camera.intrinsics();
        let (half_width, half_height) =
            (f64::from(self.keyframe.camera.width()), f64::from(self.keyframe.camera.height()));
        // Twice as wide as a pinhole sees, for lenses that see more.
        let within = |value: f64, half_px: f64, focal: f64| {
            value.abs() <= (centre.z.max(0.0) * half_px / focal) + 2.0 * radius_m
        };
        centre.z > -radius_m
            && within(centre.x, half_width, k.fx)
            && within(centre.y, half_height, k.fy)
    }

    /// Tells a corner what this view measured there.
    fn integrate(&self, corner: &mut Corner, point_in_world: &Point3<f64>, reach_m: f64) {
        let point = self.camera_from_world * point_in_world;
        let Some(pixel) = self.keyframe.camera.project(&point) else { return };
        let (x, y) = (pixel.x.round(), pixel.y.round());
        let (width, height) = (self.pointmap.width(), self.pointmap.height());
        if x < 0.0 || y < 0.0 || x >= width as f64 || y >= height as f64 {
            return;
        }
        let (x, y) = (x as usize, y as usize);
        let Some(measured) = self.pointmap.point(x, y) else { return };
        let distance = (f64::from(measured.z) - point.z) / reach_m;
        if distance < -1.0 {
            return;
        }
        let weight = self.pointmap.confidence(x, y);
        let total = corner.weight + weight;
        let distance = distance.min(1.0) as f32;
        corner.distance = (corner.distance * corner.weight + distance * weight) / total;
        corner.weight = total;
        if distance < 1.0 {
            let color = self.keyframe.frame.color.get_pixel(x as u32, y as u32).0.map(f32::from);
            let total = corner.color_weight + weight;
            corner.color =
                (corner.color * corner.color_weight + Vector3::from(color) * weight) / total;
            corner.color_weight = total;
        }
    }
}

impl Field {
    /// Returns the field of the views; its voxels grow where there would be too many.
    pub(super) fn of(views: &[View<'_>], voxel_size_m: f64) -> Self {
        let mut voxel_size_m = voxel_size_m;
        let keys = loop {
            let touched: Vec<_> = views.par_iter().map(|v| v.touched(voxel_size_m)).collect();
            let keys: BTreeSet<[i32; 3]> = touched.into_iter().flatten().collect();
            if keys.len() <= MAX_BLOCKS {
                break keys;
            }
            voxel_size_m *= 1.5;
        };
        let keys: Vec<_> = keys.into_iter().collect();
        let blocks: Vec<_> =
            keys.into_par_iter().map(|key| (key, block(&key, views, voxel_size_m))).collect();
        Self { voxel_size_m, blocks: blocks.into_iter().collect() }
    }

    /// Returns the blocks' keys in order.
    pub(super) fn keys(&self) -> Vec<[i32; 3]> {
        self.blocks.keys().copied().collect()
    }

    /// Returns a corner that somebody has looked at.
    pub(super) fn corner(&self, at: [i32; 3]) -> Option<&Corner> {
        let block = self.blocks.get(&at.map(|v| v.div_euclid(BLOCK)))?;
        let [x, y, z] = at.map(|v| v.rem_euclid(BLOCK));
        let corner = &block[(x + BLOCK * (y + BLOCK * z)) as usize];
        (corner.weight > 0.0).then_some(corner)
    }

    /// Returns where a corner is.
    pub(super) fn place(&self, at: [i32; 3]) -> Point3<f64> {
        place(at, self.voxel_size_m)
    }
}

fn place(at: [i32; 3], voxel_size_m: f64) -> Point3<f64> {
    Point3::from(at.map(|v| (f64::from(v) + 0.5) * voxel_size_m))
}

/// All corners of a block, after all views.
fn block(key: &[i32; 3], views: &[View<'_>], voxel_size_m: f64) -> Vec<Corner> {
    let block_m = f64::from(BLOCK) * voxel_size_m;
    let centre = Point3::from(key.map(|v| (f64::from(v) + 0.5) * block_m));
    let seeing: Vec<_> = views.iter().filter(|view| view.may_see(&centre, block_m)).collect();
    let mut corners = vec![Corner::default(); BLOCK_VOXELS];
    for (index, corner) in corners.iter_mut().enumerate() {
        let index = index as i32;
        let inside = [index % BLOCK, index / BLOCK % BLOCK, index / (BLOCK * BLOCK)];
        let at = [0, 1, 2].map(|axis| key[axis] * BLOCK + inside[axis]);
        let point = place(at, voxel_size_m);
        seeing.iter().for_each(|view| {
            view.integrate(corner, &point, REACH_VOXELS * voxel_size_m);
        });
    }
    corners
}
