//! Maps for other programs: written, read back, and held against the simulated world's truth.

use std::collections::BTreeMap;
use std::io::Read;

use nalgebra::{Matrix6, Point3, Vector3, Vector6};
use recon_node::cloud::{PointCloud, SurfaceCloud};
use recon_node::config::Config;
use recon_node::constraint::Constraint;
use recon_node::export::{
    Array, Values, g2o_information, read_ply, sparse_model, write_g2o, write_kitti, write_las,
    write_mesh_ply, write_npz, write_occupancy, write_surface_pcd, write_surface_ply,
};
use recon_node::geometry::{Se3, se3};
use recon_node::inference::ReconstructionModel;
use recon_node::inference::View;
use recon_node::keyframe::{Keyframe, KeyframeId};
use recon_node::map::{GlobalMap, MapConfig, Occupancy, OccupancyConfig, OccupancyGrid};
use recon_node::model::SensorDepth;
use recon_node::pipeline::{GeoReference, PreparedFrame, prepare};
use recon_node::simulator::{Simulator, SimulatorConfig};
use recon_node::stamp::Stamp;
use recon_node::trajectory::{StampedPose, Trajectory};
use recon_node::viz::{upright_direction, upright_from_world};

/// The furnished room from a round's keyframes at their true poses; its world has z up.
fn room() -> (Simulator, GlobalMap) {
    let config = SimulatorConfig { width: 160, height: 120, ..Default::default() };
    let mut simulator = Simulator::new(config.noise_free()).unwrap();
    let mut map = GlobalMap::default();
    let config = Config::default();
    for (id, index) in (0..600).step_by(20).enumerate() {
        let frame = simulator.render(index).unwrap();
        let PreparedFrame { frame, camera, pyramid, .. } = prepare(&frame, &config).unwrap();
        let mut model = SensorDepth::new(config.sensor.clone());
        let view = View::measured(&frame);
        let pointmap = model.infer(&[view]).unwrap().views.remove(0).pointmap;
        let (id, world_from_camera) = (KeyframeId(id as u32), simulator.true_pose(index));
        map.insert(Keyframe { id, frame, camera, pyramid, pointmap, world_from_camera });
    }
    (simulator, map)
}

fn surface(map: &GlobalMap) -> SurfaceCloud {
    map.surface(&MapConfig::default(), |_, _| true).0
}

fn all(_: &Vector3<f32>, _: f32) -> bool {
    true
}

fn in_folder<T>(work: impl FnOnce(&std::path::Path) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    work(folder.path())
}

#[test]
fn filters_keep_what_they_say_and_normals_face_the_camera() {
    let (_, map) = room();
    let config = MapConfig { voxel_size_m: 0.05, ..MapConfig::default() };
    let (whole, _) = map.surface(&config, all);
    let (near, _) = map.surface(&config, |point, _| point.norm() < 2.0);
    let (sure, _) = map.surface(&config, |_, confidence| confidence > 5e3);
    assert!(near.cloud.len() < whole.cloud.len() && sure.cloud.len() < whole.cloud.len());
    assert!(near.cloud.len() > 500 && sure.cloud.len() > 500);
    let cameras: Vec<_> = map.keyframes().map(|k| k.world_from_camera.translation.vector).collect();
    let nearest_m = |p: &Point3<f32>| {
        cameras.iter().map(|c| (p.coords.cast() - c).norm()).fold(f64::INFINITY, f64::min)
    };
    assert!(near.cloud.points.iter().all(|p| nearest_m(p) < 2.1));
    // The floor faces up, as far as its normals are known.
    let floor = whole
        .cloud
        .points
        .iter()
        .zip(&whole.normals)
        .filter(|(p, n)| p.z.abs() < 0.02 && n.norm() > 0.5);
    let (up, count) =
        floor.fold((0, 0), |(up, n), (_, normal)| (up + usize::from(normal.z > 0.9), n + 1));
    assert!(count > 500 && up as f64 > 0.9 * f64::from(count), "{up} of {count} face up");
}

