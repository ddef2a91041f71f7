//! What is known beforehand enters as factors, and moves the result to where it says.

use nalgebra::{Matrix6, Vector6};
use recon_node::alignment::sparse::{
    DepthPrior, Factor, IntrinsicsPrior, PosePrior, RelativePosePrior, SparseConfig, align_sparse,
};
use recon_node::geometry::robust::Kernel;
use recon_node::geometry::{Se3, se3};

use crate::synthetic::{Recipe, Synthetic, synthesize};

fn noisy() -> Synthetic {
    let image_size_px = [256, 192];
    let recipe =
        Recipe { noise_px: 0.3, depth_noise: 0.01, focal_error: 0.02, ..Recipe::default() };
    synthesize(&Recipe { image_size_px, matches: 600, ..recipe })
}

fn lens_priors(made: &Synthetic) -> Vec<IntrinsicsPrior> {
    let k = &made.intrinsics;
    let prior = |view| IntrinsicsPrior {
        view,
        focal_px: k[(0, 0)],
        focal_sigma_frac: 1e-4,
        principal_point_px: [k[(0, 2)], k[(1, 2)]].into(),
        principal_point_sigma_px: 0.01,
    };
    (0..made.scene.views.len()).map(prior).collect()
}

fn as_factors<F: Factor>(factors: &[F]) -> Vec<&dyn Factor> {
    factors.iter().map(|factor| factor as &dyn Factor).collect()
}

#[test]
fn known_lenses_are_found_again() {
    let made = noisy();
    let lenses = lens_priors(&made);
    let config = SparseConfig::default();
    let off = |priors: &[&dyn Factor]| {
        let result = align_sparse(&made.scene, priors, &config).unwrap();
        let focal = made.intrinsics[(0, 0)];
        let errors = result.fine.state.views.iter().map(|v| (v.focal_px / focal - 1.0).abs());
        errors.fold(0.0, f64::max)
    };
    assert!(off(&[]) > 1e-3, "otherwise the prior proves nothing");
    assert!(off(&as_factors(&lenses)) < 1e-3);
}

#[test]
fn metric_depths_make_the_scene_metric() {
    let made = noisy();
    let depths: Vec<(usize, f64, f64)> =
        made.anchor_depths_m[2].iter().enumerate().map(|(a, d)| (a, *d, 0.01 * d)).collect();
    let metric = DepthPrior { view: 2, depths, kernel: Kernel::Cauchy(2.0) };
    let mut factors = lens_priors(&made).into_iter().map(|p| Box::new(p) as Box<dyn Factor>);
    let mut all: Vec<Box<dyn Factor>> = factors.by_ref().collect();
    all.push(Box::new(metric));
    let priors: Vec<&dyn Factor> = all.iter().map(|factor| &**factor).collect();
    let result = align_sparse(&made.scene, &priors, &SparseConfig::default()).unwrap();
    let centre = |v: usize| result.fine.state.views[v].world_from_camera.translation.vector;
    let truth = |v: usize| made.world_from_camera[v].translation.vector;
    let (found, expected) = ((centre(4) - centre(0)).norm(), (truth(4) - truth(0)).norm());
    assert!((found / expected - 1.0).abs() < 0.02, "{found} m, {expected} m");
}

#[test]
fn held_poses_give_frame_and_scale() {
    let made = noisy();
    let world = se3::exp(&Vector6::new(0.5, -1.0, 0.3, 2.0, -3.0, 1.0));
    let held: Vec<PosePrior> = [0, 4]
        .map(|view| PosePrior {
            view,
            world_from_camera: world * made.world_from_camera[view],
            rotation_sigma_rad: 1e-6,
            centre_sigma_m: 1e-6,
        })
        .into();
    let result = align_sparse(&made.scene, &as_factors(&held), &SparseConfig::default()).unwrap();
    for (view, truth) in made.world_from_camera.iter().enumerate() {
        let off = result.fine.state.views[view].world_from_camera.inverse() * (world * truth);
        let limit = if [0, 4].contains(&view) { 1e-4 } else { 0.03 };
        assert!(off.translation.vector.norm() < limit, "view {view}: {off}");
        assert!(off.rotation.angle() < limit, "view {view}: {off}");
    }
}

#[test]
fn odometry_gives_the_scale() {
    let made = noisy();
    let between = |target: usize, source: usize| -> Se3 {
        made.world_from_camera[target].inverse() * made.world_from_camera[source]
    };
    let odometry: Vec<RelativePosePrior> = (1..made.world_from_camera.len())
        .map(|source| RelativePosePrior {
            target: source - 1,
            source,
            target_from_source: between(source - 1, source),
            information: Matrix6::identity() * 1e8,
        })
        .collect();
    let result =
        align_sparse(&made.scene, &as_factors(&odometry), &SparseConfig::default()).unwrap();
    for source in 1..made.world_from_camera.len() {
        let pose = |v: usize| result.fine.state.views[v].world_from_camera;
        let off =
            between(source - 1, source).inverse() * (pose(source - 1).inverse() * pose(source));
        assert!(off.translation.vector.norm() < 5e-3 && off.rotation.angle() < 5e-3, "{off}");
    }
}
