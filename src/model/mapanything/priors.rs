//! What is known of a view beforehand, brought into the form that the geometric encoders take.

use nalgebra::{Matrix3, Quaternion, Vector3};

use crate::error::{Error, Result};
use crate::geometry::{Intrinsics, Se3};
use crate::raster::Raster;

/// Keeps divisions and logarithms finite where nothing is known.
const EPSILON: f32 = 1e-8;

/// Returns the direction of each pixel's ray in the camera, of length one.
pub fn rays_from_intrinsics(k: &Intrinsics, width: usize, height: usize) -> Raster<Vector3<f32>> {
    let [fx, fy, cx, cy] = [k.fx, k.fy, k.cx, k.cy].map(|value| value as f32);
    Raster::from_fn(width, height, |x, y| {
        let ray = Vector3::new((x as f32 - cx) / fx, (y as f32 - cy) / fy, 1.0);
        ray / ray.norm()
    })
}

/// Returns rays of any length with the length one.
pub fn normalize_rays(rays: &Raster<Vector3<f32>>) -> Raster<Vector3<f32>> {
    rays.map(|ray| ray / (ray.norm() + EPSILON))
}

/// Returns the distance along each ray from the depth along the optical axis, in the unit of
/// `depth_z`; 0 where the depth is missing: not finite or not positive. (The reference turns
/// negative depths positive, and lets one NaN spoil the whole image.)
///
/// # Errors
/// [`Error::ShapeMismatch`] unless both have the same size.
pub fn depth_along_rays(depth_z: &Raster<f32>, rays: &Raster<Vector3<f32>>) -> Result<Raster<f32>> {
    let size = |width: usize, height: usize| format!("{width}x{height}");
    if (depth_z.width(), depth_z.height()) != (rays.width(), rays.height()) {
        return Err(Error::ShapeMismatch {
            what: "size of a depth image beside its rays",
            expected: size(rays.width(), rays.height()),
            found: size(depth_z.width(), depth_z.height()),
        });
    }
    let along = |(&depth, ray): (&f32, &Vector3<f32>)| present((depth * (ray / ray.z)).norm());
    let known = depth_z.values().iter().zip(rays.values());
    let depths = known.map(|(d, ray)| if present(*d) > 0.0 { along((d, ray)) } else { 0.0 });
    Raster::new(rays.width(), rays.height(), depths.collect())
}

/// The value, or 0 where it is no depth.
fn present(depth: f32) -> f32 {
    if depth.is_finite() && depth > 0.0 { depth } else { 0.0 }
}

/// Depths of one view without their scale.
#[derive(Debug, Clone, PartialEq)]
pub struct NormalizedDepth {
    /// `ln(1 + depth / mean)` of each pixel; 0 where the depth is missing.
    pub log_depth: Vec<f32>,
    /// Mean of the depths that are not missing.
    pub mean: f32,
}

/// Returns the depths of one view divided by their mean, as logarithms; what is not finite and
/// positive is missing.
pub fn normalize_depth(depth: &[f32]) -> NormalizedDepth {
    let known = depth.iter().map(|&d| present(d)).filter(|&d| d > 0.0);
    let (count, sum) = known.fold((0_usize, 0.0), |(n, sum), d| (n + 1, sum + f64::from(d)));
    let mean = ((sum / (count as f64 + f64::from(EPSILON))) as f32).max(EPSILON);
    NormalizedDepth {
        log_depth: depth.iter().map(|&d| (present(d) / mean).ln_1p()).collect(),
        mean,
    }
}

/// Returns what the encoders of scales take: the logarithm of a depth's or a translation's scale.
pub fn log_scale(scale: f32) -> f32 {
    (scale + EPSILON).ln()
}

/// A camera's pose: `destination_from_camera`, the quaternion as it is given (its sign matters to
/// the network, and its length need not be one).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PosePrior {
    /// Rotation; the coordinates are in the order x, y, z, w.
    pub rotation: Quaternion<f32>,
    /// Position of the camera.
    pub translation: Vector3<f32>,
}

impl PosePrior {
    /// Returns the pose of a rotation matrix and a position, the quaternion with w ≥ 0.
    pub fn from_matrix(rotation: &Matrix3<f32>, translation: Vector3<f32>) -> Self {
        Self { rotation: quaternion_from_rotation(rotation), translation }
    }

    /// Returns the pose with w ≥ 0 for a rigid transform.
    pub fn from_se3(destination_from_camera: &Se3) -> Self {
        let rotation = destination_from_camera.rotation.to_rotation_matrix();
        let translation = destination_from_camera.translation.vector.cast();
        Self::from_matrix(&rotation.matrix().cast(), translation)
    }

