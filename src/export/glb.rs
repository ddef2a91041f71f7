//! Point clouds, meshes and cameras as binary glTF 2.0.
//!
//! Each view is a node with its points or triangles, and a camera where it is known. Colours are linear, as glTF
//! wants vertex colours, as floats so that dark ones keep their shades (and because trimesh reads 16
//! bits as 8). A root node turns our
//! frame (y down, z forward) into glTF's (y up, z back), so that viewers show it upright.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::write_atomically;
use crate::cloud::PointCloud;
use crate::error::{Error, Result};
use crate::geometry::{Intrinsics, Se3};
use crate::map::TriangleMesh;

const MAGIC: u32 = u32::from_le_bytes(*b"glTF");
const VERSION: u32 = 2;
const JSON_CHUNK: u32 = u32::from_le_bytes(*b"JSON");
const BINARY_CHUNK: u32 = u32::from_le_bytes(*b"BIN\0");
/// glTF's numbers for what it is given.
const FLOAT: u32 = 5126;
const UNSIGNED_INT: u32 = 5125;
const ARRAY_BUFFER: u32 = 34962;
const ELEMENT_ARRAY_BUFFER: u32 = 34963;
const POINTS: u32 = 0;
const TRIANGLES: u32 = 4;
/// Half a turn about x, as quaternion x, y, z, w: between y down, z forward and y up, z back.
const FLIP: [f64; 4] = [1.0, 0.0, 0.0, 0.0];
/// Bytes of a position and of a colour.
const POSITION_BYTES: usize = 12;
const COLOR_BYTES: usize = 12;
/// Bytes of a triangle.
const TRIANGLE_BYTES: usize = 12;
/// Where the camera's view begins, in metres; it has no end.
const NEAR_M: f64 = 0.01;

/// A camera as others see it: where it is, and how much it sees.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedCamera {
    /// Where it is.
    pub world_from_camera: Se3,
    /// Its pinhole.
    pub intrinsics: Intrinsics,
    /// Width and height of its image in pixels.
    pub size: (u32, u32),
}

impl PlacedCamera {
    fn is_finite(&self) -> bool {
        let (k, pose) = (&self.intrinsics, &self.world_from_camera);
        let focal = [k.fx, k.fy].iter().all(|focal| focal.is_normal());
        let place = pose.translation.vector.iter().chain(pose.rotation.coords.iter());
        focal && place.copied().all(f64::is_finite)
    }
}

/// The points of one view, with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewPoints {
    /// The name that viewers show.
    pub name: String,
    /// The points, in the world, with colours or all without.
    pub cloud: PointCloud,
    /// The camera, where it is to be shown; one that is not finite is left out.
    pub camera: Option<PlacedCamera>,
}

/// Returns once `path` holds `views` as binary glTF.
///
/// # Errors
/// [`Error::ShapeMismatch`] where some points of a view have a colour and some have not,
/// [`Error::Input`] where the file would pass the 4 GiB that the format can hold; else as
/// [`write_atomically`].
pub fn write_glb(path: &Path, views: &[ViewPoints]) -> Result<()> {
    let parts: Vec<Part<'_>> = views
        .iter()
        .map(|view| Part {
            name: &view.name,
            cloud: &view.cloud,
            triangles: &[],
            camera: view.camera.as_ref(),
        })
        .collect();
    write(path, &parts)
}

/// Returns once `path` holds a mesh as binary glTF, its colours being vertex colours.
///
/// # Errors
/// As [`write_glb`].
pub fn write_mesh_glb(path: &Path, mesh: &TriangleMesh) -> Result<()> {
    let (cloud, triangles) = (&mesh.vertices, mesh.triangles.as_slice());
    write(path, &[Part { name: "map", cloud, triangles, camera: None }])
}

/// What a node shows: points, or triangles between them.
struct Part<'a> {
    name: &'a str,
    cloud: &'a PointCloud,
    triangles: &'a [[u32; 3]],
    camera: Option<&'a PlacedCamera>,
}

