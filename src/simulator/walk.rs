//! A walk through a building: from stop to stop, smoothed, round and round.

use std::f64::consts::TAU;

use nalgebra::{Translation3, Vector3};

use super::path::looking;
use crate::geometry::Se3;

/// Pace in metres and radians per second, where the time of a round is not chosen.
const SPEED_M_PER_SEC: f64 = 0.9;
const TURN_RAD_PER_SEC: f64 = 0.7;
/// Time between the knots of the spline: corners are rounded over twice as long on both sides.
const KNOT_SECS: f64 = 0.25;
/// Height of the camera above the floor in metres.
const HEIGHT_M: f64 = 1.4;

/// A place on a walk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stop {
    /// Where it is on the floor, metres.
    pub(super) at_m: [f64; 2],
    /// The horizontal direction that the camera looks to there, radians; it is not reduced to one
    /// turn, so that it says which way round the camera turns on its way.
    pub(super) yaw_rad: f64,
}

/// A closed walk: a uniform cubic B-spline, so that velocity and acceleration are continuous.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// Place and yaw at equal steps of time.
    knots: Vec<Vector3<f64>>,
    /// How far the yaw turns in one round: whole turns.
    turn_rad: f64,
    /// How far the gaze sways to both sides.
    sway_rad: f64,
    loop_secs: f64,
}

impl Walk {
    /// Returns the walk from the first of `stops` to the last, which must be the same place and,
    /// but for whole turns, gaze; it takes `loop_secs`.
    pub(super) fn new(stops: &[Stop], sway_rad: f64, loop_secs: f64) -> Self {
        let total_secs = usual_secs(stops);
        let count = (total_secs / KNOT_SECS).ceil().max(4.0);
        let turned = |first: &Stop, last: &Stop| last.yaw_rad - first.yaw_rad;
        let turn_rad = stops.first().zip(stops.last()).map_or(0.0, |(a, b)| turned(a, b));
        let knots = (0..count as usize).map(|i| along(stops, total_secs * i as f64 / count));
        Self { knots: knots.collect(), turn_rad, sway_rad, loop_secs }
    }

    /// Returns `world_from_camera` at `time_secs`; it repeats after the time of a round.
    pub(super) fn pose(&self, time_secs: f64) -> Se3 {
        let rounds = time_secs / self.loop_secs;
        // Whole cycles a round, so that the round closes with all its motions.
        let wave = |period_secs: f64, phase: f64| {
            let cycles = (self.loop_secs / period_secs).round().max(1.0);
            (TAU * cycles * rounds + phase).sin()
        };
        let at = self.spline(rounds * self.knots.len() as f64);
        let height = HEIGHT_M + 0.02 * wave(4.1, 0.0) + 0.003 * wave(0.55, 2.0);
        let hand = Vector3::new(0.003 * wave(0.65, 0.0), 0.003 * wave(0.58, 1.0), 0.0);
        let place = Vector3::new(at.x, at.y, height) + hand;
        let yaw = at.z + self.sway_rad * wave(6.3, 0.5) + 0.004 * wave(0.7, 0.5);
        let pitch = -0.10 + 0.08 * wave(7.7, 1.0) + 0.004 * wave(0.5, 1.5);
        let roll = 0.03 * wave(5.3, 2.0) + 0.004 * wave(0.8, 2.5);
        Se3::from_parts(Translation3::from(place), looking(yaw, pitch, roll))
    }

    /// Place and yaw at a time in knots.
    fn spline(&self, time: f64) -> Vector3<f64> {
        let whole = time.floor();
        let (t, first) = (time - whole, whole as i64);
        let weights = [
            (1.0 - t).powi(3),
            3.0 * t.powi(3) - 6.0 * t.powi(2) + 4.0,
            -3.0 * t.powi(3) + 3.0 * t.powi(2) + 3.0 * t + 1.0,
            t.powi(3),
        ];
        let knots = (first - 1..).map(|index| self.knot(index));
        knots.zip(weights).map(|(knot, weight)| knot * (weight / 6.0)).sum()
    }

