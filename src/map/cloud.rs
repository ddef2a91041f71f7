//! The map as a cloud: one coloured point for each voxel, bounded in number.

use std::collections::BTreeMap;

use nalgebra::{Point3, Vector3};

use super::MapConfig;
use super::carving::Measured;
use crate::cloud::{PointCloud, SurfaceCloud};
use crate::keyframe::Keyframe;
use crate::pointmap::Pointmap;

/// How many pixels away the neighbours are from which a point's normal is estimated.
const NORMAL_REACH: usize = 2;

/// Weighted means of points, colours and normals by voxel.
#[derive(Debug, Clone)]
pub struct VoxelCloud {
    voxel_size_m: f64,
    max_voxels: usize,
    min_observations: u32,
    voxels: BTreeMap<[i32; 3], Voxel>,
}

#[derive(Debug, Clone, Copy)]
struct Voxel {
    weighted_point: Vector3<f64>,
    weighted_color: Vector3<f64>,
    weighted_normal: Vector3<f32>,
    weight: f64,
    observations: u32,
    /// One more than the number of the last keyframe that was counted.
    last_keyframe: u32,
}

impl VoxelCloud {
    /// Returns an empty cloud.
    pub fn new(config: &MapConfig) -> Self {
        Self {
            voxel_size_m: config.voxel_size_m,
            max_voxels: config.max_voxels,
            min_observations: config.min_observations,
            voxels: BTreeMap::new(),
        }
    }

    /// Adds the points of a keyframe, which `pointmap` says, weighted by their confidence.
    pub fn add(&mut self, keyframe: &Keyframe, pointmap: &Pointmap) {
        let rotation = keyframe.world_from_camera.rotation.cast::<f32>();
        for y in 0..pointmap.height() {
            for x in 0..pointmap.width() {
                let Some(point) = pointmap.point(x, y) else { continue };
                let point_in_world = keyframe.world_from_camera * Point3::from(point.cast::<f64>());
                let color = keyframe.frame.color.get_pixel(x as u32, y as u32).0.map(f64::from);
                let weight = f64::from(pointmap.confidence(x, y));
                let normal = pointmap.normal(x, y, NORMAL_REACH).map(|n| rotation * n);
                let voxel = self.observed(&point_in_world, keyframe.id.0 + 1);
                voxel.weighted_point += point_in_world.coords * weight;
                voxel.weighted_color += Vector3::from(color) * weight;
                voxel.weighted_normal += normal.unwrap_or_default() * weight as f32;
                voxel.weight += weight;
            }
        }
        while self.voxels.len() > self.max_voxels {
            self.coarsen();
        }
    }

    /// Returns one point for each voxel that enough keyframes saw, in order of the voxels.
    pub fn into_point_cloud(self) -> PointCloud {
        self.into_surface(|_| true).cloud
    }

    /// Returns one point, normal and confidence for each voxel that enough keyframes saw and whose
    /// point `stays`, in order of the voxels.
    pub fn into_surface(self, stays: impl Fn(usize) -> bool) -> SurfaceCloud {
        let mut surface = SurfaceCloud::default();
        for (index, voxel) in self.voxels.into_values().enumerate() {
            if voxel.observations < self.min_observations || !stays(index) {
                continue;
            }
            let color = voxel.weighted_color / voxel.weight;
            surface.cloud.points.push(voxel.point().cast());
            surface.cloud.colors.push([color.x, color.y, color.z].map(|c| c.round() as u8));
            surface.normals.push(voxel.weighted_normal.try_normalize(1e-9).unwrap_or_default());
            surface.confidence.push(voxel.weight as f32);
        }
        surface
    }

    /// Returns the edge of the voxels, which grows when the limit of their number is reached.
    pub fn voxel_size_m(&self) -> f64 {
        self.voxel_size_m
    }

    /// Returns where the voxels' points are and how sure that is, in order of the voxels.
    pub(super) fn measured(&self) -> Vec<Measured> {
        let measured = |voxel: &Voxel| Measured {
            point_in_world: voxel.point(),
            variance_m2: 1.0 / voxel.weight,
        };
        self.voxels.values().map(measured).collect()
    }

    /// Returns all voxels, in their order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[i32; 3]> {
        self.voxels.keys()
    }

    /// The voxel of a point, which now counts as seen by a keyframe.
    fn observed(&mut self, point: &Point3<f64>, seen_by: u32) -> &mut Voxel {
        let voxel = self.voxels.entry(voxel_of(point, self.voxel_size_m)).or_insert(Voxel {
            weighted_point: Vector3::zeros(),
            weighted_color: Vector3::zeros(),
            weighted_normal: Vector3::zeros(),
            weight: 0.0,
            observations: 0,
            last_keyframe: 0,
        });
        if voxel.last_keyframe != seen_by {
            voxel.observations += 1;
            voxel.last_keyframe = seen_by;
        }
        voxel
    }

    /// Merges voxels two by two along each axis.
    fn coarsen(&mut self) {
        let fine = std::mem::take(&mut self.voxels);
        self.voxel_size_m *= 2.0;
        for (key, voxel) in fine {
            let merged = self.voxels.entry(key.map(|v| v.div_euclid(2)));
            merged.and_modify(|m| m.merge(&voxel)).or_insert(voxel);
        }
    }
}

/// Returns the voxel that a point lies in.
pub(super) fn voxel_of(point: &Point3<f64>, voxel_size_m: f64) -> [i32; 3] {
    [point.x, point.y, point.z].map(|v| (v / voxel_size_m).floor() as i32)
}

impl Voxel {
    fn point(&self) -> Point3<f64> {
        Point3::from(self.weighted_point / self.weight)
    }

    fn merge(&mut self, other: &Self) {
        self.weighted_point += other.weighted_point;
        self.weighted_color += other.weighted_color;
        self.weighted_normal += other.weighted_normal;
        self.weight += other.weight;
        self.observations = self.observations.max(other.observations);
        self.last_keyframe = self.last_keyframe.max(other.last_keyframe);
    }
}