#[test]
fn surfaces_come_back_from_ply_and_pcd() {
    let surface = SurfaceCloud {
        cloud: PointCloud {
            points: vec![Point3::new(1.0, -2.0, 0.5), Point3::new(0.0, 0.25, 3.0)],
            colors: vec![[1, 2, 3], [255, 0, 9]],
        },
        normals: vec![Vector3::x(), -Vector3::z()],
        confidence: vec![100.0, 2.5],
    };
    in_folder(|folder| {
        let ply = folder.join("a.ply");
        write_surface_ply(&ply, &surface).unwrap();
        assert_eq!(read_ply(&ply).unwrap(), surface.cloud);
        let bytes = std::fs::read(&ply).unwrap();
        let last: Vec<f32> = bytes[bytes.len() - 16..]
            .chunks(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert_eq!(last, [0.0, 0.0, -1.0, 2.5]);
        let pcd = folder.join("a.pcd");
        write_surface_pcd(&pcd, &surface).unwrap();
        let bytes = std::fs::read(&pcd).unwrap();
        let end = bytes.windows(12).position(|w| w == b"DATA binary\n").unwrap() + 12;
        let header = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let fields = "FIELDS x y z rgb normal_x normal_y normal_z confidence\n";
        assert!(header.contains(fields), "{header}");
        assert_eq!((bytes.len() - end, &bytes[bytes.len() - 16..]), (64, &ply_tail(&ply)[..]));
        let odd = SurfaceCloud { confidence: vec![], ..surface.clone() };
        assert!(write_surface_ply(&ply, &odd).is_err() && write_surface_pcd(&pcd, &odd).is_err());
    });
}

fn ply_tail(path: &std::path::Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    bytes[bytes.len() - 16..].to_vec()
}

#[test]
fn las_is_read_by_its_own_library() {
    let cloud = PointCloud {
        points: vec![Point3::new(1.0, -2.0, 0.5), Point3::new(0.0, 0.25, 3.0)],
        colors: vec![[1, 2, 3], [255, 0, 9]],
    };
    in_folder(|folder| {
        for cloud in [cloud.clone(), PointCloud { colors: vec![], ..cloud.clone() }] {
            let path = folder.join("a.las");
            write_las(&path, &cloud, None).unwrap();
            let mut reader = las::Reader::from_path(&path).unwrap();
            let data = reader.read_all().unwrap();
            let points: Vec<las::Point> = data.points().map(Result::unwrap).collect();
            assert_eq!(points.len(), cloud.len());
            for (index, (found, put)) in points.iter().zip(&cloud.points).enumerate() {
                let found_at = Point3::new(found.x, found.y, found.z);
                assert!((found_at - put.cast::<f64>()).norm() < 1e-4);
                let color = found.color.map(|c| [c.red, c.green, c.blue].map(|v| (v / 257) as u8));
                assert_eq!(color, cloud.colors.get(index).copied());
            }
        }
    });
}

/// Munich: PROJ puts the origin at 691567.326 E, 5334734.330 N of zone 32, whose north is 1.918 degrees
/// off there.
#[test]
fn a_map_with_a_place_on_earth_is_in_utm_coordinates_and_says_so() {
    let cloud = PointCloud {
        points: vec![Point3::origin(), Point3::new(0.0, 100.0, 2.0)],
        colors: vec![[1, 2, 3]; 2],
    };
    let munich = GeoReference {
        latitude_deg: 48.137,
        longitude_deg: 11.575,
        altitude_m: 519.0,
        heading_deg: 90.0,
    };
    in_folder(|folder| {
        let path = folder.join("a.las");
        write_las(&path, &cloud, Some(&munich)).unwrap();
        let mut reader = las::Reader::from_path(&path).unwrap();
        let crs = reader.header().get_geotiff_crs().unwrap().unwrap();
        let zone = crs.entries.iter().find(|entry| entry.id == 3072).unwrap();
        assert_eq!(format!("{:?}", zone.data), "U16(32632)");
        let data = reader.read_all().unwrap();
        let points: Vec<las::Point> = data.points().map(Result::unwrap).collect();
        let at = |p: &las::Point| Point3::new(p.x, p.y, p.z);
        let origin = Point3::new(691_567.326, 5_334_734.330, 519.0);
        assert!((at(&points[0]) - origin).norm() < 2e-3, "{:?}", points[0]);
        // East, which the plane shows turned by its north's own direction.
        let turn = 1.918_293_f64.to_radians();
        let east = 100.0 * 1.000_051 * Vector3::new(turn.cos(), turn.sin(), 0.0);
        let expected = origin + east + Vector3::z() * 2.0;
        assert!((at(&points[1]) - expected).norm() < 3e-3, "{:?} for {expected}", points[1]);
        let pole = GeoReference { latitude_deg: 89.0, ..munich };
        let message = write_las(&path, &cloud, Some(&pole)).unwrap_err().to_string();
        assert!(message.contains("UTM") && message.contains("PLY"), "{message}");
    });
}

#[test]
fn arrays_are_laid_out_as_numpy_wants() {
    let array = Array { name: "a", shape: vec![2, 3], values: Values::F32(vec![0.5; 6]) };
    in_folder(|folder| {
        let path = folder.join("a.npz");
        write_npz(&path, std::slice::from_ref(&array)).unwrap();
        let mut zip = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
        let mut bytes = Vec::new();
        zip.by_name("a.npy").unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + length) % 64, 0);
        let header = String::from_utf8(bytes[10..10 + length].to_vec()).unwrap();
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3,), }";
        assert!(header.starts_with(text) && header.ends_with('\n'), "{header}");
        assert_eq!(bytes.len(), 10 + length + 24);
        let wrong = Array { shape: vec![5], ..array };
        assert!(write_npz(&path, &[wrong]).is_err());
    });
}

