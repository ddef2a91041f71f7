//! Which way is up, by the surfaces of the map: floors, tables and seats are level.

use nalgebra::Vector3;

use super::GlobalMap;
use crate::keyframe::Keyframe;

/// About the upward direction, normals within these angles are averaged, one after the other; how a
/// camera is held is rarely further from upright, on average, than the first.
const CONES_DEG: [f64; 6] = [35.0, 25.0, 15.0, 8.0, 4.0, 4.0];
/// Of every how many pixels, in both directions, one is asked for its normal.
const STRIDE: usize = 8;
/// How many pixels away the neighbours are from which a normal is estimated.
const NORMAL_REACH: usize = 2;
/// Fewer normals than this that face up say nothing of which way is up.
const MIN_NORMALS: f64 = 50.0;

impl GlobalMap {
    /// Returns the unit vector against gravity in the world: about as given, and exactly as most level
    /// surfaces face; as given where there are too few of them.
    pub fn up(&self, about: &Vector3<f64>) -> Vector3<f64> {
        let normals: Vec<Vector3<f64>> = self.keyframes().flat_map(normals_in_world).collect();
        CONES_DEG.iter().fold(*about, |up, cone_deg| {
            let cosine = cone_deg.to_radians().cos();
            let sum: Vector3<f64> = normals.iter().filter(|n| n.dot(&up) > cosine).sum();
            sum.try_normalize(MIN_NORMALS).unwrap_or(up)
        })
    }
}

fn normals_in_world(keyframe: &Keyframe) -> Vec<Vector3<f64>> {
    let pointmap = &keyframe.pointmap;
    let rotation = keyframe.world_from_camera.rotation;
    let rows = (0..pointmap.height()).step_by(STRIDE);
    let pixels = rows.flat_map(|y| (0..pointmap.width()).step_by(STRIDE).map(move |x| (x, y)));
    pixels
        .filter_map(|(x, y)| pointmap.normal(x, y, NORMAL_REACH))
        .map(|normal| rotation * normal.cast())
        .collect()
}
