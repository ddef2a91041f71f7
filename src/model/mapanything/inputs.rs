//! What is given for each view, and what the network takes of it.

use image::RgbImage;
use nalgebra::Vector3;

use super::architecture::PATCH_PX;
use super::fusion::ViewPriors;
use super::preprocess::{Fitting, MEAN, STD, Size, TargetSize, normalize};
use super::priors::{
    PosePrior, RelativePoses, depth_along_rays, log_scale, normalize_depth, normalize_rays,
    rays_from_intrinsics, relative_poses,
};
use crate::error::{Error, Result};
use crate::geometry::Intrinsics;
use crate::raster::Raster;

use super::postprocess::intrinsics_from_rays;

/// Where the pixels of a view look.
#[derive(Debug, Clone, PartialEq)]
pub enum Calibration {
    /// Through a pinhole.
    Intrinsics(Intrinsics),
    /// Along a ray for each pixel, of any length.
    Rays(Raster<Vector3<f32>>),
}

/// A view as it comes, of any size.
#[derive(Debug, Clone)]
pub struct SourceView<'a> {
    /// The image.
    pub image: &'a RgbImage,
    /// Its camera, where known.
    pub calibration: Option<Calibration>,
    /// Depth along the optical axis, of the image's size, where known; 0 where there is none.
    pub depth_z: Option<&'a Raster<f32>>,
    /// Where it was taken, where known.
    pub world_from_camera: Option<PosePrior>,
    /// Whether depth and position are in metres.
    pub is_metric_scale: bool,
}

impl<'a> SourceView<'a> {
    /// Returns the view of an image of which nothing else is known.
    pub fn new(image: &'a RgbImage) -> Self {
        let (calibration, depth_z, world_from_camera) = (None, None, None);
        Self { image, calibration, depth_z, world_from_camera, is_metric_scale: true }
    }

    /// Returns the image's width and height.
    pub fn size(&self) -> Size {
        (self.image.width() as usize, self.image.height() as usize)
    }

    /// Returns how the view gets to the size `target`.
    pub fn fitting(&self, target: Size) -> Fitting {
        Fitting::new(self.size(), target, self.calibration.is_some())
    }

    /// Returns the view at the size `target`. Rays are replaced by the pinhole that fits them, as
    /// in the reference; to keep them, give them to [`ViewInput`].
    ///
    /// # Errors
    /// Where depth or rays are not of the image's size.
    pub fn fitted(&self, target: Size) -> Result<ViewInput> {
        let fitting = self.fitting(target);
        let intrinsics = match &self.calibration {
            None => None,
            Some(Calibration::Intrinsics(k)) => Some(*k),
            Some(Calibration::Rays(rays)) => {
                same_size("rays of a view", self.size(), (rays.width(), rays.height()))?;
                Some(intrinsics_from_rays(rays))
            }
        };
        let intrinsics = intrinsics.map(|k| fitting.intrinsics(&k));
        Ok(ViewInput {
            calibration: intrinsics.map(Calibration::Intrinsics),
            depth_z: self.depth_z.map(|depth| fitting.depth(depth)).transpose()?,
            world_from_camera: self.world_from_camera,
            is_metric_scale: self.is_metric_scale,
            ..ViewInput::new(&fitting.image(self.image)?)
        })
    }
}

/// Returns all views at the one size that `target` chooses for them.
///
/// # Errors
/// Where there is no view, or no such size; as [`SourceView::fitted`].
pub fn fit_views(views: &[SourceView<'_>], target: TargetSize) -> Result<Vec<ViewInput>> {
    let sizes: Vec<Size> = views.iter().map(SourceView::size).collect();
    let target = target.choose(&sizes)?;
    views.iter().map(|view| view.fitted(target)).collect()
}

/// A view as the network takes it: both sides are multiples of 14, and all views of a call have
/// the same.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewInput {
    /// Width and height in pixels.
    pub size: Size,
    /// Normalised colours, three planes in row order.
    pub colors: Vec<f32>,
    /// Its camera, where known.
    pub calibration: Option<Calibration>,
    /// Depth along the optical axis, where known (then the camera must be, too); 0 where there is
    /// none.
    pub depth_z: Option<Raster<f32>>,
    /// Where it was taken, where known (then that of the first view must be, too).
    pub world_from_camera: Option<PosePrior>,
    /// Whether depth and position are in metres.
    pub is_metric_scale: bool,
}

impl ViewInput {
    /// Returns the view of an image of which nothing else is known.
    pub fn new(image: &RgbImage) -> Self {
        let size = (image.width() as usize, image.height() as usize);
        Self::from_colors(size, normalize(image))
    }

    /// Returns the view of normalised colours of which nothing else is known.
    pub fn from_colors(size: Size, colors: Vec<f32>) -> Self {
        let (calibration, depth_z, world_from_camera) = (None, None, None);
        Self { size, colors, calibration, depth_z, world_from_camera, is_metric_scale: true }
    }

    /// Returns the colours from 0 to 1, three numbers for each pixel in row order.
    pub fn plain_colors(&self) -> Vec<f32> {
        let pixels = self.size.0 * self.size.1;
        let planes: Vec<&[f32]> = self.colors.chunks_exact(pixels.max(1)).collect();
        let plain = |pixel: usize| {
            let colors = planes.iter().zip(STD.iter().zip(MEAN));
            colors.map(move |(plane, (std, mean))| (plane[pixel] * std + mean).clamp(0.0, 1.0))
        };
        (0..pixels).flat_map(plain).collect()
    }

