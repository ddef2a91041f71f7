//! The sparse model of a dense result: some of its points, each where it is seen.

use nalgebra::{Point3, Vector2};
use recon_node::export::{Observation, SparseModel, SparsePoint, SparseView};
use recon_node::geometry::Distortion;

use super::results::View;

/// How far the depth of another view may be from a point's, relative to it, to be the same surface.
const MAX_DIFFERENCE_FRAC: f64 = 0.02;

/// Returns all views and about `count` of their points, evenly chosen. A point is seen in its own
/// view, and in others where it is in sight and as deep as they say; cameras and places are those
/// of the image files.
pub fn sparse_model(views: &[View<'_>], names: &[String], count: usize) -> SparseModel {
    let total: usize = views.iter().map(|view| view.points.len()).sum();
    let step = total.div_ceil(count.max(1)).max(1);
    let all = views
        .iter()
        .enumerate()
        .flat_map(|(index, view)| (0..view.points.len()).map(move |point| (index, point)));
    let points = if count == 0 { 0 } else { total };
    let points = all.take(points).step_by(step).map(|(view, point)| seen(views, view, point));
    let sparse_view = |(view, name): (&View<'_>, &String)| SparseView {
        name: name.clone(),
        width: view.input.image.width(),
        height: view.input.image.height(),
        intrinsics: view.intrinsics,
        distortion: Distortion::None,
        world_from_camera: view.world_from_camera,
    };
    SparseModel {
        points: points.collect(),
        views: views.iter().zip(names).map(sparse_view).collect(),
    }
}

/// A point of a view with all places where it is seen.
fn seen(views: &[View<'_>], own: usize, point: usize) -> SparsePoint {
    let (pixel, point_in_world) = views[own].points[point];
    let width = views[own].output.depth_z.width();
    let place = |view: &View<'_>, at: [f64; 2]| Vector2::from(view.fitting.original_pixel(at));
    let at = [(pixel % width) as f64, (pixel / width) as f64];
    let mut observations = vec![Observation { view: own, pixel: place(&views[own], at) }];
    let point_in_world = point_in_world.cast::<f64>();
    for (index, view) in views.iter().enumerate().filter(|(index, _)| *index != own) {
        if let Some(at) = place_in(view, &point_in_world) {
            observations.push(Observation { view: index, pixel: place(view, at) });
        }
    }
    SparsePoint { point_in_world, color: views[own].colors[point], observations }
}

/// The pixel of the model's size at which a view has the point, if it is as deep there.
fn place_in(view: &View<'_>, point_in_world: &Point3<f64>) -> Option<[f64; 2]> {
    let point = view.world_from_camera.inverse() * point_in_world;
    let k = &view.output.intrinsics;
    let at = [k.fx * point.x / point.z + k.cx, k.fy * point.y / point.z + k.cy];
    let depth = view.output.depth_z.get(at[0].round() as i64, at[1].round() as i64)?;
    let difference = (f64::from(depth) - point.z).abs();
    (depth > 0.0 && point.z > 0.0 && difference <= MAX_DIFFERENCE_FRAC * point.z).then_some(at)
}
