//! Which pose of an estimate belongs to which pose of a reference: those nearest in time.

use crate::geometry::Se3;
use crate::stamp::Stamp;
use crate::trajectory::{StampedPose, Trajectory};

/// Two poses of (nearly) one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PosePair {
    /// Stamp of the estimated pose.
    pub stamp: Stamp,
    /// The pose that was estimated, in the estimate's world.
    pub estimate: Se3,
    /// The pose of the reference, in the reference's world.
    pub reference: Se3,
}

/// How far apart in seconds the stamps of two poses of one moment may be, where nobody says.
pub const DEFAULT_MAX_DIFFERENCE_SECS: f64 = 0.02;

/// Returns the pairs of poses at most `max_difference_secs` apart, in order of time.
///
/// Each pose of the trajectory with fewer poses (the estimate, where both have as many) takes the
/// nearest pose of the other, the earlier one of two equally near.
pub fn associate(
    estimate: &Trajectory,
    reference: &Trajectory,
    max_difference_secs: f64,
) -> Vec<PosePair> {
    let pair = |estimate: &StampedPose, reference: &StampedPose| PosePair {
        stamp: estimate.stamp,
        estimate: estimate.world_from_camera,
        reference: reference.world_from_camera,
    };
    if estimate.poses().len() > reference.poses().len() {
        let pairs = nearest_pairs(reference, estimate, max_difference_secs);
        return pairs.map(|(short, long)| pair(long, short)).collect();
    }
    let pairs = nearest_pairs(estimate, reference, max_difference_secs);
    pairs.map(|(short, long)| pair(short, long)).collect()
}

/// Returns the share of `stamps` that have a pose of `estimate` within `max_difference_secs`; 0
/// without any stamp.
pub fn tracked_frac(estimate: &Trajectory, stamps: &[Stamp], max_difference_secs: f64) -> f64 {
    let times = times_secs(estimate);
    let is_tracked = |stamp: &&Stamp| {
        nearest_index(&times, secs_as_written(**stamp), max_difference_secs).is_some()
    };
    stamps.iter().filter(is_tracked).count() as f64 / stamps.len().max(1) as f64
}

/// Returns the stamps of a trajectory as doubles, see [`secs_as_written`].
pub(super) fn times_secs(trajectory: &Trajectory) -> Vec<f64> {
    trajectory.poses().iter().map(|p| secs_as_written(p.stamp)).collect()
}

/// Returns the double nearest to the decimal text of a stamp. Other tools read stamps so, and
/// whether 2.033333 is "at least one second after" 1.033333 hangs on the last bit: a figure can
/// only be compared with theirs if both decide alike.
pub(super) fn secs_as_written(stamp: Stamp) -> f64 {
    stamp.to_string().parse().unwrap_or_else(|_| stamp.secs())
}

fn nearest_pairs<'a>(
    short: &'a Trajectory,
    long: &'a Trajectory,
    max_difference_secs: f64,
) -> impl Iterator<Item = (&'a StampedPose, &'a StampedPose)> {
    let times = times_secs(long);
    short.poses().iter().filter_map(move |pose| {
        let time = secs_as_written(pose.stamp);
        nearest_index(&times, time, max_difference_secs).map(|i| (pose, &long.poses()[i]))
    })
}

/// The index of the time nearest to `time` in sorted `times`, the earlier of two equally near.
fn nearest_index(times: &[f64], time: f64, max_difference_secs: f64) -> Option<usize> {
    let after = times.partition_point(|&t| t <= time);
    let difference = |i: usize| (times[i] - time).abs();
    let nearest = match after {
        _ if times.is_empty() => return None,
        0 => 0,
        end if end == times.len() => end - 1,
        between if difference(between) < difference(between - 1) => between,
        between => between - 1,
    };
    (difference(nearest) <= max_difference_secs).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: &[i64]) -> Trajectory {
        let pose = |&n: &i64| StampedPose {
            stamp: Stamp::from_nanos(n),
            world_from_camera: Se3::translation(n as f64, 0.0, 0.0),
        };
        Trajectory::new(nanos.iter().map(pose).collect())
    }

    /// Estimate, reference, and the (estimate, reference) stamps that belong together, in 1/128 s:
    /// such times are exact as doubles, so "equally near" means just that.
    type Case = (&'static [i64], &'static [i64], &'static [(i64, i64)]);

    const CASES: [Case; 8] = [
        (&[], &[], &[]),
        (&[], &[100], &[]),
        (&[100], &[], &[]),
        (&[100, 200], &[100, 200], &[(100, 100), (200, 200)]),
        (&[101], &[100, 102, 104], &[(101, 100)]),
        (&[100, 102, 104], &[103], &[(102, 103)]),
        (&[100, 400], &[102, 397, 500], &[(100, 102)]),
        (&[98, 101, 103, 500], &[100, 102, 104], &[(101, 100), (101, 102), (103, 104)]),
    ];

    #[test]
    fn the_shorter_trajectory_takes_the_nearest_of_the_longer() {
        const UNIT: i64 = 7_812_500;
        for (estimate, reference, expected) in &CASES {
            let timed = |list: &[i64]| at(&list.iter().map(|n| n * UNIT).collect::<Vec<_>>());
            let pairs = associate(&timed(estimate), &timed(reference), 0.02);
            let units =
                |p: &PosePair| (p.stamp.nanos() / UNIT, p.reference.translation.x as i64 / UNIT);
            let found: Vec<_> = pairs.iter().map(units).collect();
            assert_eq!(&found, expected, "{estimate:?} {reference:?}");
        }
    }

    #[test]
    fn frames_without_a_pose_are_not_tracked() {
        let stamps: Vec<Stamp> = (0..10).map(|i| Stamp::from_secs(f64::from(i))).collect();
        let tracked = at(&[0, 1_010_000_000, 2_030_000_000, 9_000_000_000]);
        let none = at(&[]);
        let cases = [(&tracked, &stamps[..], 3.0), (&none, &stamps, 0.0), (&tracked, &[], 0.0)];
        for (estimate, stamps, expected_tenths) in cases {
            let found = tracked_frac(estimate, stamps, 0.02) * 10.0;
            assert!((found - expected_tenths).abs() < 1e-12, "{found} {expected_tenths}");
        }
    }

    #[test]
    fn stamps_become_the_double_of_their_decimal_text() {
        for (nanos, secs) in [(1_033_333_000, 1.033333), (1305031229033100000, 1305031229.0331)] {
            assert_eq!(secs_as_written(Stamp::from_nanos(nanos)).to_bits(), f64::to_bits(secs));
        }
    }
}
