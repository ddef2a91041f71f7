//! Derivatives of all factors against numerical ones.

use nalgebra::{SVector, Vector6};
use recon_node::alignment::sparse::{
    DepthPrior, Factor, GammaLoss, IntrinsicsPrior, Linearization, PointDistance, PointmapDistance,
    PosePrior, RelativePosePrior, Reprojection, SceneState, Softening, VIEW_DIM, ViewStep,
};
use recon_node::geometry::numeric::jacobian;
use recon_node::geometry::robust::Kernel;
use recon_node::geometry::{Se3, se3};

use crate::synthetic::{Recipe, Synthetic, synthesize};

const VIEWS: usize = 3;

fn noisy() -> Synthetic {
    let recipe = Recipe { views: VIEWS, noise_px: 0.8, depth_noise: 0.02, ..Recipe::default() };
    synthesize(&recipe)
}

/// Every kind of factor about views 0 and 1, with its name and the unknowns that it has.
fn factors(made: &Synthetic, state: &SceneState) -> Vec<(&'static str, usize, Box<dyn Factor>)> {
    let scene = &made.scene;
    let pair = &scene.pairs[0];
    let [first, second] = Reprojection::both_ways(scene, pair, GammaLoss::new(0.5));
    let pointmap = PointmapDistance::new(scene, &made.pointmap(0, 1), GammaLoss::new(1.1));
    let distance = PointDistance::new(scene, state, pair, GammaLoss::new(1.5));
    let off = se3::exp(&Vector6::new(0.1, -0.2, 0.15, 0.3, 0.1, -0.2));
    let [a, b] = [0, 1].map(|v: usize| state.views[v].world_from_camera);
    let odometry = RelativePosePrior {
        target: 0,
        source: 1,
        target_from_source: a.inverse() * b * off,
        information: nalgebra::Matrix6::from_diagonal(&Vector6::new(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)),
    };
    let depths = (0..40).map(|i| (i, made.anchor_depths_m[0][i] * 1.1, 0.05)).collect();
    let held = PosePrior {
        view: 1,
        world_from_camera: b * off,
        rotation_sigma_rad: 0.1,
        centre_sigma_m: 0.2,
    };
    let lens = IntrinsicsPrior {
        view: 1,
        focal_px: 80.0,
        focal_sigma_frac: 0.01,
        principal_point_px: [50.0, 30.0].into(),
        principal_point_sigma_px: 2.0,
    };
    let metric = DepthPrior { view: 0, depths, kernel: Kernel::Huber(1.0) };
    vec![
        ("reprojection", VIEW_DIM, Box::new(first)),
        ("reprojection back", VIEW_DIM, Box::new(second)),
        ("pointmap", VIEW_DIM, Box::new(pointmap)),
        // Lenses and depths stand still in the coarse stage; its factor knows poses and sizes.
        ("distance", 6, Box::new(distance)),
        ("odometry", VIEW_DIM, Box::new(odometry)),
        ("pose", VIEW_DIM, Box::new(held)),
        ("lens", VIEW_DIM, Box::new(lens)),
        ("metric depth", VIEW_DIM, Box::new(metric)),
    ]
}

/// A state off the truth in everything.
fn disturbed(made: &Synthetic) -> SceneState {
    let step = |view: usize| ViewStep::from_fn(|i, _| 0.02 * ((3 * view + 2 * i) as f64).sin());
    let steps: Vec<ViewStep> = (0..VIEWS).map(step).collect();
    let depths: Vec<Vec<f64>> = (0..VIEWS)
        .map(|v| (0..made.anchor_depths_m[v].len()).map(|a| 0.03 * (a as f64).cos()).collect())
        .collect();
    made.true_state().stepped(&steps, &depths, 1.0)
}

fn moved(state: &SceneState, view: usize, step: &SVector<f64, VIEW_DIM>) -> SceneState {
    let mut steps = vec![ViewStep::zeros(); VIEWS];
    steps[view] = *step;
    state.stepped(&steps, &[], 1.0)
}

fn gradient(linearization: &Linearization, view: usize) -> ViewStep {
    let of_view = linearization.gradients.iter().filter(|(v, _)| *v == view);
    of_view.map(|(_, gradient)| *gradient).sum()
}

#[test]
fn gradients_are_those_of_the_cost() {
    let made = noisy();
    let state = disturbed(&made);
    for softening in [Softening::NONE, Softening(1.0)] {
        for (name, unknowns, factor) in factors(&made, &state) {
            let linearization = factor.linearize(&state, softening);
            for view in 0..2 {
                let cost = |step: &ViewStep| {
                    SVector::<f64, 1>::new(factor.cost(&moved(&state, view, step), softening))
                };
                let expected = jacobian(cost, &ViewStep::zeros(), 1e-6).transpose();
                let found = gradient(&linearization, view);
                for i in (0..VIEW_DIM).filter(|&i| i < unknowns || i == VIEW_DIM - 1) {
                    let scale = 1.0 + expected.amax();
                    let error = (found[i] - expected[i]).abs() / scale;
                    assert!(error < 1e-5, "{name}, view {view}, unknown {i}: {found} {expected}");
                }
            }
        }
    }
}

