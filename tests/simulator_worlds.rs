//! The simulated worlds beside the furnished room: each is what its name says.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use nalgebra::{Point3, Translation3};
use recon_node::geometry::{Se3, se3};
use recon_node::simulator::{Simulator, SimulatorConfig, World};
use recon_node::source::FrameSource;

const WORLDS: [World; 3] =
    [World::Corridor { rooms: 2 }, World::Building { side_m: 8.0 }, World::MovingBox];

fn small(world: World) -> SimulatorConfig {
    SimulatorConfig { width: 160, height: 120, ..SimulatorConfig::round_of(world) }
}

#[test]
fn the_camera_keeps_clear_of_everything_and_always_sees_something() {
    for world in WORLDS {
        let mut simulator = Simulator::new(small(world)).unwrap();
        let frames = simulator.info().frame_count.unwrap();
        for index in (0..frames).step_by(frames / 60) {
            let place = Point3::from(simulator.true_pose(index).translation.vector);
            let clear_m = simulator.distance_to_surface_m(&place);
            assert!(clear_m > 0.3, "{world:?}, frame {index}: {clear_m} m from a surface");
            let closed = simulator.true_depth(index).unwrap();
            assert!(closed.values().iter().all(|&z| z > 0.0), "{world:?}, frame {index} is open");
            let frame = simulator.render(index).unwrap();
            let valid = frame.depth.unwrap().valid_frac();
            assert!(valid > 0.5, "{world:?}, frame {index}: {valid} of the pixels have depth");
            let levels = frame.color.as_raw().iter().map(|&level| f64::from(level));
            let mean = levels.sum::<f64>() / frame.color.as_raw().len() as f64;
            assert!((60.0..200.0).contains(&mean), "{world:?}, frame {index}: brightness {mean}");
        }
    }
}

#[test]
fn rounds_end_where_they_began() {
    for world in WORLDS {
        let config = small(world);
        let simulator =
            Simulator::new(SimulatorConfig { rate_hz: 10.0 / config.loop_secs, ..config });
        let simulator = simulator.unwrap();
        let gap = simulator.true_pose(3).inv_mul(&simulator.true_pose(13));
        assert!(se3::log(&gap).norm() < 1e-9, "{world:?}");
    }
}

/// What is seen in one room is seen in the next, to the last pixel but for dust on the walls.
#[test]
fn the_rooms_of_the_corridor_are_exactly_alike() {
    let config = small(World::Corridor { rooms: 4 }).noise_free();
    let mut simulator = Simulator::new(config).unwrap();
    let next_from_here = Se3::from_parts(Translation3::new(4.096, 0.0, 0.0), Default::default());
    // A place inside the second room: its middle is half a room's width before the origin.
    let inside = |pose: &Se3| {
        let place = pose.translation.vector;
        (place.x + 2.048).abs() < 1.3 && place.y > -0.4
    };
    let frames = simulator.info().frame_count.unwrap();
    let indices: Vec<usize> = (0..frames).filter(|&i| inside(&simulator.true_pose(i))).collect();
    assert!(indices.len() > 100, "{} frames are inside the room", indices.len());
    for &index in indices.iter().step_by(indices.len() / 5) {
        let pose = simulator.true_pose(index);
        let here = simulator.render_from(index, &pose).unwrap();
        let there = simulator.render_from(index, &(next_from_here * pose)).unwrap();
        let (here_m, there_m) = (here.depth.unwrap(), there.depth.unwrap());
        let pairs = here_m.raster().values().iter().zip(there_m.raster().values());
        let same = pairs.filter(|(a, b)| (*a - *b).abs() < 1e-3).count();
        // Through the doorway, another part of the corridor's ends is seen.
        assert!(same > 160 * 120 * 95 / 100, "frame {index}: {same} depths are the same");
        let pairs = here.color.as_raw().iter().zip(there.color.as_raw());
        let steps: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        let mean = steps as f64 / here.color.as_raw().len() as f64;
        assert!(mean < 10.0, "frame {index}: colours differ by {mean}");
    }
}

