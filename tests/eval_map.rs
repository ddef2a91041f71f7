//! Maps and trajectories that leave nothing, or little, to judge.

#![expect(clippy::unwrap_used, reason = "a test that fails says where")]

use nalgebra::Point3;
use recon_node::cloud::PointCloud;
use recon_node::error::Error;
use recon_node::evaluation::{IcpModel, MapMetrics, MapOptions, evaluate_map, evaluate_trajectory};
use recon_node::geometry::{GeometryError, Se3, Sim3};
use recon_node::stamp::Stamp;
use recon_node::trajectory::{StampedPose, Trajectory};

fn cloud(points: impl Iterator<Item = [f32; 3]>) -> PointCloud {
    PointCloud { points: points.map(Point3::from).collect(), colors: Vec::new() }
}

/// A floor and a wall of 1 m², points 2 cm apart, moved by `offset` metres along x.
fn corner(offset: f32) -> PointCloud {
    let grid = (0..2500).map(|i| (0.02 * (i % 50) as f32, 0.02 * (i / 50) as f32));
    let floor = grid.clone().map(move |(a, b)| [a + offset, b, 0.0]);
    cloud(floor.chain(grid.map(move |(a, b)| [offset, a, b])))
}

fn judged(map: &PointCloud, icp: Option<IcpModel>) -> MapMetrics {
    let options = MapOptions { icp, ..MapOptions::default() };
    evaluate_map(map, &corner(0.0), &Sim3::identity(), &options).unwrap()
}

fn walk(count: i64, position: impl Fn(f64) -> [f64; 3]) -> Trajectory {
    let pose = |i: i64| {
        let [x, y, z] = position(i as f64 * 0.1);
        let stamp = Stamp::from_nanos(i * 100_000_000);
        StampedPose { stamp, world_from_camera: Se3::translation(x, y, z) }
    };
    Trajectory::new((0..count).map(pose).collect())
}

#[test]
fn a_map_that_is_the_surface_is_perfect() {
    let metrics = judged(&corner(0.0), None);
    let distances = metrics.aligned.distances.unwrap();
    assert!(distances.chamfer_cm < 1e-9 && distances.fscore > 1.0 - 1e-12);
    assert!(metrics.aligned.map_inside_box > 1.0 - 1e-12 && metrics.refined.is_none());
}

#[test]
fn icp_takes_a_shift_out_and_leaves_the_shape() {
    let metrics = judged(&corner(0.03), Some(IcpModel::Rigid));
    let shifted = metrics.aligned.distances.unwrap();
    let refined = metrics.refined.unwrap().distances.unwrap();
    assert!(shifted.chamfer_cm > 0.8, "{shifted:?}");
    assert!(refined.chamfer_cm < 0.6 * shifted.chamfer_cm, "{refined:?} {shifted:?}");
}

#[test]
fn a_map_elsewhere_has_no_distances() {
    let metrics = judged(&corner(100.0), Some(IcpModel::Similarity));
    assert_eq!(metrics.aligned.distances, None);
    assert_eq!(metrics.aligned.entries(), [("map_inside_box", 0.0)]);
    assert_eq!(metrics.refined.unwrap().distances, None);
}

#[test]
fn a_map_without_a_finite_point_is_an_error() {
    let none = cloud([[f32::NAN, 0.0, 0.0], [0.0, f32::INFINITY, 0.0]].into_iter());
    let options = MapOptions::default();
    for (map, surface) in [(&none, &corner(0.0)), (&corner(0.0), &none)] {
        let error = evaluate_map(map, surface, &Sim3::identity(), &options).unwrap_err();
        assert!(matches!(error, Error::TooFewCorrespondences { got: 0, .. }), "{error}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let map = corner(0.013);
    let with_threads = |count: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        let metrics = pool.install(|| judged(&map, Some(IcpModel::Similarity)));
        serde_json::to_string(&metrics).unwrap()
    };
    assert_eq!(with_threads(1), with_threads(4));
}

#[test]
fn less_than_a_second_has_no_error_over_a_second() {
    let walk = walk(8, |t| [t, t * t, 0.0]);
    let metrics = evaluate_trajectory(&walk, &walk, None, 0.02).unwrap().metrics;
    assert_eq!((metrics.rpe1s_t_se3, metrics.rpe1s_rot_deg), (None, None));
    assert!(metrics.ate_se3 < 1e-12 && metrics.matched == 8);
}

#[test]
fn a_straight_walk_cannot_be_aligned() {
    let (straight, bent) = (walk(30, |t| [t, 0.0, 0.0]), walk(30, |t| [t, t * t, 0.0]));
    for (estimate, reference) in [(&straight, &bent), (&bent, &straight)] {
        let error = evaluate_trajectory(estimate, reference, None, 0.02).unwrap_err();
        assert!(matches!(error, Error::Geometry(GeometryError::Degenerate { .. })), "{error}");
    }
}

#[test]
fn a_pose_that_is_not_a_number_is_an_error() {
    let bad = walk(30, |t| [if t > 1.0 { f64::NAN } else { t }, t * t, 0.0]);
    assert!(evaluate_trajectory(&bad, &walk(30, |t| [t, t * t, 0.0]), None, 0.02).is_err());
}
