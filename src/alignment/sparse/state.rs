//! The unknowns of sparse alignment, and how a step moves them.

use nalgebra::{Point2, SVector, UnitQuaternion, Vector2, Vector3};

use super::scene::{Sample, SparseScene, SparseView};
use crate::geometry::Se3;

/// Unknowns of a view beside its depths.
pub const VIEW_DIM: usize = 10;
/// Those of them that reprojections and depths share: all but the size.
pub const CAMERA_DIM: usize = 9;
/// Where they are: rotation about the camera's centre, world axes, rad.
pub const ROTATION: usize = 0;
/// The camera's centre, world axes.
pub const CENTRE: usize = 3;
/// Log of the focal length.
pub const FOCAL: usize = 6;
/// Principal point in shares of the image size.
pub const PRINCIPAL_POINT: usize = 7;
/// Log of the view's size.
pub const SIZE: usize = 9;

/// A step of one view's unknowns.
pub type ViewStep = SVector<f64, VIEW_DIM>;

/// Focal lengths stay within these multiples of the image diagonal, as the reference has it.
const FOCAL_RANGE: [f64; 2] = [0.25, 10.0];
/// No step takes an anchor nearer than this share of its depth.
const MIN_DEPTH_SHARE: f64 = 0.1;
/// The nearest that an anchor may be, as a share of the median depth.
const MIN_DEPTH: f64 = 1e-4;

/// One view's unknowns.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewState {
    /// Pose of the camera.
    pub world_from_camera: Se3,
    /// World units for one unit of the view's own depths.
    pub size: f64,
    /// Focal length.
    pub focal_px: f64,
    /// Principal point.
    pub principal_point_px: Point2<f64>,
    /// Depths of the anchors in the view's own units at the base focal length.
    pub anchor_depths: Vec<f64>,
    /// The focal length that goes with `anchor_depths`.
    pub base_focal_px: f64,
    /// Median of the depths that the view came with.
    pub median_depth: f64,
    /// Width and height.
    pub image_size_px: Vector2<f64>,
}

/// The unknowns of all views.
#[derive(Debug, Clone, PartialEq)]
pub struct SceneState {
    /// One state for each view of the scene.
    pub views: Vec<ViewState>,
}

impl ViewState {
    /// Returns the state that a view starts from: at the origin, at size one.
    pub fn new(view: &SparseView) -> Self {
        Self {
            world_from_camera: Se3::identity(),
            size: 1.0,
            focal_px: view.base_focal_px,
            principal_point_px: view.principal_point_px,
            anchor_depths: view.anchor_depths.clone(),
            base_focal_px: view.base_focal_px,
            median_depth: view.median_depth(),
            image_size_px: view.image_size_px,
        }
    }

    /// Returns the depth of an anchor in world units. A longer lens moves the scene away, so that
    /// the plane at median depth keeps its size in the image.
    pub fn depth(&self, anchor: usize) -> f64 {
        self.size * (self.anchor_depths[anchor] + self.lens_shift())
    }

    /// Returns the depths of all anchors in world units.
    pub fn depths(&self) -> Vec<f64> {
        (0..self.anchor_depths.len()).map(|anchor| self.depth(anchor)).collect()
    }

    /// Returns a sample's point in the camera frame, in world units.
    pub fn point(&self, sample: &Sample) -> Vector3<f64> {
        let depth = self.depth(sample.anchor) * self.compensated(sample.depth_ratio);
        let at = (sample.pixel - self.principal_point_px) / self.focal_px;
        Vector3::new(at.x, at.y, 1.0) * depth
    }

    /// What a changed focal length adds to all depths, in the view's own units.
    fn lens_shift(&self) -> f64 {
        self.median_depth * (self.focal_px / self.base_focal_px - 1.0)
    }

    /// A sample's depth over its anchor's at the present focal length.
    pub(super) fn compensated(&self, depth_ratio: f64) -> f64 {
        1.0 + (depth_ratio - 1.0) * self.base_focal_px / self.focal_px
    }

    /// Sets the focal length, within what is thought possible.
    pub(super) fn set_focal_px(&mut self, focal_px: f64) {
        let diagonal = self.image_size_px.norm();
        self.focal_px = focal_px.clamp(FOCAL_RANGE[0] * diagonal, FOCAL_RANGE[1] * diagonal);
    }

    /// Multiplies all depths.
    pub(super) fn scale_depths(&mut self, factor: f64) {
        let shift = self.lens_shift();
        for depth in &mut self.anchor_depths {
            *depth = (*depth + shift) * factor - shift;
        }
    }

