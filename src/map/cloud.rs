//! The map as a cloud: one coloured point for each voxel, bounded in number.

use std::collections::BTreeMap;

use nalgebra::{Point3, Vector3};

use super::MapConfig;
use crate::cloud::PointCloud;
use crate::keyframe::Keyframe;
use crate::pointmap::Pointmap;

/// Weighted means of points and colours by voxel.
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
        for y in 0..pointmap.height() {
            for x in 0..pointmap.width() {
                let Some(point) = pointmap.point(x, y) else { continue };
                let point_in_world = keyframe.world_from_camera * Point3::from(point.cast::<f64>());
                let color = keyframe.frame.color.get_pixel(x as u32, y as u32).0.map(f64::from);
                let weight = f64::from(pointmap.confidence(x, y));
                self.add_point(&point_in_world, &Vector3::from(color), weight, keyframe.id.0 + 1);
            }
        }
        while self.voxels.len() > self.max_voxels {
            self.coarsen();
        }
    }

    /// Returns one point for each voxel that enough keyframes saw, in order of the voxels.
    pub fn into_point_cloud(self) -> PointCloud {
        let mut cloud = PointCloud::default();
        for voxel in self.voxels.values().filter(|v| v.observations >= self.min_observations) {
            let point = voxel.weighted_point / voxel.weight;
            let color = voxel.weighted_color / voxel.weight;
            cloud.points.push(Point3::from(point.cast::<f32>()));
            cloud.colors.push([color.x, color.y, color.z].map(|c| c.round() as u8));
        }
        cloud
    }

    /// Returns the edge of the voxels, which grows when the limit of their number is reached.
    pub fn voxel_size_m(&self) -> f64 {
        self.voxel_size_m
    }

    fn add_point(&mut self, point: &Point3<f64>, color: &Vector3<f64>, weight: f64, seen_by: u32) {
        let key = [point.x, point.y, point.z].map(|v| (v / self.voxel_size_m).floor() as i32);
        let voxel = self.voxels.entry(key).or_insert(Voxel {
            weighted_point: Vector3::zeros(),
            weighted_color: Vector3::zeros(),
            weight: 0.0,
            observations: 0,
            last_keyframe: 0,
        });
        voxel.weighted_point += point.coords * weight;
        voxel.weighted_color += color * weight;
        voxel.weight += weight;
        if voxel.last_keyframe != seen_by {
            voxel.observations += 1;
            voxel.last_keyframe = seen_by;
        }
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

impl Voxel {
    fn merge(&mut self, other: &Self) {
        self.weighted_point += other.weighted_point;
        self.weighted_color += other.weighted_color;
        self.weight += other.weight;
        self.observations = self.observations.max(other.observations);
        self.last_keyframe = self.last_keyframe.max(other.last_keyframe);
    }
}
