//! The simulated recording keeps its promises: exact truth, honest noise, the same bits always.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use image::RgbImage;
use nalgebra::{Point3, Vector2};
use recon_node::cloud::PointCloud;
use recon_node::frame::Frame;
use recon_node::geometry::{Camera, Se3};
use recon_node::raster::Raster;
use recon_node::simulator::{
    BASELINE_M, DISPARITY_NOISE_PX, Material, Pattern, RANGE_M, STEPS_PER_PX, Scene, Simulator,
    SimulatorConfig, furnished_room,
};
use recon_node::source::{FrameSource, SourceItem};

fn small() -> SimulatorConfig {
    SimulatorConfig { width: 160, height: 120, ..SimulatorConfig::default() }
}

/// Something of everything, and quick to bake.
fn small_scene() -> Scene {
    let paper = Material::tiled(Pattern::Wallpaper, [0.7, 0.6, 0.5], [0.4, 0.5, 0.4]);
    let wood = Material::fitted(Pattern::Wood, [0.6, 0.4, 0.3], [0.4, 0.3, 0.2]);
    let poster = Material::fitted(Pattern::Poster, [0.8, 0.7, 0.6], [0.3, 0.4, 0.6]);
    let [paper, wood, poster] = [paper, wood, poster].map(|m| m.with_texels(128));
    Scene::new()
        .room([5.0, 4.6, 2.5], paper, wood, paper)
        .cuboid([0.0, 0.0, 0.0], [1.0, 0.8, 0.7], 0.3, wood)
        .sphere([0.2, 0.0, 0.9], 0.2, poster)
        .column([-1.5, 1.8, 0.0], 0.15, 2.0, 12, poster)
        .picture([2.48, 0.0, 1.4], std::f64::consts::PI, [1.2, 1.0], poster)
}

fn frames(simulator: &mut Simulator) -> impl Iterator<Item = Frame> {
    std::iter::from_fn(|| match simulator.next_item().unwrap() {
        Some(SourceItem::Frame(frame)) => Some(*frame),
        Some(SourceItem::Skipped(skip)) => panic!("{}", skip.reason),
        None => None,
    })
}

/// Points in the world of all pixels with depth.
fn unprojected(depth: &Raster<f32>, camera: &Camera, world_from_camera: &Se3) -> Vec<Point3<f64>> {
    let pixels = (0..depth.height()).flat_map(|y| (0..depth.width()).map(move |x| (x, y)));
    pixels
        .filter(|&(x, y)| depth.at(x, y) > 0.0)
        .map(|(x, y)| {
            let ray = camera.ray(&Vector2::new(x as f64, y as f64)).unwrap();
            world_from_camera * Point3::from(ray * f64::from(depth.at(x, y)))
        })
        .collect()
}

/// Mean of |difference to the right neighbour| of green, in steps of 1/255.
fn detail(image: &RgbImage) -> f64 {
    let steps = (0..image.height())
        .flat_map(|y| (1..image.width()).map(move |x| (x, y)))
        .map(|(x, y)| image.get_pixel(x, y)[1].abs_diff(image.get_pixel(x - 1, y)[1]));
    steps.map(f64::from).sum::<f64>() / f64::from(image.width() * image.height())
}

/// Share of pixels whose green differs from a neighbour two pixels away by more than the noise.
fn textured_frac(image: &RgbImage) -> f64 {
    let green = |x: u32, y: u32| i32::from(image.get_pixel(x, y)[1]);
    let pixels = (2..image.height()).flat_map(|y| (2..image.width()).map(move |x| (x, y)));
    let textured = pixels.filter(|&(x, y)| {
        let (dx, dy) = (green(x, y) - green(x - 2, y), green(x, y) - green(x, y - 2));
        dx * dx + dy * dy > 8 * 8
    });
    textured.count() as f64 / f64::from(image.width() * image.height())
}

fn nearest_m(cloud: &PointCloud, point: &Point3<f64>) -> f32 {
    let point = point.cast::<f32>();
    let squares = cloud.points.iter().map(|p| (p - point).norm_squared());
    squares.fold(f32::INFINITY, f32::min).sqrt()
}

#[test]
fn exact_depth_lies_on_the_surface() {
    let simulator = Simulator::new(small()).unwrap();
    for index in (0..600).step_by(29) {
        let depth = simulator.true_depth(index).unwrap();
        let points = unprojected(&depth, simulator.camera(), &simulator.true_pose(index));
        assert_eq!(points.len(), 160 * 120, "a closed room has a surface at every pixel");
        let worst = points
            .iter()
            .step_by(13)
            .map(|p| simulator.distance_to_surface_m(p))
            .fold(0.0, f64::max);
        assert!(worst < 1e-3, "frame {index}: {worst} m");
    }
}

