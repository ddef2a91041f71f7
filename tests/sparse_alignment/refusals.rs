//! What cannot be aligned is refused with a reason, and nothing ever panics or becomes NaN.

use nalgebra::Point2;
use proptest::prelude::*;
use recon_node::alignment::sparse::{LensFreedom, SparseConfig, SparseScene, align_sparse};
use recon_node::error::Error;
use recon_node::geometry::GeometryError;

use crate::synthetic::{Recipe, synthesize};

fn refusal(scene: &SparseScene) -> Error {
    align_sparse(scene, &[], &SparseConfig::default()).unwrap_err()
}

fn exact() -> SparseScene {
    synthesize(&Recipe::default()).scene
}

#[test]
fn too_few_matches_are_refused() {
    let empty = SparseScene::default();
    let mut without_pairs = exact();
    without_pairs.pairs.clear();
    let mut three = exact();
    for pair in &mut three.pairs {
        pair.matches.truncate(3);
    }
    let mut unsure = exact();
    for m in unsure.pairs.iter_mut().flat_map(|pair| &mut pair.matches) {
        m.weight = 0.5;
    }
    for scene in [without_pairs, three, unsure] {
        let error = refusal(&scene);
        assert!(matches!(error, Error::TooFewCorrespondences { .. }), "{error}");
    }
    assert!(matches!(refusal(&empty), Error::ShapeMismatch { .. }), "a root that is not there");
}

#[test]
fn a_view_on_its_own_is_refused() {
    let mut scene = exact();
    scene.pairs.retain(|pair| !pair.views.contains(&3));
    let error = refusal(&scene);
    assert!(matches!(error, Error::TooFewCorrespondences { got: 0, .. }), "{error}");
}

#[test]
fn matches_on_a_line_are_refused() {
    let mut scene = exact();
    scene.views.truncate(2);
    scene.pairs.retain(|pair| pair.views == [0, 1]);
    // All samples on one row, and all of them at one depth.
    for view in &mut scene.views {
        view.anchor_depths.fill(2.0);
        for (i, sample) in view.samples.iter_mut().enumerate() {
            (sample.anchor, sample.depth_ratio) = (0, 1.0);
            sample.pixel = Point2::new(i as f64 % 90.0, 30.0);
        }
    }
    let error = refusal(&scene);
    assert!(matches!(error, Error::Geometry(GeometryError::Degenerate { .. })), "{error}");
}

#[test]
fn matches_at_one_point_are_refused() {
    let mut scene = exact();
    for view in &mut scene.views {
        for sample in &mut view.samples {
            (sample.anchor, sample.depth_ratio) = (0, 1.0);
            sample.pixel = Point2::new(40.0, 30.0);
        }
    }
    let error = refusal(&scene);
    assert!(matches!(error, Error::Geometry(GeometryError::Degenerate { .. })), "{error}");
}

#[test]
fn impossible_numbers_are_refused() {
    let spoil: [fn(&mut SparseScene); 8] = [
        |s| s.views[1].base_focal_px = f64::NAN,
        |s| s.views[1].anchor_depths[3] = 0.0,
        |s| s.views[1].anchor_depths[3] = f64::INFINITY,
        |s| s.views[1].image_size_px.x = -1.0,
        |s| s.views[1].samples[3].anchor = 10_000,
        |s| s.views[1].samples[3].pixel.x = f64::NAN,
        |s| s.pairs[0].matches[0].weight = f64::NAN,
        |s| s.pairs[0].matches[0].samples[0] = 10_000,
    ];
    for (i, spoil) in spoil.into_iter().enumerate() {
        let mut scene = exact();
        spoil(&mut scene);
        let error = refusal(&scene);
        let expected = matches!(
            error,
            Error::ShapeMismatch { .. } | Error::Geometry(GeometryError::InvalidCamera { .. })
        );
        assert!(expected, "{i}: {error}");
    }
}

fn freedom(choice: u8) -> LensFreedom {
    [LensFreedom::Fixed, LensFreedom::Shared, LensFreedom::Free][usize::from(choice % 3)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the scene, the result is finite and both stages go downhill.
    #[test]
    fn scenes_end_lower_and_finite(
        views in 2_usize..9,
        reach in 1_usize..4,
        matches in 15_usize..150,
        noise_px in 0.0..2.0,
        outliers in 0.0..0.4,
        (focal, centre, free_depths) in (any::<u8>(), any::<u8>(), any::<bool>()),
        (seed, failing) in (any::<u64>(), any::<Option<prop::sample::Index>>()),
    ) {
        let recipe = Recipe {
            views, reach, matches, noise_px, outliers, seed,
            depth_noise: 0.03, focal_error: 0.03, ..Recipe::default()
        };
        let mut made = synthesize(&recipe);
        if let Some(failing) = failing {
            made.fail_pair(failing.index(made.scene.pairs.len()));
        }
        let config = SparseConfig {
            focal_length: freedom(focal), principal_point: freedom(centre), free_depths,
            ..SparseConfig::default()
        };
        match align_sparse(&made.scene, &[], &config) {
            Ok(result) => for stage in [&result.coarse, &result.fine] {
                let [before, after] = stage.evidence.loss;
                prop_assert!(after.is_finite() && after <= before, "{before} {after}");
                let finite = |view: &recon_node::alignment::sparse::ViewState| {
                    view.size.is_finite()
                        && view.focal_px.is_finite()
                        && view.world_from_camera.to_homogeneous().iter().all(|v| v.is_finite())
                        && view.depths().iter().all(|depth| depth.is_finite())
                        // Without depths of their own, near anchors follow the lens.
                        && (!free_depths || view.depths().iter().all(|depth| *depth > 0.0))
                };
                prop_assert!(stage.state.views.iter().all(finite));
            },
            Err(error) => {
                // Two views whose only pair fails, or whose images do not meet.
                let typed = matches!(error, Error::TooFewCorrespondences { .. } | Error::Geometry(_));
                prop_assert!(typed, "{error}");
            }
        }
    }
}
