//! What is given: images, and what is known of them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};
use recon_node::dataset::{Calibration as CalibrationFile, read_calibration, read_trajectory};
use recon_node::decode::{color_from_file, depth_from_png};
use recon_node::error::{Error, Result};
use recon_node::geometry::{Distortion, Intrinsics, Se3};
use recon_node::model::mapanything::priors::PosePrior;
use recon_node::model::mapanything::{Calibration, SourceView};
use recon_node::raster::Raster;
use recon_node::stamp::Stamp;
use recon_node::trajectory::Trajectory;

use super::{KnownArgs, files};

/// Units of depth images per metre where nothing says otherwise.
const DEPTH_SCALE: f64 = 1000.0;
/// How far the time in an image's name may be from that of its pose, in seconds.
const MAX_DIFFERENCE_SECS: f64 = 0.02;

/// An image, and what is known of it.
pub struct Input {
    /// Its file.
    pub path: PathBuf,
    /// The image, upright.
    pub image: RgbImage,
    /// Whether the file holds it turned, and says so.
    pub is_turned: bool,
    /// The camera.
    pub intrinsics: Option<Intrinsics>,
    /// Depth in metres, or up to a factor; 0 where there is none.
    pub depth: Option<Raster<f32>>,
    /// Where it was taken.
    pub world_from_camera: Option<Se3>,
}

/// All that is given.
pub struct Inputs {
    /// The images.
    pub views: Vec<Input>,
    /// Whether depths and poses are in metres.
    pub is_metric: bool,
}

impl Inputs {
    /// Reads the images and all that is known of them.
    ///
    /// # Errors
    /// Where a file cannot be read, or things do not go together.
    pub fn read(paths: &[PathBuf], known: &KnownArgs) -> Result<Self> {
        if !known.depth.is_empty() && known.intrinsics.is_none() {
            return Err(Error::Usage(
                "--depth needs --intrinsics: the model takes depth along the rays of a camera that \
                 it knows; give fx,fy,cx,cy"
                    .into(),
            ));
        }
        let images = files::images(paths)?;
        let depths = files::depths(&known.depth, &images)?;
        let camera = known.intrinsics.as_deref().map(Camera::read).transpose()?;
        let units_per_metre = units_per_metre(known, camera.as_ref())?;
        let poses = match &known.poses {
            Some(path) => poses(path, &images)?,
            None => vec![None; images.len()],
        };
        let mut views = Vec::with_capacity(images.len());
        for ((path, depth), world_from_camera) in images.into_iter().zip(depths).zip(poses) {
            let (image, is_turned) = read_image(&path)?;
            let size = image.dimensions();
            let depth = depth.map(|depth| read_depth(&depth, size, units_per_metre)).transpose()?;
            let intrinsics = camera.as_ref().map(|camera| camera.of(&path, size)).transpose()?;
            views.push(Input { path, image, is_turned, intrinsics, depth, world_from_camera });
        }
        check_one_size(&views, camera.as_ref())?;
        Ok(Self { views, is_metric: !known.not_metric })
    }

    /// Returns the views as the model takes them.
    pub fn source_views(&self) -> Vec<SourceView<'_>> {
        self.views.iter().map(|view| view.source(self.is_metric)).collect()
    }

    /// Returns where results are placed: the first image's pose where it is known in metres, else
    /// its camera is the world.
    pub fn world_from_first(&self) -> Se3 {
        let first = self.views.first().filter(|_| self.is_metric);
        first.and_then(|view| view.world_from_camera).unwrap_or_else(Se3::identity)
    }

    /// Returns the files of the images.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.views.iter().map(|view| view.path.clone()).collect()
    }
}

impl Input {
    fn source(&self, is_metric_scale: bool) -> SourceView<'_> {
        SourceView {
            calibration: self.intrinsics.map(Calibration::Intrinsics),
            depth_z: self.depth.as_ref(),
            world_from_camera: self.world_from_camera.as_ref().map(PosePrior::from_se3),
            is_metric_scale,
            ..SourceView::new(&self.image)
        }
    }

    /// Returns what was known of the image.
    pub fn known(&self) -> Vec<&'static str> {
        let parts = [
            ("intrinsics", self.intrinsics.is_some()),
            ("depth", self.depth.is_some()),
            ("pose", self.world_from_camera.is_some()),
        ];
        parts.iter().filter(|(_, is_known)| *is_known).map(|(name, _)| *name).collect()
    }
}

/// The camera of all images.
enum Camera {
    File(PathBuf, CalibrationFile),
    Numbers(Intrinsics),
}

impl Camera {
    fn read(text: &str) -> Result<Self> {
        let path = Path::new(text);
        if !path.exists() && text.contains(',') {
            return numbers(text).map(Self::Numbers);
        }
        let file = read_calibration(path)?;
        if *file.camera.distortion() == Distortion::None {
            return Ok(Self::File(path.to_owned(), file));
        }
        let problem = "the camera has a distorted image, which the model does not know";
        Err(Error::input(path, problem, "undistort the images, and give the camera without it"))
    }

    /// The intrinsics of an image of that size.
    fn of(&self, image: &Path, (width, height): (u32, u32)) -> Result<Intrinsics> {
        match self {
            Self::Numbers(intrinsics) => Ok(*intrinsics),
            Self::File(path, file) => {
                let camera = &file.camera;
                if (camera.width(), camera.height()) == (width, height) {
                    return Ok(*camera.intrinsics());
                }
                Err(Error::Usage(format!(
                    "{}: the image has {width}x{height} pixels, the camera of {} has {}x{}; give \
                     the camera of these images",
                    image.display(),
                    path.display(),
                    camera.width(),
                    camera.height()
                )))
            }
        }
    }
}

