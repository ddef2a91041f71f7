//! Made-up scenes: exact matches give the exact scene, and order, threads and units change nothing.

use recon_node::alignment::sparse::{
    LensFreedom, SparseAlignment, SparseConfig, align_fine, align_sparse,
};

use crate::fixture::{errors, poses};
use crate::synthetic::{Recipe, Synthetic, synthesize};

fn align(made: &Synthetic) -> SparseAlignment {
    align_sparse(&made.scene, &[], &SparseConfig::default()).unwrap()
}

#[test]
fn exact_matches_give_the_exact_scene() {
    let made = synthesize(&Recipe::default());
    let result = align(&made);
    for stage in [&result.coarse, &result.fine] {
        let found = errors(&poses(&stage.state), &made.world_from_camera).unwrap();
        assert!(found.ate < 1e-5 && found.rotation_deg < 1e-4, "{found:?}");
        assert!(stage.evidence.views.iter().all(|view| view.inliers == view.matches));
    }
    // One unit of the result is the smallest view's; sizes are in proportion to the true ones.
    let ratios = result.coarse.state.views.iter().zip(&made.sizes).map(|(v, size)| v.size / size);
    let ratios: Vec<f64> = ratios.collect();
    assert!(ratios.iter().all(|ratio| (ratio / ratios[0] - 1.0).abs() < 1e-5), "{ratios:?}");
}

#[test]
fn the_fine_stage_corrects_wrong_depths_and_lenses() {
    let recipe = Recipe { depth_noise: 0.05, focal_error: 0.02, matches: 250, ..Recipe::default() };
    let made = synthesize(&recipe);
    let config = SparseConfig {
        principal_point: LensFreedom::Fixed,
        fine_iterations: 60,
        ..Default::default()
    };
    let result = align_sparse(&made.scene, &[], &config).unwrap();
    let [coarse, fine] = [&result.coarse, &result.fine]
        .map(|stage| errors(&poses(&stage.state), &made.world_from_camera).unwrap());
    assert!(fine.ate < 0.1 * coarse.ate, "{coarse:?} {fine:?}");
}

/// The robust loss has many minima; the one that is found is as good as the one next to the truth.
#[test]
fn wrong_matches_do_not_hide_the_minimum_next_to_the_truth() {
    for (outliers, share_of_coarse) in [(0.1, 0.7), (0.25, 0.3)] {
        let recipe = Recipe { noise_px: 0.3, depth_noise: 0.01, outliers, ..Recipe::default() };
        let made = synthesize(&Recipe { matches: 500, image_size_px: [256, 192], ..recipe });
        let config =
            SparseConfig { principal_point: LensFreedom::Fixed, ..SparseConfig::default() };
        let found = align_sparse(&made.scene, &[], &config).unwrap();
        let near = align_fine(&made.scene, &made.true_state(), &[], &config).unwrap();
        let losses = [&found.fine, &near].map(|stage| stage.evidence.loss[1]);
        assert!(losses[0] < 1.001 * losses[1], "{outliers}: {losses:?}");
        let [coarse, fine] = [&found.coarse, &found.fine]
            .map(|stage| errors(&poses(&stage.state), &made.world_from_camera).unwrap());
        assert!(fine.ate < share_of_coarse * coarse.ate, "{outliers}: {coarse:?} {fine:?}");
    }
}

#[test]
fn a_failing_pair_counts_by_its_pointmaps() {
    let mut made = synthesize(&Recipe { views: 3, reach: 1, ..Recipe::default() });
    made.fail_pair(1);
    // View 2 now hangs on pointmaps alone. They are in metres, and the world's unit is the
    // smallest size: only if that is a metre can both be right.
    let smallest = made.sizes.iter().copied().fold(f64::INFINITY, f64::min);
    for pointmap in &mut made.scene.pointmaps {
        pointmap.points.iter_mut().for_each(|point| *point /= smallest);
    }
    let result = align(&made);
    let found = errors(&poses(&result.coarse.state), &made.world_from_camera).unwrap();
    assert!(found.rotation_deg < 0.5, "{found:?}");
    assert!(result.fine.evidence.loss[1].is_finite());
}

#[test]
fn threads_do_not_change_the_result() {
    let recipe = Recipe { noise_px: 0.5, depth_noise: 0.02, outliers: 0.1, ..Recipe::default() };
    let made = synthesize(&recipe);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| align(&made)).fine.state
    };
    assert_eq!(on(1), on(4));
}

/// Covariances are zero for the root, positive for the others, and grow along the arc.
#[test]
fn covariances_grow_with_the_distance_from_the_root() {
    let recipe = Recipe { noise_px: 0.5, reach: 1, views: 4, ..Recipe::default() };
    let made = synthesize(&recipe);
    let config = SparseConfig {
        focal_length: LensFreedom::Fixed,
        principal_point: LensFreedom::Fixed,
        ..SparseConfig::default()
    };
    let result = align_sparse(&made.scene, &[], &config).unwrap();
    let information = &result.fine.evidence.information;
    let turn = |view: usize| {
        let covariance = information.pose_covariance(view).unwrap();
        assert!((covariance - covariance.transpose()).amax() < 1e-9 * covariance.amax().max(1e-9));
        covariance.fixed_view::<3, 3>(0, 0).trace()
    };
    assert!(turn(0).abs() < 1e-15);
    assert!(turn(1) > 0.0 && turn(2) > turn(1) && turn(3) > turn(2));
}

/// What the fixtures' small scene shows too: at low resolution a principal point for each view
/// fits noise, and the poses are worse though the loss is less.
#[test]
fn free_principal_points_lower_the_loss_and_cost_accuracy() {
    let recipe = Recipe { noise_px: 0.8, depth_noise: 0.03, views: 6, ..Recipe::default() };
    let made = synthesize(&recipe);
    let run = |principal_point| {
        let config = SparseConfig { principal_point, ..SparseConfig::default() };
        let fine = align_sparse(&made.scene, &[], &config).unwrap().fine;
        let off = errors(&poses(&fine.state), &made.world_from_camera).unwrap();
        (fine.evidence.loss[1], off.rotation_deg)
    };
    let (free, fixed) = (run(LensFreedom::Free), run(LensFreedom::Fixed));
    assert!(free.0 < fixed.0 && free.1 > fixed.1, "{free:?} {fixed:?}");
}