#[test]
fn the_moving_box_is_all_that_tells_its_room_from_the_static_twin() {
    let [mut twin, mut moving] = [World::Room, World::MovingBox].map(|world| {
        let config = SimulatorConfig { world, ..small(World::MovingBox).noise_free() };
        Simulator::new(config).unwrap()
    });
    let mut seen = 0;
    for index in (0..600).step_by(15) {
        assert_eq!(twin.true_pose(index), moving.true_pose(index));
        let (empty, with_box) = (twin.render(index).unwrap(), moving.render(index).unwrap());
        let (empty_m, box_m) = (empty.depth.unwrap(), with_box.depth.unwrap());
        let pixels = empty_m.raster().values().iter().zip(box_m.raster().values());
        let colors = empty.color.pixels().zip(with_box.color.pixels());
        let nearer = pixels.clone().filter(|(a, b)| a > b).count();
        assert!(pixels.clone().all(|(a, b)| a >= b), "frame {index}: something went away");
        // The lens blurs the box's rim into its neighbours.
        let repainted = colors.filter(|(a, b)| a != b).count();
        assert!(repainted <= nearer + nearer / 2 + 120, "frame {index}: {repainted} of {nearer}");
        seen += usize::from(nearer > 200);
    }
    assert!((8..35).contains(&seen), "the box is seen in {seen} of 40 frames");
}

#[test]
fn what_moves_is_no_part_of_the_static_truth() {
    let simulator = Simulator::new(small(World::MovingBox)).unwrap();
    let twin = Simulator::new(small(World::Room)).unwrap();
    let middle = Point3::new(-0.4, 1.85, 0.8);
    let [with_box, without] = [&simulator, &twin].map(|s| s.distance_to_surface_m(&middle));
    assert!((with_box - without).abs() < 1e-12, "{with_box} m, {without} m");
    assert!(simulator.distance_to_moving_m(&middle, 0) < 1e-9);
    // A quarter of its seven seconds later it is at the end of its way.
    let moved = Point3::new(1.1, 1.85, 0.8);
    assert!(simulator.distance_to_moving_m(&moved, 52) < 0.02);
    assert!(twin.distance_to_moving_m(&middle, 0).is_infinite());
    assert_eq!(simulator.surface().points, twin.surface().points);
}

#[test]
fn an_error_of_calibration_is_in_what_frames_say_and_not_in_the_truth() {
    let exact = small(World::Room).noise_free();
    let off = SimulatorConfig { focal_error_frac: 0.02, depth_error_frac: -0.01, ..exact.clone() };
    let [mut exact, mut off] = [exact, off].map(|config| Simulator::new(config).unwrap());
    assert_eq!(exact.camera(), off.camera());
    assert_eq!(exact.true_depth(9).unwrap(), off.true_depth(9).unwrap());
    let [right, wrong] = [exact.render(9).unwrap(), off.render(9).unwrap()];
    assert_eq!(right.color, wrong.color);
    let ratio = wrong.camera.unwrap().intrinsics().fx / right.camera.unwrap().intrinsics().fx;
    assert!((ratio - 1.02).abs() < 1e-12, "{ratio}");
    let (right, wrong) = (right.depth.unwrap(), wrong.depth.unwrap());
    let mut pairs = right.raster().values().iter().zip(wrong.raster().values());
    assert!(pairs.all(|(right, wrong)| (wrong / right - 0.99).abs() < 1e-6));
}

#[test]
fn worlds_that_cannot_be_built_are_refused_in_one_sentence() {
    let cases = [
        ("world.rooms", World::Corridor { rooms: 0 }),
        ("world.rooms", World::Corridor { rooms: 1000 }),
        ("world.side_m", World::Building { side_m: 2.0 }),
        ("world.side_m", World::Building { side_m: f64::NAN }),
    ];
    for (field, world) in cases {
        let config = SimulatorConfig { world, ..SimulatorConfig::default() };
        let Err(error) = Simulator::new(config) else { panic!("{world:?} was accepted") };
        let message = error.to_string();
        assert!(message.contains(&format!("simulator.{field}")), "{message}");
    }
}
