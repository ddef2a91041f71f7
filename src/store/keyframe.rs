//! Keyframes as rows.

use std::sync::Arc;

use nalgebra::{Matrix6, Vector3};
use serde::{Deserialize, Serialize};

use super::bytes::{self, Exact, Reader};
use super::image::ImageQuality;
use super::raster::{Decoder, of_confidences, of_depths};
use super::{checksum, features, image};
use crate::frame::{DepthImage, Frame, OdometryPrior};
use crate::geometry::{Camera, Distortion, Intrinsics};
use crate::keyframe::KeyframeId;
use crate::pipeline::KeyframeSnapshot;
use crate::pointmap::Pointmap;
use crate::raster::Raster;
use crate::stamp::Stamp;

/// A point further from its pixel's ray than this share of its depth is kept as it is.
const RAY_GATE: f32 = 1e-4;
/// First bytes of points: depths along the rays, …
const ON_RAYS: u8 = 0;
/// … or all three coordinates.
const FREE: u8 = 1;

/// A row of the table of keyframes.
pub struct Row {
    pub id: u32,
    pub about: String,
    pub image: Vec<u8>,
    pub depth: Option<Vec<u8>>,
    pub points: Vec<u8>,
    pub confidence: Vec<u8>,
    pub features: Option<Vec<u8>>,
    pub checksum: Vec<u8>,
}

/// What is small about a keyframe.
#[derive(Serialize, Deserialize)]
struct About {
    frame: u64,
    stamp: Stamp,
    camera: CameraRecord,
    odometry: Option<OdometryRecord>,
}

#[derive(Serialize, Deserialize)]
struct CameraRecord {
    /// fx, fy, cx, cy in pixels.
    intrinsics: [Exact; 4],
    /// As in `sensor_msgs/CameraInfo`.
    distortion_model: String,
    distortion: Vec<Exact>,
    width: u32,
    height: u32,
}

#[derive(Serialize, Deserialize)]
struct OdometryRecord {
    odom_from_camera: [Exact; 7],
    /// Row by row: it is symmetric.
    covariance: Option<Vec<Exact>>,
}

impl Row {
    /// Returns the row of a keyframe.
    ///
    /// # Errors
    /// One sentence, where something of it cannot be written.
    pub fn of(keyframe: &KeyframeSnapshot, quality: ImageQuality) -> Result<Self, String> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            format!("the {what} of keyframe {} cannot be packed ({error})", keyframe.id)
        };
        let depth = keyframe.frame.depth.as_ref();
        let depth = depth.map(|depth| of_depths(depth.raster().values().iter().copied()));
        let map = &keyframe.pointmap;
        let confidence = of_confidences(pixels(map).map(|(x, y)| map.confidence(x, y)));
        let mut row = Self {
            id: keyframe.id.0,
            about: serde_json::to_string(&About::of(keyframe))
                .map_err(|e| failed("description", &e))?,
            image: image::encode(&keyframe.frame.color, quality)
                .map_err(|e| failed("image", &e))?,
            depth: depth.transpose().map_err(|e| failed("depth", &e))?,
            points: points(map, &keyframe.camera).map_err(|e| failed("geometry", &e))?,
            confidence: confidence.map_err(|e| failed("confidence", &e))?,
            features: keyframe.features.as_ref().map(features::encode),
            checksum: Vec::new(),
        };
        row.checksum = row.expected_checksum();
        Ok(row)
    }

    /// Returns the keyframe of the row.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn keyframe(&self, rays: &Rays, decoder: &Decoder) -> Result<KeyframeSnapshot, String> {
        if self.checksum != self.expected_checksum() {
            return Err("its checksum is wrong".to_owned());
        }
        let about: About = serde_json::from_str(&self.about).map_err(|e| e.to_string())?;
        let camera = about.camera.camera()?;
        let color = image::decode(&self.image).map_err(|e| e.to_string())?;
        if color.dimensions() != (camera.width(), camera.height()) {
            return Err("its image has another size than its camera".to_owned());
        }
        let pointmap = self.pointmap(&camera, rays, decoder).ok_or("its geometry is damaged")?;
        let depth = match &self.depth {
            Some(blob) => Some(depth(blob, &camera, decoder).ok_or("its depth is damaged")?),
            None => None,
        };
        let features = match &self.features {
            Some(blob) => Some(features::decode(blob).ok_or("its features are damaged")?),
            None => None,
        };
        Ok(KeyframeSnapshot {
            id: KeyframeId(self.id),
            frame: Frame {
                id: about.frame,
                stamp: about.stamp,
                color: Arc::new(color),
                depth: depth.map(Arc::new),
                camera: Some(camera),
                odometry: about.odometry.and_then(|odometry| odometry.prior()),
            },
            camera,
            pointmap,
            features,
        })
    }

    fn pointmap(&self, camera: &Camera, rays: &Rays, decoder: &Decoder) -> Option<Pointmap> {
        let (width, height) = (camera.width() as usize, camera.height() as usize);
        let count = width * height;
        let (kind, blob) = self.points.split_first()?;
        let points = match *kind {
            ON_RAYS => {
                let depths = decoder.depths(blob, count)?;
                let rays = rays.of(camera);
                let placed = rays.iter().zip(depths);
                placed.map(|(ray, z)| if z > 0.0 { ray * z } else { Vector3::zeros() }).collect()
            }
            FREE => {
                let bytes = zstd::bulk::decompress(blob, 12 * count).ok()?;
                let values = Reader(&bytes).f32s(3 * count)?;
                values.as_chunks::<3>().0.iter().map(|v| Vector3::from(*v)).collect()
            }
            _ => return None,
        };
        let confidence = decoder.confidences(&self.confidence, count)?;
        let points = Raster::new(width, height, points).ok()?;
        Pointmap::new(points, Raster::new(width, height, confidence).ok()?).ok()
    }

    fn expected_checksum(&self) -> Vec<u8> {
        // An absent blob is told from an empty one.
        let presence = [u8::from(self.depth.is_some()), u8::from(self.features.is_some())];
        let parts: [&[u8]; 8] = [
            &self.id.to_le_bytes(),
            self.about.as_bytes(),
            &self.image,
            &presence,
            self.depth.as_deref().unwrap_or_default(),
            &self.points,
            &self.confidence,
            self.features.as_deref().unwrap_or_default(),
        ];
        checksum::of("keyframe", &parts)
    }
}

