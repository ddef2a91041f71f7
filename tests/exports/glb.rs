//! glTF files: header, description, points and triangles.

use std::path::Path;

use nalgebra::{Isometry3, Matrix4, Point3, Translation3, UnitQuaternion, Vector3, Vector4};
use recon_node::cloud::PointCloud;
use recon_node::error::Result;
use recon_node::export::{PlacedCamera, ViewPoints, write_glb, write_mesh_glb};
use recon_node::geometry::Intrinsics;
use recon_node::map::TriangleMesh;
use serde_json::Value;

use crate::bytes::Bytes;

/// The description and the points of a file, whose frame is checked.
fn read_back(views: &[ViewPoints]) -> (Value, Vec<u8>) {
    written(|path| write_glb(path, views))
}

fn written(write: impl Fn(&Path) -> Result<()>) -> (Value, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("points.glb");
    write(&path).unwrap();
    let file = std::fs::read(&path).unwrap();
    let mut bytes = Bytes(&file);
    assert_eq!(bytes.take(4), b"glTF");
    assert_eq!((bytes.u32(), bytes.u32() as usize), (2, file.len()));
    let json_len = bytes.u32() as usize;
    assert_eq!((json_len % 4, bytes.take(4)), (0, b"JSON".as_slice()));
    let json = serde_json::from_slice(bytes.take(json_len)).unwrap();
    if bytes.0.is_empty() {
        return (json, Vec::new());
    }
    let binary_len = bytes.u32() as usize;
    assert_eq!((binary_len % 4, bytes.take(4)), (0, b"BIN\0".as_slice()));
    assert_eq!(binary_len, bytes.0.len());
    (json, bytes.0.to_vec())
}

/// The bytes of an accessor.
fn accessor<'a>(json: &Value, buffer: &'a [u8], index: &Value) -> (Value, Bytes<'a>) {
    let accessor = json["accessors"][index.as_u64().unwrap() as usize].clone();
    let view = &json["bufferViews"][accessor["bufferView"].as_u64().unwrap() as usize];
    let at = |key: &str| view[key].as_u64().unwrap() as usize;
    let (offset, len) = (at("byteOffset"), at("byteLength"));
    assert_eq!(offset % 4, 0);
    (accessor, Bytes(&buffer[offset..offset + len]))
}

fn view(name: &str, points: &[[f32; 3]], colors: &[[u8; 3]]) -> ViewPoints {
    let points = points.iter().map(|p| Point3::from(*p)).collect();
    let cloud = PointCloud { points, colors: colors.to_vec() };
    ViewPoints { name: name.into(), cloud, camera: None }
}

#[test]
fn points_and_colours_come_back() {
    let points = [[1.0, 2.0, 3.0], [-0.5, 0.25, 9.0], [0.1, 7.0, -2.0]];
    let views = [
        view("a", &points, &[[255, 0, 128], [1, 2, 3], [10, 20, 30]]),
        view("b", &points[..1], &[]),
    ];
    let (json, buffer) = read_back(&views);
    assert_eq!(json["asset"]["version"], "2.0");
    assert_eq!(json["buffers"][0]["byteLength"], buffer.len());
    let primitive = &json["meshes"][0]["primitives"][0];
    assert_eq!(primitive["mode"], 0);
    let (positions, mut bytes) = accessor(&json, &buffer, &primitive["attributes"]["POSITION"]);
    assert_eq!((&positions["componentType"], &positions["count"]), (&5126.into(), &3.into()));
    let found: Vec<[f32; 3]> = (0..3).map(|_| [bytes.f32(), bytes.f32(), bytes.f32()]).collect();
    assert_eq!(found, points);
    assert_eq!(positions["min"], serde_json::json!([-0.5, 0.25, -2.0]));
    assert_eq!(positions["max"], serde_json::json!([1.0, 7.0, 9.0]));
    let (colors, mut bytes) = accessor(&json, &buffer, &primitive["attributes"]["COLOR_0"]);
    assert_eq!((&colors["type"], &colors["componentType"]), (&"VEC3".into(), &5126.into()));
    // Half of the values is a fifth of the light.
    assert_eq!([bytes.f32(), bytes.f32()], [1.0, 0.0]);
    assert!((bytes.f32() - 0.215_860_5).abs() < 1e-6);
    assert!((bytes.f32() - 1.0 / 255.0 / 12.92).abs() < 1e-9);
    assert!(json["meshes"][1]["primitives"][0]["attributes"].get("COLOR_0").is_none());
}

