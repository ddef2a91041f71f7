//! A camera that is lost for long maps on, and its maps become one when it is back.

use image::RgbImage;
use recon_node::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use recon_node::frame::{DepthImage, Frame};
use recon_node::geometry::Se3;
use recon_node::observer::{MapUpdate, TrackingState};
use recon_node::pipeline::Pipeline;
use recon_node::raster::Raster;
use recon_node::simulator::{Simulator, SimulatorConfig, World};
use recon_node::stamp::Stamp;
use recon_node::trajectory::{StampedPose, Trajectory};

use crate::support::{pipeline, room};

/// As in the simulations.
const RATE_HZ: f64 = 10.0;
/// Frames until a lost camera begins a new map, and some more.
const LONG: usize = 60;

/// A camera on its way, with its frames numbered as they are taken.
struct Visit {
    world: Simulator,
    pipeline: Pipeline,
    updates: Vec<MapUpdate>,
    truth: Vec<StampedPose>,
}

impl Visit {
    fn to(world: Simulator, settings: &[&str]) -> Self {
        Self { world, pipeline: pipeline(settings), updates: Vec::new(), truth: Vec::new() }
    }

    fn take(&mut self, frame: Frame) {
        let id = self.updates.len();
        let stamp = Stamp::from_secs(id as f64 / RATE_HZ);
        let update = self.pipeline.process(&Frame { id: id as u64, stamp, ..frame }).unwrap();
        self.updates.push(update);
    }

    fn walk(&mut self, indices: impl IntoIterator<Item = usize>) {
        for index in indices {
            let stamp = Stamp::from_secs(self.updates.len() as f64 / RATE_HZ);
            let world_from_camera = self.world.true_pose(index);
            self.truth.push(StampedPose { stamp, world_from_camera });
            let frame = self.world.render(index).unwrap();
            self.take(frame);
        }
    }

    /// Takes frames with the lid on.
    fn cover(&mut self, frames: usize) {
        for _ in 0..frames {
            let frame = self.world.render(0).unwrap();
            let (width, height) = frame.color.dimensions();
            let nothing = Raster::filled(width as usize, height as usize, 0.0);
            let depth = Some(DepthImage::new(nothing).into());
            self.take(Frame { color: RgbImage::new(width, height).into(), depth, ..frame });
        }
    }

    fn last(&self) -> &MapUpdate {
        self.updates.last().unwrap()
    }

    fn ate_m(&self) -> f64 {
        let (found, truth) = (self.pipeline.trajectory(), Trajectory::new(self.truth.clone()));
        let evaluation = evaluate_trajectory(&found, &truth, None, DEFAULT_MAX_DIFFERENCE_SECS);
        evaluation.unwrap().metrics.ate_se3
    }
}

fn building() -> Simulator {
    let world = World::Building { side_m: 8.0 };
    let config = SimulatorConfig {
        width: 320,
        height: 240,
        rate_hz: RATE_HZ,
        loop_secs: 40.0,
        world,
        ..SimulatorConfig::default()
    };
    Simulator::new(config).unwrap()
}

