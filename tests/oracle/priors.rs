//! What priors do to the answers: good where they are right, harm where they are wrong.

use nalgebra::Vector3;
use recon_node::frame::DepthImage;
use recon_node::geometry::{Camera, Intrinsics, Se3};
use recon_node::inference::{Prediction, Priors, ReconstructionModel, View};
use recon_node::raster::Raster;
use recon_node::simulator::{OracleConfig, PriorEffects};

use super::support::{Case, assert_near, deviation, frames, mean, rms};

const WINDOWS: usize = 120;

/// The views of window `i`.
fn indices(i: usize) -> [usize; 4] {
    [4 * i, 4 * i + 12, 4 * i + 24, 4 * i + 36]
}

/// What a window is given.
struct Given {
    camera: Option<Camera>,
    depths: Option<Vec<DepthImage>>,
    poses: Option<Vec<Se3>>,
    is_metric: bool,
}

impl Given {
    const NOTHING: Self = Self { camera: None, depths: None, poses: None, is_metric: false };

    /// The truth, all lengths of it multiplied by `unit`.
    fn truth(case: &Case, indices: &[usize], unit: f64) -> Self {
        let depth = |&index: &usize| {
            DepthImage::new(case.simulator.true_depth(index).unwrap().map(|z| z * unit as f32))
        };
        let pose = |&index: &usize| {
            let pose = case.pose(index);
            Se3::from_parts((pose.translation.vector * unit).into(), pose.rotation)
        };
        Self {
            camera: Some(case.camera()),
            depths: Some(indices.iter().map(depth).collect()),
            poses: Some(indices.iter().map(pose).collect()),
            is_metric: false,
        }
    }

    fn ask(&self, case: &mut Case, indices: &[usize]) -> Prediction {
        let frames = frames(indices);
        let view = |(i, frame)| {
            let priors = Priors {
                camera: self.camera,
                depth: self.depths.as_ref().map(|depths| &depths[i]),
                world_from_camera: self.poses.as_ref().map(|poses| poses[i]),
                is_metric: self.is_metric,
            };
            View { frame, priors }
        };
        let views: Vec<View<'_>> = frames.iter().enumerate().map(view).collect();
        case.model.infer(&views).unwrap()
    }
}

/// Errors over many windows: of depth after the window's own scale, of that scale, of positions
/// relative to the first view after it, in metres, and the scales themselves.
struct Errors {
    depth: f64,
    log_scales: Vec<f64>,
    position_m: f64,
}

fn errors(config: &OracleConfig, given: impl Fn(&Case, &[usize]) -> Given) -> Errors {
    let mut case = Case::new(config.clone());
    let (mut depths, mut log_scales, mut shifts) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..WINDOWS {
        let indices = indices(i);
        let prediction = given(&case, &indices).ask(&mut case, &indices);
        let ratios = case.log_ratios(&indices, &prediction).concat();
        let log_scale = mean(&ratios);
        depths.push(deviation(&ratios));
        log_scales.push(log_scale);
        for (view, &index) in prediction.views.iter().zip(&indices).skip(1) {
            let right = case.pose(indices[0]).inv_mul(&case.pose(index)).translation.vector;
            let said: Vector3<f64> = view.window_from_camera.unwrap().translation.vector;
            shifts.push((said / log_scale.exp() - right).norm());
        }
    }
    Errors { depth: rms(&depths), log_scales, position_m: rms(&shifts) }
}

/// The usual errors without windows that fail and pixels that are far off.
fn usual() -> OracleConfig {
    let priors = PriorEffects { upset_frac: 0.0, ..PriorEffects::default() };
    OracleConfig {
        failure_frac: 0.0,
        wrong_confidence_frac: 0.0,
        priors,
        ..OracleConfig::default()
    }
}

#[test]
fn the_more_is_known_the_better_the_answer() {
    let nothing = errors(&usual(), |_, _| Given::NOTHING);
    let camera =
        errors(&usual(), |case, _| Given { camera: Some(case.camera()), ..Given::NOTHING });
    let poses = errors(&usual(), |case, i| Given { depths: None, ..Given::truth(case, i, 1.0) });
    let depth = errors(&usual(), |case, i| Given { poses: None, ..Given::truth(case, i, 1.0) });
    let all = errors(&usual(), |case, i| Given::truth(case, i, 1.0));
    let falling = [&nothing, &camera, &poses, &depth, &all].map(|errors| errors.depth);
    assert!(falling.windows(2).all(|pair| pair[1] < 0.95 * pair[0]), "{falling:?}");
    assert!(
        poses.position_m < 0.4 * camera.position_m,
        "{} {}",
        poses.position_m,
        camera.position_m
    );
    assert!(all.depth < 0.35 * nothing.depth, "{falling:?}");
}

