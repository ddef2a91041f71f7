//! Things that move through a scene while it is recorded.

use std::f64::consts::TAU;

use nalgebra::Vector3;

use super::material::{Material, Pattern};
use super::scene::Scene;

/// Back and forth about a middle, without a jolt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shuttle {
    /// From the middle to the end of the way, metres.
    pub(super) reach_m: [f64; 3],
    /// Time to go to both ends and return, seconds.
    pub(super) period_secs: f64,
}

impl Shuttle {
    /// Returns where things are at `time_secs`, relative to the middle.
    pub(super) fn offset(&self, time_secs: f64) -> Vector3<f64> {
        Vector3::from(self.reach_m) * (TAU * time_secs / self.period_secs).sin()
    }
}

/// Returns the scene with a box that goes back and forth before the furnished room's shelf.
pub(super) fn with_moving_box(scene: Scene) -> Scene {
    let board = Material::fitted(Pattern::Cardboard, [0.52, 0.58, 0.36], [0.80, 0.62, 0.58]);
    let shuttle = Shuttle { reach_m: [1.5, 0.0, 0.0], period_secs: 7.0 };
    scene.moving(shuttle, |scene| {
        scene.cuboid([-0.4, 1.85, 0.0], [0.4, 0.35, 0.8], 0.0, board.glowing(0.4))
    })
}