impl About {
    fn of(keyframe: &KeyframeSnapshot) -> Self {
        let (frame, camera) = (&keyframe.frame, &keyframe.camera);
        let odometry = frame.odometry.map(|prior| OdometryRecord {
            odom_from_camera: bytes::of_pose(&prior.odom_from_camera).map(Exact),
            covariance: prior.covariance.map(|c| c.iter().copied().map(Exact).collect()),
        });
        Self { frame: frame.id, stamp: frame.stamp, camera: CameraRecord::of(camera), odometry }
    }
}

impl CameraRecord {
    fn of(camera: &Camera) -> Self {
        let k = camera.intrinsics();
        let distortion_model = match camera.distortion() {
            Distortion::None | Distortion::PlumbBob(_) => "plumb_bob",
            Distortion::RationalPolynomial(_) => "rational_polynomial",
            Distortion::Equidistant(_) => "equidistant",
        };
        Self {
            intrinsics: [k.fx, k.fy, k.cx, k.cy].map(Exact),
            distortion_model: distortion_model.to_owned(),
            distortion: camera.distortion().coefficients().iter().copied().map(Exact).collect(),
            width: camera.width(),
            height: camera.height(),
        }
    }

    fn camera(&self) -> Result<Camera, String> {
        let [fx, fy, cx, cy] = self.intrinsics.map(|v| v.0);
        let coefficients: Vec<f64> = self.distortion.iter().map(|v| v.0).collect();
        Distortion::from_ros(&self.distortion_model, &coefficients)
            .and_then(|distortion| {
                Camera::new(Intrinsics { fx, fy, cx, cy }, distortion, self.width, self.height)
            })
            .map_err(|error| error.to_string())
    }
}

impl OdometryRecord {
    fn prior(&self) -> Option<OdometryPrior> {
        let odom_from_camera = bytes::pose(self.odom_from_camera.map(|v| v.0))?;
        let covariance = self.covariance.as_ref().filter(|values| values.len() == 36);
        let covariance = covariance.map(|c| Matrix6::from_iterator(c.iter().map(|v| v.0)));
        Some(OdometryPrior { odom_from_camera, covariance })
    }
}

/// Rays of cameras: nearly all keyframes have the same one.
#[derive(Default)]
pub struct Rays(Vec<(Camera, Arc<Vec<Vector3<f32>>>)>);

impl Rays {
    /// Makes ready the rays of all cameras of some rows.
    pub fn prepare(&mut self, rows: &[Row]) {
        let about = |row: &Row| serde_json::from_str::<About>(&row.about).ok();
        for camera in rows.iter().filter_map(about).filter_map(|about| about.camera.camera().ok()) {
            if !self.0.iter().any(|(known, _)| *known == camera) {
                self.0.push((camera, Arc::new(camera.rays())));
            }
        }
    }

    fn of(&self, camera: &Camera) -> Arc<Vec<Vector3<f32>>> {
        let known = self.0.iter().find(|(known, _)| known == camera);
        known.map_or_else(|| Arc::new(camera.rays()), |(_, rays)| Arc::clone(rays))
    }
}

fn depth(blob: &[u8], camera: &Camera, decoder: &Decoder) -> Option<DepthImage> {
    let (width, height) = (camera.width() as usize, camera.height() as usize);
    let metres = decoder.depths(blob, width * height)?;
    Some(DepthImage::new(Raster::new(width, height, metres).ok()?))
}

fn points(map: &Pointmap, camera: &Camera) -> std::io::Result<Vec<u8>> {
    let rays = camera.rays();
    let point = |x: usize, y: usize| map.point(x, y).unwrap_or_else(Vector3::zeros);
    let fits = |(i, (x, y)): (usize, (usize, usize))| {
        let point = point(x, y);
        // Written so that a ray that is not a number does not fit.
        point.z == 0.0 || (point - rays[i] * point.z).norm() <= RAY_GATE * point.z
    };
    let same_size = rays.len() == map.width() * map.height();
    if same_size && pixels(map).enumerate().all(fits) {
        let depths = of_depths(pixels(map).map(|(x, y)| point(x, y).z))?;
        return Ok([vec![ON_RAYS], depths].concat());
    }
    let values = bytes::of_f32s(pixels(map).flat_map(|(x, y)| {
        let point = point(x, y);
        [point.x, point.y, point.z]
    }));
    Ok([vec![FREE], zstd::bulk::compress(&values, 1)?].concat())
}

/// Columns and rows of all pixels, rows first.
fn pixels(map: &Pointmap) -> impl Iterator<Item = (usize, usize)> {
    let (width, height) = (map.width(), map.height());
    (0..height).flat_map(move |y| (0..width).map(move |x| (x, y)))
}
