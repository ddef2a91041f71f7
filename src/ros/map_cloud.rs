//! The published map: samples of each keyframe, put together by the keyframes' newest poses, without
//! what keyframes see through.
//!
//! Samples are made once for each change of a keyframe; a corrected map needs none anew, only the
//! poses. So the map can be published often without holding up the mapping.

use std::collections::BTreeMap;
use std::sync::Arc;

use nalgebra::{Point3, Vector3};

use crate::cloud::{PointCloud, SurfaceCloud};
use crate::error::Result;
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::map::{GlobalMap, MapConfig, OccupancyConfig, OccupancyGrid};

/// Of every how many pixels, in both directions, one is looked at.
const STRIDE: usize = 2;
/// How many pixels away the neighbours are from which a point's normal is estimated.
const NORMAL_REACH: usize = 2;

/// Samples of all keyframes.
#[derive(Debug, Default)]
pub struct MapSamples {
    samples: BTreeMap<KeyframeId, Arc<SurfaceCloud>>,
    /// The map's revision that they are of.
    revision: u64,
}

/// All that is needed to put the map together, on another thread say.
#[derive(Debug, Clone)]
pub struct MapSnapshot {
    /// The keyframes, with the map's frame for their world.
    map: GlobalMap,
    parts: Vec<(Se3, Arc<SurfaceCloud>)>,
}

impl MapSamples {
    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the samples with the keyframes' poses in the map.
    pub fn snapshot(&mut self, map: &GlobalMap, map_from_world: &Se3, voxel_m: f64) -> MapSnapshot {
        self.samples.retain(|id, _| map.get(*id).is_some());
        for keyframe in map.changed_since(self.revision) {
            self.samples.insert(keyframe.id, Arc::new(sample(keyframe, voxel_m)));
        }
        self.revision = map.revision();
        let poses: BTreeMap<KeyframeId, Se3> =
            map.keyframes().map(|k| (k.id, map_from_world * k.world_from_camera)).collect();
        let part = |(id, sample): (&KeyframeId, &Arc<SurfaceCloud>)| {
            Some((*poses.get(id)?, Arc::clone(sample)))
        };
        let parts = self.samples.iter().filter_map(part).collect();
        let mut map = map.clone();
        map.set_poses(&poses);
        MapSnapshot { map, parts }
    }
}

impl MapSnapshot {
    /// Returns one point for each voxel, without what keyframes see through; voxels grow until
    /// there are at most `max_points`.
    pub fn surface(&self, voxel_m: f64, max_points: usize, config: &MapConfig) -> SurfaceCloud {
        let mut all = SurfaceCloud::default();
        for (map_from_camera, sample) in &self.parts {
            let to_map = map_from_camera.cast::<f32>();
            all.cloud.points.extend(sample.cloud.points.iter().map(|point| to_map * point));
            all.cloud.colors.extend_from_slice(&sample.cloud.colors);
            all.normals.extend(sample.normals.iter().map(|normal| to_map * normal));
            all.confidence.extend_from_slice(&sample.confidence);
        }
        let mut voxel_m = voxel_m;
        let mut thinned = one_per_voxel(&all, voxel_m);
        while thinned.cloud.len() > max_points {
            voxel_m *= 1.25;
            thinned = one_per_voxel(&thinned, voxel_m);
        }
        self.map.without_ghosts(&thinned, voxel_m, config)
    }

    /// Returns the plan of the map, of which `surface` is what [`MapSnapshot::surface`] says.
    ///
    /// # Errors
    /// As [`GlobalMap::occupancy`].
    pub fn plan(&self, surface: &SurfaceCloud, config: &OccupancyConfig) -> Result<OccupancyGrid> {
        self.map.occupancy(surface, config)
    }
}

/// Returns a keyframe's points in its own frame, one for each voxel.
fn sample(keyframe: &Keyframe, voxel_m: f64) -> SurfaceCloud {
    let (pointmap, cloud) = (&keyframe.pointmap, keyframe_cloud(keyframe, STRIDE));
    let (mut normals, mut confidence) = (Vec::new(), Vec::new());
    for (x, y) in pixels(keyframe, STRIDE) {
        if pointmap.point(x, y).is_some() {
            normals.push(pointmap.normal(x, y, NORMAL_REACH).unwrap_or_default());
            confidence.push(pointmap.confidence(x, y));
        }
    }
    one_per_voxel(&SurfaceCloud { cloud, normals, confidence }, voxel_m)
}

