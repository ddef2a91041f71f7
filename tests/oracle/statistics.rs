//! Each error on its own, over many windows; tolerances are some four standard errors.

use nalgebra::Vector3;
use recon_node::error::Error;
use recon_node::frame::Frame;
use recon_node::inference::{ReconstructionModel, View};
use recon_node::simulator::OracleConfig;

use super::support::{Case, assert_near, deviation, frames, mean, rms};

const WINDOWS: usize = 500;

fn exact() -> OracleConfig {
    OracleConfig::exact()
}

#[test]
fn a_model_without_errors_says_the_truth() {
    let mut case = Case::new(exact());
    let indices = [40, 10, 70];
    let prediction = case.ask(&indices);
    for ratios in case.log_ratios(&indices, &prediction) {
        assert!(ratios.iter().all(|ratio| ratio.abs() < 1e-6));
    }
    for (view, index) in prediction.views.iter().zip(indices) {
        assert_eq!(view.camera, case.camera());
        let apart =
            case.pose(40).inv_mul(&case.pose(index)).inverse() * view.window_from_camera.unwrap();
        assert!(apart.translation.vector.norm() < 1e-9 && apart.rotation.angle() < 1e-6);
    }
}

#[test]
fn the_scale_is_drawn_for_each_window_and_shared_by_its_views_and_poses() {
    let mut case = Case::new(OracleConfig { scale_sigma: 0.15, ..exact() });
    let mut log_scales = Vec::new();
    for i in 0..WINDOWS {
        let indices = [i, i + 20];
        let prediction = case.ask(&indices);
        let scales: Vec<f64> =
            case.log_ratios(&indices, &prediction).iter().map(|ratios| mean(ratios)).collect();
        let true_m = case.pose(i).inv_mul(&case.pose(i + 20)).translation.vector.norm();
        let said = prediction.views[1].window_from_camera.unwrap().translation.vector.norm();
        assert_near("second view", scales[1], scales[0], 1e-5);
        assert_near("distance", (said / true_m).ln(), scales[0], 1e-5);
        log_scales.push(scales[0]);
    }
    assert_near("mean", mean(&log_scales), 0.0, 0.027);
    assert_near("deviation", deviation(&log_scales), 0.15, 0.02);
}

#[test]
fn the_warp_is_as_strong_as_configured() {
    let mut case = Case::new(OracleConfig { warp_frac: [0.03, 0.10], ..exact() });
    let mut all = Vec::new();
    for i in 0..WINDOWS {
        let prediction = case.ask(&[i]);
        all.extend(case.log_ratios(&[i], &prediction).remove(0));
    }
    // Of uniform strength a in 0.03..0.10: the square root of the mean of a².
    let expected = ((0.1f64.powi(3) - 0.03f64.powi(3)) / (3.0 * 0.07)).sqrt();
    assert_near("root mean square", rms(&all), expected, 0.06 * expected);
    assert_near("mean", mean(&all), 0.0, 0.01);
}

#[test]
fn the_warp_is_smooth_and_partly_the_images_own() {
    let warp = OracleConfig { warp_frac: [0.06; 2], ..exact() };
    let mut case = Case::new(warp);
    let (mut steps, mut all, mut products) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..WINDOWS {
        let [prediction, other] = [[i, i + 5], [i, i + 9]].map(|indices| case.ask(&indices));
        let here = case.log_ratios(&[i], &prediction).remove(0);
        let there = case.log_ratios(&[i], &other).remove(0);
        steps.extend(
            here.windows(2).enumerate().filter(|(i, _)| i % 64 != 63).map(|(_, w)| w[1] - w[0]),
        );
        products.extend(here.iter().zip(&there).map(|(a, b)| a * b));
        all.extend(here);
    }
    assert!(rms(&steps) < 0.15 * rms(&all), "{} {}", rms(&steps), rms(&all));
    assert_near("correlation", mean(&products) / rms(&all).powi(2), 0.5, 0.12);
}

