//! Drift: how far off the map can be at the end of a way, and how far it usually is.
//!
//! A camera that is not quite calibrated measures turns and lengths wrong by a share of them, which
//! turning back takes back; what is left of the noise adds up as a random walk.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::Vector3;

use super::Pipeline;
use crate::geometry::{Se3, se3};
use crate::keyframe::KeyframeId;
use crate::recognition::{RecognitionConfig, Sighting};

/// How far a camera has come.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Travel {
    pub metres: f64,
    /// All turns, whichever way.
    pub radians: f64,
}

impl Travel {
    /// The way of a single step.
    pub fn of(step: &Se3) -> Self {
        Self { metres: step.translation.vector.norm(), radians: se3::angle_rad(step) }
    }

    pub fn add(&mut self, step: &Se3) {
        let further = Self::of(step);
        self.metres += further.metres;
        self.radians += further.radians;
    }

    /// This way and another one.
    pub fn and(&self, other: &Self) -> Self {
        Self { metres: self.metres + other.metres, radians: self.radians + other.radians }
    }

    /// Metres and radians as one: a turn by a radian drifts about as much as a metre.
    pub fn length(&self) -> f64 {
        self.metres + self.radians
    }
}

/// A way along constraints, or as odometry measured it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Way {
    travel: Travel,
    /// Sum of the turns as rotation vectors in the world, rad: turns that were taken back cancel.
    turned_in_world: Vector3<f64>,
}

impl Way {
    /// The way with one step more, from a keyframe on.
    pub fn further(mut self, world_from_here: &Se3, here_from_next: &Se3) -> Self {
        self.travel.add(here_from_next);
        let turn_in_here = here_from_next.rotation.scaled_axis();
        self.turned_in_world += world_from_here.rotation * turn_in_here;
        self
    }

    /// What of this way is after an earlier part of it.
    pub fn since(&self, earlier: &Self) -> Self {
        let (all, before) = (&self.travel, &earlier.travel);
        let travel =
            Travel { metres: all.metres - before.metres, radians: all.radians - before.radians };
        Self { travel, turned_in_world: self.turned_in_world - earlier.turned_in_world }
    }

    /// This way and another one, in whatever world: turns of the two cancel nothing.
    pub fn and(&self, other: &Self) -> Self {
        let turned_rad = self.turned_in_world.norm() + other.turned_in_world.norm();
        Self {
            travel: self.travel.and(&other.travel),
            turned_in_world: Vector3::new(turned_rad, 0.0, 0.0),
        }
    }

    /// Most metres and radians by which the far end can be off, where a share of what is measured
    /// is wrong.
    fn drift(&self, frac: f64) -> (f64, f64) {
        let turned_rad = self.turned_in_world.norm() + self.travel.radians.sqrt();
        (frac * self.travel.metres, frac * turned_rad)
    }
}

/// A length that can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
struct OrderedLength(f64);

impl Eq for OrderedLength {}

impl PartialOrd for OrderedLength {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderedLength {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// What to think of the correction that a loop calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// Drift comes to as much.
    Usual,
    /// It may have come to as much.
    Unusual,
    /// It cannot: two places look alike.
    Absurd,
}

/// What to think of a correction by `gap` at the end of a way.
pub(super) fn judge(way: &Way, gap: &Se3, config: &RecognitionConfig) -> Suspicion {
    let is_within = |frac: f64| {
        let (drift_m, drift_rad) = way.drift(frac);
        gap.translation.vector.norm() <= config.max_disagreement_m + drift_m
            && se3::angle_rad(gap) <= config.max_disagreement_deg.to_radians() + drift_rad
    };
    if is_within(config.usual_drift_frac) {
        Suspicion::Usual
    } else if is_within(config.max_drift_frac) {
        Suspicion::Unusual
    } else {
        Suspicion::Absurd
    }
}

impl Pipeline {
    /// What to think of a sighting. What counts is the shortest way through the graph: once a loop
    /// is closed, what it ties has not drifted apart.
    pub(super) fn suspicion(&self, newest: KeyframeId, sighting: &Sighting) -> Suspicion {
        let Some(keyframe) = self.map.get(newest) else { return Suspicion::Absurd };
        let config = &self.config.recognition;
        let Some(way) = self.shortest_way(newest, sighting.keyframe) else {
            return Suspicion::Unusual;
        };
        let gap = keyframe.world_from_camera.inv_mul(&sighting.world_from_view);
        judge(&way, &gap, config)
    }

