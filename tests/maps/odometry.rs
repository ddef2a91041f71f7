//! Rooms that nothing tells apart but the way that led there.

use image::RgbImage;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::frame::{DepthImage, Frame, OdometryPrior};
use recon_node::geometry::Se3;
use recon_node::observer::{MapUpdate, TrackingState};
use recon_node::pipeline::Pipeline;
use recon_node::raster::Raster;
use recon_node::simulator::{Simulator, SimulatorConfig, World};
use recon_node::stamp::Stamp;
use recon_node::tracking::LostReason;
use recon_node::trajectory::{StampedPose, Trajectory};

use crate::support::pipeline;

const RATE_HZ: f64 = 10.0;
const ROOMS: usize = 2;
/// Distance of the rooms' middles.
const PITCH_M: f64 = 4.096;
/// By which share wheels measure ways too long.
const SLIP_FRAC: f64 = 0.02;

/// Frames with the lid on: fewer than it takes to begin a new map.
const LOST: usize = 20;

/// A robot with wheels in a corridor with two rooms that are exactly alike.
struct Robot {
    world: Simulator,
    pipeline: Pipeline,
    updates: Vec<MapUpdate>,
    truth: Vec<StampedPose>,
    at: Option<Se3>,
    odom_from_camera: Se3,
}

impl Robot {
    fn new(settings: &[&str]) -> Self {
        let round = SimulatorConfig::round_of(World::Corridor { rooms: ROOMS });
        let config = SimulatorConfig { width: 320, height: 240, rate_hz: RATE_HZ, ..round };
        Self {
            world: Simulator::new(config).unwrap(),
            pipeline: pipeline(settings),
            updates: Vec::new(),
            truth: Vec::new(),
            at: None,
            odom_from_camera: Se3::identity(),
        }
    }

    /// The frames that are taken in a room, round its table.
    fn frames_in(&self, room: usize) -> (usize, usize) {
        let middle_m = PITCH_M * (room as f64 - 0.5 * (ROOMS as f64 - 1.0));
        let is_in = |index: &usize| {
            let at = self.world.true_pose(*index).translation.vector;
            (at.x - middle_m).abs() < 1.3 && at.y > -0.2
        };
        let frames = SimulatorConfig::round_of(World::Corridor { rooms: ROOMS }).duration_secs;
        let inside: Vec<usize> = (0..(frames * RATE_HZ) as usize).filter(is_in).collect();
        (inside[0], inside[inside.len() - 1])
    }

    /// Takes a frame of the recording, or one with the lid on from where it was taken.
    fn take(&mut self, index: usize, is_covered: bool) {
        let pose = self.world.true_pose(index);
        let mut step = self.at.replace(pose).map_or_else(Se3::identity, |last| last.inv_mul(&pose));
        step.translation.vector *= 1.0 + SLIP_FRAC;
        self.odom_from_camera *= step;
        let number = self.updates.len();
        let stamp = Stamp::from_secs(number as f64 / RATE_HZ);
        let prior = OdometryPrior { odom_from_camera: self.odom_from_camera, covariance: None };
        let mut frame = self.world.render(index).unwrap();
        if is_covered {
            let (width, height) = frame.color.dimensions();
            let nothing = Raster::filled(width as usize, height as usize, 0.0);
            frame.color = RgbImage::new(width, height).into();
            frame.depth = Some(DepthImage::new(nothing).into());
        } else {
            self.truth.push(StampedPose { stamp, world_from_camera: pose });
        }
        let frame = Frame { id: number as u64, stamp, odometry: Some(prior), ..frame };
        self.updates.push(self.pipeline.process(&frame).unwrap());
    }

    /// Maps the first room, and drives to the second one with the lid on.
    fn in_the_second_room(settings: &[&str]) -> Self {
        let mut robot = Self::new(settings);
        let ((first, last), (there, _)) = (robot.frames_in(0), robot.frames_in(1));
        (first..=last).for_each(|index| robot.take(index, false));
        assert!(robot.updates.iter().all(|u| u.state.has_pose()), "the first room is not tracked");
        // Quickly, so that the camera is still looked for in the first room's map when it arrives.
        (last..there).step_by((there - last).div_ceil(LOST)).for_each(|i| robot.take(i, true));
        robot
    }

    fn last(&self) -> &MapUpdate {
        self.updates.last().unwrap()
    }
}

#[test]
fn by_looks_alone_the_second_room_is_taken_for_the_first() {
    let mut robot = Robot::in_the_second_room(&["recognition.ask_odometry=false"]);
    let (there, _) = robot.frames_in(1);
    (there..there + 20).for_each(|index| robot.take(index, false));
    assert!(robot.last().state.has_pose() && robot.last().map == 0, "{:?}", robot.last());
}

#[test]
fn a_room_that_looks_the_same_is_a_map_of_its_own_where_odometry_led_elsewhere() {
    let mut robot = Robot::in_the_second_room(&[]);
    let ((_, home), (there, last)) = (robot.frames_in(0), robot.frames_in(1));
    let arrived = robot.updates.len();
    (there..=last).for_each(|index| robot.take(index, false));
    let against = |u: &&MapUpdate| u.state == TrackingState::Lost(LostReason::AgainstOdometry);
    let refused = robot.updates[arrived..].iter().filter(against).count();
    let placed: Vec<_> = robot.updates[arrived..].iter().filter(|u| u.state.has_pose()).collect();
    eprintln!("{refused} frames refused, {} placed", placed.len());
    assert!(refused > 0, "nothing looks alike");
    assert!(placed.len() > 20 && placed.iter().all(|u| u.map == 1), "taken for the first room");
    assert_eq!(robot.pipeline.maps_aside(), 1);

    // Back the way it came, with its eyes open: there the two maps meet.
    (home - 30..last).rev().for_each(|index| robot.take(index, false));
    assert_eq!((robot.last().map, robot.pipeline.maps_aside()), (0, 0), "not joined");
    let (found, truth) = (robot.pipeline.trajectory(), Trajectory::new(robot.truth.clone()));
    let evaluation = evaluate_trajectory(&found, &truth, None, DEFAULT_MAX_DIFFERENCE_SECS);
    let ate_m = evaluation.unwrap().metrics.ate_se3;
    eprintln!("ATE {ate_m} m");
    assert!(ate_m < 0.1, "{ate_m} m");
}
