//! The pose of a camera from points whose places are known, many of which may be wrong.
//!
//! Our own, since no library fits: rust-cv's lambda-twist and its arrsac solvers are archived, kornia-3d
//! brings tensors and images of its own along, and sampling has to be the same in every run.

use nalgebra::{Matrix2x3, Matrix3x6, Matrix6, Point3, Vector2, Vector3, Vector6};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::two_view::p3p::p3p;
use crate::geometry::{Intrinsics, Se3, se3};

/// Points that decide between poses; more say no more.
const JUDGES: usize = 4000;
const REFINEMENTS: usize = 3;
const ITERATIONS: usize = 10;

/// A point, and the pixel at which it is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Landmark {
    /// Place in the frame of the points.
    pub point: Point3<f64>,
    /// Column and row.
    pub pixel: Vector2<f64>,
}

/// How a pose is searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AbsolutePoseConfig {
    /// Farther off than this a point is wrong.
    pub max_error_px: f64,
    /// Samples of three points that are tried.
    pub samples: usize,
}

impl Default for AbsolutePoseConfig {
    fn default() -> Self {
        Self { max_error_px: 5.0, samples: 100 }
    }
}

/// A pose with what speaks for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AbsolutePose {
    /// The pose.
    pub camera_from_points: Se3,
    /// Points near their pixels.
    pub inliers: usize,
}

/// Returns the pose of a pinhole camera that sees most of the landmarks where they are, refined by
/// all of those; `None` where no sample of three gives one that a fourth agrees with. Deterministic.
pub fn absolute_pose(
    landmarks: &[Landmark],
    camera: &Intrinsics,
    config: &AbsolutePoseConfig,
) -> Option<AbsolutePose> {
    if landmarks.len() < 4 {
        return None;
    }
    let mut random = SmallRng::seed_from_u64(0x7265_636f_6e5f_706e);
    let step = landmarks.len().div_ceil(JUDGES);
    let judges: Vec<Landmark> = landmarks.iter().step_by(step).copied().collect();
    let limit = config.max_error_px;
    let mut best: Option<(usize, Se3)> = None;
    for _ in 0..config.samples {
        let sample: [Landmark; 3] =
            std::array::from_fn(|_| landmarks[random.random_range(0..landmarks.len())]);
        let directions = sample.map(|l| direction(camera, &l.pixel));
        for pose in p3p(&sample.map(|l| l.point), &directions) {
            let inliers = judges.iter().filter(|l| is_near(&pose, l, camera, limit)).count();
            if best.is_none_or(|(most, _)| inliers > most) {
                best = Some((inliers, pose));
            }
        }
    }
    let (_, mut pose) = best.filter(|(inliers, _)| *inliers >= 4 || judges.len() < 4)?;
    for _ in 0..REFINEMENTS {
        let near: Vec<&Landmark> =
            landmarks.iter().filter(|l| is_near(&pose, l, camera, limit)).collect();
        pose = refined(&near, camera, pose, limit);
    }
    let inliers = landmarks.iter().filter(|l| is_near(&pose, l, camera, limit)).count();
    Some(AbsolutePose { camera_from_points: pose, inliers })
}

fn direction(k: &Intrinsics, pixel: &Vector2<f64>) -> Vector3<f64> {
    Vector3::new((pixel.x - k.cx) / k.fx, (pixel.y - k.cy) / k.fy, 1.0)
}

fn error_px(pose: &Se3, landmark: &Landmark, k: &Intrinsics) -> Option<Vector2<f64>> {
    let p = pose * landmark.point;
    let image = Vector2::new(k.fx * p.x / p.z + k.cx, k.fy * p.y / p.z + k.cy);
    (p.z > 0.0).then(|| image - landmark.pixel)
}

fn is_near(pose: &Se3, landmark: &Landmark, camera: &Intrinsics, limit_px: f64) -> bool {
    error_px(pose, landmark, camera).is_some_and(|error| error.norm() < limit_px)
}

/// The pose of least summed squared error under Cauchy's weights (Gauss–Newton).
fn refined(landmarks: &[&Landmark], k: &Intrinsics, start: Se3, limit_px: f64) -> Se3 {
    let mut pose = start;
    for _ in 0..ITERATIONS {
        let (mut hessian, mut gradient) = (Matrix6::zeros(), Vector6::zeros());
        for landmark in landmarks {
            let Some(error) = error_px(&pose, landmark, k) else { continue };
            let p = pose * landmark.point;
            let by_point = Matrix2x3::new(
                k.fx / p.z,
                0.0,
                -k.fx * p.x / (p.z * p.z),
                0.0,
                k.fy / p.z,
                -k.fy * p.y / (p.z * p.z),
            );
            let mut by_pose = Matrix3x6::zeros();
            by_pose.fixed_view_mut::<3, 3>(0, 0).copy_from(&-se3::skew(&p.coords));
            by_pose.fixed_view_mut::<3, 3>(0, 3).fill_with_identity();
            let jacobian = by_point * by_pose;
            let weight = 1.0 / (1.0 + error.norm_squared() / (0.25 * limit_px * limit_px));
            hessian += jacobian.transpose() * jacobian * weight;
            gradient += jacobian.transpose() * error * weight;
        }
        let Some(factor) = hessian.cholesky() else { break };
        let step = -factor.solve(&gradient);
        if !step.iter().all(|v| v.is_finite()) {
            break;
        }
        pose = se3::exp(&step) * pose;
        if step.norm() < 1e-10 {
            break;
        }
    }
    pose
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CAMERA: Intrinsics = Intrinsics { fx: 300.0, fy: 300.0, cx: 160.0, cy: 120.0 };

    /// Landmarks around the camera's axis, the first `wrong` of them anywhere.
    fn landmarks(pose: &Se3, count: usize, wrong: usize) -> Vec<Landmark> {
        let of = |i: usize| {
            let pixel = Vector2::new((i * 37 % 320) as f64, (i * 61 % 240) as f64);
            let depth = 1.0 + (i * 13 % 17) as f64 / 5.0;
            let point = pose.inverse() * Point3::from(direction(&CAMERA, &pixel) * depth);
            let lost = Vector2::new((i * 91 % 320) as f64, (i * 17 % 240) as f64);
            Landmark { point, pixel: if i < wrong { lost } else { pixel } }
        };
        (0..count).map(of).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn the_true_pose_is_found_among_wrong_points(
            tangent in prop::array::uniform6(-0.5..0.5f64),
            wrong in 0usize..60,
        ) {
            let pose = se3::exp(&Vector6::from(tangent));
            let seen = landmarks(&pose, 150, wrong);
            let found = absolute_pose(&seen, &CAMERA, &AbsolutePoseConfig::default()).unwrap();
            let error = se3::log(&(found.camera_from_points * pose.inverse())).norm();
            prop_assert!(error < 1e-2, "{error}");
            prop_assert!(found.inliers >= 150 - wrong);
        }
    }

    #[test]
    fn three_points_are_too_few() {
        let seen = landmarks(&Se3::identity(), 3, 0);
        assert_eq!(absolute_pose(&seen, &CAMERA, &AbsolutePoseConfig::default()), None);
    }
}