#[test]
fn wrong_priors_are_worse_than_none() {
    let nothing = errors(&usual(), |_, _| Given::NOTHING);
    let camera =
        errors(&usual(), |case, _| Given { camera: Some(case.camera()), ..Given::NOTHING });
    let focal = errors(&usual(), |case, _| {
        let k = *case.camera().intrinsics();
        let wrong = Intrinsics { fx: 1.5 * k.fx, fy: 1.5 * k.fy, ..k };
        Given { camera: Some(Camera::pinhole(wrong, 64, 48).unwrap()), ..Given::NOTHING }
    });
    let ramp = errors(&usual(), |case, i| {
        let truth = Given::truth(case, i, 1.0);
        let bend = |depth: &DepthImage| {
            let raster = depth.raster();
            let bent = |x, y| raster.at(x, y) * (0.6 + 0.8 * x as f32 / 64.0);
            DepthImage::new(Raster::from_fn(64, 48, bent))
        };
        let depths = truth.depths.iter().flatten().map(bend).collect();
        Given { depths: Some(depths), poses: None, ..truth }
    });
    let elsewhere = errors(&usual(), |case, i| {
        let later: Vec<usize> = i.iter().map(|index| 7 * index + 150).collect();
        Given {
            poses: Given::truth(case, &later, 1.0).poses,
            depths: None,
            ..Given::truth(case, i, 1.0)
        }
    });
    assert!(focal.depth > 1.2 * nothing.depth, "{} {}", focal.depth, nothing.depth);
    assert!(ramp.depth > 1.2 * camera.depth, "{} {}", ramp.depth, camera.depth);
    assert!(elsewhere.depth > 1.2 * camera.depth, "{} {}", elsewhere.depth, camera.depth);
    assert!(elsewhere.position_m > 2.0 * camera.position_m, "{}", elsewhere.position_m);
}

#[test]
fn only_metric_priors_fix_the_scale_and_wrong_ones_fix_it_wrongly() {
    let metric = |unit: f64| {
        errors(&usual(), move |case, i| Given { is_metric: true, ..Given::truth(case, i, unit) })
    };
    let [right, double] = [1.0, 2.0].map(|unit| metric(unit).log_scales);
    let free = errors(&usual(), |case, i| Given::truth(case, i, 2.0)).log_scales;
    assert!(rms(&right) < 0.02, "{}", rms(&right));
    assert_near("a free scale's deviation", deviation(&free), 0.15, 0.04);
    assert_near("a free scale's mean", mean(&free), 0.0, 0.06);
    assert_near("the scale of metres that are none", mean(&double), 2f64.ln() * 0.95, 0.02);
}

#[test]
fn metric_poses_without_depth_fix_the_scale_too() {
    let found = errors(&usual(), |case, i| Given {
        depths: None,
        is_metric: true,
        ..Given::truth(case, i, 1.0)
    });
    assert!(rms(&found.log_scales) < 0.05, "{}", rms(&found.log_scales));
}

#[test]
fn right_poses_can_upset_the_model() {
    let priors = PriorEffects { upset_frac: 1.0, ..PriorEffects::default() };
    let upset = OracleConfig { priors, ..usual() };
    let given = |case: &Case, i: &[usize]| Given { depths: None, ..Given::truth(case, i, 1.0) };
    let without = errors(&upset, |case, _| Given { camera: Some(case.camera()), ..Given::NOTHING });
    let with = errors(&upset, given);
    assert!(with.depth > 1.5 * without.depth, "{} {}", with.depth, without.depth);
}

#[test]
fn windows_with_right_geometry_fail_half_as_often() {
    let failing = OracleConfig { failure_frac: 0.5, ..OracleConfig::exact() };
    let failed = |given: &dyn Fn(&Case, &[usize]) -> Given| {
        let mut case = Case::new(failing.clone());
        let mut is_failed = |i: usize| {
            let indices = indices(i);
            let prediction = given(&case, &indices).ask(&mut case, &indices);
            rms(&case.log_ratios(&indices, &prediction).concat()) > 1e-3
        };
        (0..WINDOWS).filter(|&i| is_failed(i)).count() as f64
    };
    let without = failed(&|_, _| Given::NOTHING);
    let with = failed(&|case, i| Given::truth(case, i, 1.0));
    assert_near("without priors", without, 0.5 * WINDOWS as f64, 22.0);
    assert_near("with priors", with, 0.25 * WINDOWS as f64, 19.0);
}

#[test]
fn priors_of_another_size_are_refused() {
    let mut case = Case::new(usual());
    let frames = frames(&[4]);
    let depth = DepthImage::new(Raster::filled(32, 24, 1.0));
    let given = [
        Priors { depth: Some(&depth), ..Priors::default() },
        Priors { camera: Some(case.camera().reduced(2)), ..Priors::default() },
    ];
    for (priors, what) in given.into_iter().zip(["depth prior", "camera prior"]) {
        let error = case.model.infer(&[View { frame: &frames[0], priors }]).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}
