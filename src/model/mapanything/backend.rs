//! MapAnything behind the `ReconstructionModel` socket.

use std::sync::Arc;

use image::RgbImage;
use nalgebra::Vector3;

use super::descriptor::descriptors;
use super::encoder::EncodedViews;
use super::inputs::{Calibration, ViewInput};
use super::model::{InferOptions, MapAnything, NAME, failed};
use super::outputs::ViewOutput;
use super::postprocess::apply_mask;
use super::preprocess::{Fitting, Size, TargetSize, reduced};
use super::priors::PosePrior;
use super::resample::pointmap;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::geometry::Camera;
use crate::inference::{Prediction, ReconstructionModel, View, ViewGeometry};
use crate::model::nn::held_bytes;
use crate::raster::Raster;

/// Cameras nearer to each other than this are in one place.
const MIN_BASELINE_M: f64 = 1e-3;

/// How windows are looked at.
#[derive(Debug, Clone)]
pub struct BackendOptions {
    /// Views of a window that are looked at together.
    pub max_views: usize,
    /// The size to which images are brought.
    pub target: TargetSize,
    /// All else.
    pub infer: InferOptions,
}

impl Default for BackendOptions {
    /// Quaternions are standardised: a map may turn its world frame at any time, and predictions
    /// must not change with that.
    fn default() -> Self {
        Self {
            max_views: 8,
            target: TargetSize::Mapping518,
            infer: InferOptions { standardize_quaternion: true, ..InferOptions::default() },
        }
    }
}

/// MapAnything as a source of geometry. Views are encoded once, as long as they stay in the window.
#[derive(Debug)]
pub struct MapAnythingBackend {
    model: MapAnything,
    options: BackendOptions,
    /// How long the sides of images are, as a share of the chosen target's.
    side_frac: f64,
    cache: Vec<CachedView>,
    encoded_count: usize,
}

/// The tokens of a frame, and the image that they are of: it is kept, lest another image should
/// ever be taken for it.
#[derive(Debug)]
struct CachedView {
    frame_id: u64,
    image: Arc<RgbImage>,
    size: Size,
    tokens: EncodedViews,
}

/// A view on its way through the network.
struct Prepared<'a> {
    frame: &'a Frame,
    camera: Option<Camera>,
    fitting: Fitting,
    input: ViewInput,
}

impl MapAnythingBackend {
    /// Returns the back end with a loaded model.
    pub fn new(model: MapAnything, options: BackendOptions) -> Self {
        Self { model, options, side_frac: 1.0, cache: Vec::new(), encoded_count: 0 }
    }

    /// Returns how many views have been encoded so far; views that stay in the window are counted
    /// once.
    pub fn encoded_count(&self) -> usize {
        self.encoded_count
    }

    /// Returns how many bytes of tensors are kept from one window to the next, weights not counted.
    pub fn held_bytes(&self) -> usize {
        let of_view = |cached: &CachedView| {
            let tokens = [&cached.tokens.features, &cached.tokens.class_token];
            tokens.map(held_bytes).iter().sum::<usize>()
        };
        self.cache.iter().map(of_view).sum()
    }

    fn prepare<'a>(&self, views: &[View<'a>]) -> Result<Vec<Prepared<'a>>> {
        let sizes: Vec<Size> = views.iter().map(|view| image_size(view.frame)).collect();
        let target = reduced(self.options.target.choose(&sizes)?, self.side_frac);
        let use_poses = has_baseline(views);
        views.iter().map(|view| prepare_view(view, target, use_poses)).collect()
    }

    /// The tokens of all views, of which those are computed that are not known.
    fn encoded(&mut self, views: &[Prepared<'_>]) -> Result<EncodedViews> {
        self.cache.retain(|cached| views.iter().any(|view| cached.is_of(view)));
        let is_new = |view: &&Prepared<'_>| !self.cache.iter().any(|cached| cached.is_of(view));
        let new: Vec<&Prepared<'_>> = views.iter().filter(is_new).collect();
        if !new.is_empty() {
            let inputs: Vec<ViewInput> = new.iter().map(|view| view.input.clone()).collect();
            let tokens = self.model.encode(&inputs)?;
            self.encoded_count += new.len();
            for (i, view) in new.into_iter().enumerate() {
                let tokens = tokens.view(i).map_err(|error| failed(&error))?;
                self.cache.push(CachedView::new(view, tokens));
            }
        }
        let tokens = views.iter().filter_map(|view| self.cache.iter().find(|c| c.is_of(view)));
        let tokens: Vec<_> = tokens.map(|cached| &cached.tokens).collect();
        EncodedViews::cat(&tokens).map_err(|error| failed(&error))
    }
}

/// What the network is given of a view.
fn prepare_view<'a>(view: &View<'a>, target: Size, use_poses: bool) -> Result<Prepared<'a>> {
    let View { frame, priors } = *view;
    let fitting = Fitting::new(image_size(frame), target, priors.camera.is_some());
    let mut input = ViewInput::new(&fitting.image(&frame.color)?);
    input.is_metric_scale = priors.is_metric;
    if let Some(camera) = &priors.camera {
        let (rays, is_seen) = rays(&fitted_camera(camera, &fitting)?)?;
        input.calibration = Some(Calibration::Rays(rays));
        // Depth without a camera means nothing to the network, hence in here.
        if let Some(depth) = priors.depth {
            let mut depth = fitting.depth(depth.raster())?;
            apply_mask(&mut depth, &is_seen);
            // The mean of no depth at all would be taken for that of a tiny scene.
            input.depth_z = Some(depth).filter(|d| d.values().iter().any(|&z| z > 0.0));
        }
    }
    let pose = priors.world_from_camera.filter(|_| use_poses);
    input.world_from_camera = pose.map(|pose| PosePrior::from_se3(&pose));
    Ok(Prepared { frame, camera: priors.camera, fitting, input })
}