    fn rays(&self) -> Option<Raster<Vector3<f32>>> {
        let (width, height) = self.size;
        match self.calibration.as_ref()? {
            Calibration::Intrinsics(k) => Some(rays_from_intrinsics(k, width, height)),
            Calibration::Rays(rays) => Some(normalize_rays(rays)),
        }
    }

    fn check(&self, size: Size) -> Result<()> {
        same_size("size of a view beside the first", size, self.size)?;
        if self.colors.len() != 3 * size.0 * size.1 {
            let (what, found) = ("colours of a view", format!("{} numbers", self.colors.len()));
            let expected = format!("3x{}x{} numbers", size.1, size.0);
            return Err(Error::ShapeMismatch { what, expected, found });
        }
        if let Some(Calibration::Rays(rays)) = &self.calibration {
            same_size("rays of a view", size, (rays.width(), rays.height()))?;
        }
        if let Some(depth) = &self.depth_z {
            same_size("size of a view's depth", size, (depth.width(), depth.height()))?;
        }
        if self.depth_z.is_some() && self.calibration.is_none() {
            let problem = "a view has depth, but neither intrinsics nor rays; give one of them";
            return Err(Error::Usage(problem.into()));
        }
        Ok(())
    }
}

/// Which inputs are treated as if they had not been given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ignored {
    /// Intrinsics and rays; depth is still taken along the rays that they give.
    pub calibration: bool,
    /// Depth.
    pub depth: bool,
    /// Poses.
    pub pose: bool,
    /// That depths are metric.
    pub depth_scale: bool,
    /// That positions are metric.
    pub pose_scale: bool,
}

/// Returns what the network takes of `views` beside their colours. With `standardize`, relative
/// rotations get a quaternion with w ≥ 0; the reference leaves its sign to chance, though the
/// network is not blind to it.
///
/// # Errors
/// Where views do not fit together, where a view with depth has no camera, or where a view has a
/// pose and the first has none.
pub fn view_priors(
    views: &[ViewInput],
    ignored: &Ignored,
    standardize: bool,
) -> Result<Vec<ViewPriors>> {
    check_views(views)?;
    let mut priors: Vec<ViewPriors> =
        views.iter().map(|view| dense_priors(view, ignored)).collect::<Result<_>>()?;
    if !ignored.pose {
        let poses: Vec<_> = views.iter().map(|view| view.world_from_camera).collect();
        add_poses(&mut priors, relative_poses(&poses)?, standardize);
    }
    for (priors, view) in priors.iter_mut().zip(views) {
        drop_scales(priors, view, ignored);
    }
    Ok(priors)
}

/// Checks that the parts of each view fit together, and all views.
///
/// # Errors
/// As [`view_priors`], poses aside.
pub fn check_views(views: &[ViewInput]) -> Result<()> {
    let size = common_size(views)?;
    views.iter().try_for_each(|view| view.check(size))
}

/// The size of all views.
fn common_size(views: &[ViewInput]) -> Result<Size> {
    let first = views.first().ok_or_else(|| Error::Usage("there is no view".into()))?;
    let (width, height) = first.size;
    let whole = |side: usize| side > 0 && side.is_multiple_of(PATCH_PX);
    if whole(width) && whole(height) {
        return Ok(first.size);
    }
    let what = "size of a view";
    let expected = format!("multiples of {PATCH_PX} (bring images to such a size)");
    Err(Error::ShapeMismatch { what, expected, found: format!("{width}x{height}") })
}

fn dense_priors(view: &ViewInput, ignored: &Ignored) -> Result<ViewPriors> {
    let mut priors = ViewPriors::default();
    let Some(rays) = view.rays() else { return Ok(priors) };
    if let Some(depth) = view.depth_z.as_ref().filter(|_| !ignored.depth) {
        let normalized = normalize_depth(depth_along_rays(depth, &rays)?.values());
        priors.log_depth = Some(normalized.log_depth);
        priors.log_depth_scale = Some(log_scale(normalized.mean));
    }
    if !ignored.calibration {
        priors.ray_directions = Some(rays.values().iter().flat_map(|r| [r.x, r.y, r.z]).collect());
    }
    Ok(priors)
}

fn add_poses(priors: &mut [ViewPriors], poses: RelativePoses, standardize: bool) {
    for (priors, pose) in priors.iter_mut().zip(poses.first_from_camera) {
        let Some(pose) = pose else { continue };
        let pose = if standardize { pose.standardized() } else { pose };
        let q = pose.rotation.coords;
        priors.rotation = Some([q.x, q.y, q.z, q.w]);
        priors.translation = Some(pose.translation.into());
        priors.log_translation_scale = Some(log_scale(poses.scale));
    }
}

fn drop_scales(priors: &mut ViewPriors, view: &ViewInput, ignored: &Ignored) {
    if ignored.depth_scale || !view.is_metric_scale {
        priors.log_depth_scale = None;
    }
    if ignored.pose_scale || !view.is_metric_scale {
        priors.log_translation_scale = None;
    }
}

fn same_size(what: &'static str, expected: Size, found: Size) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let text = |(width, height): Size| format!("{width}x{height}");
    Err(Error::ShapeMismatch { what, expected: text(expected), found: text(found) })
}