#[test]
fn the_surface_cloud_is_on_the_surface_and_near_all_that_is_seen() {
    let simulator = Simulator::new(small()).unwrap();
    let cloud = simulator.surface();
    for point in cloud.points.iter().step_by(5003) {
        assert!(simulator.distance_to_surface_m(&point.cast()) < 1e-5);
    }
    for index in [0, 200, 400] {
        let depth = simulator.true_depth(index).unwrap();
        let seen = unprojected(&depth, simulator.camera(), &simulator.true_pose(index));
        let seen: Vec<_> = seen.iter().step_by(389).collect();
        let mean = seen.iter().map(|p| nearest_m(&cloud, p)).sum::<f32>() / seen.len() as f32;
        assert!(mean < 5e-3, "frame {index}: {mean} m");
    }
}

#[test]
fn measured_depth_keeps_to_the_noise_model() {
    let config = SimulatorConfig { width: 320, height: 240, ..SimulatorConfig::default() };
    let mut simulator = Simulator::new(config).unwrap();
    let scale_px_m = (simulator.camera().intrinsics().fx * BASELINE_M) as f32;
    let sigma_px = DISPARITY_NOISE_PX.hypot(1.0 / STEPS_PER_PX / f32::sqrt(12.0));
    for index in [10, 250, 349, 500] {
        let depth = simulator.render(index).unwrap().depth.unwrap();
        let truth = simulator.true_depth(index).unwrap();
        let pairs = depth.raster().values().iter().zip(truth.values()).filter(|(z, _)| **z > 0.0);
        let errors: Vec<f32> = pairs.map(|(z, t)| scale_px_m / z - scale_px_m / t).collect();
        let typical: Vec<f32> =
            errors.iter().copied().filter(|e| e.abs() < 5.0 * sigma_px).collect();
        let rms = (typical.iter().map(|e| e * e).sum::<f32>() / typical.len() as f32).sqrt();
        assert!(typical.len() as f32 > 0.95 * errors.len() as f32, "frame {index}: outliers");
        assert!((0.7..1.3).contains(&(rms / sigma_px)), "frame {index}: {rms} px");
        let mut measured = depth.raster().values().iter().filter(|z| **z > 0.0);
        assert!(measured.all(|z| (RANGE_M[0]..=RANGE_M[1]).contains(z)));
    }
}

#[test]
fn every_frame_has_texture_and_depth_and_is_where_the_reference_says() {
    let mut simulator = Simulator::new(small()).unwrap();
    let info = simulator.info().clone();
    let truth = info.reference.unwrap();
    assert_eq!((info.frame_count, truth.poses().len()), (Some(600), 600));
    let mut count = 0;
    let poses: Vec<Se3> = (0..600).map(|index| simulator.true_pose(index)).collect();
    for frame in frames(&mut simulator) {
        let pose = truth.poses()[count];
        assert_eq!((frame.id, frame.stamp), (count as u64, pose.stamp));
        assert_eq!(pose.world_from_camera, poses[count]);
        let (texture, valid) = (textured_frac(&frame.color), frame.depth.unwrap().valid_frac());
        assert!(texture > 0.25, "frame {count}: {texture} of the pixels have a gradient");
        assert!(valid > 0.6, "frame {count}: {valid} of the pixels have depth");
        count += 1;
    }
    assert_eq!(count, 600);
}

#[test]
fn the_last_second_sees_what_the_first_one_saw() {
    let simulator = Simulator::new(small()).unwrap();
    let (camera, first) = (*simulator.camera(), simulator.true_pose(5));
    let first_depth = simulator.true_depth(5).unwrap();
    let last = simulator.true_depth(590).unwrap();
    let points = unprojected(&last, &camera, &simulator.true_pose(590));
    let seen = points.iter().filter(|point| {
        let point = first.inverse() * *point;
        let pixel = camera.project(&point);
        let depth = pixel.and_then(|p| first_depth.get(p.x.round() as i64, p.y.round() as i64));
        depth.is_some_and(|z| (f64::from(z) - point.z).abs() < 0.05)
    });
    let overlap = seen.count() as f64 / points.len() as f64;
    assert!(overlap > 0.5, "{overlap}");
}

