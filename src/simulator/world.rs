//! The worlds that can be recorded: a scene, and a way through it.

use super::building::{self, building};
use super::corridor::{self, corridor};
use super::mover::with_moving_box;
use super::path::CameraPath;
use super::room::furnished_room;
use super::scene::Scene;
use super::walk::{Stop, Walk, usual_secs};
use crate::geometry::Se3;

/// Where the simulated camera is, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum World {
    /// A furnished room, on an oval about its table.
    #[default]
    Room,
    /// The same room on the same way, and a box that moves through it: [`World::Room`] is its
    /// static twin.
    MovingBox,
    /// A corridor with rooms that are exactly alike: the camera enters one after the other and goes
    /// back along the corridor.
    Corridor {
        /// How many rooms there are.
        rooms: usize,
    },
    /// A building whose corridor leads round a square and back to where it began.
    Building {
        /// Length in metres of each side of the corridor's middle line.
        side_m: f64,
    },
}

impl World {
    /// Returns how long one round takes at the usual pace, seconds.
    pub(super) fn loop_secs(self) -> f64 {
        self.stops().map_or(20.0, |(stops, _)| usual_secs(&stops))
    }

    /// Returns the name of its recordings.
    pub(super) fn recording(self) -> &'static str {
        match self {
            Self::Room => "simulated_room",
            Self::MovingBox => "simulated_moving_box",
            Self::Corridor { .. } => "simulated_corridor",
            Self::Building { .. } => "simulated_building",
        }
    }

    /// Returns all that is in it.
    pub(super) fn scene(self) -> Scene {
        match self {
            Self::Room => furnished_room(),
            Self::MovingBox => with_moving_box(furnished_room()),
            Self::Corridor { rooms } => corridor(rooms),
            Self::Building { side_m } => building(side_m),
        }
    }

    /// Returns the way through it, of which a round takes `loop_secs`.
    pub(super) fn route(self, loop_secs: f64) -> Route {
        match self.stops() {
            None => Route::Oval(CameraPath::new(loop_secs)),
            Some((stops, sway_rad)) => Route::Walk(Walk::new(&stops, sway_rad, loop_secs)),
        }
    }

    /// Where a walk leads, and how far the gaze sways on it.
    fn stops(self) -> Option<(Vec<Stop>, f64)> {
        match self {
            Self::Room | Self::MovingBox => None,
            Self::Corridor { rooms } => Some((corridor::round(rooms), 0.1)),
            Self::Building { side_m } => Some((building::round(side_m), 0.3)),
        }
    }
}

/// The way of a camera.
#[derive(Debug, Clone)]
pub(super) enum Route {
    Oval(CameraPath),
    Walk(Walk),
}

impl Route {
    /// Returns `world_from_camera` at `time_secs`; it repeats after the time of a round.
    pub(super) fn pose(&self, time_secs: f64) -> Se3 {
        match self {
            Self::Oval(path) => path.pose(time_secs),
            Self::Walk(walk) => walk.pose(time_secs),
        }
    }
}