    /// The shortest way between two keyframes along constraints, or `None` where there is none.
    pub(super) fn shortest_way(&self, from: KeyframeId, to: KeyframeId) -> Option<Way> {
        let pose = |id: KeyframeId| self.map.get(id).map(|k| k.world_from_camera);
        let mut open = BTreeMap::from([((OrderedLength(0.0), from), Way::default())]);
        let mut settled = BTreeSet::new();
        while let Some(((_, id), way)) = open.pop_first() {
            if id == to {
                return Some(way);
            }
            if !settled.insert(id) {
                continue;
            }
            let here = pose(id)?;
            for next in self.pose_graph.neighbours(id).filter(|next| !settled.contains(next)) {
                let further = way.further(&here, &here.inv_mul(&pose(next)?));
                open.insert((OrderedLength(further.travel.length()), next), further);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use nalgebra::UnitQuaternion;

    use super::*;

    fn turn(rad: f64) -> Se3 {
        Se3::from_parts(
            Vector3::new(0.0, 0.0, 0.5).into(),
            UnitQuaternion::from_scaled_axis(Vector3::new(0.0, rad, 0.0)),
        )
    }

    fn along(steps: &[Se3]) -> Way {
        let mut here = Se3::identity();
        let mut way = Way::default();
        for step in steps {
            way = way.further(&here, step);
            here *= step;
        }
        way
    }

    #[test]
    fn turns_that_are_taken_back_leave_little_drift() {
        let round = along(&[turn(TAU / 100.0); 100]);
        let weaving: Vec<Se3> =
            (0..100).map(|i| turn(if i % 2 == 0 { TAU } else { -TAU } / 100.0)).collect();
        let weaving = along(&weaving);
        assert!((round.travel.radians - weaving.travel.radians).abs() < 1e-9);
        assert!((round.turned_in_world.norm() - TAU).abs() < 1e-9);
        assert!(weaving.turned_in_world.norm() < 1e-9);
        assert!(weaving.drift(0.1).1 < 0.3 * round.drift(0.1).1);
        assert!((round.drift(0.1).0 - 5.0).abs() < 1e-9, "metres go by the way");
    }
    /// A way of so many metres and radians, of which the turns came to `turned_rad` in the end.
    fn way(metres: f64, radians: f64, turned_rad: f64) -> Way {
        let turned_in_world = Vector3::new(0.0, 0.0, turned_rad);
        Way { travel: Travel { metres, radians }, turned_in_world }
    }

    fn gap(metres: f64, rad: f64) -> Se3 {
        let axis = Vector3::new(0.0, rad, 0.0);
        Se3::from_parts(
            Vector3::new(metres, 0.0, 0.0).into(),
            UnitQuaternion::from_scaled_axis(axis),
        )
    }

    /// A walk round a building that a false loop between two of its doors once bent by 28 m.
    #[test]
    fn two_doors_alike_are_more_than_drift_usually_comes_to() {
        let cases = [
            (
                "the true loop, half as far",
                way(156.9, 34.1, TAU),
                gap(1.44, 0.036),
                Suspicion::Usual,
            ),
            ("two doors", way(277.1, 56.8, 0.75 * TAU), gap(28.97, 1.474), Suspicion::Absurd),
            ("two doors on one side", way(277.1, 56.8, 0.0), gap(8.0, 0.1), Suspicion::Unusual),
            (
                "a camera that is off by 3 %",
                way(40.0, 9.0, TAU),
                gap(1.2, 0.19),
                Suspicion::Unusual,
            ),
            ("the next room", way(9.0, 6.0, 0.1), gap(4.0, 0.0), Suspicion::Absurd),
            ("next to nothing", way(0.5, 0.1, 0.1), gap(0.02, 0.01), Suspicion::Usual),
        ];
        for (name, way, gap, expected) in cases {
            assert_eq!(judge(&way, &gap, &RecognitionConfig::default()), expected, "{name}");
        }
    }
}
