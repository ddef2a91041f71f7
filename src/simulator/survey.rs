//! The true surface as points, as far as the camera sees it.

use nalgebra::Point3;
use rayon::prelude::*;

use super::depth_sensor::RANGE_M;
use super::render::Renderer;
use super::shape::Shape;
use super::world::Route;
use crate::cloud::PointCloud;
use crate::geometry::{Camera, Se3};

const SPACING_M: f64 = 0.01;
/// Number of views of one round from which a point may be seen.
const VIEWS: usize = 80;
const WIDTH_PX: u32 = 320;
/// A point is seen if it is at most this share behind what is drawn at its pixel.
const DEPTH_TOLERANCE_FRAC: f32 = 0.01;

/// Returns points every `SPACING_M` on the surfaces that stay where they are and are seen
/// from the path.
pub(super) fn seen_surface(
    renderer: &Renderer,
    path: &Route,
    loop_secs: f64,
    camera: &Camera,
) -> PointCloud {
    let camera = camera.resized(WIDTH_PX, WIDTH_PX * camera.height() / camera.width());
    let times = (0..VIEWS).map(|i| loop_secs * i as f64 / VIEWS as f64);
    let views: Vec<View> =
        times.map(|time| View::new(renderer, &camera, &path.pose(time))).collect();
    let shapes: Vec<Shape> = renderer.scene().fixed().map(|s| s.shape).collect();
    let points = shapes
        .par_iter()
        .flat_map_iter(grid)
        .filter(|point| views.iter().any(|view| view.sees(point)))
        .map(|point| point.cast())
        .collect();
    PointCloud { points, colors: Vec::new() }
}

/// The middles of cells of about `SPACING_M` that cover the shape.
fn grid(shape: &Shape) -> impl Iterator<Item = Point3<f64>> + use<> {
    let shape = *shape;
    let [across, along] =
        shape.size_m().map(|metres| (metres / SPACING_M).ceil().max(1.0) as usize);
    let at = |i: usize, n: usize| (i as f64 + 0.5) / n as f64;
    (0..across * along).map(move |i| shape.point([at(i % across, across), at(i / across, along)]))
}

/// What is nearest along each ray from one place.
struct View<'a> {
    camera: &'a Camera,
    camera_from_world: Se3,
    inverse_depth: Vec<f32>,
}

impl<'a> View<'a> {
    fn new(renderer: &Renderer, camera: &'a Camera, world_from_camera: &Se3) -> Self {
        let inverse_depth = renderer.inverse_depth(camera, world_from_camera, None);
        Self { camera, camera_from_world: world_from_camera.inverse(), inverse_depth }
    }

    fn sees(&self, point_in_world: &Point3<f64>) -> bool {
        let point = self.camera_from_world * point_in_world;
        let Some(pixel) = self.camera.project(&point) else { return false };
        let (x, y) = (pixel.x.round(), pixel.y.round());
        let inside = x >= 0.0
            && y >= 0.0
            && x < f64::from(self.camera.width())
            && y < f64::from(self.camera.height());
        let depth = point.z as f32;
        inside && depth <= RANGE_M[1] && {
            let drawn = self.inverse_depth[y as usize * self.camera.width() as usize + x as usize];
            depth * drawn <= 1.0 + DEPTH_TOLERANCE_FRAC
        }
    }
}