    /// Returns the same pose with w ≥ 0.
    pub fn standardized(self) -> Self {
        let rotation = if self.rotation.w < 0.0 { -self.rotation } else { self.rotation };
        Self { rotation, ..self }
    }
}

/// Returns the quaternion with w ≥ 0 of a rotation matrix, from the largest of its four components
/// (the first of them where several are equal).
pub fn quaternion_from_rotation(m: &Matrix3<f32>) -> Quaternion<f32> {
    let (xx, yy, zz) = (m.m11, m.m22, m.m33);
    // Twice the absolute values of w, x, y, z.
    let squares = [1.0 + xx + yy + zz, 1.0 + xx - yy - zz, 1.0 - xx + yy - zz, 1.0 - xx - yy + zz];
    let doubled = squares.map(|square| square.max(0.0).sqrt());
    let largest = (1..4).fold(0, |best, i| if doubled[i] > doubled[best] { i } else { best });
    let d = doubled[largest];
    let (yz, zx, xy) = (m.m32 - m.m23, m.m13 - m.m31, m.m21 - m.m12);
    let (y_x, z_x, z_y) = (m.m21 + m.m12, m.m13 + m.m31, m.m32 + m.m23);
    let [w, x, y, z] = match largest {
        0 => [d * d, yz, zx, xy],
        1 => [yz, d * d, y_x, z_x],
        2 => [zx, y_x, d * d, z_y],
        _ => [xy, z_x, z_y, d * d],
    };
    let quaternion = Quaternion::new(w, x, y, z) / (2.0 * d.max(0.1));
    if quaternion.w < 0.0 { -quaternion } else { quaternion }
}

/// Returns the rotation matrix of a quaternion of any length but zero.
pub fn rotation_from_quaternion(q: &Quaternion<f32>) -> Matrix3<f32> {
    let twice = 2.0 / q.norm_squared();
    let (x, y, z, w) = (q.i, q.j, q.k, q.w);
    Matrix3::new(
        1.0 - twice * (y * y + z * z),
        twice * (x * y - z * w),
        twice * (x * z + y * w),
        twice * (x * y + z * w),
        1.0 - twice * (x * x + z * z),
        twice * (y * z - x * w),
        twice * (x * z - y * w),
        twice * (y * z + x * w),
        1.0 - twice * (x * x + y * y),
    )
}

/// Returns the pose of `camera` in the camera `reference`, both given in one world. The sign of the
/// quaternion stays what the product makes it.
pub fn relative_pose(reference: &PosePrior, camera: &PosePrior) -> PosePrior {
    let inverse = reference.rotation.conjugate() / reference.rotation.norm_squared();
    // Of the difference, so that a camera is exactly at zero in itself.
    let offset = camera.translation - reference.translation;
    PosePrior {
        rotation: inverse * camera.rotation,
        translation: rotation_from_quaternion(&inverse) * offset,
    }
}

/// Poses in the first camera, without their scale.
#[derive(Debug, Clone, PartialEq)]
pub struct RelativePoses {
    /// The pose of each view that has one in the first view's camera, translations divided by
    /// `scale`.
    pub first_from_camera: Vec<Option<PosePrior>>,
    /// Mean distance of the cameras that are not at the first one; 1e-8 where there is none.
    pub scale: f32,
}

/// Returns the poses in the first camera with their translations divided by the mean distance.
///
/// # Errors
/// [`Error::Usage`] where a view has a pose and the first has none.
pub fn relative_poses(world_from_cameras: &[Option<PosePrior>]) -> Result<RelativePoses> {
    let relative: Vec<Option<PosePrior>> = match world_from_cameras.first() {
        Some(Some(first)) => world_from_cameras
            .iter()
            .map(|pose| pose.as_ref().map(|pose| relative_pose(first, pose)))
            .collect(),
        _ if world_from_cameras.iter().all(Option::is_none) => world_from_cameras.to_vec(),
        _ => {
            return Err(Error::Usage(
                "some views have a pose, but the first has none; give the first view a pose too"
                    .into(),
            ));
        }
    };
    let translations: Vec<_> = relative.iter().flatten().map(|pose| pose.translation).collect();
    let scale = translation_scale(&translations);
    let scaled = |pose: PosePrior| PosePrior { translation: pose.translation / scale, ..pose };
    let first_from_camera = relative.into_iter().map(|pose| pose.map(scaled)).collect();
    Ok(RelativePoses { first_from_camera, scale })
}

/// Returns the mean length of the translations that are not zero, at least 1e-8.
pub fn translation_scale(translations: &[Vector3<f32>]) -> f32 {
    let lengths = translations.iter().map(|t| t.norm()).filter(|&length| length > 0.0);
    let (count, sum) = lengths.fold((0.0_f32, 0.0_f32), |(n, sum), length| (n + 1.0, sum + length));
    (sum / (count + EPSILON)).max(EPSILON)
}