impl CachedView {
    fn new(view: &Prepared<'_>, tokens: EncodedViews) -> Self {
        let image = Arc::clone(&view.frame.color);
        Self { frame_id: view.frame.id, image, size: view.input.size, tokens }
    }

    fn is_of(&self, view: &Prepared<'_>) -> bool {
        self.frame_id == view.frame.id
            && self.size == view.input.size
            && Arc::ptr_eq(&self.image, &view.frame.color)
    }
}

impl ReconstructionModel for MapAnythingBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn max_views(&self) -> usize {
        self.options.max_views
    }

    fn set_side_frac(&mut self, side_frac: f64) -> bool {
        self.side_frac = side_frac.clamp(0.0, 1.0);
        true
    }

    fn infer(&mut self, views: &[View<'_>]) -> Result<Prediction> {
        let views = self.prepare(views)?;
        let encoded = self.encoded(&views)?;
        let inputs: Vec<ViewInput> = views.iter().map(|view| view.input.clone()).collect();
        let outputs = self.model.infer_encoded(&encoded, &inputs, &self.options.infer)?;
        let mut geometry = geometry(&views, &outputs)?;
        let descriptors = descriptors(&encoded).map_err(|error| failed(&error))?;
        for (view, descriptor) in geometry.iter_mut().zip(descriptors) {
            view.descriptor = Some(descriptor);
        }
        Ok(Prediction { views: geometry, is_metric: true })
    }
}

/// What the socket wants to know of each view.
fn geometry(views: &[Prepared<'_>], outputs: &[ViewOutput]) -> Result<Vec<ViewGeometry>> {
    // The network means the first camera to be at the origin, but puts it only nearly there.
    let first = outputs.first().map(ViewOutput::world_from_camera);
    let of_view = |(view, output): (&Prepared<'_>, &ViewOutput)| {
        let camera = match view.camera {
            Some(camera) => camera,
            None => estimated_camera(view, output)?,
        };
        Ok(ViewGeometry {
            pointmap: pointmap(output, &view.fitting, &camera)?,
            camera,
            window_from_camera: first.map(|first| first.inverse() * output.world_from_camera()),
            descriptor: None,
        })
    };
    views.iter().zip(outputs).map(of_view).collect()
}

/// Whether the poses say how far apart views are, from the first. Without that the network would
/// be told of a tiny scene.
fn has_baseline(views: &[View<'_>]) -> bool {
    let position =
        |view: &View<'_>| view.priors.world_from_camera.map(|pose| pose.translation.vector);
    let Some(first) = views.first().and_then(position) else { return false };
    views.iter().filter_map(position).any(|other| (other - first).norm() > MIN_BASELINE_M)
}

/// The camera of the frame, by the rays that the network sees: in an image that shows it nothing
/// they may be those of no camera.
///
/// # Errors
/// [`Error::MissingInput`] then, so that the frame alone is refused.
fn estimated_camera(view: &Prepared<'_>, output: &ViewOutput) -> Result<Camera> {
    let intrinsics = view.fitting.original_intrinsics(&output.intrinsics);
    let (width, height) = image_size(view.frame);
    let camera = Camera::pinhole(intrinsics, width as u32, height as u32);
    camera.map_err(|_no_camera| Error::MissingInput {
        model: NAME,
        missing: "an image whose camera it can tell",
        remedy: "give the camera's calibration, and check the weights where this is so for all images",
    })
}

/// The camera of the image that the network sees. Distortion is in coordinates of the ray, so that
/// no resizing changes it.
fn fitted_camera(camera: &Camera, fitting: &Fitting) -> Result<Camera> {
    let (width, height) = fitting.target();
    let intrinsics = fitting.intrinsics(camera.intrinsics());
    Ok(Camera::new(intrinsics, *camera.distortion(), width as u32, height as u32)?)
}

/// The rays of a camera, and where it has any: beyond the reach of its distortion model the
/// network gets the ray of a pinhole.
fn rays(camera: &Camera) -> Result<(Raster<Vector3<f32>>, Raster<bool>)> {
    let (width, height) = (camera.width() as usize, camera.height() as usize);
    let mut rays = Raster::new(width, height, camera.rays())?;
    let is_seen = rays.map(|ray| ray.iter().all(|value| value.is_finite()));
    let k = camera.intrinsics();
    let pinhole = Raster::from_fn(width, height, |x, y| {
        Vector3::new((x as f64 - k.cx) / k.fx, (y as f64 - k.cy) / k.fy, 1.0).cast::<f32>()
    });
    let beyond = rays.values_mut().iter_mut().zip(pinhole.values()).zip(is_seen.values());
    beyond.filter(|(_, is_seen)| !**is_seen).for_each(|((ray, pinhole), _)| *ray = *pinhole);
    Ok((rays, is_seen))
}

fn image_size(frame: &Frame) -> Size {
    (frame.color.width() as usize, frame.color.height() as usize)
}
