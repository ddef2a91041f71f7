//! The frames of REP 105: map, odom and base, from the camera's poses.
//!
//! The map's z is up: it begins where the base is, with the base's axes, so that the camera may
//! look wherever it likes. `odom` takes the camera's motion as tracked and never jumps; every
//! correction of the map goes to map from odom. Where another source publishes odom, only map
//! from odom is ours.

use nalgebra::{Matrix6, Vector3};

use super::covariance::in_parent;
use crate::geometry::{Se3, se3};
use crate::stamp::Stamp;

/// What is known of a frame that has a pose.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Time of the frame.
    pub stamp: Stamp,
    /// The camera in the pipeline's world.
    pub world_from_camera: Se3,
    /// The camera's motion since the last frame with a pose, free of corrections, where known.
    pub previous_from_camera: Option<Se3>,
    /// The camera on the robot.
    pub base_from_camera: Se3,
    /// The robot by another source, where there is one.
    pub odom_from_base: Option<Se3>,
    /// Covariance of the pose relative to its keyframe, as a left perturbation in the world,
    /// `[omega, nu]`.
    pub covariance_in_world: Matrix6<f64>,
    /// The same of the keyframe's own pose relative to the map's beginning.
    pub keyframe_covariance_in_world: Matrix6<f64>,
    /// Whether the frame became a keyframe: from there, errors add up.
    pub is_keyframe: bool,
}

/// Where everything is at one moment.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Time of the frame.
    pub stamp: Stamp,
    /// The robot in the map.
    pub map_from_base: Se3,
    /// Its covariance, as a left perturbation in the map.
    pub map_covariance: Matrix6<f64>,
    /// The correction of odometry; `None` where odometry is another's and not known just now.
    pub map_from_odom: Option<Se3>,
    /// Our own odometry, where no other source gives it.
    pub odometry: Option<OwnOdometry>,
}

/// The robot's pose and motion by tracking alone.
#[derive(Debug, Clone)]
pub struct OwnOdometry {
    /// The robot in the odometry frame.
    pub odom_from_base: Se3,
    /// Its covariance, as a left perturbation in the odometry frame; grows with each keyframe.
    pub covariance: Matrix6<f64>,
    /// Velocity in the base frame, m/s.
    pub linear_m_per_sec: Vector3<f64>,
    /// Turning in the base frame, rad/s.
    pub angular_rad_per_sec: Vector3<f64>,
    /// Variances of both, (m/s)² and (rad/s)²; huge where the velocity is not known.
    pub twist_variance: [f64; 2],
}

/// What ROS calls "not known".
const UNKNOWN_VARIANCE: f64 = 1e6;

/// Follows the frames from observation to observation.
#[derive(Debug, Clone)]
pub struct FrameTree {
    with_own_odometry: bool,
    map_from_world: Option<Se3>,
    odom_from_base: Se3,
    drift: Matrix6<f64>,
    map_from_odom: Option<Se3>,
    last: Option<Last>,
}

#[derive(Debug, Clone)]
struct Last {
    stamp: Stamp,
    base_from_camera: Se3,
    map_from_base: Se3,
}

impl FrameTree {
    /// Returns the tree before the first frame.
    pub fn new(with_own_odometry: bool) -> Self {
        Self {
            with_own_odometry,
            map_from_world: None,
            odom_from_base: Se3::identity(),
            drift: Matrix6::zeros(),
            map_from_odom: None,
            last: None,
        }
    }

    /// Begins a new map; odometry goes on, since it must not jump.
    pub fn restart_map(&mut self) {
        self.map_from_world = None;
        self.map_from_odom = None;
        self.last = None;
    }

    /// Takes up a map that stands where somebody says; odometry goes on, since it must not jump.
    pub fn take_up_map(&mut self, map_from_world: Se3) {
        self.restart_map();
        self.map_from_world = Some(map_from_world);
    }

    /// Goes on in another world: one that stands where it stood, or one that begins where the robot is
    /// by the latest correction. Odometry goes on.
    pub fn change_map(&mut self, map_from_world: Option<Se3>) {
        self.map_from_world = map_from_world;
    }

    /// Returns the pipeline's world in the map, once there is a map.
    pub fn map_from_world(&self) -> Option<&Se3> {
        self.map_from_world.as_ref()
    }

    /// Returns the latest correction of odometry.
    pub fn map_from_odom(&self) -> Option<&Se3> {
        self.map_from_odom.as_ref()
    }