/// The squared error that g2o makes of an edge (`z⁻¹ ẑ`, quaternion's vector part) is ours.
#[test]
fn information_in_a_pose_graph_means_the_same_to_g2o() {
    let target_from_source = se3::exp(&Vector6::new(0.3, -0.8, 0.5, 1.0, 2.0, -0.7));
    let mixed = Matrix6::from_fn(|r, c| 1.0 / (1.0 + r as f64 + 2.0 * c as f64));
    let information = mixed.transpose() * mixed + Matrix6::identity();
    let (target, source) = (KeyframeId(3), KeyframeId(7));
    let edge = Constraint { target, source, target_from_source, information };
    let xi = 1e-5 * Vector6::new(1.0, -2.0, 0.5, 0.7, 1.5, -0.4);
    let moved = se3::exp(&xi) * target_from_source;
    let error = target_from_source.inverse() * moved;
    let (t, q) = (error.translation.vector, error.rotation.coords);
    let theirs = Vector6::new(t.x, t.y, t.z, q.x, q.y, q.z);
    let ours = (xi.transpose() * information * xi)[0];
    let found = (theirs.transpose() * g2o_information(&edge) * theirs)[0];
    assert!((found / ours - 1.0).abs() < 1e-4, "{found}, {ours}");
    in_folder(|folder| {
        let path = folder.join("graph.g2o");
        let poses = [(target, Se3::identity()), (source, target_from_source)];
        let stray = Constraint { source: KeyframeId(9), ..edge };
        write_g2o(&path, &poses, &[edge, stray]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let words: Vec<Vec<&str>> = text.lines().map(|l| l.split(' ').collect()).collect();
        assert_eq!(words.iter().map(Vec::len).collect::<Vec<_>>(), [9, 9, 31]);
        assert_eq!(words[2][..3], ["EDGE_SE3:QUAT", "3", "7"]);
        assert_eq!(words[2][10].parse::<f64>().unwrap(), g2o_information(&edge)[(0, 0)]);
    });
}

#[test]
fn kitti_has_the_rows_of_each_pose() {
    let pose = se3::exp(&Vector6::new(0.1, 0.2, 0.3, 1.0, 2.0, 3.0));
    let stamped = StampedPose { stamp: Stamp::from_nanos(1_500_000_000), world_from_camera: pose };
    in_folder(|folder| {
        let (path, times) = (folder.join("a.kitti"), folder.join("a.times"));
        write_kitti(&path, &times, &Trajectory::new(vec![stamped])).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let numbers: Vec<f64> = text.split_whitespace().map(|w| w.parse().unwrap()).collect();
        let matrix = pose.to_homogeneous();
        let expected = (0..12).map(|i| matrix[(i / 4, i % 4)]);
        assert!(
            numbers.len() == 12 && numbers.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-8)
        );
        assert_eq!(std::fs::read_to_string(&times).unwrap(), "1.500000\n");
    });
}