    fn knot(&self, index: i64) -> Vector3<f64> {
        let count = self.knots.len() as i64;
        let turned = self.turn_rad * index.div_euclid(count) as f64;
        self.knots[index.rem_euclid(count) as usize] + Vector3::new(0.0, 0.0, turned)
    }
}

/// Returns how long a round takes at the usual pace, seconds.
pub(super) fn usual_secs(stops: &[Stop]) -> f64 {
    stops.windows(2).map(|leg| leg_secs(&leg[0], &leg[1])).sum()
}

fn leg_secs(from: &Stop, to: &Stop) -> f64 {
    let [dx, dy] = [0, 1].map(|axis| to.at_m[axis] - from.at_m[axis]);
    let turn_rad = (to.yaw_rad - from.yaw_rad).abs();
    (dx.hypot(dy) / SPEED_M_PER_SEC).max(turn_rad / TURN_RAD_PER_SEC)
}

/// Place and yaw after `time_secs` at the usual pace, with corners.
fn along(stops: &[Stop], time_secs: f64) -> Vector3<f64> {
    let point = |stop: &Stop| Vector3::new(stop.at_m[0], stop.at_m[1], stop.yaw_rad);
    let mut left_secs = time_secs;
    for leg in stops.windows(2) {
        let secs = leg_secs(&leg[0], &leg[1]);
        if left_secs < secs {
            return point(&leg[0]).lerp(&point(&leg[1]), left_secs / secs);
        }
        left_secs -= secs;
    }
    stops.last().map_or_else(Vector3::zeros, point)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::se3;

    const STEP_SECS: f64 = 0.01;

    /// A square of four metres, gone round once to the left.
    fn square() -> Walk {
        let corners = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0], [0.0, 0.0]];
        let stops: Vec<Stop> =
            (0..5).map(|i| Stop { at_m: corners[i], yaw_rad: TAU / 4.0 * i as f64 }).collect();
        Walk::new(&stops, 0.2, usual_secs(&stops))
    }

    #[test]
    fn a_round_closes_with_its_velocity() {
        let walk = square();
        for time in [0.0, 0.01, 0.5, 3.0, 17.0] {
            let gap = walk.pose(time).inverse() * walk.pose(time + walk.loop_secs);
            assert!(se3::log(&gap).norm() < 1e-9, "at {time} s");
        }
    }

    #[test]
    fn velocity_and_acceleration_are_continuous() {
        let walk = square();
        let count = (walk.loop_secs / STEP_SECS) as i32 + 100;
        let poses: Vec<Se3> = (0..count).map(|i| walk.pose(f64::from(i) * STEP_SECS)).collect();
        let step = |pair: &[Se3]| se3::log(&pair[0].inv_mul(&pair[1])) / STEP_SECS;
        let twists: Vec<_> = poses.windows(2).map(step).collect();
        let accelerations: Vec<_> =
            twists.windows(2).map(|pair| (pair[1] - pair[0]) / STEP_SECS).collect();
        let jumps = accelerations.windows(2).map(|pair| (pair[1] - pair[0]).norm());
        assert!(twists.iter().all(|v| v.fixed_rows::<3>(3).norm() < 1.2));
        assert!(accelerations.iter().all(|a| a.norm() < 10.0));
        assert!(jumps.fold(0.0, f64::max) < 1.0);
    }

    #[test]
    fn it_comes_near_its_stops_and_looks_where_they_say() {
        let stops = [0.0, 3.0, 0.0].map(|x| Stop { at_m: [x, 1.0], yaw_rad: 0.5 });
        let walk = Walk::new(&stops, 0.0, 20.0);
        let there = walk.pose(10.0);
        assert!((there.translation.vector.xy() - Vector3::new(3.0, 1.0, 0.0).xy()).norm() < 0.15);
        let forward = there.rotation * Vector3::z();
        assert!((forward.y.atan2(forward.x) - 0.5).abs() < 0.02);
    }
}