    /// Moves the map so that the robot is where somebody says; `false` before the first frame.
    pub fn set_pose(&mut self, map_from_base: &Se3) -> bool {
        let (Some(last), Some(map_from_world)) = (&mut self.last, &mut self.map_from_world) else {
            return false;
        };
        let new_from_old = map_from_base * last.map_from_base.inverse();
        *map_from_world = new_from_old * *map_from_world;
        last.map_from_base = *map_from_base;
        self.map_from_odom = self.map_from_odom.map(|old| new_from_old * old);
        true
    }

    /// Returns where everything is by now.
    pub fn update(&mut self, observed: &Observed) -> Placement {
        let held = self.map_from_odom.unwrap_or_else(Se3::identity);
        let map_from_world = *self.map_from_world.get_or_insert_with(|| {
            held * begin(observed, self.odom_from_base, self.with_own_odometry)
        });
        let camera_from_base = observed.base_from_camera.inverse();
        let map_from_base = map_from_world * observed.world_from_camera * camera_from_base;
        let frame_covariance = in_parent(&observed.covariance_in_world, &map_from_world);
        let map_covariance =
            frame_covariance + in_parent(&observed.keyframe_covariance_in_world, &map_from_world);
        let odometry = self
            .with_own_odometry
            .then(|| self.own_odometry(observed, &map_from_base, &frame_covariance));
        let odom_from_base =
            odometry.as_ref().map(|own| own.odom_from_base).or(observed.odom_from_base);
        let map_from_odom = odom_from_base.map(|odom| map_from_base * odom.inverse());
        self.map_from_odom = map_from_odom.or(self.map_from_odom);
        self.last = Some(Last {
            stamp: observed.stamp,
            base_from_camera: observed.base_from_camera,
            map_from_base,
        });
        Placement { stamp: observed.stamp, map_from_base, map_covariance, map_from_odom, odometry }
    }

    fn own_odometry(
        &mut self,
        observed: &Observed,
        map_from_base: &Se3,
        frame_covariance: &Matrix6<f64>,
    ) -> OwnOdometry {
        let motion = self.base_motion(observed);
        if let Some((previous_from_base, _)) = &motion {
            self.odom_from_base *= previous_from_base;
        }
        let odom_from_map = self.odom_from_base * map_from_base.inverse();
        let step = in_parent(frame_covariance, &odom_from_map);
        let covariance = self.drift + step;
        if observed.is_keyframe {
            self.drift = covariance;
        }
        let mut own = OwnOdometry {
            odom_from_base: self.odom_from_base,
            covariance,
            linear_m_per_sec: Vector3::zeros(),
            angular_rad_per_sec: Vector3::zeros(),
            twist_variance: [UNKNOWN_VARIANCE; 2],
        };
        if let Some((previous_from_base, elapsed_secs)) = motion {
            let twist = se3::log(&previous_from_base) / elapsed_secs;
            own.angular_rad_per_sec = twist.fixed_rows::<3>(0).into_owned();
            own.linear_m_per_sec = twist.fixed_rows::<3>(3).into_owned();
            own.twist_variance =
                twist_variance(&observed.covariance_in_world, observed, elapsed_secs);
        }
        own
    }

    /// The robot's motion since the last frame with a pose, and the seconds between.
    fn base_motion(&self, observed: &Observed) -> Option<(Se3, f64)> {
        let (last, previous_from_camera) = (self.last.as_ref()?, observed.previous_from_camera?);
        let previous_from_base =
            last.base_from_camera * previous_from_camera * observed.base_from_camera.inverse();
        let elapsed_secs = observed.stamp.secs_since(last.stamp);
        (elapsed_secs > 0.0).then_some((previous_from_base, elapsed_secs))
    }
}

/// The world in odom at the first frame: our own odometry begins with the map, and the map begins
/// where other odometry is, so that the first correction is none.
fn begin(observed: &Observed, own_odom_from_base: Se3, with_own_odometry: bool) -> Se3 {
    let odom_from_base = match with_own_odometry {
        true => own_odom_from_base,
        false => observed.odom_from_base.unwrap_or_else(Se3::identity),
    };
    odom_from_base * observed.base_from_camera * observed.world_from_camera.inverse()
}

