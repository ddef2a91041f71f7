//! Images and points, small enough to be looked at while the camera moves.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, RgbImage};
use rerun::components::{Colormap, MediaType, ValueRange};
use rerun::datatypes::{ChannelDatatype, Range1D};
use rerun::{DepthImage, EncodedImage, Pinhole};

use super::event::KeyframeContent;
use crate::frame;
use crate::geometry::Camera;
use crate::pointmap::Pointmap;

/// Columns of a keyframe's image.
const THUMBNAIL_WIDTH: u32 = 160;
/// Columns of depth and confidence at most.
const DEPTH_WIDTH: usize = 213;
/// Points of a keyframe at most.
const POINTS: usize = 6000;
const JPEG_QUALITY: u8 = 75;
/// Points are as large as the gaps between them, seen face on, times this.
const RADIUS_FRAC: f32 = 0.6;
/// Standard deviations that the picture of confidence tells apart: from 0.5 m to 0.5 mm.
const CONFIDENCE_DECADES: [f64; 2] = [0.3, 3.3];

/// Points of a keyframe in its camera's frame.
pub(super) struct Points {
    pub(super) places: Vec<[f32; 3]>,
    pub(super) colors: Vec<[u8; 3]>,
    pub(super) radii_m: Vec<f32>,
}

/// Returns some of a keyframe's points, evenly spread over its image.
pub(super) fn points(content: &KeyframeContent) -> Points {
    let pointmap = &content.pointmap;
    let step = step(pointmap.width() * pointmap.height(), POINTS);
    let radius_frac = RADIUS_FRAC * step as f32 / content.camera.intrinsics().fx as f32;
    let mut points = Points { places: Vec::new(), colors: Vec::new(), radii_m: Vec::new() };
    for y in (step / 2..pointmap.height()).step_by(step) {
        for x in (step / 2..pointmap.width()).step_by(step) {
            let Some(point) = pointmap.point(x, y) else { continue };
            points.places.push(point.into());
            points.colors.push(content.color.get_pixel(x as u32, y as u32).0);
            points.radii_m.push(radius_frac * point.z);
        }
    }
    points
}

/// The number of pixels from one that is shown to the next, so that few enough of `pixels` are.
fn step(pixels: usize, at_most: usize) -> usize {
    ((pixels as f64 / at_most as f64).sqrt().ceil() as usize).max(1)
}

/// Returns a small image, and the camera that would have taken it.
pub(super) fn thumbnail(color: &RgbImage, camera: &Camera) -> (RgbImage, Camera) {
    let width = THUMBNAIL_WIDTH.min(color.width()).max(1);
    let height = (width * color.height()).div_ceil(color.width().max(1)).max(1);
    (image::imageops::thumbnail(color, width, height), camera.resized(width, height))
}

/// Returns an image, compressed.
pub(super) fn jpeg(color: &RgbImage) -> EncodedImage {
    let mut bytes = Vec::new();
    let encoder = &mut JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    let (width, height) = color.dimensions();
    // Into memory, nothing can fail but an image without pixels, of which nothing is shown.
    let _ = encoder.encode(color.as_raw(), width, height, ExtendedColorType::Rgb8);
    EncodedImage::new(bytes).with_media_type(MediaType::JPEG)
}

/// Returns a camera without its distortion, which a frustum does not show.
pub(super) fn pinhole(camera: &Camera) -> Pinhole {
    let i = camera.intrinsics();
    let pair = |x: f64, y: f64| [x as f32, y as f32];
    let size = pair(f64::from(camera.width()), f64::from(camera.height()));
    Pinhole::from_focal_length_and_resolution(pair(i.fx, i.fy), size)
        .with_principal_point(pair(i.cx, i.cy))
}

/// Returns depth in millimetres.
pub(super) fn depth_image(depth: &frame::DepthImage) -> DepthImage {
    let raster = depth.raster();
    let (width, values) =
        sampled(raster.width(), raster.height(), |x, y| (1000.0 * raster.at(x, y)).round() as u16);
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    DepthImage::from_data_type_and_bytes(bytes, size(width, values.len()), ChannelDatatype::U16)
        .with_meter(1000.0)
        .with_colormap(Colormap::Turbo)
}

/// Returns confidence as the decimal digits of a metre that are known: 2 is a standard deviation of
/// one centimetre, 3 of one millimetre; 0 where there is no point.
pub(super) fn confidence_image(pointmap: &Pointmap) -> DepthImage {
    let (width, values) = sampled(pointmap.width(), pointmap.height(), |x, y| {
        (0.5 * pointmap.confidence(x, y).max(1.0).log10()).min(6.0)
    });
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    DepthImage::from_data_type_and_bytes(bytes, size(width, values.len()), ChannelDatatype::F32)
        .with_colormap(Colormap::Viridis)
        .with_depth_range(ValueRange::from(Range1D(CONFIDENCE_DECADES)))
}

/// Every so many pixels of an image, and the columns that are left.
fn sampled<T>(width: usize, height: usize, value: impl Fn(usize, usize) -> T) -> (usize, Vec<T>) {
    let step = width.div_ceil(DEPTH_WIDTH).max(1);
    let rows = (step / 2..height).step_by(step);
    let columns = || (step / 2..width).step_by(step);
    let values = rows.flat_map(|y| columns().map(move |x| (x, y))).map(|(x, y)| value(x, y));
    (columns().count(), values.collect())
}

fn size(width: usize, pixels: usize) -> [u32; 2] {
    [width as u32, (pixels / width.max(1)) as u32]
}
