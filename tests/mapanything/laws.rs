//! What holds for any weights.

use nalgebra::{Matrix3, Point3, Quaternion, Rotation3, Vector3};
use recon_node::model::mapanything::priors::PosePrior;
use recon_node::model::mapanything::{
    Calibration, Ignored, InferOptions, MapAnything, ViewInput, ViewOutput,
};
use recon_node::raster::Raster;

use crate::support::{VERSIONS, difference, model, views};

fn unmasked() -> InferOptions {
    InferOptions { mask: None, ..InferOptions::default() }
}

fn infer(model: &MapAnything, views: &[ViewInput], options: &InferOptions) -> Vec<ViewOutput> {
    model.infer(views, options).unwrap()
}

fn coordinates(points: &Raster<Point3<f32>>) -> Vec<f32> {
    points.values().iter().flat_map(|p| [p.x, p.y, p.z]).collect()
}

/// The largest difference between points of the same views.
fn apart(a: &[ViewOutput], b: &[ViewOutput]) -> f32 {
    let of_view = |(a, b): (&ViewOutput, &ViewOutput)| {
        difference(&coordinates(&a.points_in_world), &coordinates(&b.points_in_world))
    };
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(of_view).fold(0.0, f32::max)
}

#[test]
fn the_order_of_views_behind_the_first_does_not_matter() {
    for version in VERSIONS {
        let model = model(version);
        let mut views = views(version, "everything_4v");
        let mut ordered = infer(&model, &views, &unmasked());
        views.swap(1, 3);
        ordered.swap(1, 3);
        assert!(apart(&infer(&model, &views, &unmasked()), &ordered) < 2e-4);
    }
}

#[test]
fn ignoring_everything_is_having_nothing() {
    for version in VERSIONS {
        let model = model(version);
        let mut views = views(version, "everything_4v");
        let ignored = Ignored { calibration: true, depth: true, pose: true, ..Ignored::default() };
        let ignoring = infer(&model, &views, &InferOptions { ignored, ..unmasked() });
        for view in &mut views {
            (view.calibration, view.depth_z, view.world_from_camera) = (None, None, None);
        }
        assert!(apart(&infer(&model, &views, &unmasked()), &ignoring) <= 0.0);
    }
}

#[test]
fn what_is_not_metric_loses_the_tokens_of_scale_and_nothing_else() {
    let model = model("v1");
    let mut views = views("v1", "everything_4v");
    let ignored = Ignored { depth_scale: true, pose_scale: true, ..Ignored::default() };
    let ignoring = infer(&model, &views, &InferOptions { ignored, ..unmasked() });
    views.iter_mut().for_each(|view| view.is_metric_scale = false);
    assert!(apart(&infer(&model, &views, &unmasked()), &ignoring) <= 0.0);
}

#[test]
fn heads_may_see_any_number_of_views_at_once() {
    for version in VERSIONS {
        let model = model(version);
        let views = views(version, "mixed_4v");
        let alone = infer(&model, &views, &unmasked());
        for head_views in [3, 4, 100] {
            let together =
                infer(&model, &views, &InferOptions { head_views: Some(head_views), ..unmasked() });
            assert!(apart(&together, &alone) < 2e-5);
        }
    }
}

#[test]
fn tokens_can_be_kept() {
    use recon_node::model::mapanything::encoder::EncodedViews;
    let model = model("v11");
    let views = views("v11", "mixed_4v");
    let kept: Vec<EncodedViews> = views
        .iter()
        .map(|view| {
            let known_without_camera = ViewInput { depth_z: None, ..view.clone() };
            model.encode(&[known_without_camera]).unwrap()
        })
        .collect();
    let kept = EncodedViews::cat(&kept.iter().collect::<Vec<_>>()).unwrap();
    let found = model.infer_encoded(&kept, &views, &unmasked()).unwrap();
    assert!(apart(&found, &infer(&model, &views, &unmasked())) < 2e-4);
}

#[test]
fn rays_are_as_good_as_the_intrinsics_behind_them() {
    let model = model("v1");
    let views = views("v1", "everything_4v");
    let as_rays = |view: &ViewInput| {
        let Some(Calibration::Intrinsics(k)) = view.calibration else { panic!("no intrinsics") };
        let ray = |x: usize, y: usize| {
            Vector3::new((x as f64 - k.cx) / k.fx, (y as f64 - k.cy) / k.fy, 1.0).cast() * 3.0f32
        };
        let rays = Raster::from_fn(view.size.0, view.size.1, ray);
        ViewInput { calibration: Some(Calibration::Rays(rays)), ..view.clone() }
    };
    let by_rays: Vec<_> = views.iter().map(as_rays).collect();
    let (a, b) = (infer(&model, &by_rays, &unmasked()), infer(&model, &views, &unmasked()));
    assert!(apart(&a, &b) < 2e-4);
}

