//! Two-view verification.

use nalgebra::{Point3, Vector2, Vector3, Vector6};
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use recon_node::geometry::{Camera, Intrinsics, Se3, se3};
use recon_node::matching::two_view::{
    CoLocation, Correspondence, Observation, Refusal, TwoViewConfig, VerifiedView, co_location,
    relative_pose, verify, verify_up_to_scale,
};
use recon_node::pointmap::Pointmap;
use recon_node::raster::Raster;

fn camera() -> Camera {
    let intrinsics = Intrinsics { fx: 260.0, fy: 260.0, cx: 159.5, cy: 119.5 };
    Camera::pinhole(intrinsics, 320, 240).unwrap()
}

/// Which views know depths.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Both,
    Source,
    Target,
    Mixed,
}

const DEPTH_SIGMA_M: f64 = 0.01;
const PIXEL_SIGMA_PX: f64 = 1.0;

/// Noise of unit variance (sum of twelve uniform numbers, less six).
fn normal(random: &mut SmallRng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

/// What a camera makes of a point in its frame.
fn observed(point: &Point3<f64>, with_depth: bool, random: &mut SmallRng) -> Option<Observation> {
    let noise = Vector2::new(normal(random), normal(random)) * PIXEL_SIGMA_PX;
    let pixel = camera().project(point)? + noise;
    let inside = pixel.x > 0.0 && pixel.y > 0.0 && pixel.x < 319.0 && pixel.y < 239.0;
    let depth_m = point.z + DEPTH_SIGMA_M * normal(random);
    let seen = Observation::of_pixel(&camera(), pixel).filter(|_| inside)?;
    Some(Observation { depth: with_depth.then_some((depth_m, DEPTH_SIGMA_M)), ..seen })
}

fn anywhere(with_depth: bool, random: &mut SmallRng) -> Observation {
    let pixel = Vector2::new(random.random_range(0.0..319.0), random.random_range(0.0..239.0));
    let seen = Observation::of_pixel(&camera(), pixel).unwrap();
    let depth = with_depth.then(|| (random.random_range(1.0..5.0), DEPTH_SIGMA_M));
    Observation { depth, ..seen }
}

/// `count` correspondences by a pose, of which `outlier_frac` join things that do not belong
/// together, and which of them are right.
fn scene(
    target_from_source: &Se3,
    (count, outlier_frac): (usize, f64),
    known: Known,
    seed: u64,
) -> (Vec<Correspondence>, Vec<bool>) {
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut seen, mut right) = (Vec::new(), Vec::new());
    while seen.len() < count {
        let (source_known, target_known) = match known {
            Known::Both => (true, true),
            Known::Source => (true, false),
            Known::Target => (false, true),
            Known::Mixed => [(true, true), (true, false), (false, true)][seen.len() % 3],
        };
        if random.random::<f64>() < outlier_frac {
            let source = anywhere(source_known, &mut random);
            seen.push(Correspondence { source, target: anywhere(target_known, &mut random) });
            right.push(false);
            continue;
        }
        let ray =
            Vector3::new(random.random_range(-0.6..0.6), random.random_range(-0.45..0.45), 1.0);
        let point = Point3::from(ray * random.random_range(1.0..5.0));
        let source = observed(&point, source_known, &mut random);
        let target = observed(&(target_from_source * point), target_known, &mut random);
        if let (Some(source), Some(target)) = (source, target) {
            seen.push(Correspondence { source, target });
            right.push(true);
        }
    }
    (seen, right)
}

fn config() -> TwoViewConfig {
    TwoViewConfig { pixel_sigma_px: PIXEL_SIGMA_PX, ..TwoViewConfig::default() }
}

fn tangents() -> impl Strategy<Value = Vector6<f64>> {
    prop::array::uniform6(-0.3..0.3f64).prop_map(Vector6::from)
}

fn knowledge() -> impl Strategy<Value = Known> {
    prop::sample::select(vec![Known::Both, Known::Source, Known::Target, Known::Mixed])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_pose_is_found_among_sixty_percent_outliers(
        tangent in tangents(), known in knowledge(), seed in 0u64..1000
    ) {
        let truth = se3::exp(&tangent);
        let (seen, right) = scene(&truth, (300, 0.6), known, seed);
        let found = relative_pose(&camera(), &camera(), &seen, &config()).unwrap();
        let error = se3::log(&(found.target_from_source * truth.inverse()));
        // Six degrees of freedom: one in a million goes beyond 38 by chance.
        let squared = error.dot(&(found.information * error));
        prop_assert!(squared < 60.0, "{squared} {error}");
        prop_assert!(error.fixed_rows::<3>(0).norm() < 0.01 && error.fixed_rows::<3>(3).norm() < 0.02);
        let true_inliers = right.iter().filter(|&&r| r).count();
        let kept = found.inliers.iter().filter(|&&i| right[i]).count();
        prop_assert!(kept * 10 >= true_inliers * 9, "{kept} of {true_inliers}");
        // By a ray alone, a wrong partner can fit by chance; few do.
        prop_assert!((found.inliers.len() - kept) * 20 <= found.inliers.len());
    }

    #[test]
    fn views_swapped_give_the_inverse(tangent in tangents(), seed in 0u64..1000) {
        let truth = se3::exp(&tangent);
        let (seen, _) = scene(&truth, (200, 0.3), Known::Both, seed);
        let swapped: Vec<_> =
            seen.iter().map(|c| Correspondence { source: c.target, target: c.source }).collect();
        let forward = relative_pose(&camera(), &camera(), &seen, &config()).unwrap();
        let backward = relative_pose(&camera(), &camera(), &swapped, &config()).unwrap();
        let product = forward.target_from_source * backward.target_from_source;
        prop_assert!(se3::log(&product).norm() < 1e-3, "{product}");
    }
}