#[test]
fn a_model_for_colmap_has_points_that_lie_where_they_are_seen() {
    let (_, map) = room();
    let model = sparse_model(&map, &MapConfig::default(), &Default::default(), all);
    assert!(model.views.len() == map.len() && model.points.len() > 1000);
    let errors: Vec<f64> = model.points.iter().map(|p| model.reprojection_error_px(p)).collect();
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    assert!(mean > 0.01 && mean < 1.0, "mean reprojection error {mean} px");
    assert!(model.points.iter().all(|point| {
        let views: Vec<usize> = point.observations.iter().map(|o| o.view).collect();
        views.len() >= 2 && views.is_sorted_by(|a, b| a < b)
    }));
}

#[test]
fn a_mesh_lies_on_the_surface_faces_inward_and_comes_back() {
    let (simulator, map) = room();
    let mesh = map.mesh(&MapConfig::default(), 0.04, &Default::default(), all);
    assert!(mesh.vertices.len() > 10_000 && mesh.triangles.len() > mesh.vertices.len());
    let mut distances: Vec<f64> =
        mesh.vertices.points.iter().map(|p| simulator.distance_to_surface_m(&p.cast())).collect();
    distances.sort_by(f64::total_cmp);
    let (median, late) = (distances[distances.len() / 2], distances[distances.len() * 95 / 100]);
    assert!(median < 0.006 && late < 0.04, "median {median} m, 95 % {late} m");
    // Hardly an edge has more than two triangles, and none more than four.
    let mut edges: BTreeMap<[u32; 2], usize> = BTreeMap::new();
    for [a, b, c] in &mesh.triangles {
        for (from, to) in [(a, b), (b, c), (c, a)] {
            *edges.entry([*from.min(to), *from.max(to)]).or_default() += 1;
        }
    }
    let crowded = edges.values().filter(|&&n| n > 2).count();
    assert!(crowded < edges.len() / 50, "{crowded} of {} edges", edges.len());
    let floor: Vec<_> =
        mesh.vertices.points.iter().zip(&mesh.normals).filter(|(p, _)| p.z.abs() < 0.01).collect();
    let up = floor.iter().filter(|(_, n)| n.z > 0.9).count();
    assert!(floor.len() > 300 && up * 10 > floor.len() * 9, "{up} of {}", floor.len());
    in_folder(|folder| {
        let path = folder.join("mesh.ply");
        write_mesh_ply(&path, &mesh).unwrap();
        assert_eq!(read_ply(&path).unwrap(), mesh.vertices);
        let faces = mesh.triangles.len() * 13;
        let bytes = std::fs::read(&path).unwrap();
        let last = &bytes[bytes.len() - 12..];
        let corners = mesh.triangles[mesh.triangles.len() - 1].map(u32::to_le_bytes).concat();
        assert!(bytes.len() > faces && last == corners);
    });
}

/// The world of a map is that of its first camera, which may have looked at the floor.
#[test]
fn a_map_that_begins_tilted_stands_upright_and_its_plan_is_that_of_the_level_one() {
    let (_, level) = room();
    let tilted_from_level = Se3::new(Vector3::zeros(), Vector3::new(0.55, -0.3, 0.9));
    let mut map = level.clone();
    let turned = level.keyframes().map(|k| (k.id, tilted_from_level * k.world_from_camera));
    map.set_poses(&turned.collect());
    let pose =
        |k: &Keyframe| StampedPose { stamp: k.frame.stamp, world_from_camera: k.world_from_camera };
    let about = upright_direction(&Trajectory::new(map.keyframes().map(pose).collect()));
    let up = map.up(&about);
    let off_deg = up.angle(&(tilted_from_level * Vector3::z())).to_degrees();
    assert!(off_deg < 0.5, "{off_deg} degrees off");

    let upright = upright_from_world(&up);
    let righted = map.keyframes().map(|k| (k.id, upright * k.world_from_camera)).collect();
    map.set_poses(&righted);
    let [plan, expected] = [&map, &level]
        .map(|map| map.occupancy(&surface(map), &OccupancyConfig::default()).unwrap());
    let free = |plan: &OccupancyGrid| plan.cells.iter().filter(|c| **c == Occupancy::Free).count();
    assert!((plan.floor_m - expected.floor_m).abs() < 0.03, "the floor is at {}", plan.floor_m);
    let share = free(&plan) as f64 / free(&expected) as f64;
    assert!((0.97..1.03).contains(&share), "{share} of the free cells");
}

