//! Priors against the reference, and what is missing in them.

use nalgebra::{Quaternion, Vector3};
use recon_node::model::mapanything::priors::{
    PosePrior, depth_along_rays, log_scale, normalize_depth, normalize_rays,
    quaternion_from_rotation, rays_from_intrinsics, relative_pose, relative_poses,
    rotation_from_quaternion, translation_scale,
};
use recon_node::raster::Raster;

use crate::fixture::Fixture;

fn unit() -> Fixture {
    Fixture::own("unit.safetensors")
}

fn assert_near(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{what}: {worst:e}");
    assert!(worst <= tolerance, "{what}: {worst:e}");
}

fn flat(vectors: &[Vector3<f32>]) -> Vec<f32> {
    vectors.iter().flat_map(|v| [v.x, v.y, v.z]).collect()
}

fn coordinates(quaternions: &[Quaternion<f32>]) -> Vec<f32> {
    quaternions.iter().flat_map(|q| [q.i, q.j, q.k, q.w]).collect()
}

#[test]
fn rays_of_a_camera() {
    let unit = unit();
    let rays = rays_from_intrinsics(&unit.intrinsics("rays.a.K"), 70, 56);
    assert_near(&flat(rays.values()), &unit.floats("rays.a.dirs"), 2e-7, "rays");
    // Any length of given rays is accepted.
    let long = rays.map(|ray| ray * 3.5);
    let normalized = normalize_rays(&long);
    assert_near(&flat(normalized.values()), &flat(rays.values()), 2e-7, "normalised");
}

#[test]
fn quaternions_of_rotations_with_a_positive_w() {
    let unit = unit();
    let found: Vec<_> = unit.matrices("rot2quat.in").iter().map(quaternion_from_rotation).collect();
    assert_near(&coordinates(&found), &unit.floats("rot2quat.out_xyzw"), 1e-6, "quaternions");
    assert!(found.iter().all(|q| q.w >= 0.0));
}

#[test]
fn rotations_of_quaternions() {
    let unit = unit();
    let quaternions = unit.quaternions("quat.q_xyzw");
    let found = quaternions.iter().map(|q| rotation_from_quaternion(q).transpose());
    let found: Vec<f32> = found.flat_map(|m| m.as_slice().to_vec()).collect();
    assert_near(&found, &unit.floats("quat.rotmat"), 2e-6, "rotations");
}

#[test]
fn one_pose_in_another() {
    let unit = unit();
    let poses = |q: &str, t: &str| {
        let rotations = unit.quaternions(q).into_iter();
        let pairs = rotations.zip(unit.list_of_vectors(t));
        pairs.map(|(rotation, translation)| PosePrior { rotation, translation }).collect::<Vec<_>>()
    };
    let (first, second) = (poses("relpose.q1", "relpose.t1"), poses("relpose.q2", "relpose.t2"));
    let found: Vec<_> = first.iter().zip(&second).map(|(a, b)| relative_pose(a, b)).collect();
    let rotations: Vec<_> = found.iter().map(|pose| pose.rotation).collect();
    let translations: Vec<_> = found.iter().map(|pose| pose.translation).collect();
    assert_near(&coordinates(&rotations), &unit.floats("relpose.q"), 2e-6, "rotations");
    assert_near(&flat(&translations), &unit.floats("relpose.t"), 5e-6, "translations");
}

#[test]
fn depths_and_translations_without_their_scale() {
    let unit = unit();
    let (depths, logs) = (unit.floats("normdepth.in"), unit.floats("normdepth.log"));
    let size = depths.len() / 3;
    for (view, factor) in unit.floats("normdepth.factor").into_iter().enumerate() {
        let found = normalize_depth(&depths[view * size..][..size]);
        assert_near(&found.log_depth, &logs[view * size..][..size], 1e-6, "logarithms");
        assert_near(&[found.mean], &[factor], 1e-6 * factor, "mean");
    }
    let translations = unit.list_of_vectors("normtrans.in");
    let normalized = unit.list_of_vectors("normtrans.out");
    for (set, factor) in unit.floats("normtrans.factor").into_iter().enumerate() {
        let set = 5 * set..5 * set + 5;
        let scale = translation_scale(&translations[set.clone()]);
        assert_near(&[scale], &[factor], 1e-6 * factor, "scale");
        let found: Vec<_> = translations[set.clone()].iter().map(|t| t / scale).collect();
        assert_near(&flat(&found), &flat(&normalized[set]), 1e-6, "translations");
    }
}