#[test]
fn uncertainty_is_what_the_errors_are() {
    let truth = se3::exp(&Vector6::new(0.1, -0.2, 0.05, 0.3, 0.1, -0.1));
    for known in [Known::Both, Known::Source, Known::Target, Known::Mixed] {
        let squared: f64 = (0..60)
            .map(|seed| {
                let (seen, _) = scene(&truth, (150, 0.2), known, seed);
                let found = relative_pose(&camera(), &camera(), &seen, &config()).unwrap();
                let error = se3::log(&(found.target_from_source * truth.inverse()));
                error.dot(&(found.information * error))
            })
            .sum();
        let mean = squared / 60.0;
        // Expected: 6, for the six degrees of freedom.
        assert!((3.0..12.0).contains(&mean), "{known:?}: {mean}");
    }
}

#[test]
fn wrong_matches_alone_are_refused() {
    for (seed, known) in [Known::Both, Known::Source, Known::Target].into_iter().enumerate() {
        let (seen, _) = scene(&Se3::identity(), (300, 1.0), known, seed as u64);
        let refusal = relative_pose(&camera(), &camera(), &seen, &config()).unwrap_err();
        assert!(matches!(refusal, Refusal::NoConsensus { of: 300, .. }), "{known:?}: {refusal}");
    }
}

#[test]
fn too_few_matches_are_refused() {
    let (mut seen, _) = scene(&Se3::identity(), (25, 0.0), Known::Both, 1);
    for c in &mut seen[10..] {
        (c.source.depth, c.target.depth) = (None, None);
    }
    let refusal = relative_pose(&camera(), &camera(), &seen, &config()).unwrap_err();
    assert_eq!(refusal, Refusal::TooFewMatches { got: 10, need: 20 });
    assert_eq!(refusal.to_string(), "10 matches with depth, at least 20 are needed");
}

/// Matches so close together that they say little about the rotation.
#[test]
fn matches_in_one_corner_are_uncertain() {
    let at = |i: usize| {
        let pixel = Vector2::new(200.0 + (i % 6) as f64, 150.0 + (i / 6) as f64);
        let seen = Observation::of_pixel(&camera(), pixel).unwrap();
        Observation { depth: Some((2.0 + 0.01 * (i % 5) as f64, 0.02)), ..seen }
    };
    let seen: Vec<_> = (0..36).map(|i| Correspondence { source: at(i), target: at(i) }).collect();
    let refusal = relative_pose(&camera(), &camera(), &seen, &config()).unwrap_err();
    assert!(matches!(refusal, Refusal::Uncertain { .. }), "{refusal}");
}

/// What a camera sees inside a box of 4 by 3 by 5 metres with a post in it.
fn room(world_from_camera: &Se3) -> Pointmap {
    let camera = camera();
    let depth = |x: usize, y: usize| {
        let ray = camera.ray(&Vector2::new(x as f64, y as f64)).unwrap();
        let (origin, ray_in_world) =
            (world_from_camera.translation.vector, world_from_camera.rotation * ray);
        let walls = [2.0, 1.5, 2.5];
        let wall = (0..3)
            .map(|i| (walls[i] * ray_in_world[i].signum() - origin[i]) / ray_in_world[i])
            .fold(f64::INFINITY, f64::min);
        ray * wall.min(post(&origin, &ray_in_world).unwrap_or(f64::INFINITY))
    };
    let points = Raster::from_fn(320, 240, |x, y| depth(x, y).cast::<f32>());
    Pointmap::new(points, Raster::filled(320, 240, 1e4)).unwrap()
}

