//! MapAnything as a back end of the pipeline: frames and what is known of them in, pointmaps out.

use std::path::Path;

use nalgebra::Vector3;

use super::inputs::{Calibration, SourceView, ViewInput, fit_views};
use super::model::{InferOptions, LoadOptions, MapAnything, NAME};
use super::outputs::ViewOutput;
use super::preprocess::TargetSize;
use super::priors::PosePrior;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::geometry::{Camera, Distortion};
use crate::inference::{Prediction, ReconstructionModel, View, ViewGeometry};
use crate::pointmap::Pointmap;
use crate::raster::Raster;

/// The longest side that the released models have learned with; there is a table of sizes for it.
const TRAINED_PX: u32 = 518;
/// A side of a patch: sizes are multiples.
const PATCH_PX: u32 = super::architecture::PATCH_PX as u32;
/// Weight of the logarithm in the loss that the confidence was learned by (Wang et al., DUSt3R,
/// 2024, equation 4).
const CONFIDENCE_ALPHA: f32 = 0.2;
/// No depth is believed to be better than to this share.
const MIN_ERROR_FRAC: f32 = 0.002;

/// A loaded model, and how it looks at frames.
#[derive(Debug)]
pub struct MapAnythingBackEnd {
    model: MapAnything,
    target: TargetSize,
    max_views: usize,
    options: InferOptions,
}

impl MapAnythingBackEnd {
    /// Returns the model in the folder or file `weights`.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for a size that is no multiple of a patch; as [`MapAnything::open`].
    pub fn open(weights: &Path, load: &LoadOptions, config: &ModelConfig) -> Result<Self> {
        let target = target_size(config.resolution_px)?;
        let model = MapAnything::open(weights, load)?;
        let options = InferOptions {
            standardize_quaternion: config.standardize_rotations,
            ..InferOptions::default()
        };
        Ok(Self { model, target, max_views: config.max_views, options })
    }
}

impl ReconstructionModel for MapAnythingBackEnd {
    fn name(&self) -> &'static str {
        NAME
    }

    fn max_views(&self) -> usize {
        self.max_views
    }

    fn infer(&mut self, views: &[View<'_>]) -> Result<Prediction> {
        let sources: Vec<SourceView<'_>> = views.iter().map(|v| source_view(v, views)).collect();
        let mut inputs = fit_views(&sources, self.target)?;
        let cameras = views.iter().zip(&mut inputs).map(|(view, input)| fitted_camera(view, input));
        let cameras = cameras.collect::<Result<Vec<_>>>()?;
        let outputs = self.model.infer(&inputs, &self.options)?;
        let geometries = outputs.iter().zip(cameras).map(|(output, camera)| geometry(output, camera));
        Ok(Prediction { views: geometries.collect::<Result<_>>()?, is_metric: true })
    }
}

fn target_size(resolution_px: u32) -> Result<TargetSize> {
    match resolution_px {
        TRAINED_PX => Ok(TargetSize::Mapping518),
        side if side.is_multiple_of(PATCH_PX) => Ok(TargetSize::LongestSide(side as usize)),
        side => {
            let below = side / PATCH_PX * PATCH_PX;
            let reason = format!(
                "{side} is no multiple of {PATCH_PX}: take {below} or {}",
                below + PATCH_PX
            );
            Err(Error::config("model.resolution_px", reason))
        }
    }
}

/// What is known of a view. A pose says something beside others only, and if the first view has
/// none, no other may.
fn source_view<'a>(view: &View<'a>, views: &[View<'_>]) -> SourceView<'a> {
    let frame = view.frame;
    let camera = frame.camera.as_ref();
    let has_poses = views.len() > 1 && views[0].world_from_camera.is_some();
    let pose = view.world_from_camera.filter(|_| has_poses);
    SourceView {
        calibration: camera.map(|camera| Calibration::Intrinsics(*camera.intrinsics())),
        // Depth says nothing where nobody knows which way it was measured.
        depth_z: frame.depth.as_deref().filter(|_| camera.is_some()).map(|depth| depth.raster()),
        world_from_camera: pose.map(|pose| PosePrior::from_se3(&pose)),
        ..SourceView::new(&frame.color)
    }
}

/// The camera of a view at the size of the network, where the view has one. Resizing and cropping
/// leave the lens as it is, so its rays are given to the network where they are not a pinhole's.
fn fitted_camera(view: &View<'_>, input: &mut ViewInput) -> Result<Option<Camera>> {
    let Some((camera, Calibration::Intrinsics(fitted))) =
        view.frame.camera.as_ref().zip(input.calibration.as_ref())
    else {
        return Ok(None);
    };
    let (width, height) = input.size;
    let fitted = Camera::new(*fitted, *camera.distortion(), width as u32, height as u32)?;
    let rays = fitted.rays();
    let has_all_rays = rays.iter().all(|ray| ray.iter().all(|v| v.is_finite()));
    if *camera.distortion() != Distortion::None && has_all_rays {
        input.calibration = Some(Calibration::Rays(Raster::new(width, height, rays)?));
    }
    Ok(Some(fitted))
}

fn geometry(output: &ViewOutput, camera: Option<Camera>) -> Result<ViewGeometry> {
    let points = output.points_in_camera.map(|point| point.coords);
    let kept = |x: usize, y: usize| output.mask.as_ref().is_none_or(|mask| mask.at(x, y));
    let confidence = Raster::from_fn(points.width(), points.height(), |x, y| {
        if kept(x, y) { inverse_variance(&points.at(x, y), output.confidence.at(x, y)) } else { 0.0 }
    });
    let estimate = || {
        let (width, height) = (points.width() as u32, points.height() as u32);
        Camera::pinhole(output.intrinsics, width, height)
    };
    let camera = camera.map_or_else(estimate, Ok)?;
    let pointmap = Pointmap::new(points, confidence)?;
    let window_from_camera = Some(output.world_from_camera());
    Ok(ViewGeometry { pointmap, camera, window_from_camera })
}

/// Inverse variance of a point's depth, 1/m². The network has learned its confidence c by the loss
/// c·e − α·ln c of the relative error e, which is least where e = α/c.
fn inverse_variance(point: &Vector3<f32>, confidence: f32) -> f32 {
    let sigma_m = point.z * (CONFIDENCE_ALPHA / confidence).max(MIN_ERROR_FRAC);
    (sigma_m * sigma_m).recip()
}
