//! The published map: samples of each keyframe, put together by the keyframes' newest poses.
//!
//! Samples are made once for each change of a keyframe; a corrected map needs none anew, only the
//! poses. So the map can be published often without holding up the mapping.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nalgebra::{Point3, Vector3};

use crate::cloud::PointCloud;
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::map::GlobalMap;

/// Of every how many pixels, in both directions, one is looked at.
const STRIDE: usize = 2;

/// Samples of all keyframes.
#[derive(Debug, Default)]
pub struct MapSamples {
    samples: BTreeMap<KeyframeId, Arc<PointCloud>>,
    changed: BTreeSet<KeyframeId>,
}

/// All that is needed to put the map together, on another thread say.
#[derive(Debug, Clone)]
pub struct MapSnapshot {
    parts: Vec<(Se3, Arc<PointCloud>)>,
}

impl MapSamples {
    /// Takes note that a keyframe's points have changed.
    pub fn mark(&mut self, id: KeyframeId) {
        self.changed.insert(id);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.samples.clear();
        self.changed.clear();
    }

    /// Returns the samples with the keyframes' poses in the map.
    pub fn snapshot(&mut self, map: &GlobalMap, map_from_world: &Se3, voxel_m: f64) -> MapSnapshot {
        self.samples.retain(|id, _| map.get(*id).is_some());
        for id in std::mem::take(&mut self.changed) {
            if let Some(keyframe) = map.get(id) {
                self.samples.insert(id, Arc::new(sample(keyframe, voxel_m)));
            }
        }
        let part = |(id, sample): (&KeyframeId, &Arc<PointCloud>)| {
            let keyframe = map.get(*id)?;
            Some((map_from_world * keyframe.world_from_camera, Arc::clone(sample)))
        };
        MapSnapshot { parts: self.samples.iter().filter_map(part).collect() }
    }
}

impl MapSnapshot {
    /// Returns one point for each voxel; voxels grow until there are at most `max_points`.
    pub fn cloud(&self, voxel_m: f64, max_points: usize) -> PointCloud {
        let mut cloud = PointCloud::default();
        for (map_from_camera, sample) in &self.parts {
            let moved = |point: &Point3<f32>| (map_from_camera * point.cast::<f64>()).cast::<f32>();
            cloud.points.extend(sample.points.iter().map(moved));
            cloud.colors.extend_from_slice(&sample.colors);
        }
        let mut voxel_m = voxel_m;
        let mut thinned = one_per_voxel(&cloud, voxel_m);
        while thinned.len() > max_points {
            voxel_m *= 1.25;
            thinned = one_per_voxel(&thinned, voxel_m);
        }
        thinned
    }
}

/// Returns a keyframe's points in its own frame, one for each voxel.
fn sample(keyframe: &Keyframe, voxel_m: f64) -> PointCloud {
    one_per_voxel(&keyframe_cloud(keyframe, STRIDE), voxel_m)
}

/// Returns the points of every `stride`-th pixel of a keyframe, in its own frame.
pub fn keyframe_cloud(keyframe: &Keyframe, stride: usize) -> PointCloud {
    let (pointmap, color) = (&keyframe.pointmap, &keyframe.frame.color);
    let mut cloud = PointCloud::default();
    for y in (0..pointmap.height()).step_by(stride) {
        for x in (0..pointmap.width()).step_by(stride) {
            if let Some(point) = pointmap.point(x, y) {
                cloud.points.push(Point3::from(point));
                cloud.colors.push(color.get_pixel(x as u32, y as u32).0);
            }
        }
    }
    cloud
}

/// Returns the mean point and colour of each voxel, in order of the voxels.
fn one_per_voxel(cloud: &PointCloud, voxel_m: f64) -> PointCloud {
    let key = |p: &Point3<f32>| p.coords.map(|v| (f64::from(v) / voxel_m).floor() as i32);
    let mut order: Vec<([i32; 3], usize)> =
        cloud.points.iter().enumerate().map(|(index, p)| (key(p).into(), index)).collect();
    order.sort_unstable();
    let mut thinned = PointCloud::default();
    for voxel in order.chunk_by(|a, b| a.0 == b.0) {
        let (mut point, mut color) = (Vector3::<f64>::zeros(), Vector3::<f64>::zeros());
        for &(_, index) in voxel {
            point += cloud.points[index].coords.cast::<f64>();
            color += Vector3::from(cloud.colors[index].map(f64::from));
        }
        let count = voxel.len() as f64;
        thinned.points.push(Point3::from((point / count).cast::<f32>()));
        thinned.colors.push((color / count).map(|c| c.round() as u8).into());
    }
    thinned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(count: usize) -> PointCloud {
        PointCloud {
            points: (0..count)
                .map(|i| Point3::new(i as f32 * 0.01 + 0.005, 0.005, 1.005))
                .collect(),
            colors: vec![[10, 20, 30]; count],
        }
    }

    #[test]
    fn a_voxel_has_one_point_with_the_mean_colour() {
        let mut cloud = line(100);
        cloud.colors[1] = [30, 20, 10];
        let thinned = one_per_voxel(&cloud, 0.1);
        assert_eq!(thinned.len(), 10);
        assert_eq!(thinned.colors[0], [12, 20, 28]);
        assert!((thinned.points[0].x - 0.05).abs() < 1e-3);
    }

    #[test]
    fn the_map_keeps_to_its_budget_and_follows_the_poses() {
        let part = Arc::new(line(1000));
        let moved = Se3::translation(0.0, 5.0, 0.0);
        let parts = vec![(Se3::identity(), Arc::clone(&part)), (moved, part)];
        let snapshot = MapSnapshot { parts };
        let full = snapshot.cloud(0.01, 10_000);
        assert!(full.len() > 1500);
        assert!(full.points.iter().any(|p| p.y > 4.9));
        assert!(snapshot.cloud(0.01, 300).len() <= 300);
    }
}
