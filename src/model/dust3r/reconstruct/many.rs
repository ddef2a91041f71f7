//! Fast3R's way: one focal length from the first view, poses from points and pixels.

use nalgebra::{Point3, Vector2};

use super::super::fast3r::Fast3rView;
use super::super::maps::ViewMaps;
use super::{ReconstructedView, Reconstruction};
use crate::error::Result;
use crate::geometry::focal::{focal_from_sightings, ordinary_focal_px, sighting};
use crate::geometry::{Intrinsics, Se3, Sim3, align_similarity};
use crate::matching::absolute_pose::{AbsolutePoseConfig, Landmark, absolute_pose};
use crate::raster::Raster;

const FOCAL_ITERATIONS: usize = 100;
/// The share of the least confident pixels that say nothing of the focal length.
const UNSURE_SHARE: f64 = 0.1;

/// How poses are found.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ManyOptions {
    /// The search for the pose of a view.
    pub pose: AbsolutePoseConfig,
}

/// Returns the scene of views that the network saw together. A view of which no pose can be found
/// is put where the first one is.
///
/// # Errors
/// None that views of a network could cause.
pub fn reconstruct_many(views: &[Fast3rView], options: &ManyOptions) -> Result<Reconstruction> {
    let focal_px = views.first().map(|first| first_focal_px(&first.global));
    let views = views.iter().map(|view| {
        let size = (view.global.points.width(), view.global.points.height());
        let intrinsics = pinhole(size, focal_px.unwrap_or(1.0));
        let landmarks = landmarks(&view.global);
        let found = absolute_pose(&landmarks, &intrinsics, &options.pose);
        let camera_from_world = found.map_or_else(Se3::identity, |found| found.camera_from_points);
        let (depth, confidence) = depth(view, &camera_from_world);
        ReconstructedView {
            depth,
            confidence,
            intrinsics,
            world_from_camera: camera_from_world.inverse(),
        }
    });
    let views = views.collect();
    let scene = Reconstruction { views, tracks: Vec::new(), is_metric: false, loss: None };
    Ok(scene.in_first_view())
}

/// Returns a view of points in its own frame, at the origin.
pub fn own_view(maps: &ViewMaps) -> ReconstructedView {
    let size = (maps.points.width(), maps.points.height());
    ReconstructedView {
        depth: maps.points.map(|p| p.z),
        confidence: maps.confidence.clone(),
        intrinsics: pinhole(size, first_focal_px(maps)),
        world_from_camera: Se3::identity(),
    }
}

fn pinhole((width, height): (usize, usize), focal_px: f64) -> Intrinsics {
    let (cx, cy) = (width as f64 / 2.0, height as f64 / 2.0);
    Intrinsics { fx: focal_px, fy: focal_px, cx, cy }
}

/// Returns the focal length that the first view's points show.
pub fn first_focal_px(maps: &ViewMaps) -> f64 {
    let (width, height) = (maps.points.width(), maps.points.height());
    let limit = quantile(maps.confidence.values(), UNSURE_SHARE);
    let centre = Vector2::new(width as f64, height as f64) / 2.0;
    let sure = maps.confidence.values().iter().enumerate().filter(|(_, c)| **c >= limit);
    let seen = sure.map(|(i, _)| {
        let pixel = Vector2::new((i % width) as f64, (i / width) as f64);
        sighting(pixel - centre, &maps.points.values()[i].cast())
    });
    let found = focal_from_sightings(&seen.collect::<Vec<_>>(), FOCAL_ITERATIONS);
    found.unwrap_or_else(|| ordinary_focal_px(width, height))
}

/// The value below which a share of all values lies, between neighbours in proportion.
fn quantile(values: &[f32], share: f64) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let at = share * sorted.len().saturating_sub(1) as f64;
    let (below, part) = (at.floor() as usize, at.fract() as f32);
    let Some(&low) = sorted.get(below) else { return 0.0 };
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    low + (high - low) * part
}

fn landmarks(maps: &ViewMaps) -> Vec<Landmark> {
    let width = maps.points.width();
    let landmark = |(i, point): (usize, &nalgebra::Vector3<f32>)| Landmark {
        point: Point3::from(point.cast::<f64>()),
        pixel: Vector2::new((i % width) as f64, (i / width) as f64),
    };
    let is_sure = |(i, _): &(usize, &nalgebra::Vector3<f32>)| maps.confidence.values()[*i] > 1.0;
    maps.points.values().iter().enumerate().filter(is_sure).map(landmark).collect()
}

/// Returns the similarity that takes a view's own points to those in the frame of the first, and
/// the points that it makes of them.
///
/// # Errors
/// Where the points of either leave it open.
pub fn aligned_local(local: &ViewMaps, global: &ViewMaps) -> Result<(Sim3, Vec<Point3<f64>>)> {
    let points = |maps: &ViewMaps| -> Vec<Point3<f64>> {
        maps.points.values().iter().map(|p| Point3::from(p.cast::<f64>())).collect()
    };
    let local = points(local);
    let first_from_own = align_similarity(&local, &points(global), None)?.transform;
    let moved = local.iter().map(|p| first_from_own.transform_point(p)).collect();
    Ok((first_from_own, moved))
}

/// Depth in the view: by its own points, which are sharper, where their size is known, else by
/// those in the frame of the first.
fn depth(view: &Fast3rView, camera_from_world: &Se3) -> (Raster<f32>, Raster<f32>) {
    let own = view.local.as_ref().and_then(|local| {
        let (first_from_own, _) = aligned_local(local, &view.global).ok()?;
        let depth = local.points.map(|p| (f64::from(p.z) * first_from_own.scale) as f32);
        Some((depth, local.confidence.clone()))
    });
    own.unwrap_or_else(|| {
        let z = |p: nalgebra::Vector3<f32>| {
            (camera_from_world * Point3::from(p.cast::<f64>())).z as f32
        };
        (view.global.points.map(z), view.global.confidence.clone())
    })
}