#[test]
fn a_depth_that_is_no_depth_is_missing() {
    let rays = rays_from_intrinsics(&unit().intrinsics("rays.a.K"), 6, 1);
    let z = [2.0, 0.0, -2.0, f32::NAN, f32::INFINITY, 4.0];
    let along = depth_along_rays(&Raster::new(6, 1, z.to_vec()).unwrap(), &rays).unwrap();
    for (i, &depth) in along.values().iter().enumerate() {
        let expected = if i == 0 || i == 5 { z[i] / rays.at(i, 0).z } else { 0.0 };
        assert!((depth - expected).abs() < 1e-6, "{i}: {depth}");
    }
    let normalized = normalize_depth(&z);
    assert_eq!(normalized.mean, 3.0);
    let logs = [5.0_f32 / 3.0, 1.0, 1.0, 1.0, 1.0, 7.0 / 3.0].map(f32::ln);
    assert_near(&normalized.log_depth, &logs, 1e-6, "logarithms");
    assert!(depth_along_rays(&Raster::filled(5, 1, 1.0), &rays).is_err());
}

#[test]
fn a_view_without_any_depth_has_finite_inputs() {
    let normalized = normalize_depth(&[0.0; 4]);
    assert_eq!(normalized.log_depth, [0.0; 4]);
    assert!(log_scale(normalized.mean).is_finite());
}

fn pose(x: f32) -> PosePrior {
    let rotation = Quaternion::new(0.5, 0.5, -0.5, 0.5);
    PosePrior { rotation, translation: Vector3::new(x, 0.3, -x) }
}

#[test]
fn the_first_camera_is_exactly_at_zero_and_does_not_count() {
    let poses = [Some(pose(0.1)), None, Some(pose(3.1)), Some(pose(5.1))];
    let relative = relative_poses(&poses).unwrap();
    assert_eq!(relative.first_from_camera[0].unwrap().translation, Vector3::zeros());
    assert!(relative.first_from_camera[1].is_none());
    assert!((relative.scale - 4.0 * 2.0_f32.sqrt()).abs() < 1e-5, "{}", relative.scale);
    let alone = relative_poses(&poses[..1]).unwrap();
    assert_eq!(alone.scale, 1e-8);
    assert!(log_scale(alone.scale).is_finite());
}

#[test]
fn poses_without_one_for_the_first_view_are_refused() {
    assert!(relative_poses(&[None, None]).is_ok());
    let message = relative_poses(&[None, Some(pose(1.0))]).unwrap_err().to_string();
    assert!(message.contains("the first has none; give"), "{message}");
}

#[test]
fn the_sign_of_a_relative_rotation_is_kept_unless_it_is_standardised() {
    let turned = |w: f32| PosePrior {
        rotation: Quaternion::new(w, (1.0 - w * w).sqrt(), 0.0, 0.0),
        translation: Vector3::zeros(),
    };
    // 150° one way and 150° the other are 300° apart, so w is negative.
    let relative = relative_pose(
        &turned(0.2588),
        &PosePrior {
            rotation: Quaternion::new(0.2588, -0.9659, 0.0, 0.0),
            translation: Vector3::zeros(),
        },
    );
    assert!(relative.rotation.w < -0.8, "{relative:?}");
    let standard = relative.standardized();
    assert_eq!(standard.rotation, -relative.rotation);
    assert_eq!(standard.standardized(), standard);
}
