//! The map as a coloured mesh: surface nets over a truncated signed distance field.
//!
//! One vertex in each cell that the surface goes through, in the middle of where it crosses the
//! cell's edges, and one quadrilateral for each edge that it crosses: Gibson, "Constrained elastic
//! surface nets" (MICCAI 1998), without the relaxation.

use std::collections::BTreeMap;

use nalgebra::{Point3, Vector3};
use rayon::prelude::*;

use super::tsdf::{BLOCK, Corner, Field, View};
use super::{Ghosts, GlobalMap, MapConfig};
use crate::cloud::PointCloud;

/// A triangle mesh with a colour and a normal for each vertex.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TriangleMesh {
    /// Corners in metres, with their colours.
    pub vertices: PointCloud,
    /// Unit normals of the vertices, towards where they were seen from; zero where not known.
    pub normals: Vec<Vector3<f32>>,
    /// Indices of vertices, counterclockwise as seen from the free side.
    pub triangles: Vec<[u32; 3]>,
}

/// A vertex, and the cell it is in.
struct Vertex {
    cell: [i32; 3],
    point: Point3<f32>,
    color: [u8; 3],
}

impl GlobalMap {
    /// Returns the map's surface in the world frame as a mesh with cells of `voxel_size_m` (larger
    /// where there would be too many), without ghosts; of the points of each keyframe those that are
    /// to be `kept`, each given in its camera's frame with its confidence.
    pub fn mesh(
        &self,
        config: &MapConfig,
        voxel_size_m: f64,
        ghosts: &Ghosts,
        kept: impl Fn(&Vector3<f32>, f32) -> bool + Sync,
    ) -> TriangleMesh {
        let views: Vec<View<'_>> = self
            .keyframes()
            .map(|k| View::new(k, self.carved(k, ghosts, config).retained(&kept)))
            .collect();
        let field = Field::of(&views, voxel_size_m);
        drop(views);
        mesh_of(&field)
    }
}

fn mesh_of(field: &Field) -> TriangleMesh {
    let keys = field.keys();
    let vertices: Vec<Vertex> = keys.par_iter().flat_map_iter(|key| vertices(field, key)).collect();
    let by_cell: BTreeMap<[i32; 3], u32> = vertices.iter().map(|v| v.cell).zip(0..).collect();
    let quads = |key: &[i32; 3]| quads(field, key, &by_cell);
    let triangles: Vec<[u32; 3]> = keys
        .par_iter()
        .flat_map_iter(quads)
        .flat_map_iter(|[a, b, c, d]| [[a, b, c], [a, c, d]])
        .collect();
    let mut mesh = TriangleMesh { triangles, ..TriangleMesh::default() };
    mesh.vertices.points = vertices.iter().map(|v| v.point).collect();
    mesh.vertices.colors = vertices.iter().map(|v| v.color).collect();
    mesh.normals = vertex_normals(&mesh);
    mesh
}

/// The corners or cells of a block.
fn members(key: &[i32; 3]) -> impl Iterator<Item = [i32; 3]> + use<> {
    let key = *key;
    (0..BLOCK * BLOCK * BLOCK).map(move |i| {
        let inside = [i % BLOCK, i / BLOCK % BLOCK, i / (BLOCK * BLOCK)];
        [0, 1, 2].map(|axis| key[axis] * BLOCK + inside[axis])
    })
}

fn vertices(field: &Field, key: &[i32; 3]) -> Vec<Vertex> {
    members(key).filter_map(|cell| vertex(field, cell)).collect()
}

fn offset(at: [i32; 3], by: usize) -> [i32; 3] {
    [0, 1, 2].map(|axis| at[axis] + ((by >> axis) & 1) as i32)
}

/// The vertex of a cell whose eight corners are all known, if the surface goes through it.
fn vertex(field: &Field, cell: [i32; 3]) -> Option<Vertex> {
    let first = field.corner(cell)?;
    let mut corners = [*first; 8];
    for (index, corner) in corners.iter_mut().enumerate() {
        *corner = *field.corner(offset(cell, index))?;
    }
    let (mut sum, mut color, mut count) = (Vector3::zeros(), Vector3::zeros(), 0.0);
    for (a, axis) in (0..8).flat_map(|a| (0..3).map(move |axis| (a, axis))) {
        let b = a | (1 << axis);
        if a == b || !crosses(&corners[a], &corners[b]) {
            continue;
        }
        let (from, to) = (f64::from(corners[a].distance), f64::from(corners[b].distance));
        let share = from / (from - to);
        let (a, b) = (field.place(offset(cell, a)), field.place(offset(cell, b)));
        sum += a.coords.lerp(&b.coords, share);
        count += 1.0;
    }
    corners.iter().for_each(|corner| color += corner.color / 8.0);
    (count > 0.0).then(|| Vertex {
        cell,
        point: Point3::from(sum / count).cast(),
        color: [color.x, color.y, color.z].map(|value: f32| value.round() as u8),
    })
}

fn crosses(a: &Corner, b: &Corner) -> bool {
    (a.distance < 0.0) != (b.distance < 0.0)
}

/// The quadrilaterals of the edges that begin at a block's corners.
fn quads(field: &Field, key: &[i32; 3], by_cell: &BTreeMap<[i32; 3], u32>) -> Vec<[u32; 4]> {
    let edges = members(key).flat_map(|at| (0..3).map(move |axis| (at, axis)));
    edges.filter_map(|(at, axis)| quad(field, at, axis, by_cell)).collect()
}

fn quad(
    field: &Field,
    at: [i32; 3],
    axis: usize,
    by_cell: &BTreeMap<[i32; 3], u32>,
) -> Option<[u32; 4]> {
    let (start, end) = (field.corner(at)?, field.corner(offset(at, 1 << axis))?);
    if !crosses(start, end) {
        return None;
    }
    let (b, c) = ((axis + 1) % 3, (axis + 2) % 3);
    let around = [[1, 1], [0, 1], [0, 0], [1, 0]].map(|[back_b, back_c]| {
        let mut cell = at;
        (cell[b], cell[c]) = (cell[b] - back_b, cell[c] - back_c);
        by_cell.get(&cell).copied()
    });
    let [p, q, r, s] = around;
    let quad = [p?, q?, r?, s?];
    // Counterclockwise about the axis where the free side is at the edge's end.
    Some(if start.distance < 0.0 { quad } else { [quad[3], quad[2], quad[1], quad[0]] })
}

/// Means of the normals of all triangles at each vertex, weighted by their areas.
fn vertex_normals(mesh: &TriangleMesh) -> Vec<Vector3<f32>> {
    let points = &mesh.vertices.points;
    let mut normals = vec![Vector3::zeros(); points.len()];
    for triangle in &mesh.triangles {
        let [a, b, c] = triangle.map(|index| points[index as usize]);
        let normal = (b - a).cross(&(c - a));
        triangle.iter().for_each(|&index| normals[index as usize] += normal);
    }
    normals.iter().map(|normal| normal.try_normalize(1e-12).unwrap_or_default()).collect()
}