/// Returns the points of every `stride`-th pixel of a keyframe, in its own frame.
pub fn keyframe_cloud(keyframe: &Keyframe, stride: usize) -> PointCloud {
    let (pointmap, color) = (&keyframe.pointmap, &keyframe.frame.color);
    let mut cloud = PointCloud::default();
    for (x, y) in pixels(keyframe, stride) {
        if let Some(point) = pointmap.point(x, y) {
            cloud.points.push(Point3::from(point));
            cloud.colors.push(color.get_pixel(x as u32, y as u32).0);
        }
    }
    cloud
}

fn pixels(keyframe: &Keyframe, stride: usize) -> impl Iterator<Item = (usize, usize)> {
    let (width, height) = (keyframe.pointmap.width(), keyframe.pointmap.height());
    let rows = (0..height).step_by(stride);
    rows.flat_map(move |y| (0..width).step_by(stride).map(move |x| (x, y)))
}

/// Returns the mean of each voxel by confidence, in order of the voxels; normals have length one, or
/// zero where there is none.
fn one_per_voxel(surface: &SurfaceCloud, voxel_m: f64) -> SurfaceCloud {
    let key = |p: &Point3<f32>| p.coords.map(|v| (f64::from(v) / voxel_m).floor() as i32);
    let points = surface.cloud.points.iter().enumerate();
    let mut order: Vec<([i32; 3], usize)> =
        points.map(|(index, p)| (key(p).into(), index)).collect();
    order.sort_unstable();
    let mut thinned = SurfaceCloud::default();
    for voxel in order.chunk_by(|a, b| a.0 == b.0) {
        let (mut point, mut color) = (Vector3::<f64>::zeros(), Vector3::<f64>::zeros());
        let (mut normal, mut weight) = (Vector3::zeros(), 0.0);
        for &(_, index) in voxel {
            let share = f64::from(surface.confidence[index]);
            point += share * surface.cloud.points[index].coords.cast::<f64>();
            color += share * Vector3::from(surface.cloud.colors[index].map(f64::from));
            normal += surface.confidence[index] * surface.normals[index];
            weight += share;
        }
        thinned.cloud.points.push(Point3::from((point / weight).cast::<f32>()));
        thinned.cloud.colors.push((color / weight).map(|c| c.round() as u8).into());
        thinned.normals.push(normal.try_normalize(1e-9).unwrap_or_default());
        thinned.confidence.push(weight as f32);
    }
    thinned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(count: usize) -> SurfaceCloud {
        let point = |i: usize| Point3::new(i as f32 * 0.01 + 0.005, 0.005, 1.005);
        SurfaceCloud {
            cloud: PointCloud {
                points: (0..count).map(point).collect(),
                colors: vec![[10, 20, 30]; count],
            },
            normals: vec![-Vector3::z(); count],
            confidence: vec![1e4; count],
        }
    }

    #[test]
    fn a_voxel_has_one_point_with_the_mean_colour() {
        let mut surface = line(100);
        surface.cloud.colors[1] = [30, 20, 10];
        let thinned = one_per_voxel(&surface, 0.1);
        assert_eq!(thinned.cloud.len(), 10);
        assert_eq!(thinned.cloud.colors[0], [12, 20, 28]);
        assert!((thinned.cloud.points[0].x - 0.05).abs() < 1e-3);
        assert!((thinned.normals[0] + Vector3::z()).norm() < 1e-6);
        assert!((thinned.confidence[0] - 1e5).abs() < 1.0);
        // Surer points count more.
        surface.confidence[0] = 1e6;
        assert!(one_per_voxel(&surface, 0.1).cloud.points[0].x < 0.01);
    }

    #[test]
    fn the_map_keeps_to_its_budget_and_follows_the_poses() {
        let part = Arc::new(line(1000));
        let moved = Se3::translation(0.0, 5.0, 0.0);
        let parts = vec![(Se3::identity(), Arc::clone(&part)), (moved, part)];
        let snapshot = MapSnapshot { map: GlobalMap::default(), parts };
        let of = |most| snapshot.surface(0.01, most, &MapConfig::default()).cloud;
        assert!(of(10_000).len() > 1500);
        assert!(of(10_000).points.iter().any(|p| p.y > 4.9));
        assert!(of(300).len() <= 300);
    }
}