fn numbers(text: &str) -> Result<Intrinsics> {
    let numbers: Vec<f64> = text.split(',').filter_map(|word| word.trim().parse().ok()).collect();
    match numbers[..] {
        [fx, fy, cx, cy]
            if text.split(',').count() == 4
                && fx > 0.0
                && fy > 0.0
                && numbers.iter().all(|number| number.is_finite()) =>
        {
            Ok(Intrinsics { fx, fy, cx, cy })
        }
        _ => Err(Error::Usage(format!(
            "--intrinsics '{text}': give a file, or fx,fy,cx,cy in pixels with positive fx and fy"
        ))),
    }
}

/// Four numbers hold for images of one size.
fn check_one_size(views: &[Input], camera: Option<&Camera>) -> Result<()> {
    let (Some(Camera::Numbers(_)), Some(first)) = (camera, views.first()) else { return Ok(()) };
    let size = first.image.dimensions();
    match views.iter().find(|view| view.image.dimensions() != size) {
        None => Ok(()),
        Some(other) => Err(Error::Usage(format!(
            "--intrinsics hold for all images, but {} has {}x{} pixels and {} {}x{}; give images \
             of one camera",
            first.path.display(),
            size.0,
            size.1,
            other.path.display(),
            other.image.width(),
            other.image.height()
        ))),
    }
}

fn units_per_metre(known: &KnownArgs, camera: Option<&Camera>) -> Result<f64> {
    let of_file = match camera {
        Some(Camera::File(_, file)) => file.depth_scale.filter(|&scale| scale > 0.0),
        _ => None,
    };
    let scale = known.depth_scale.or(of_file).unwrap_or(DEPTH_SCALE);
    if scale.is_finite() && scale > 0.0 {
        return Ok(scale);
    }
    Err(Error::Usage(format!("--depth-scale is {scale}; give units per metre, e.g. 1000")))
}

fn read_file(path: &Path, action: &'static str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(Error::io(path, action))
}

/// The image, upright, and whether it had to be turned.
pub fn read_image(path: &Path) -> Result<(RgbImage, bool)> {
    let bytes = read_file(path, "read the image")?;
    let remedy = "give a PNG or JPEG image";
    let image =
        color_from_file(&bytes).map_err(|error| Error::input(path, error.to_string(), remedy))?;
    let reader = ImageReader::new(std::io::Cursor::new(&bytes)).with_guessed_format();
    let decoder = reader.ok().and_then(|reader| reader.into_decoder().ok());
    // A file whose pixels could be read but not its notes is taken as it is.
    let orientation = decoder.and_then(|mut decoder| decoder.orientation().ok());
    let Some(orientation) = orientation else { return Ok((image, false)) };
    let is_turned = orientation != image::metadata::Orientation::NoTransforms;
    let mut image = DynamicImage::ImageRgb8(image);
    image.apply_orientation(orientation);
    Ok((image.into_rgb8(), is_turned))
}

fn read_depth(path: &Path, size: (u32, u32), units_per_metre: f64) -> Result<Raster<f32>> {
    let bytes = read_file(path, "read the depth image")?;
    let depth = depth_from_png(&bytes, 1.0 / units_per_metre).map_err(|error| {
        Error::input(path, error.to_string(), "give depth as grey PNG of 16 bits")
    })?;
    let depth = depth.raster();
    let (width, height) = (size.0 as usize, size.1 as usize);
    if (depth.width(), depth.height()) == (width, height) {
        return Ok(depth.clone());
    }
    let problem = format!(
        "the depth image has {}x{} pixels, its colour image {width}x{height}",
        depth.width(),
        depth.height()
    );
    Err(Error::input(path, problem, "give depth that is registered to the colour images"))
}

/// The pose of each image: by the time that is its name, or as many as there are images in order.
fn poses(path: &Path, images: &[PathBuf]) -> Result<Vec<Option<Se3>>> {
    let trajectory = read_trajectory(path)?;
    let poses = by_time(&trajectory, images).unwrap_or_default();
    let poses = match (poses.is_empty(), trajectory.poses().len() == images.len()) {
        (false, _) => poses,
        (true, true) => {
            trajectory.poses().iter().map(|pose| Some(pose.world_from_camera)).collect()
        }
        (true, false) => {
            let problem = format!(
                "it has {} poses for {} images, whose names are no times of these",
                trajectory.poses().len(),
                images.len()
            );
            let remedy = "give a pose for each image, in the order of the images";
            return Err(Error::input(path, problem, remedy));
        }
    };
    if poses[0].is_some() {
        return Ok(poses);
    }
    let problem = format!("it has no pose for the first image, {}", images[0].display());
    Err(Error::input(path, problem, "begin with an image whose pose is known"))
}

/// The poses at the times that are the images' names, if all are times and some are met.
fn by_time(trajectory: &Trajectory, images: &[PathBuf]) -> Option<Vec<Option<Se3>>> {
    let time = |image: &PathBuf| {
        let name = image.file_stem()?.to_str()?;
        Stamp::from_str(name).ok().filter(|_| name.contains('.'))
    };
    let times: Option<Vec<Stamp>> = images.iter().map(time).collect();
    let pose =
        |time| trajectory.nearest(time, MAX_DIFFERENCE_SECS).map(|pose| pose.world_from_camera);
    let poses: Vec<_> = times?.into_iter().map(pose).collect();
    poses.iter().any(Option::is_some).then_some(poses)
}
