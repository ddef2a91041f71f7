//! Point clouds and cameras as binary glTF 2.0.
//!
//! Each view is a node with its points, and a camera where it is known. Colours are linear, as glTF
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

const MAGIC: u32 = u32::from_le_bytes(*b"glTF");
const VERSION: u32 = 2;
const JSON_CHUNK: u32 = u32::from_le_bytes(*b"JSON");
const BINARY_CHUNK: u32 = u32::from_le_bytes(*b"BIN\0");
/// glTF's numbers for what it is given.
const FLOAT: u32 = 5126;
const ARRAY_BUFFER: u32 = 34962;
const POINTS: u32 = 0;
/// Half a turn about x, as quaternion x, y, z, w: between y down, z forward and y up, z back.
const FLIP: [f64; 4] = [1.0, 0.0, 0.0, 0.0];
/// Bytes of a position and of a colour.
const POSITION_BYTES: usize = 12;
const COLOR_BYTES: usize = 12;
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
    views.iter().try_for_each(|view| view.cloud.check_colors())?;
    let (document, buffer_len) = document(views);
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
        views.iter().try_for_each(|view| write_points(file, &view.cloud))
    })
}

/// The description of all that the file holds, and how many bytes the points take.
fn document(views: &[ViewPoints]) -> (Value, usize) {
    let mut document = Document::default();
    let children: Vec<usize> = views.iter().map(|view| document.add_view(view)).collect();
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
    /// Adds the node of a view, and returns its index.
    fn add_view(&mut self, view: &ViewPoints) -> usize {
        let mut node = json!({ "name": view.name });
        if !view.cloud.is_empty() {
            node["mesh"] = self.add_points(view).into();
        }
        if let Some(camera) = view.camera.as_ref().filter(|camera| camera.is_finite()) {
            node["children"] = json!([self.add_camera(&view.name, camera)]);
        }
        push(&mut self.nodes, node)
    }

    fn add_points(&mut self, view: &ViewPoints) -> usize {
        let (count, (min, max)) = (view.cloud.len(), bounds(&view.cloud));
        let positions = self.add_bytes(count * POSITION_BYTES);
        let positions = push(
            &mut self.accessors,
            json!({
                "bufferView": positions, "componentType": FLOAT, "count": count, "type": "VEC3",
                "min": min, "max": max,
            }),
        );
        let mut attributes = json!({ "POSITION": positions });
        if !view.cloud.colors.is_empty() {
            let colors = self.add_bytes(count * COLOR_BYTES);
            let colors = json!({
                "bufferView": colors, "componentType": FLOAT, "count": count, "type": "VEC3",
            });
            attributes["COLOR_0"] = push(&mut self.accessors, colors).into();
        }
        let primitive = json!({ "attributes": attributes, "mode": POINTS, "material": 0 });
        push(&mut self.meshes, json!({ "name": view.name, "primitives": [primitive] }))
    }

    fn add_bytes(&mut self, len: usize) -> usize {
        let offset = self.buffer_len;
        self.buffer_len += len;
        let target = ARRAY_BUFFER;
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
            "materials": [{ "name": "points", "extensions": { "KHR_materials_unlit": {} } }],
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

fn write_points(file: &mut dyn Write, cloud: &PointCloud) -> io::Result<()> {
    for coordinate in cloud.points.iter().flat_map(|point| point.iter()) {
        file.write_all(&coordinate.to_le_bytes())?;
    }
    let linear: Vec<f32> = (0..=u8::MAX).map(linear).collect();
    let mut values = cloud.colors.iter().flatten().map(|&value| linear[usize::from(value)]);
    values.try_for_each(|value| file.write_all(&value.to_le_bytes()))
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