/// Two poses make a velocity, so their variances add up.
fn twist_variance(covariance: &Matrix6<f64>, observed: &Observed, elapsed_secs: f64) -> [f64; 2] {
    let at_camera = in_parent(covariance, &observed.world_from_camera.inverse());
    let mean = |first: usize| (0..3).map(|i| at_camera[(first + i, first + i)]).sum::<f64>() / 3.0;
    let scale = 2.0 / (elapsed_secs * elapsed_secs);
    [(mean(3) + 1e-6) * scale, (mean(0) + 1e-6) * scale]
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use nalgebra::{Point3, UnitQuaternion};

    use super::*;

    /// A camera 0.2 m ahead of and 0.5 m above the base, looking forward.
    fn base_from_camera() -> Se3 {
        let rotation = UnitQuaternion::from_euler_angles(-FRAC_PI_2, 0.0, -FRAC_PI_2);
        Se3::from_parts(Vector3::new(0.2, 0.0, 0.5).into(), rotation)
    }

    fn observed(secs: f64, world_from_camera: Se3, previous: Option<Se3>) -> Observed {
        Observed {
            stamp: Stamp::from_secs(secs),
            world_from_camera,
            previous_from_camera: previous,
            base_from_camera: base_from_camera(),
            odom_from_base: None,
            covariance_in_world: Matrix6::identity() * 1e-6,
            keyframe_covariance_in_world: Matrix6::zeros(),
            is_keyframe: false,
        }
    }

    #[test]
    fn another_map_begins_where_the_robot_is_and_the_first_stands_where_it_stood() {
        let mut tree = FrameTree::new(false);
        let at = |secs: f64, world_from_camera: Se3, odom_x: f64| Observed {
            odom_from_base: Some(Se3::translation(odom_x, 0.0, 0.0)),
            ..observed(secs, world_from_camera, None)
        };
        let first = tree.update(&at(0.0, Se3::identity(), 1.0));
        // The map has found that odometry is 0.2 m short.
        let corrected = tree.update(&at(1.0, Se3::translation(0.0, 0.0, 1.2), 2.0));
        assert!((corrected.map_from_base.translation.x - 2.2).abs() < 1e-12);
        let map_from_world = *tree.map_from_world().unwrap();
        tree.change_map(None);
        let elsewhere = tree.update(&at(9.0, Se3::identity(), 5.0));
        assert!((elsewhere.map_from_base.translation.x - 5.2).abs() < 1e-12);
        tree.change_map(Some(map_from_world));
        let back = tree.update(&at(10.0, Se3::identity(), 6.0));
        let gap = back.map_from_base.inv_mul(&first.map_from_base);
        assert!(gap.translation.vector.norm() < 1e-12);
    }

    #[test]
    fn the_map_has_its_z_up_and_the_robot_drives_along_x() {
        let mut tree = FrameTree::new(true);
        let start = tree.update(&observed(0.0, Se3::identity(), None));
        assert!(
            (start.map_from_base.to_homogeneous() - Se3::identity().to_homogeneous()).norm()
                < 1e-12
        );
        // One metre along the optical axis is one metre along the robot's x.
        let ahead = Se3::translation(0.0, 0.0, 1.0);
        let moved = tree.update(&observed(0.5, ahead, Some(ahead)));
        assert!((moved.map_from_base.translation.vector - Vector3::x()).norm() < 1e-12);
        let own = moved.odometry.unwrap();
        assert!((own.linear_m_per_sec - Vector3::new(2.0, 0.0, 0.0)).norm() < 1e-9);
        // What the camera sees one metre below it, the map has one metre lower.
        let below = tree.map_from_world().unwrap() * Point3::new(0.0, 1.0, 0.0);
        assert!((below - Point3::new(0.2, 0.0, -0.5)).norm() < 1e-12, "{below}");
    }

    #[test]
    fn corrections_go_to_the_map_and_odometry_stays_smooth() {
        let mut tree = FrameTree::new(true);
        tree.update(&observed(0.0, Se3::identity(), None));
        let step = Se3::translation(0.0, 0.0, 0.1);
        // The map is corrected by one metre, while the camera moved by ten centimetres.
        let corrected = Se3::translation(1.0, 0.0, 0.1);
        let placed = tree.update(&observed(0.1, corrected, Some(step)));
        let odom_from_base = placed.odometry.as_ref().unwrap().odom_from_base;
        assert!((odom_from_base.translation.vector - Vector3::new(0.1, 0.0, 0.0)).norm() < 1e-12);
        let through_odom = placed.map_from_odom.unwrap() * odom_from_base;
        assert!(
            (through_odom.translation.vector - placed.map_from_base.translation.vector).norm()
                < 1e-12
        );
        assert!((placed.map_from_base.translation.y + 1.0).abs() < 1e-12);
    }

    #[test]
    fn with_other_odometry_only_the_correction_is_ours() {
        let mut tree = FrameTree::new(false);
        let odom = Se3::translation(5.0, 1.0, 0.0);
        let first = Observed { odom_from_base: Some(odom), ..observed(0.0, Se3::identity(), None) };
        let placed = tree.update(&first);
        assert!(placed.odometry.is_none());
        assert!(placed.map_from_odom.unwrap().translation.vector.norm() < 1e-12);
        // Odometry slips by 0.3 m; the camera says that the robot did not move.
        let slipped = Observed {
            odom_from_base: Some(Se3::translation(5.3, 1.0, 0.0)),
            ..observed(0.1, Se3::identity(), None)
        };
        let placed = tree.update(&slipped);
        assert!((placed.map_from_odom.unwrap().translation.x + 0.3).abs() < 1e-12);
        // Without odometry just now, there is no correction to publish.
        let without = tree.update(&observed(0.2, Se3::identity(), None));
        assert!(without.map_from_odom.is_none() && tree.map_from_odom().is_some());
    }

    #[test]
    fn uncertainty_of_odometry_grows_with_each_keyframe() {
        let mut tree = FrameTree::new(true);
        let mut last = 0.0;
        for index in 0..4 {
            let frame = Observed {
                is_keyframe: true,
                ..observed(f64::from(index), Se3::identity(), Some(Se3::identity()))
            };
            let own = tree.update(&frame).odometry.unwrap();
            assert!(own.covariance.trace() > last);
            last = own.covariance.trace();
        }
    }

    #[test]
    fn a_keyframe_that_is_loose_makes_the_pose_uncertain_but_not_odometry() {
        let mut tree = FrameTree::new(true);
        let firm = tree.update(&observed(0.0, Se3::identity(), None));
        let loose = tree.update(&Observed {
            keyframe_covariance_in_world: Matrix6::identity() * 1e-2,
            ..observed(0.1, Se3::identity(), Some(Se3::identity()))
        });
        assert!(loose.map_covariance.trace() > firm.map_covariance.trace() + 0.05);
        let odometry = |placed: Placement| placed.odometry.unwrap().covariance;
        assert!((odometry(loose) - odometry(firm)).norm() < 1e-9);
    }

    #[test]
    fn after_the_whole_map_was_searched_odometry_stands_still() {
        let mut tree = FrameTree::new(true);
        tree.update(&observed(0.0, Se3::identity(), None));
        let elsewhere = Se3::translation(3.0, 0.0, 0.0);
        let own = tree.update(&observed(1.0, elsewhere, None)).odometry.unwrap();
        assert!(own.odom_from_base.translation.vector.norm() < 1e-12);
        assert!(own.twist_variance[0] > 1e5);
    }

    #[test]
    fn a_map_that_is_taken_up_stays_where_it_is_and_odometry_goes_on() {
        let mut tree = FrameTree::new(true);
        tree.update(&observed(0.0, Se3::identity(), None));
        let ahead = Se3::translation(0.0, 0.0, 1.0);
        tree.update(&observed(0.5, ahead, Some(ahead)));
        let map_from_world = Se3::new(Vector3::new(4.0, 0.0, 1.0), Vector3::z() * FRAC_PI_2);
        tree.take_up_map(map_from_world);
        assert!(tree.map_from_odom().is_none(), "where the robot is in it is not known yet");
        let placed = tree.update(&observed(1.0, ahead, None));
        let expected = map_from_world * ahead * base_from_camera().inverse();
        let gap = placed.map_from_base.translation.vector - expected.translation.vector;
        assert!(gap.norm() < 1e-12, "{gap}");
        let moved = placed.odometry.unwrap().odom_from_base.translation.vector;
        assert!((moved - Vector3::x()).norm() < 1e-12);
    }

    #[test]
    fn an_initial_pose_moves_the_map_under_the_robot() {
        let mut tree = FrameTree::new(true);
        assert!(!tree.set_pose(&Se3::identity()));
        tree.update(&observed(0.0, Se3::identity(), None));
        let there = Se3::new(Vector3::new(2.0, 3.0, 0.0), Vector3::z() * FRAC_PI_2);
        assert!(tree.set_pose(&there));
        let placed = tree.update(&observed(0.1, Se3::identity(), Some(Se3::identity())));
        let gap = placed.map_from_base.translation.vector - there.translation.vector;
        assert!(gap.norm() < 1e-12);
    }
}