fn write(path: &Path, parts: &[Part<'_>]) -> Result<()> {
    parts.iter().try_for_each(|part| part.cloud.check_colors())?;
    let (document, buffer_len) = document(parts);
    let mut text = document.to_string().into_bytes();
    text.resize(text.len().next_multiple_of(4), b' ');
    let chunks = [text.len(), buffer_len].map(|len| if len > 0 { len + 8 } else { 0 });
    let total = u32::try_from(12 + chunks.iter().sum::<usize>()).map_err(|_too_long| {
        Error::input(path, "the points need more than 4 GiB", "write fewer points, or PLY")
    })?;
    write_atomically(path, |file| {
        put(file, &[MAGIC, VERSION, total, text.len() as u32, JSON_CHUNK])?;
        file.write_all(&text)?;
        if buffer_len > 0 {
            put(file, &[buffer_len as u32, BINARY_CHUNK])?;
        }
        parts.iter().try_for_each(|part| write_part(file, part))
    })
}

/// The description of all that the file holds, and how many bytes the points take.
fn document(parts: &[Part<'_>]) -> (Value, usize) {
    let mut document = Document::default();
    let children: Vec<usize> = parts.iter().map(|part| document.add_part(part)).collect();
    let root = document.nodes.len();
    document.nodes.push(json!({ "name": "world", "rotation": FLIP, "children": children }));
    if children.is_empty() {
        // An empty list is not allowed.
        document.nodes[root] = json!({ "name": "world", "rotation": FLIP });
    }
    let buffer_len = document.buffer_len;
    (document.finish(root), buffer_len)
}

#[derive(Default)]
struct Document {
    nodes: Vec<Value>,
    meshes: Vec<Value>,
    cameras: Vec<Value>,
    accessors: Vec<Value>,
    buffer_views: Vec<Value>,
    buffer_len: usize,
}

impl Document {
    /// Adds the node of a part, and returns its index.
    fn add_part(&mut self, part: &Part<'_>) -> usize {
        let mut node = json!({ "name": part.name });
        if !part.cloud.is_empty() {
            node["mesh"] = self.add_points(part).into();
        }
        if let Some(camera) = part.camera.filter(|camera| camera.is_finite()) {
            node["children"] = json!([self.add_camera(part.name, camera)]);
        }
        push(&mut self.nodes, node)
    }

    fn add_points(&mut self, part: &Part<'_>) -> usize {
        let (count, (min, max)) = (part.cloud.len(), bounds(part.cloud));
        let positions = self.add_bytes(count * POSITION_BYTES, ARRAY_BUFFER);
        let positions = push(
            &mut self.accessors,
            json!({
                "bufferView": positions, "componentType": FLOAT, "count": count, "type": "VEC3",
                "min": min, "max": max,
            }),
        );
        let mut attributes = json!({ "POSITION": positions });
        if !part.cloud.colors.is_empty() {
            let colors = self.add_bytes(count * COLOR_BYTES, ARRAY_BUFFER);
            let colors = json!({
                "bufferView": colors, "componentType": FLOAT, "count": count, "type": "VEC3",
            });
            attributes["COLOR_0"] = push(&mut self.accessors, colors).into();
        }
        let mut primitive = json!({ "attributes": attributes, "mode": POINTS, "material": 0 });
        if !part.triangles.is_empty() {
            primitive["mode"] = TRIANGLES.into();
            primitive["indices"] = self.add_triangles(part.triangles.len()).into();
        }
        push(&mut self.meshes, json!({ "name": part.name, "primitives": [primitive] }))
    }

    fn add_triangles(&mut self, count: usize) -> usize {
        let indices = self.add_bytes(count * TRIANGLE_BYTES, ELEMENT_ARRAY_BUFFER);
        let accessor = json!({
            "bufferView": indices, "componentType": UNSIGNED_INT, "count": 3 * count,
            "type": "SCALAR",
        });
        push(&mut self.accessors, accessor)
    }

    fn add_bytes(&mut self, len: usize, target: u32) -> usize {
        let offset = self.buffer_len;
        self.buffer_len += len;
        let view =
            json!({ "buffer": 0, "byteOffset": offset, "byteLength": len, "target": target });
        push(&mut self.buffer_views, view)
    }

    /// Adds the node of a camera, and returns its index.
    fn add_camera(&mut self, name: &str, camera: &PlacedCamera) -> usize {
        let (k, (width, height)) = (&camera.intrinsics, camera.size);
        let [width, height] = [f64::from(width) / k.fx.abs(), f64::from(height) / k.fy.abs()];
        let perspective = json!({
            "aspectRatio": width / height, "yfov": 2.0 * (0.5 * height).atan(), "znear": NEAR_M,
        });
        let camera_type = json!({ "type": "perspective", "perspective": perspective });
        let index = push(&mut self.cameras, camera_type);
        let t = camera.world_from_camera.translation.vector;
        let flip = nalgebra::UnitQuaternion::from_quaternion(FLIP.into());
        let q = camera.world_from_camera.rotation * flip;
        let node = json!({
            "name": format!("{name} camera"), "camera": index,
            "translation": [t.x, t.y, t.z], "rotation": [q.i, q.j, q.k, q.w],
        });
        push(&mut self.nodes, node)
    }

    fn finish(self, root: usize) -> Value {
        let mut document = json!({
            "asset": { "version": "2.0", "generator": "recon_node" },
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{ "nodes": [root] }],
            "nodes": self.nodes,
            "materials": [{
                "name": "as seen", "doubleSided": true, "extensions": { "KHR_materials_unlit": {} },
            }],
        });
        // Empty lists are not allowed.
        let lists = [
            ("meshes", self.meshes),
            ("cameras", self.cameras),
            ("accessors", self.accessors),
            ("bufferViews", self.buffer_views),
        ];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            document[name] = list.into();
        }
        if self.buffer_len > 0 {
            document["buffers"] = json!([{ "byteLength": self.buffer_len }]);
        }
        document
    }
}

fn push(list: &mut Vec<Value>, value: Value) -> usize {
    list.push(value);
    list.len() - 1
}

fn bounds(cloud: &PointCloud) -> ([f32; 3], [f32; 3]) {
    let mut bounds = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
    for point in &cloud.points {
        for axis in 0..3 {
            bounds.0[axis] = bounds.0[axis].min(point[axis]);
            bounds.1[axis] = bounds.1[axis].max(point[axis]);
        }
    }
    bounds
}

fn write_part(file: &mut dyn Write, part: &Part<'_>) -> io::Result<()> {
    for coordinate in part.cloud.points.iter().flat_map(|point| point.iter()) {
        file.write_all(&coordinate.to_le_bytes())?;
    }
    let linear: Vec<f32> = (0..=u8::MAX).map(linear).collect();
    for &value in part.cloud.colors.iter().flatten() {
        file.write_all(&linear[usize::from(value)].to_le_bytes())?;
    }
    part.triangles.iter().try_for_each(|corners| put(file, corners))
}

/// The amount of light of a value of an image, 0 to 1 (IEC 61966-2-1).
fn linear(value: u8) -> f32 {
    let value = f64::from(value) / 255.0;
    let light = if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) };
    light as f32
}

fn put(file: &mut dyn Write, words: &[u32]) -> io::Result<()> {
    words.iter().try_for_each(|word| file.write_all(&word.to_le_bytes()))
}
