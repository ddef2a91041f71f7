//! The meaning of what the heads say.

use candle_core::{Device, Tensor};
use nalgebra::{Matrix3, Matrix4, Point3, Quaternion, UnitQuaternion, Vector3};
use rayon::prelude::*;

use super::dense_head::CHANNELS;
use super::network::RawOutput;
use super::postprocess::{
    AgreementThresholds, MaskInput, MaskOptions, PlacedDepth, apply_mask, final_mask,
    intrinsics_from_rays, multi_view_confidence,
};
use super::priors::rotation_from_quaternion;
use crate::error::Result;
use crate::geometry::{Intrinsics, Se3};
use crate::raster::Raster;

/// Keeps lengths and the scale away from zero.
const EPSILON: f32 = 1e-8;

/// What the network says about one view, in metres. Given depths, poses and cameras are evidence
/// to it, not part of the answer: everything here is predicted.
#[derive(Debug, Clone)]
pub struct ViewOutput {
    /// Points in the frame of the first view.
    pub points_in_world: Raster<Point3<f32>>,
    /// Points in the view's own optical frame.
    pub points_in_camera: Raster<Point3<f32>>,
    /// Distance of each point from the camera.
    pub depth_along_ray: Raster<f32>,
    /// Distance of each point along the optical axis.
    pub depth_z: Raster<f32>,
    /// Unit rays in the view's own optical frame.
    pub ray_directions: Raster<Vector3<f32>>,
    /// The pinhole that fits the rays.
    pub intrinsics: Intrinsics,
    /// Rotation to the frame of the first view, of length one and either sign.
    pub rotation: Quaternion<f32>,
    /// Position in the frame of the first view.
    pub translation: Vector3<f32>,
    /// Confidence in each point: 1 and more as the network says it, or 0 to 1 by the agreement of
    /// views.
    pub confidence: Raster<f32>,
    /// Logit of a pixel not being ambiguous (sky, mirrors, glass).
    pub mask_logits: Raster<f32>,
    /// Where that probability is above one half.
    pub unambiguous: Raster<bool>,
    /// Which points are kept; the others are zero, as are their depths. `None` where nothing was
    /// to be masked.
    pub mask: Option<Raster<bool>>,
    /// What lengths have been multiplied by to be metres.
    pub metric_scale: f32,
}

impl ViewOutput {
    /// Returns the pose of the camera in the frame of the first view as a 4×4 matrix.
    pub fn camera_pose(&self) -> Matrix4<f32> {
        let mut pose = Matrix4::identity();
        pose.fixed_view_mut::<3, 3>(0, 0).copy_from(&rotation_from_quaternion(&self.rotation));
        pose.fixed_view_mut::<3, 1>(0, 3).copy_from(&self.translation);
        pose
    }

    /// Returns the pose of the camera in the frame of the first view.
    pub fn world_from_camera(&self) -> Se3 {
        let rotation = UnitQuaternion::from_quaternion(self.rotation.cast());
        Se3::from_parts(self.translation.cast().into(), rotation)
    }

    /// Returns the mask under `options`, of what is not masked yet.
    ///
    /// # Errors
    /// Where the percentile of confidence is outside 0 to 100.
    pub fn final_mask(&self, options: &MaskOptions) -> Result<Raster<bool>> {
        let input = MaskInput {
            unambiguous: &self.unambiguous,
            confidence: &self.confidence,
            points_in_world: &self.points_in_world,
            depth_z_m: &self.depth_z,
        };
        final_mask(&input, options)
    }

    /// Sets points and depths outside `mask` to zero.
    pub fn apply_mask(&mut self, mask: Raster<bool>) {
        apply_mask(&mut self.points_in_world, &mask);
        apply_mask(&mut self.points_in_camera, &mask);
        apply_mask(&mut self.depth_along_ray, &mask);
        apply_mask(&mut self.depth_z, &mask);
        self.mask = Some(mask);
    }
}

/// Replaces the confidence of all views by how far they agree with one another.
pub fn confidence_by_agreement(views: &mut [ViewOutput], thresholds: &AgreementThresholds) {
    let placed: Vec<_> = views
        .iter()
        .map(|view| PlacedDepth {
            depth_z_m: &view.depth_z,
            unambiguous: &view.unambiguous,
            intrinsics: view.intrinsics,
            world_from_camera: view.world_from_camera(),
        })
        .collect();
    let confidence = multi_view_confidence(&placed, thresholds);
    for (view, confidence) in views.iter_mut().zip(confidence) {
        view.confidence = confidence;
    }
}