/// Distance to a post of 0.3 m radius about the vertical axis through (0.6, ., 1).
fn post(origin: &Vector3<f64>, ray: &Vector3<f64>) -> Option<f64> {
    let (x, z) = (origin.x - 0.6, origin.z - 1.0);
    let (a, b) = (ray.x * ray.x + ray.z * ray.z, x * ray.x + z * ray.z);
    let root = b * b - a * (x * x + z * z - 0.09);
    let near = (-b - root.max(0.0).sqrt()) / a;
    (root > 0.0 && near > 0.0).then_some(near)
}

fn compare(a: &Pointmap, b: &Pointmap, target_from_source: &Se3) -> CoLocation {
    let camera = camera();
    let view = |pointmap| VerifiedView { camera: &camera, pointmap };
    co_location(&view(a), &view(b), target_from_source)
}

#[test]
fn views_fit_together_by_the_true_pose_only() {
    let pose = |tangent: [f64; 6]| se3::exp(&Vector6::from(tangent));
    let world_from_a = pose([0.0, 0.1, 0.0, -0.5, 0.0, -1.0]);
    let world_from_b = pose([0.0, -0.4, 0.05, 0.6, 0.2, -1.2]);
    let (a, b) = (room(&world_from_a), room(&world_from_b));
    let truth = world_from_b.inverse() * world_from_a;
    let found = compare(&a, &b, &truth);
    assert!(found.agreeing_frac > 0.95 && found.in_front_frac > 0.95, "{found:?}");
    assert!(found.overlap_frac > 0.4, "{found:?}");
    for wrong in [
        [0.0, 0.0, 0.0, 0.5, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.4],
        [0.0, 0.3, 0.0, 0.0, 0.0, 0.0],
    ] {
        let found = compare(&a, &b, &(truth * pose(wrong)));
        assert!(found.agreeing_frac < 0.7, "{wrong:?}: {found:?}");
    }
    let away = compare(&a, &b, &(pose([0.0, 3.0, 0.0, 0.0, 0.0, 0.0]) * truth));
    assert!(away.overlap_frac < 0.1 && away.in_front_frac < 0.5, "{away:?}");
}

#[test]
fn matches_that_agree_on_a_pose_that_the_depths_deny_are_refused() {
    let camera = camera();
    let (a, b) = (room(&Se3::identity()), room(&Se3::translation(0.5, 0.0, -1.0)));
    // A picture of the first view hangs in the second: everything matches, in one place.
    let pixels = (0..300).map(|i| Vector2::new((8 + i % 20 * 15) as f64, (8 + i / 20 * 14) as f64));
    let seen: Vec<_> = pixels
        .map(|pixel| {
            let source = Observation::of_pointmap(&camera, &a, pixel).unwrap();
            Correspondence { source, target: source }
        })
        .collect();
    let view = |pointmap| VerifiedView { camera: &camera, pointmap };
    assert!(relative_pose(&camera, &camera, &seen, &config()).is_ok());
    let refusal = verify(&view(&a), &view(&b), &seen, &config()).unwrap_err();
    assert!(matches!(refusal, Refusal::DepthMismatch { .. }), "{refusal}");
    let (pose, found) = verify(&view(&a), &view(&a), &seen, &config()).unwrap();
    assert!(se3::log(&pose.target_from_source).norm() < 1e-9 && found.agreeing_frac > 0.99);
}

/// The map of a camera without depth may be longer at one end of a loop than at the other.
#[test]
fn views_whose_lengths_differ_are_verified_up_to_scale() {
    let camera = camera();
    let world_from_b = se3::exp(&Vector6::from([0.0, 0.2, 0.02, 0.3, 0.1, -0.2]));
    let (a, b) = (room(&Se3::identity()), room(&world_from_b));
    let truth = world_from_b.inverse();
    for longer in [0.6, 0.8, 1.0, 1.25, 2.0] {
        let drifted = a.scaled(longer);
        let [source, target] =
            [&drifted, &b].map(|pointmap| VerifiedView { camera: &camera, pointmap });
        let pixels = (0..400).map(|i| Vector2::new((i % 20 * 16) as f64, (i / 20 * 12) as f64));
        let seen: Vec<Correspondence> = pixels
            .filter_map(|pixel| {
                let there = Observation::of_pointmap(&camera, &a, pixel)?.point()?;
                let pixel_there = camera.project(&(truth * there))?;
                let source = Observation::of_pointmap(&camera, &drifted, pixel)?;
                let target = Observation::of_pointmap(&camera, &b, pixel_there)?;
                Some(Correspondence { source, target })
            })
            .collect();
        let (pose, factor) = verify_up_to_scale(&source, &target, &seen, &config()).unwrap();
        let off = se3::log(&pose.target_from_source.inv_mul(&truth));
        assert!((factor * longer - 1.0).abs() < 0.02, "{longer}: {factor}");
        assert!(off.norm() < 0.03, "{longer}: {off}");
        let is_far = !(0.9..1.1).contains(&longer);
        assert_eq!(verify(&source, &target, &seen, &config()).is_err(), is_far, "{longer}");
    }
}
