//! COLMAP models, text and binary, against what was written and against COLMAP's conventions.

use std::collections::BTreeMap;
use std::path::Path;

use nalgebra::{Isometry3, Point3, Quaternion, Translation3, UnitQuaternion, Vector2, Vector3};
use recon_node::export::{
    ColmapFormat, Observation, SparseModel, SparsePoint, SparseView, write_colmap,
};
use recon_node::geometry::{Distortion, Intrinsics};

use crate::bytes::Bytes;

/// What a COLMAP model holds, by its numbers.
#[derive(Debug, Default, PartialEq)]
struct Model {
    /// Width, height, fx, fy, cx, cy.
    cameras: BTreeMap<u64, (u64, u64, Vec<f64>)>,
    images: BTreeMap<u64, Image>,
    points: BTreeMap<u64, Point>,
}

#[derive(Debug, PartialEq)]
struct Image {
    /// qw, qx, qy, qz, tx, ty, tz of camera from world.
    pose: Vec<f64>,
    camera: u64,
    name: String,
    /// x, y, number of the point.
    keypoints: Vec<(f64, f64, u64)>,
}

#[derive(Debug, PartialEq)]
struct Point {
    position: Vec<f64>,
    color: [u8; 3],
    error: f64,
    /// Number of the image, index of the keypoint.
    track: Vec<(u64, u64)>,
}

fn read_binary(folder: &Path) -> Model {
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let mut model = Model::default();
    let (cameras, images, points) = (read("cameras.bin"), read("images.bin"), read("points3D.bin"));
    let mut bytes = Bytes(&cameras);
    for _ in 0..bytes.u64() {
        let (id, kind) = (bytes.u32(), bytes.u32());
        assert_eq!(kind, 1);
        model.cameras.insert(id.into(), (bytes.u64(), bytes.u64(), bytes.numbers(4)));
    }
    assert!(bytes.0.is_empty());
    let mut bytes = Bytes(&images);
    for _ in 0..bytes.u64() {
        let id = bytes.u32();
        let (pose, camera, name) = (bytes.numbers(7), bytes.u32().into(), bytes.name());
        let count = bytes.u64();
        let keypoints = (0..count).map(|_| (bytes.f64(), bytes.f64(), bytes.u64())).collect();
        model.images.insert(id.into(), Image { pose, camera, name, keypoints });
    }
    assert!(bytes.0.is_empty());
    let mut bytes = Bytes(&points);
    for _ in 0..bytes.u64() {
        let (id, position) = (bytes.u64(), bytes.numbers(3));
        let color = [bytes.u8(), bytes.u8(), bytes.u8()];
        let (error, count) = (bytes.f64(), bytes.u64());
        let track = (0..count).map(|_| (bytes.u32().into(), bytes.u32().into())).collect();
        model.points.insert(id, Point { position, color, error, track });
    }
    assert!(bytes.0.is_empty());
    model
}

/// The lines of a text file that are no comment, as words.
fn lines(path: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().map(ToOwned::to_owned).collect()).collect()
}

fn number(word: &str) -> u64 {
    word.parse().unwrap()
}

fn numbers(words: &[String]) -> Vec<f64> {
    words.iter().map(|word| word.parse().unwrap()).collect()
}

fn read_text(folder: &Path) -> Model {
    let mut model = Model::default();
    for words in lines(&folder.join("cameras.txt")) {
        assert_eq!(words[1], "PINHOLE");
        let camera = (number(&words[2]), number(&words[3]), numbers(&words[4..]));
        model.cameras.insert(number(&words[0]), camera);
    }
    for pair in lines(&folder.join("images.txt")).chunks_exact(2) {
        let [words, keypoints] = pair else { unreachable!() };
        let (pose, camera) = (numbers(&words[1..8]), number(&words[8]));
        let keypoint = |words: &[String]| (numbers(words)[0], numbers(words)[1], number(&words[2]));
        let keypoints = keypoints.chunks_exact(3).map(keypoint).collect();
        let image = Image { pose, camera, name: words[9].clone(), keypoints };
        model.images.insert(number(&words[0]), image);
    }
    for words in lines(&folder.join("points3D.txt")) {
        let color = [4, 5, 6].map(|i| words[i].parse().unwrap());
        let pairs = words[8..].chunks_exact(2);
        let track = pairs.map(|pair| (number(&pair[0]), number(&pair[1]))).collect();
        let (position, error) = (numbers(&words[1..4]), numbers(&words[7..8])[0]);
        model.points.insert(number(&words[0]), Point { position, color, error, track });
    }
    model
}