#[test]
fn poses_are_off_by_turns_and_shifts_of_the_configured_size() {
    let config = OracleConfig {
        rotation_sigma_deg: 0.5,
        translation_sigma_frac: 0.03,
        translation_sigma_depths: 0.0,
        ..exact()
    };
    let mut case = Case::new(config);
    let (mut turns_deg, mut shifts) = (Vec::new(), Vec::new());
    for i in 0..WINDOWS {
        let prediction = case.ask(&[i, i + 25]);
        let right = case.pose(i).inv_mul(&case.pose(i + 25));
        let said = prediction.views[1].window_from_camera.unwrap();
        let turn: Vector3<f64> = (said.rotation * right.rotation.inverse()).scaled_axis();
        turns_deg.extend(turn.iter().map(|a| a.to_degrees()));
        let shift = said.translation.vector - right.translation.vector;
        shifts.extend(shift.iter().map(|s| s / right.translation.vector.norm()));
    }
    assert_near("turn", deviation(&turns_deg), 0.5, 0.05);
    assert_near("shift", deviation(&shifts), 0.03, 0.003);
}

#[test]
fn positions_are_also_off_in_proportion_to_the_depth() {
    let mut case = Case::new(OracleConfig { translation_sigma_depths: 0.005, ..exact() });
    let mut shifts = Vec::new();
    for i in 0..WINDOWS {
        let prediction = case.ask(&[i, i + 1]);
        let right = case.pose(i).inv_mul(&case.pose(i + 1));
        let depth = case.simulator.true_depth(i + 1).unwrap();
        let depths: Vec<f64> = depth.values().iter().map(|&z| f64::from(z)).collect();
        let said = prediction.views[1].window_from_camera.unwrap();
        let shift = said.translation.vector - right.translation.vector;
        shifts.extend(shift.iter().map(|s| s / mean(&depths)));
    }
    assert_near("shift", deviation(&shifts), 0.005, 0.0005);
}

#[test]
fn edges_are_blurred_and_nothing_else() {
    let mut case = Case::new(OracleConfig { edge_blur_frac: 0.006, ..exact() });
    let (mut changed, mut count) = (0, 0);
    for index in (0..600).step_by(20) {
        let prediction = case.ask(&[index]);
        let truth = case.simulator.true_depth(index).unwrap();
        let ratios = case.log_ratios(&[index], &prediction).remove(0);
        for (i, ratio) in ratios.iter().enumerate() {
            let (x, y) = ((i % 64) as i64, (i / 64) as i64);
            let around = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (x + dx, y + dy)));
            let depths: Vec<f32> = around.filter_map(|(x, y)| truth.get(x, y)).collect();
            let near = depths.iter().copied().fold(f32::INFINITY, f32::min);
            let far = depths.iter().copied().fold(0.0, f32::max);
            let said = prediction.views[0].pointmap.point(i % 64, i / 64).unwrap().z;
            assert!((near * 0.999..=far * 1.001).contains(&said), "{near} {said} {far}");
            assert!(ratio.abs() < 1e-6 || far > 1.04 * near, "{near} {far}");
            changed += usize::from(ratio.abs() > 1e-6);
            count += 1;
        }
    }
    let frac = f64::from(changed as u32) / f64::from(count);
    assert!((0.02..0.6).contains(&frac), "{frac} of the pixels are at edges");
}

#[test]
fn one_pixel_in_twenty_has_a_wrong_confidence() {
    let config = OracleConfig {
        wrong_confidence_frac: 0.05,
        wrong_confidence_factor: 20.0,
        too_sure_sigma: 0.2,
        ..exact()
    };
    let mut case = Case::new(config);
    let (mut too_sure, mut too_unsure, mut count) = (Vec::new(), 0, 0);
    for index in 0..60 {
        let prediction = case.ask(&[index]);
        let ratios = case.log_ratios(&[index], &prediction).remove(0);
        let pointmap = &prediction.views[0].pointmap;
        // What the model expects of itself is one share of the depth for all.
        let sharpness = |i: usize| {
            let (x, y) = (i % 64, i / 64);
            f64::from(pointmap.confidence(x, y) * pointmap.point(x, y).unwrap().z.powi(2))
        };
        let mut sorted: Vec<f64> = (0..ratios.len()).map(sharpness).collect();
        sorted.sort_by(f64::total_cmp);
        let usual = sorted[sorted.len() / 2];
        for (i, &ratio) in ratios.iter().enumerate() {
            match sharpness(i) / usual {
                s if s > 19.0 => too_sure.push(ratio),
                s if s < 0.06 => too_unsure += 1,
                s => assert!((s - 1.0).abs() < 1e-3 && ratio.abs() < 1e-6, "{s} {ratio}"),
            }
            count += 1;
        }
    }
    assert_near("too sure", too_sure.len() as f64 / f64::from(count), 0.025, 0.002);
    assert_near("too unsure", f64::from(too_unsure) / f64::from(count), 0.025, 0.002);
    assert_near("depth error of those", deviation(&too_sure), 0.2, 0.01);
}