#[test]
fn frames_are_the_same_bits_on_any_number_of_threads_and_in_any_order() {
    let config = SimulatorConfig { width: 256, height: 192, ..SimulatorConfig::default() };
    let rendered = |threads: usize, order: [usize; 3]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut simulator = Simulator::with_scene(config.clone(), small_scene()).unwrap();
            let mut frames = order.map(|index| simulator.render(index).unwrap());
            frames.sort_by_key(|frame| frame.id);
            frames.map(|frame| (frame.color, frame.depth))
        })
    };
    let expected = rendered(1, [3, 345, 346]);
    for (threads, order) in [(2, [346, 3, 345]), (5, [345, 346, 3])] {
        assert!(rendered(threads, order) == expected, "{threads} threads");
    }
}

#[test]
fn another_seed_is_another_recording_of_the_same_place() {
    let [mut one, mut two] = [1, 2]
        .map(|seed| SimulatorConfig { seed, ..small() })
        .map(|config| Simulator::with_scene(config, small_scene()).unwrap());
    assert_eq!(one.true_depth(7).unwrap(), two.true_depth(7).unwrap());
    let [a, b] = [one.render(7).unwrap(), two.render(7).unwrap()];
    assert!(a.color != b.color && a.depth != b.depth);
}

#[test]
fn the_shutter_blurs_the_fast_part_only() {
    let config = SimulatorConfig { width: 640, height: 480, ..small().noise_free() };
    let [mut sharp, mut blurred] = [0.0, 0.01].map(|shutter_secs| {
        let config = SimulatorConfig { shutter_secs, ..config.clone() };
        Simulator::with_scene(config, small_scene()).unwrap()
    });
    let mut kept = |index| {
        let details = [&mut blurred, &mut sharp].map(|s| detail(&s.render(index).unwrap().color));
        details[0] / details[1]
    };
    let (fast, calm) = (kept(336), kept(168));
    assert!(fast < 0.8 && calm > 0.85 && fast < calm, "{fast} fast, {calm} calm");
}

#[test]
fn a_round_begins_again_after_its_time() {
    let config = SimulatorConfig { loop_secs: 10.0, ..small() };
    let simulator = Simulator::new(config).unwrap();
    let [once, again] = [20, 320].map(|index| simulator.true_depth(index).unwrap());
    let pairs = once.values().iter().zip(again.values());
    let same = pairs.filter(|(a, b)| (*a - *b).abs() < 1e-3).count();
    assert!(same > 160 * 120 * 99 / 100, "{same}");
}

#[test]
fn a_perfect_camera_delivers_exact_depth_of_another_scene() {
    let config = SimulatorConfig { duration_secs: 0.1, ..small().noise_free() };
    let mut simulator = Simulator::with_scene(config, small_scene()).unwrap();
    let truth = [0, 1, 2].map(|index| simulator.true_depth(index).unwrap());
    let delivered: Vec<_> = frames(&mut simulator).map(|f| f.depth.unwrap()).collect();
    assert_eq!(delivered.len(), 3);
    assert!(delivered.iter().zip(&truth).all(|(found, expected)| found.raster() == expected));
}

#[test]
fn the_table_is_where_the_room_says() {
    let top = furnished_room().distance_to_surface_m(&Point3::new(0.1, -0.3, 0.76));
    assert!((top - 0.02).abs() < 1e-9, "{top} m");
}

#[test]
fn configurations_that_cannot_be_simulated_are_refused_in_one_sentence() {
    let good = SimulatorConfig::default;
    let cases = [
        ("duration_secs", SimulatorConfig { duration_secs: 0.0, ..good() }),
        ("duration_secs", SimulatorConfig { duration_secs: f64::NAN, ..good() }),
        ("loop_secs", SimulatorConfig { loop_secs: 1.0, ..good() }),
        ("rate_hz", SimulatorConfig { rate_hz: -30.0, ..good() }),
        ("rate_hz", SimulatorConfig { rate_hz: f64::INFINITY, ..good() }),
        ("width", SimulatorConfig { width: 0, ..good() }),
        ("height", SimulatorConfig { height: 100_000, ..good() }),
        ("color_noise_levels", SimulatorConfig { color_noise_levels: -1.0, ..good() }),
        ("vignetting_frac", SimulatorConfig { vignetting_frac: 1.5, ..good() }),
        ("exposure_change_frac", SimulatorConfig { exposure_change_frac: 1.0, ..good() }),
        ("shutter_secs", SimulatorConfig { shutter_secs: 2.0, ..good() }),
    ];
    for (field, config) in cases {
        let Err(error) = Simulator::new(config) else { panic!("{field} was accepted") };
        let message = error.to_string();
        assert!(message.contains(&format!("simulator.{field}")), "{message}");
        assert!(message.contains("choose a value within") && message.lines().count() == 1);
    }
}