/// The views with their world turned by half a turn and then some.
fn in_turned_world(views: &[ViewInput], axis: Vector3<f32>) -> Vec<ViewInput> {
    let turn = Rotation3::new(axis);
    let turned = |pose: PosePrior| {
        let rotation: Matrix3<f32> =
            recon_node::model::mapanything::priors::rotation_from_quaternion(&pose.rotation);
        PosePrior::from_matrix(&(turn.matrix() * rotation), turn * pose.translation)
    };
    let of_view = |view: &ViewInput| ViewInput {
        world_from_camera: view.world_from_camera.map(turned),
        ..view.clone()
    };
    views.iter().map(of_view).collect()
}

/// The reference's answer depends on the world in which poses are given, since the sign of a
/// relative quaternion does; ours need not.
#[test]
fn with_standard_quaternions_the_world_frame_does_not_matter() {
    let standard = InferOptions { standardize_quaternion: true, ..unmasked() };
    let model = model("v11");
    let views = views("v11", "img_pose_negw_3v");
    let turned = in_turned_world(&views, Vector3::new(0.4, 2.5, -0.7));
    let spread = |options: &InferOptions| {
        apart(&infer(&model, &turned, options), &infer(&model, &views, options))
    };
    assert!(spread(&standard) < 2e-3, "{}", spread(&standard));
    assert!(spread(&unmasked()) > 0.1, "{}", spread(&unmasked()));
}

#[test]
fn masked_points_are_zero_and_others_stay() {
    let model = model("v1");
    let views = views("v1", "mixed_4v");
    let all = infer(&model, &views, &unmasked());
    let masked = infer(&model, &views, &InferOptions::default());
    for (all, masked) in all.iter().zip(&masked) {
        let mask = masked.mask.as_ref().unwrap();
        for (i, &kept) in mask.values().iter().enumerate() {
            let expected = if kept { all.depth_z.values()[i] } else { 0.0 };
            assert!((masked.depth_z.values()[i] - expected).abs() <= 0.0);
        }
        assert!(mask.values().contains(&true) && mask.values().contains(&false));
    }
}

#[test]
fn one_hundred_views_are_no_special_case() {
    let model = model("v11");
    let view = views("v11", "img_only_1v_portrait").remove(0);
    let many = vec![view; 100];
    let found = infer(&model, &many, &unmasked());
    assert_eq!(found.len(), 100);
    assert!(found.iter().all(|view| view.depth_z.values().iter().all(|z| z.is_finite())));
}

type Change<'a> = &'a dyn Fn(&mut Vec<ViewInput>);

#[test]
fn views_that_do_not_fit_are_refused() {
    let model = model("v1");
    let good = views("v1", "everything_4v");
    let refusal = |change: Change<'_>| {
        let mut views = good.clone();
        change(&mut views);
        model.infer(&views, &unmasked()).unwrap_err().to_string()
    };
    let pose = |_: &ViewInput| PosePrior {
        rotation: Quaternion::new(1.0, 0.0, 0.0, 0.0),
        translation: Vector3::zeros(),
    };
    let cases: [(&str, Change<'_>); 6] = [
        ("there is no view", &|views| views.clear()),
        ("expected multiples of 14", &|views| {
            *views = vec![ViewInput::from_colors((56, 40), vec![0.0; 3 * 56 * 40])];
        }),
        ("size of a view beside the first", &|views| {
            views[2] = ViewInput::from_colors((42, 56), vec![0.0; 3 * 42 * 56]);
        }),
        ("colours of a view", &|views| views[1].colors.truncate(5)),
        ("neither intrinsics nor rays", &|views| views[3].calibration = None),
        ("the first has none", &|views| {
            views[0].world_from_camera = None;
            views[1].world_from_camera = Some(pose(&views[1]));
        }),
    ];
    for (expected, change) in cases {
        let text = refusal(change);
        assert!(text.contains(expected), "{text}");
    }
}

/// NaN and holes in depth are missing, not poison.
#[test]
fn depth_without_meaning_is_missing() {
    let model = model("v1");
    let mut views = views("v1", "everything_4v");
    let holes = infer(&model, &views, &unmasked());
    for view in &mut views {
        for depth in view.depth_z.as_mut().unwrap().values_mut() {
            if *depth <= 0.0 {
                *depth = f32::NAN;
            }
        }
    }
    assert!(apart(&infer(&model, &views, &unmasked()), &holes) <= 0.0);
}