#[test]
fn triangles_come_back() {
    let points = [[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]];
    let vertices = view("", &points, &[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]).cloud;
    let triangles = vec![[0, 1, 2], [2, 1, 3]];
    let mesh = TriangleMesh { vertices, normals: Vec::new(), triangles: triangles.clone() };
    let (json, buffer) = written(|path| write_mesh_glb(path, &mesh));
    let primitive = &json["meshes"][0]["primitives"][0];
    assert_eq!(primitive["mode"], 4);
    let (indices, mut bytes) = accessor(&json, &buffer, &primitive["indices"]);
    let kind = (&indices["type"], &indices["componentType"], &indices["count"]);
    assert_eq!(kind, (&"SCALAR".into(), &5125.into(), &6.into()));
    let found: Vec<[u32; 3]> = (0..2).map(|_| [bytes.u32(), bytes.u32(), bytes.u32()]).collect();
    assert_eq!(found, triangles);
    let (positions, mut bytes) = accessor(&json, &buffer, &primitive["attributes"]["POSITION"]);
    assert_eq!(positions["count"], 4);
    assert_eq!([bytes.f32(), bytes.f32(), bytes.f32()], points[0]);
}

#[test]
fn a_camera_that_sees_nothing_is_left_out() {
    let intrinsics = Intrinsics { fx: f64::NAN, fy: 50.0, cx: 99.5, cy: 49.5 };
    let world_from_camera = Isometry3::identity();
    let camera = PlacedCamera { world_from_camera, intrinsics, size: (200, 100) };
    let (json, _) = read_back(&[ViewPoints { camera: Some(camera), ..view("a", &[], &[]) }]);
    assert!(json.get("cameras").is_none() && !json.to_string().contains("null"), "{json}");
}

/// What a node does with points: rotation, then translation.
fn transform(node: &Value) -> Matrix4<f64> {
    let numbers = |key: &str, default: &[f64]| -> Vec<f64> {
        let list = node.get(key).and_then(Value::as_array);
        list.map_or(default.to_vec(), |l| l.iter().map(|v| v.as_f64().unwrap()).collect())
    };
    let (t, q) = (numbers("translation", &[0.0; 3]), numbers("rotation", &[0.0, 0.0, 0.0, 1.0]));
    let rotation =
        UnitQuaternion::from_quaternion(nalgebra::Quaternion::new(q[3], q[0], q[1], q[2]));
    Isometry3::from_parts(Translation3::new(t[0], t[1], t[2]), rotation).to_homogeneous()
}

#[test]
fn a_camera_looks_where_its_points_are_and_the_world_is_upright() {
    // A camera at (1, 2, 3) that looks along the world's x, with down still down.
    let rotation = UnitQuaternion::from_scaled_axis(Vector3::y() * std::f64::consts::FRAC_PI_2);
    let world_from_camera = Isometry3::from_parts(Translation3::new(1.0, 2.0, 3.0), rotation);
    let intrinsics = Intrinsics { fx: 100.0, fy: 50.0, cx: 99.5, cy: 49.5 };
    let camera = PlacedCamera { world_from_camera, intrinsics, size: (200, 100) };
    let views = [ViewPoints { camera: Some(camera), ..view("a", &[], &[]) }];
    let (json, buffer) = read_back(&views);
    assert!(buffer.is_empty() && json.get("buffers").is_none() && json.get("meshes").is_none());
    let perspective = &json["cameras"][0]["perspective"];
    assert!((perspective["aspectRatio"].as_f64().unwrap() - 1.0).abs() < 1e-12);
    let yfov = perspective["yfov"].as_f64().unwrap();
    assert!((yfov - std::f64::consts::FRAC_PI_2).abs() < 1e-12, "{yfov}");
    let root = json["scenes"][0]["nodes"][0].as_u64().unwrap() as usize;
    let root_transform = transform(&json["nodes"][root]);
    let camera = json["nodes"].as_array().unwrap().iter().find(|n| n.get("camera").is_some());
    let node = root_transform * transform(camera.unwrap());
    // glTF's camera looks along -z, and its up is y: what is up in the picture is up in the viewer.
    let looks = node * Vector4::new(0.0, 0.0, -1.0, 0.0);
    assert!((looks - Vector4::new(1.0, 0.0, 0.0, 0.0)).norm() < 1e-12, "{looks}");
    let up = node * Vector4::new(0.0, 1.0, 0.0, 0.0);
    assert!((up - Vector4::new(0.0, 1.0, 0.0, 0.0)).norm() < 1e-12, "{up}");
    let place = node * Vector4::new(0.0, 0.0, 0.0, 1.0);
    assert!((place - Vector4::new(1.0, -2.0, -3.0, 1.0)).norm() < 1e-12, "{place}");
    assert!((root_transform * Vector4::new(0.0, 1.0, 0.0, 0.0)).y < -0.99);
}

#[test]
fn nothing_is_a_file_without_empty_lists() {
    let (json, buffer) = read_back(&[]);
    assert!(buffer.is_empty());
    for (key, value) in json.as_object().unwrap() {
        assert!(!value.as_array().is_some_and(Vec::is_empty), "{key} is empty");
    }
    assert!(json["nodes"][0].get("children").is_none());
}

#[test]
fn colours_for_some_points_only_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("points.glb");
    let views = [view("a", &[[0.0; 3]; 2], &[[0; 3]])];
    let message = write_glb(&path, &views).unwrap_err().to_string();
    assert!(message.contains("expected 2, found 1"), "{message}");
    assert!(!path.exists());
}
