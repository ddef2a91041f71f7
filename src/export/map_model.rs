//! The map as a sparse model: keyframes as views, and points that several of them measured.

use std::collections::BTreeMap;

use nalgebra::{Point3, Vector2, Vector3};

use super::sparse::{Observation, SparseModel, SparsePoint, SparseView};
use crate::keyframe::Keyframe;
use crate::map::{Ghosts, GlobalMap, MapConfig};
use crate::pointmap::Pointmap;

/// Points at most: of more, evenly chosen ones.
const MAX_POINTS: usize = 200_000;
/// Edge of the cubes in which measurements are taken for one point, metres.
const POINT_M: f64 = 0.01;
/// Of every how many pixels, in both directions, one may show a point.
const STRIDE: usize = 2;

/// What a view measured of a point.
#[derive(Clone, Copy)]
struct Sight {
    point_in_world: Vector3<f64>,
    pixel: Vector2<f64>,
    color: Vector3<f64>,
    view: usize,
}

/// Returns the name of a keyframe's image in the model.
pub fn image_name(keyframe: &Keyframe) -> String {
    format!("{:06}.png", keyframe.id.0)
}

/// Returns all keyframes as views, and the points that at least two of them measured in one cube of a
/// centimetre, each at the pixel where it was measured: reprojection errors are the map's own.
/// Ghosts are left out, and of the points of a keyframe those that are not to be `kept`.
pub fn sparse_model(
    map: &GlobalMap,
    config: &MapConfig,
    ghosts: &Ghosts,
    kept: impl Fn(&Vector3<f32>, f32) -> bool + Sync,
) -> SparseModel {
    let mut cubes: BTreeMap<[i32; 3], Vec<Sight>> = BTreeMap::new();
    for (view, keyframe) in map.keyframes().enumerate() {
        let pointmap = map.carved(keyframe, ghosts, config).retained(&kept);
        for sight in sights(view, keyframe, &pointmap) {
            let cube = sight.point_in_world.map(|v| (v / POINT_M).floor() as i32);
            let sights = cubes.entry([cube.x, cube.y, cube.z]).or_default();
            // The first pixel of each view stands for all.
            if sights.last().is_none_or(|last| last.view != view) {
                sights.push(sight);
            }
        }
    }
    let shared: Vec<Vec<Sight>> = cubes.into_values().filter(|sights| sights.len() > 1).collect();
    let step = shared.len().div_ceil(MAX_POINTS).max(1);
    SparseModel {
        views: map.keyframes().map(view).collect(),
        points: shared.iter().step_by(step).map(|sights| point(sights)).collect(),
    }
}

fn view(keyframe: &Keyframe) -> SparseView {
    SparseView {
        name: image_name(keyframe),
        width: keyframe.camera.width(),
        height: keyframe.camera.height(),
        intrinsics: *keyframe.camera.intrinsics(),
        distortion: *keyframe.camera.distortion(),
        world_from_camera: keyframe.world_from_camera,
    }
}

fn sights<'a>(
    view: usize,
    keyframe: &'a Keyframe,
    pointmap: &'a Pointmap,
) -> impl Iterator<Item = Sight> + 'a {
    let rows = (0..pointmap.height()).step_by(STRIDE);
    let pixels = rows.flat_map(|y| (0..pointmap.width()).step_by(STRIDE).map(move |x| (x, y)));
    pixels.filter_map(move |(x, y)| {
        let point = Point3::from(pointmap.point(x, y)?.cast::<f64>());
        let color = keyframe.frame.color.get_pixel(x as u32, y as u32).0.map(f64::from);
        Some(Sight {
            point_in_world: (keyframe.world_from_camera * point).coords,
            pixel: Vector2::new(x as f64, y as f64),
            color: color.into(),
            view,
        })
    })
}

fn point(sights: &[Sight]) -> SparsePoint {
    let count = sights.len() as f64;
    let mean = |of: &dyn Fn(&Sight) -> Vector3<f64>| -> Vector3<f64> {
        sights.iter().map(of).sum::<Vector3<f64>>() / count
    };
    let color = mean(&|sight| sight.color);
    let observed = |sight: &Sight| Observation { view: sight.view, pixel: sight.pixel };
    SparsePoint {
        point_in_world: mean(&|sight| sight.point_in_world).into(),
        color: [color.x, color.y, color.z].map(|value| value.round() as u8),
        observations: sights.iter().map(observed).collect(),
    }
}