#[test]
fn a_plan_is_free_where_the_camera_went_and_occupied_where_things_are() {
    let (simulator, map) = room();
    let grid = map.occupancy(&surface(&map), &OccupancyConfig::default()).unwrap();
    assert!(grid.floor_m.abs() < 0.03, "the floor is at {} m", grid.floor_m);
    let at = |x: f64, y: f64| grid.index(x, y).map(|i| grid.cells[i]);
    let count = |what| grid.cells.iter().filter(|c| **c == what).count();
    assert!(count(Occupancy::Unknown) > 0 && count(Occupancy::Free) > count(Occupancy::Occupied));
    // In the middle of a free cell nothing is near, in an occupied one something is.
    let heights = [0.15, 0.4, 0.7, 1.0, 1.3];
    let clear_m = |x: f64, y: f64| {
        heights
            .map(|z| simulator.distance_to_surface_m(&Point3::new(x, y, z)))
            .into_iter()
            .fold(f64::INFINITY, f64::min)
    };
    let (mut wrong, mut seen) = ([0; 2], [0; 2]);
    for (index, cell) in grid.cells.iter().enumerate() {
        let x = grid.origin_m[0] + (index % grid.width) as f64 * grid.cell_size_m + 0.025;
        let y = grid.origin_m[1] + (index / grid.width) as f64 * grid.cell_size_m + 0.025;
        match cell {
            Occupancy::Occupied => {
                (wrong[0], seen[0]) = (wrong[0] + usize::from(clear_m(x, y) > 0.3), seen[0] + 1);
            }
            Occupancy::Free => {
                (wrong[1], seen[1]) = (wrong[1] + usize::from(clear_m(x, y) < 0.01), seen[1] + 1);
            }
            Occupancy::Unknown => {}
        }
    }
    assert!(wrong[0] * 50 <= seen[0], "{} of {} occupied cells are empty", wrong[0], seen[0]);
    // What is thinner than a pixel of this small camera, such as a leg, is seen through.
    assert!(wrong[1] * 25 <= seen[1], "{} of {} free cells are not", wrong[1], seen[1]);
    assert_eq!(at(1e3, 0.0), None);
    in_folder(|folder| {
        let yaml = folder.join("plan.yaml");
        write_occupancy(&yaml, &grid).unwrap();
        let text = std::fs::read_to_string(&yaml).unwrap();
        assert!(
            text.contains("image: plan.pgm\n") && text.contains("resolution: 0.05\n"),
            "{text}"
        );
        let picture = std::fs::read(folder.join("plan.pgm")).unwrap();
        let header = format!("P5\n{} {}\n255\n", grid.width, grid.height);
        assert!(picture.starts_with(header.as_bytes()));
        assert_eq!(picture.len(), header.len() + grid.cells.len());
        // The last row of the picture is the first of the grid.
        let (row, free) = (&picture[picture.len() - grid.width..], 254);
        let same =
            |(shade, cell): (&u8, &Occupancy)| (*shade == free) == (*cell == Occupancy::Free);
        assert!(row.iter().zip(&grid.cells).all(same));
    });
}

#[test]
fn a_map_without_a_floor_asks_for_it() {
    let (_, map) = room();
    let lifted = SurfaceCloud::default();
    let message = map.occupancy(&lifted, &OccupancyConfig::default()).unwrap_err().to_string();
    assert!(message.contains("--floor"), "{message}");
}