#[test]
fn depth_gradients_are_those_of_the_cost() {
    let made = noisy();
    let state = disturbed(&made);
    for (name, _, factor) in factors(&made, &state) {
        let linearization = factor.linearize(&state, Softening::NONE);
        let view = linearization.depths_of;
        for term in linearization.depths.iter().step_by(7) {
            let cost = |share: f64| {
                let mut depths: Vec<Vec<f64>> =
                    made.anchor_depths_m.iter().map(|d| vec![0.0; d.len()]).collect();
                depths[view][term.anchor] = share;
                let steps = vec![ViewStep::zeros(); VIEWS];
                factor.cost(&state.stepped(&steps, &depths, 1.0), Softening::NONE)
            };
            let expected = (cost(1e-6) - cost(-1e-6)) / 2e-6;
            let scale = 1.0 + expected.abs();
            let found = term.gradient;
            assert!((found - expected).abs() < 1e-4 * scale, "{name}: {found} {expected}");
        }
    }
}

/// Where every residual is zero, the rounded-off loss is a square and Gauss–Newton's Hessian exact.
#[test]
fn hessians_are_exact_at_the_truth() {
    let made = synthesize(&Recipe { views: VIEWS, ..Recipe::default() });
    let state = made.true_state();
    let softening = Softening(3.0);
    for (name, unknowns, factor) in factors(&made, &state).into_iter().take(4) {
        let linearization = factor.linearize(&state, softening);
        for ([row, column], block) in &linearization.blocks {
            let slope = |step: &ViewStep| {
                gradient(&factor.linearize(&moved(&state, *column, step), softening), *row)
            };
            let expected = jacobian(slope, &ViewStep::zeros(), 1e-6);
            let is_known = |i: usize| i < unknowns || i == VIEW_DIM - 1;
            for (r, c) in (0..VIEW_DIM).flat_map(|r| (0..VIEW_DIM).map(move |c| (r, c))) {
                if is_known(r) && is_known(c) {
                    let error = (block[(r, c)] - expected[(r, c)]).abs() / expected.amax();
                    assert!(
                        error < 1e-6,
                        "{name} {row} {column} {r} {c}: {block:.3} {expected:.3}"
                    );
                }
            }
        }
    }
}

#[test]
fn couplings_of_depths_are_exact_at_the_truth() {
    let made = synthesize(&Recipe { views: VIEWS, ..Recipe::default() });
    let state = made.true_state();
    let softening = Softening(3.0);
    for (name, _, factor) in factors(&made, &state).into_iter().take(3) {
        let linearization = factor.linearize(&state, softening);
        let (own, seen) = (linearization.depths_of, linearization.seen_from);
        for term in linearization.depths.iter().step_by(5) {
            for (view, coupling) in [(own, term.own), (seen, term.seen)] {
                let slope = |step: &ViewStep| {
                    let moved = factor.linearize(&moved(&state, view, step), softening);
                    let same = moved.depths.iter().find(|d| d.anchor == term.anchor).unwrap();
                    SVector::<f64, 1>::new(same.gradient)
                };
                let expected = jacobian(slope, &ViewStep::zeros(), 1e-6);
                for i in 0..coupling.len() {
                    let error = (coupling[i] - expected[i]).abs() / (1e-9 + expected.amax());
                    assert!(error < 1e-5, "{name} {i}: {coupling:.4} {expected:.4}");
                }
            }
        }
    }
}

/// The reweighted square touches the loss and lies above it, so a step to its minimum goes down.
#[test]
fn distances_lie_below_their_reweighted_squares() {
    for gamma in [0.5, 1.0, 1.1, 1.5] {
        let loss = GammaLoss::new(gamma).softened(0.0);
        for at in [0.01_f64, 0.2, 1.0, 7.0] {
            let weight = loss.weight(at * at, 1e-9);
            for e in [0.0_f64, 0.05, 0.2, 0.9, 1.1, 3.0, 20.0] {
                let square = loss.cost(at * at) + 0.5 * weight * (e * e - at * at);
                assert!(loss.cost(e * e) <= square + 1e-9, "{gamma} {at} {e}");
            }
        }
    }
}

#[test]
fn a_pose_prior_has_no_pull_at_its_pose() {
    let made = noisy();
    let state = made.true_state();
    let world_from_camera: Se3 = state.views[1].world_from_camera;
    let prior =
        PosePrior { view: 1, world_from_camera, rotation_sigma_rad: 0.1, centre_sigma_m: 0.1 };
    assert!(prior.cost(&state, Softening::NONE) < 1e-20);
    assert_eq!(prior.fixes_frame(), Some((1, world_from_camera)));
}