/// Returns the meaning of `raw`, unmasked; one entry for each view.
///
/// # Errors
/// Where the device does not hand out its results.
pub fn view_outputs(raw: &RawOutput) -> candle_core::Result<Vec<ViewOutput>> {
    let (views, height, width, _) = raw.dense.dims4()?;
    let numbers = |x: &Tensor| x.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>();
    let log_scale = numbers(&raw.scale)?.first().copied().unwrap_or(0.0);
    let metric_scale = log_scale.exp().max(EPSILON);
    let poses = numbers(&raw.pose)?;
    let view = |(i, pose): (usize, &[f32])| {
        let dense = numbers(&raw.dense.get(i)?)?;
        let placed = Placed::new(pose, metric_scale);
        Ok(view_output(&dense, (width, height), &placed))
    };
    poses.chunks_exact(7).take(views).enumerate().map(view).collect()
}

/// A camera in the network's own unit, and that unit.
struct Placed {
    rotation: Quaternion<f32>,
    matrix: Matrix3<f32>,
    translation: Vector3<f32>,
    metric_scale: f32,
}

impl Placed {
    fn new(pose: &[f32], metric_scale: f32) -> Self {
        let rotation = Quaternion::new(pose[6], pose[3], pose[4], pose[5]);
        let rotation = rotation / rotation.norm().max(EPSILON);
        let matrix = rotation_from_quaternion(&rotation);
        let translation = Vector3::new(pose[0], pose[1], pose[2]);
        Self { rotation, matrix, translation, metric_scale }
    }
}

/// What the dense head's numbers for one pixel mean, lengths in the network's own unit.
struct Pixel {
    ray: Vector3<f32>,
    depth: f32,
    confidence: f32,
    logit: f32,
}

impl Pixel {
    fn new(raw: &[f32]) -> Self {
        let ray = Vector3::new(raw[0], raw[1], raw[2]);
        Self {
            ray: ray / ray.norm().max(EPSILON),
            depth: raw[3].exp(),
            confidence: 1.0 + raw[4].exp(),
            logit: raw[5],
        }
    }

    fn is_unambiguous(&self) -> bool {
        1.0 / (1.0 + (-self.logit).exp()) > 0.5
    }
}

fn view_output(dense: &[f32], (width, height): (usize, usize), placed: &Placed) -> ViewOutput {
    let pixels: Vec<Pixel> = dense.par_chunks_exact(CHANNELS).map(Pixel::new).collect();
    let scale = placed.metric_scale;
    let in_camera = |pixel: &Pixel| Point3::from(pixel.ray * pixel.depth * scale);
    let in_world = |pixel: &Pixel| {
        Point3::from((placed.matrix * (pixel.ray * pixel.depth) + placed.translation) * scale)
    };
    let raster = Grid { width, height, pixels: &pixels };
    let points_in_camera = raster.map(in_camera);
    let ray_directions = raster.map(|pixel| pixel.ray);
    ViewOutput {
        points_in_world: raster.map(in_world),
        depth_along_ray: raster.map(|pixel| pixel.depth * scale),
        depth_z: points_in_camera.map(|point| point.z),
        intrinsics: intrinsics_from_rays(&ray_directions),
        rotation: placed.rotation,
        translation: placed.translation * scale,
        confidence: raster.map(|pixel| pixel.confidence),
        mask_logits: raster.map(|pixel| pixel.logit),
        unambiguous: raster.map(Pixel::is_unambiguous),
        mask: None,
        metric_scale: scale,
        points_in_camera,
        ray_directions,
    }
}

/// The pixels of a view in row order.
struct Grid<'a> {
    width: usize,
    height: usize,
    pixels: &'a [Pixel],
}

impl Grid<'_> {
    fn map<T: Copy>(&self, value: impl Fn(&Pixel) -> T) -> Raster<T> {
        let values = self.pixels.iter().map(value).collect();
        Raster::from_values(self.width, self.height, values)
    }
}