    /// Moves everything but the depths.
    fn step(&mut self, step: &ViewStep) {
        let turn = UnitQuaternion::from_scaled_axis(step.fixed_rows::<3>(ROTATION).into_owned());
        let mut rotation = turn * self.world_from_camera.rotation;
        rotation.renormalize();
        self.world_from_camera.rotation = rotation;
        self.world_from_camera.translation.vector += step.fixed_rows::<3>(CENTRE);
        self.size *= step[SIZE].exp();
        if step[FOCAL].abs() > 0.0 {
            self.set_focal_px(self.focal_px * step[FOCAL].exp());
        }
        let shift = step.fixed_rows::<2>(PRINCIPAL_POINT).component_mul(&self.image_size_px);
        self.principal_point_px += shift;
    }

    /// Moves the depths by shares of the median depth; none passes through the camera, where it
    /// was before the lens moved by `old_shift`.
    fn step_depths(&mut self, step: &[f64], multiple: f64, old_shift: f64) {
        let shift = self.lens_shift();
        for (depth, step) in self.anchor_depths.iter_mut().zip(step) {
            let nearest = MIN_DEPTH_SHARE * (*depth + old_shift);
            let nearest = nearest.max(MIN_DEPTH * self.median_depth) - shift;
            *depth = (*depth + self.median_depth * multiple * step).max(nearest);
        }
    }
}

impl SceneState {
    /// Returns the state that a scene starts from.
    pub fn new(scene: &SparseScene) -> Self {
        Self { views: scene.views.iter().map(ViewState::new).collect() }
    }

    /// Gives all views one focal length: the mean of what they have, by their confidence.
    pub(super) fn share_focal_length(&mut self, confidence: &[f64]) {
        let lengths = self.views.iter().map(|view| view.focal_px);
        let mean = weighted_mean(lengths.zip(confidence));
        for view in &mut self.views {
            view.set_focal_px(mean);
        }
    }

    /// Gives all views one principal point, in shares of the image size: the mean of what they
    /// have, by their confidence.
    pub(super) fn share_principal_point(&mut self, confidence: &[f64]) {
        let share = |axis: usize| {
            let of = |v: &ViewState| v.principal_point_px[axis] / v.image_size_px[axis];
            weighted_mean(self.views.iter().map(of).zip(confidence))
        };
        let mean = Vector2::new(share(0), share(1));
        for view in &mut self.views {
            view.principal_point_px = mean.component_mul(&view.image_size_px).into();
        }
    }

    /// Returns the state after a multiple of a step of every view and, where there are any, of its
    /// depths (in shares of each view's median depth).
    pub fn stepped(&self, steps: &[ViewStep], depths: &[Vec<f64>], multiple: f64) -> Self {
        let mut moved = self.clone();
        for (view, step) in moved.views.iter_mut().zip(steps) {
            view.step(&(step * multiple));
        }
        for ((view, before), step) in moved.views.iter_mut().zip(&self.views).zip(depths) {
            view.step_depths(step, multiple, before.lens_shift());
        }
        moved
    }

    /// Scales the world about the origin.
    pub(super) fn scale(&mut self, factor: f64) {
        for view in &mut self.views {
            view.size *= factor;
            view.world_from_camera.translation.vector *= factor;
        }
    }

    /// Moves the world so that a view's camera is at `world_from_camera`.
    pub(super) fn move_to(&mut self, view: usize, world_from_camera: &Se3) {
        let moved = world_from_camera * self.views[view].world_from_camera.inverse();
        for view in &mut self.views {
            view.world_from_camera = moved * view.world_from_camera;
        }
    }

    /// Returns the smallest size, and whose it is.
    pub(super) fn smallest(&self) -> (usize, f64) {
        let sizes = self.views.iter().map(|view| view.size).enumerate();
        sizes.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 1.0))
    }
}

/// The mean by weights, or the plain one where no weight is above zero.
fn weighted_mean<'a>(rows: impl Iterator<Item = (f64, &'a f64)>) -> f64 {
    let rows: Vec<(f64, f64)> = rows.map(|(v, w)| (v, if *w > 0.0 { *w } else { 0.0 })).collect();
    let total: f64 = rows.iter().map(|(_, w)| w).sum();
    if total > 0.0 && total.is_finite() {
        rows.iter().map(|(v, w)| v * w / total).sum()
    } else {
        rows.iter().map(|(v, _)| v / rows.len() as f64).sum()
    }
}