fn view(name: &str, place: [f64; 3], turn: [f64; 3]) -> SparseView {
    let rotation = UnitQuaternion::from_scaled_axis(Vector3::from(turn));
    let [x, y, z] = place;
    SparseView {
        name: name.into(),
        width: 640,
        height: 480,
        intrinsics: Intrinsics { fx: 500.0, fy: 510.25, cx: 319.5, cy: 239.25 },
        distortion: Distortion::None,
        world_from_camera: Isometry3::from_parts(Translation3::new(x, y, z), rotation),
    }
}

/// Two views of three points, of which the second sees two.
fn scene() -> SparseModel {
    let mut model = SparseModel {
        views: vec![
            view("a.jpg", [0.0; 3], [0.0; 3]),
            view("sub/b.png", [0.4, -0.1, 0.2], [0.05, -0.2, 0.1]),
        ],
        points: Vec::new(),
    };
    let points = [([0.1, 0.2, 3.0], 2), ([-0.5, 0.1, 2.0], 1), ([0.3, -0.4, 4.0], 2)];
    for (index, (position, seen_by)) in points.into_iter().enumerate() {
        let point_in_world = Point3::from(position);
        let observe = |view: usize| {
            let (k, at) = (&model.views[view].intrinsics, &model.views[view].world_from_camera);
            let p = at.inverse() * point_in_world;
            let pixel = Vector2::new(k.fx * p.x / p.z + k.cx, k.fy * p.y / p.z + k.cy);
            Observation { view, pixel }
        };
        let observations = (0..seen_by).map(observe).collect();
        let color = [index as u8, 100, 255];
        model.points.push(SparsePoint { point_in_world, color, observations });
    }
    model
}

fn written(model: &SparseModel, format: ColmapFormat) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse/0");
    write_colmap(&path, model, format).unwrap();
    match format {
        ColmapFormat::Text => read_text(&path),
        ColmapFormat::Binary => read_binary(&path),
    }
}

#[test]
fn text_and_binary_hold_the_same() {
    let model = scene();
    let (text, binary) =
        (written(&model, ColmapFormat::Text), written(&model, ColmapFormat::Binary));
    assert_eq!(text, binary);
    assert_eq!((binary.cameras.len(), binary.images.len(), binary.points.len()), (2, 2, 3));
    assert_eq!(binary.images[&2].name, "sub/b.png");
    assert_eq!(binary.points[&3].color, [2, 100, 255]);
}

#[test]
fn the_first_pixel_has_its_centre_at_a_half() {
    let model = written(&scene(), ColmapFormat::Binary);
    assert_eq!(model.cameras[&1], (640, 480, vec![500.0, 510.25, 320.0, 239.75]));
}

#[test]
fn poses_take_points_to_where_they_are_seen() {
    let scene = scene();
    let model = written(&scene, ColmapFormat::Binary);
    let mut checked = 0;
    for image in model.images.values() {
        let [w, x, y, z, tx, ty, tz] = image.pose[..] else { unreachable!() };
        let rotation = UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z));
        let camera = &model.cameras[&image.camera].2;
        for &(u, v, id) in &image.keypoints {
            let p = &model.points[&id].position;
            let p = rotation * Vector3::new(p[0], p[1], p[2]) + Vector3::new(tx, ty, tz);
            assert!((camera[0] * p.x / p.z + camera[2] - u).abs() < 1e-9);
            assert!((camera[1] * p.y / p.z + camera[3] - v).abs() < 1e-9);
            checked += 1;
        }
    }
    assert_eq!(checked, 5);
}

#[test]
fn tracks_and_keypoints_point_at_one_another() {
    let model = written(&scene(), ColmapFormat::Binary);
    for (id, point) in &model.points {
        assert!(point.error < 1e-9);
        for (image, place) in &point.track {
            assert_eq!(model.images[image].keypoints[*place as usize].2, *id);
        }
    }
    assert_eq!(model.points[&2].track, [(1, 1)]);
    assert_eq!(model.points[&3].track, [(1, 2), (2, 1)]);
}

#[test]
fn the_error_is_the_distance_between_seen_and_computed() {
    let mut scene = scene();
    scene.points[1].observations[0].pixel += Vector2::new(3.0, -4.0);
    assert!((written(&scene, ColmapFormat::Text).points[&2].error - 5.0).abs() < 1e-9);
}

#[test]
fn a_name_that_cannot_be_read_back_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = scene();
    scene.views[0].name = "my image.jpg".into();
    let message = write_colmap(folder.path(), &scene, ColmapFormat::Text).unwrap_err().to_string();
    assert!(message.contains("'my image.jpg'") && message.contains("binary"), "{message}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(written(&scene, ColmapFormat::Binary).images[&1].name, "my image.jpg");
}

#[test]
fn an_observation_in_no_view_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = scene();
    scene.points[0].observations[1].view = 2;
    let message = write_colmap(folder.path(), &scene, ColmapFormat::Text).unwrap_err().to_string();
    assert!(message.contains("view of an observation"), "{message}");
}