/// Once round the room are 200 frames: a fifth is mapped, a quarter is not seen, and the rest leads
/// back to the first.
#[test]
fn two_pieces_of_a_way_are_mapped_apart_and_joined_when_the_second_leads_into_the_first() {
    let mut visit = Visit::to(room(), &[]);
    visit.walk(0..40);
    let began = visit.updates.len();
    visit.cover(LONG);
    assert!(
        visit.updates[began..].iter().all(|u| !u.state.has_pose()),
        "a covered lens has a pose"
    );
    assert_eq!((visit.last().map, visit.last().keyframes), (1, 0));
    visit.walk(90..180);
    assert_eq!(visit.last().map, 1);
    assert_eq!(visit.pipeline.maps_aside(), 1);
    let apart = visit.pipeline.map().len();
    assert!(apart > 3, "{apart} keyframes");

    visit.walk(180..245);
    assert_eq!((visit.last().map, visit.pipeline.maps_aside()), (0, 0), "the maps are not joined");
    let joined = visit.updates.windows(2).position(|two| (two[0].map, two[1].map) == (1, 0));
    let joined = &visit.updates[joined.unwrap() + 1];
    eprintln!("joined after frame {}", joined.frame_id);
    assert!(joined.state == TrackingState::Tracking && joined.loops_closed == 1);
    assert!(joined.keyframes > apart && joined.new_keyframe.is_some());
    // All frames that were ever placed are of one trajectory, and the world is that of the first.
    let placed = visit.updates.iter().filter(|update| update.state.has_pose()).count();
    assert_eq!(visit.pipeline.trajectory().poses().len(), placed);
    assert_eq!(placed, visit.truth.len());
    let first = visit.pipeline.trajectory().poses()[0].world_from_camera;
    assert!(first.translation.vector.norm() < 0.02, "{first}");
    let ate_m = visit.ate_m();
    eprintln!("ATE {ate_m} m");
    assert!(ate_m < 0.01, "{ate_m} m");
}

#[test]
fn back_where_it_was_the_camera_goes_on_in_the_map_that_it_knew() {
    let mut visit = Visit::to(room(), &[]);
    visit.walk(0..40);
    let keyframes = visit.pipeline.map().len();
    visit.cover(LONG);
    assert_eq!(visit.last().map, 1);
    visit.walk(30..50);
    assert_eq!((visit.last().map, visit.pipeline.maps_aside()), (0, 0));
    let found = visit.updates.iter().position(|u| u.state == TrackingState::Relocalized).unwrap();
    assert!(found <= 40 + LONG + 5, "found in frame {found}");
    assert!(visit.pipeline.map().len() >= keyframes);
    assert!(visit.ate_m() < 0.02, "{}", visit.ate_m());
}

#[test]
fn maps_that_nothing_joins_are_kept_and_the_one_of_most_frames_is_gone_on_with() {
    let mut visit = Visit::to(room(), &[]);
    visit.walk(0..30);
    let first = visit.pipeline.map().len();
    visit.cover(LONG);
    visit.world = building();
    visit.walk(0..45);
    let second = visit.pipeline.map().len();
    assert_eq!((visit.last().map, visit.pipeline.maps_aside()), (1, 1));
    let others = visit.pipeline.settle_on_largest();
    assert_eq!((visit.pipeline.map_number(), visit.pipeline.map().len()), (1, second));
    assert_eq!(others.len(), 1);
    assert_eq!(others[0].keyframes.len(), first);
    assert_eq!(others[0].graph.sessions.iter().map(Vec::len).sum::<usize>(), 30);
    // Numbers of keyframes mean one keyframe in the whole session.
    let numbers = visit.pipeline.map().keyframes().map(|k| k.id);
    let known: Vec<_> = others[0].keyframes.iter().map(|k| k.id).collect();
    assert!(numbers.into_iter().all(|id| !known.contains(&id)));
}

#[test]
fn a_map_is_not_left_where_that_is_not_wanted_nor_in_localization() {
    for settings in [&["map.new_map_after_secs=0"][..], &["map.localization_only=false"]] {
        let mut visit = Visit::to(room(), settings);
        visit.walk(0..20);
        visit.pipeline.set_localization_only(settings[0] != "map.new_map_after_secs=0");
        visit.cover(LONG);
        assert_eq!((visit.last().map, visit.pipeline.maps_aside()), (0, 0));
        assert!(matches!(visit.last().state, TrackingState::Lost(_)));
    }
}

/// What a pose in another world would be read as by those who only look at poses.
#[test]
fn a_new_map_begins_its_own_world() {
    let mut visit = Visit::to(room(), &[]);
    visit.walk(0..20);
    visit.cover(LONG);
    visit.world = building();
    visit.walk([7]);
    assert_eq!(visit.last().world_from_camera, Some(Se3::identity()));
    assert_eq!((visit.last().map, visit.last().keyframes), (1, 1));
}