#[test]
fn one_window_in_fifty_fails_as_a_whole_without_saying_so() {
    let mut case = Case::new(OracleConfig { failure_frac: 0.02, ..exact() });
    let (mut failed, mut confidences) = (0, Vec::new());
    for i in 0..2000 {
        let prediction = case.ask(&[i]);
        let ratios = case.log_ratios(&[i], &prediction).remove(0);
        let pointmap = &prediction.views[0].pointmap;
        let sharpness = pointmap.confidence(5, 5) * pointmap.point(5, 5).unwrap().z.powi(2);
        confidences.push(f64::from(sharpness));
        failed += usize::from(rms(&ratios) > 1e-3);
    }
    assert_near("failed windows", failed as f64, 40.0, 25.0);
    assert!(deviation(&confidences) < 1e-3 * mean(&confidences));
}

#[test]
fn the_focal_length_is_guessed_once_for_a_window_unless_it_is_given() {
    let mut case = Case::new(OracleConfig { focal_sigma: 0.04, ..exact() });
    let camera = case.camera();
    let mut logs = Vec::new();
    for i in 0..WINDOWS {
        let prediction = case.ask(&[i, i + 3]);
        let [first, second] = [0, 1].map(|view| *prediction.views[view].camera.intrinsics());
        assert_eq!(first, second);
        assert_eq!((first.cx, first.cy), (camera.intrinsics().cx, camera.intrinsics().cy));
        logs.push((first.fx / camera.intrinsics().fx).ln());
    }
    assert_near("mean", mean(&logs), 0.0, 0.008);
    assert_near("deviation", deviation(&logs), 0.04, 0.005);
    let calibrated: Vec<Frame> =
        frames(&[7]).into_iter().map(|f| Frame { camera: Some(camera), ..f }).collect();
    let given = case.model.infer(&[View::measured(&calibrated[0])]).unwrap();
    assert_eq!(given.views[0].camera, camera);
}

#[test]
fn a_window_gets_the_same_answer_whatever_was_asked_before_and_another_seed_another() {
    let mut case = Case::new(OracleConfig::default());
    let first = case.ask(&[5, 9, 30]);
    case.ask(&[6, 5]);
    let again = case.ask(&[5, 9, 30]);
    let mut other = Case::new(OracleConfig { seed: 2, ..OracleConfig::default() });
    let other = other.ask(&[5, 9, 30]);
    for view in 0..3 {
        let (a, b) = (&first.views[view], &again.views[view]);
        assert_eq!(
            (&a.pointmap, a.camera, a.window_from_camera),
            (&b.pointmap, b.camera, b.window_from_camera)
        );
        assert_ne!(a.pointmap, other.views[view].pointmap);
    }
}

#[test]
fn frames_of_another_size_are_refused_and_reduced_ones_are_not() {
    let mut case = Case::new(exact());
    let of_size = |width, height| Frame {
        color: std::sync::Arc::new(image::RgbImage::new(width, height)),
        ..frames(&[3]).remove(0)
    };
    let reduced = of_size(32, 24);
    let answer = case.model.infer(&[View::new(&reduced)]).unwrap();
    assert_eq!(answer.views[0].camera, case.camera().reduced(2));
    let error = case.model.infer(&[View::new(&of_size(40, 24))]).unwrap_err();
    assert!(matches!(error, Error::ShapeMismatch { .. }), "{error}");
}
