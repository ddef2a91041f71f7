//! Carried off: what the pipeline says when frames stop leading from one to the next.

use image::RgbImage;
use recon_node::frame::{DepthImage, Frame};
use recon_node::geometry::Se3;
use recon_node::observer::TrackingState;
use recon_node::raster::Raster;
use recon_node::simulator::{Simulator, SimulatorConfig, World};
use recon_node::stamp::Stamp;

use crate::support::Run;

const RATE_HZ: f64 = 20.0;
/// Frames of one second: the time within which a mapped place must be recognised.
const SECOND: usize = RATE_HZ as usize;
/// Frames of one round.
const ROUND: usize = 400;
/// A published pose is wrong from here on, in metres and degrees.
const WRONG: (f64, f64) = (0.10, 3.0);

fn room() -> SimulatorConfig {
    SimulatorConfig { width: 320, height: 240, rate_hz: RATE_HZ, ..SimulatorConfig::default() }
}

/// A camera that has seen the whole room, with its frames numbered as they are taken.
struct Visit {
    simulator: Simulator,
    run: Run,
}

impl Visit {
    fn mapped() -> Self {
        let mut visit = Self { simulator: Simulator::new(room()).unwrap(), run: Run::new(&[]) };
        visit.walk(0..ROUND);
        assert_eq!(visit.run.tracked(), ROUND, "the round itself is not tracked");
        visit
    }

    fn take(&mut self, frame: Frame, pose: &Se3) {
        let id = self.run.updates.len();
        let stamp = Stamp::from_secs(id as f64 / RATE_HZ);
        self.run.process(&Frame { id: id as u64, stamp, ..frame }, pose);
    }

    /// Takes frames of the recording, in their order.
    fn walk(&mut self, indices: impl IntoIterator<Item = usize>) {
        for index in indices {
            let frame = self.simulator.render(index).unwrap();
            let pose = self.simulator.true_pose(index);
            self.take(frame, &pose);
        }
    }

    /// Takes frames with the lid on.
    fn cover(&mut self, frames: usize) {
        let here = self.simulator.true_pose(0);
        let config = room();
        let dark = RgbImage::new(config.width, config.height);
        let nothing = Raster::filled(config.width as usize, config.height as usize, 0.0);
        for _ in 0..frames {
            let frame = self.simulator.render(0).unwrap();
            let depth = Some(DepthImage::new(nothing.clone()).into());
            self.take(Frame { color: dark.clone().into(), depth, ..frame }, &here);
        }
    }

    /// The states from frame `from` on.
    fn states(&self, from: usize) -> impl Iterator<Item = &TrackingState> {
        self.run.updates[from..].iter().map(|update| &update.state)
    }

    /// The camera sees mapped places from frame `from` on: it must be found within a second.
    fn assert_found_from(&self, from: usize) {
        let found = self.states(from).position(TrackingState::has_pose);
        eprintln!("found after {found:?} frames");
        assert!(found.is_some_and(|n| n <= SECOND), "found after {found:?} frames");
        let tracked = self.states(from + SECOND).filter(|state| state.has_pose()).count();
        assert_eq!(tracked, self.run.updates.len() - from - SECOND, "lost again");
    }

    /// No pose that was ever published is wrong.
    fn assert_honest(&self) {
        for index in 0..self.run.updates.len() {
            let Some((metres, degrees)) = self.run.error(index) else { continue };
            let state = &self.run.updates[index].state;
            assert!(
                metres < WRONG.0 && degrees < WRONG.1,
                "frame {index} ({state:?}): {metres} m and {degrees} degrees off"
            );
        }
    }
}

#[test]
fn three_seconds_cut_out_of_a_recording_are_bridged() {
    let mut visit = Visit::mapped();
    visit.walk(ROUND..ROUND + 40);
    let cut = visit.run.updates.len();
    visit.walk(ROUND + 100..ROUND + 150);
    visit.assert_found_from(cut);
    visit.assert_honest();
}

#[test]
fn with_the_lens_covered_there_is_no_pose_and_then_there_is_again() {
    let mut visit = Visit::mapped();
    let covered = visit.run.updates.len();
    visit.cover(30);
    // The camera has meanwhile been carried on by two seconds.
    visit.walk(ROUND + 40..ROUND + 80);
    let lost = visit.states(covered).take(30).all(|s| matches!(s, TrackingState::Lost(_)));
    assert!(lost, "a covered lens has a pose");
    visit.assert_found_from(covered + 30);
    visit.assert_honest();
}

#[test]
fn carried_across_the_room_and_back_it_knows_where_it_is_each_time() {
    let mut visit = Visit::mapped();
    visit.walk(ROUND..ROUND + 20);
    let there = visit.run.updates.len();
    visit.walk(ROUND + 250..ROUND + 290);
    visit.assert_found_from(there);
    let back = visit.run.updates.len();
    visit.walk(ROUND + 20..ROUND + 60);
    visit.assert_found_from(back);
    visit.assert_honest();
}

#[test]
fn turned_away_to_what_is_not_mapped_it_says_lost() {
    let mut visit = Visit::mapped();
    visit.walk(ROUND..ROUND + 20);
    let away = visit.run.updates.len();
    // Straight up: the ceiling, which the round hardly saw.
    let up = nalgebra::UnitQuaternion::from_axis_angle(&nalgebra::Vector3::x_axis(), 1.5);
    for index in ROUND + 20..ROUND + 50 {
        let pose = visit.simulator.true_pose(index) * Se3::from_parts(Default::default(), up);
        let frame = visit.simulator.render_from(index, &pose).unwrap();
        visit.take(frame, &pose);
    }
    let back = visit.run.updates.len();
    visit.walk(ROUND + 50..ROUND + 90);
    let lost = visit.states(away).take(30).filter(|state| !state.has_pose()).count();
    eprintln!("{lost} of 30 frames without a pose while turned away");
    visit.assert_found_from(back);
    visit.assert_honest();
}

#[test]
fn in_another_building_it_says_lost_and_at_home_it_is_home() {
    let mut visit = Visit::mapped();
    let away = visit.run.updates.len();
    let world = World::Building { side_m: 8.0 };
    let mut elsewhere =
        Simulator::new(SimulatorConfig { loop_secs: 40.0, world, ..room() }).unwrap();
    for index in 0..30 {
        let frame = elsewhere.render(index).unwrap();
        // There is no true pose: whatever is said is wrong.
        visit.take(frame, &Se3::translation(1e3, 0.0, 0.0));
    }
    visit.walk(ROUND..ROUND + 40);
    for update in visit.run.updates[away..away + 30].iter().filter(|u| u.state.has_pose()) {
        eprintln!("a frame of another building has a pose: {update:?}");
    }
    let posed = visit.states(away).take(30).filter(|state| state.has_pose()).count();
    assert_eq!(posed, 0, "frames of another building have a pose");
    visit.assert_found_from(away + 30);
    visit.assert_honest();
}
