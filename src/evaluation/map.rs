//! Distance of a map from a reference surface, and of the surface from the map.

use nalgebra::{Point3, Vector3};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::icp;
use super::neighbors::{Neighbor, Neighbors};
use super::voxel::{bounds, voxel_means};
use crate::cloud::PointCloud;
use crate::error::{Error, Result};
use crate::geometry::Sim3;

/// Side of the cubes in which points are merged before they are counted.
const VOXEL_M: f64 = 0.01;
/// Side of the cubes for the alignment by ICP, which needs fewer points.
const ICP_VOXEL_M: f64 = 0.03;
/// How far around the reference a map still counts; beyond it the reference knows nothing.
const MARGIN_M: f64 = 0.1;

/// How a map is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapOptions {
    /// Up to which distance a point counts as right, for precision and recall.
    pub threshold_m: f64,
    /// Whether to judge the map a second time after ICP, and with what freedom.
    pub icp: Option<IcpModel>,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self { threshold_m: 0.05, icp: None }
    }
}

/// What ICP may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcpModel {
    /// Rotation and translation.
    Rigid,
    /// Rotation, translation and scale.
    Similarity,
}

/// The figures of a map; serialised flat, those after ICP with the suffix `_icp`.
#[derive(Debug, Clone, PartialEq)]
pub struct MapMetrics {
    /// Number of points of the map as it came.
    pub map_points: usize,
    /// The map as the trajectories' alignment places it.
    pub aligned: MapScore,
    /// The map after ICP, where that was asked for: its shape alone.
    pub refined: Option<MapScore>,
}

/// How a map compares in one place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapScore {
    /// Share of the map's points within the reference's bounds and 10 cm around them.
    pub map_inside_box: f64,
    /// Distances of those points, or `None` where there is no such point.
    pub distances: Option<SurfaceDistances>,
}

/// Distances between map and surface, over points merged in cubes of 1 cm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SurfaceDistances {
    /// Mean distance from the map's points to the surface, in centimetres.
    pub accuracy_cm: f64,
    /// Median distance from the map's points to the surface, in centimetres.
    pub accuracy_median_cm: f64,
    /// Mean distance from the surface's points to the map, in centimetres.
    pub completion_cm: f64,
    /// Median distance from the surface's points to the map, in centimetres.
    pub completion_median_cm: f64,
    /// Mean of accuracy and completion, in centimetres.
    pub chamfer_cm: f64,
    /// Share of the map's points nearer than the threshold.
    pub precision: f64,
    /// Share of the surface's points nearer than the threshold.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub fscore: f64,
}

/// Returns how `map`, moved by `reference_from_map`, compares with `surface`.
///
/// # Errors
/// [`Error::TooFewCorrespondences`] where the map or the surface has no finite point.
pub fn evaluate_map(
    map: &PointCloud,
    surface: &PointCloud,
    reference_from_map: &Sim3,
    options: &MapOptions,
) -> Result<MapMetrics> {
    let moved: Vec<Point3<f64>> =
        map.points.iter().map(|p| reference_from_map.transform_point(&p.cast())).collect();
    let surface: Vec<Point3<f64>> = surface.points.iter().map(|p| p.cast()).collect();
    let map_points = some_voxel_means(&moved, "finite points of the map")?;
    let surface = Surface::of(&surface, options.threshold_m)?;
    let aligned = surface.score(&map_points)?;
    let refined = match options.icp {
        Some(model) => Some(surface.score_after_icp(&map_points, model)?),
        None => None,
    };
    Ok(MapMetrics { map_points: map.len(), aligned, refined })
}

fn some_voxel_means(points: &[Point3<f64>], what: &'static str) -> Result<Vec<Point3<f64>>> {
    let means = voxel_means(points, VOXEL_M);
    if means.is_empty() {
        return Err(Error::TooFewCorrespondences { what, got: 0, need: 1 });
    }
    Ok(means)
}

/// A reference surface, ready to judge maps.
struct Surface {
    points: Vec<Point3<f64>>,
    low: Point3<f64>,
    high: Point3<f64>,
    threshold_m: f64,
}

impl Surface {
    fn of(points: &[Point3<f64>], threshold_m: f64) -> Result<Self> {
        let points = some_voxel_means(points, "finite points of the reference surface")?;
        let (low, high) = bounds(&points).unwrap_or_default();
        let margin = Vector3::repeat(MARGIN_M);
        Ok(Self { points, low: low - margin, high: high + margin, threshold_m })
    }

    fn score(&self, map: &[Point3<f64>]) -> Result<MapScore> {
        let is_inside = |p: &&Point3<f64>| **p >= self.low && **p <= self.high;
        let inside: Vec<Point3<f64>> = map.iter().filter(is_inside).copied().collect();
        let map_inside_box = inside.len() as f64 / map.len().max(1) as f64;
        if inside.is_empty() {
            return Ok(MapScore { map_inside_box, distances: None });
        }
        let to_surface = distances_m(&inside, &Neighbors::of(&self.points)?);
        let to_map = distances_m(&self.points, &Neighbors::of(&inside)?);
        let distances = SurfaceDistances::of(&to_surface, &to_map, self.threshold_m);
        Ok(MapScore { map_inside_box, distances: Some(distances) })
    }

    fn score_after_icp(&self, map: &[Point3<f64>], model: IcpModel) -> Result<MapScore> {
        let sparse = voxel_means(map, ICP_VOXEL_M);
        let target = Neighbors::of(&self.points)?;
        let refined_from_map = icp::refine(&sparse, &target, model == IcpModel::Similarity);
        let refined: Vec<_> = map.iter().map(|p| refined_from_map.transform_point(p)).collect();
        self.score(&refined)
    }
}

/// The distances from `points` to `target` in metres, sorted.
fn distances_m(points: &[Point3<f64>], target: &Neighbors) -> Vec<f64> {
    let mut distances: Vec<f64> =
        target.nearest(points).iter().map(|n: &Neighbor| n.distance_m).collect();
    distances.sort_unstable_by(f64::total_cmp);
    distances
}

impl SurfaceDistances {
    fn of(to_surface_m: &[f64], to_map_m: &[f64], threshold_m: f64) -> Self {
        let (precision, recall) =
            (frac_below(to_surface_m, threshold_m), frac_below(to_map_m, threshold_m));
        let sum = precision + recall;
        let (accuracy, completion) = (mean(to_surface_m), mean(to_map_m));
        Self {
            accuracy_cm: accuracy * 100.0,
            accuracy_median_cm: median(to_surface_m) * 100.0,
            completion_cm: completion * 100.0,
            completion_median_cm: median(to_map_m) * 100.0,
            chamfer_cm: (accuracy + completion) * 50.0,
            precision,
            recall,
            fscore: if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 },
        }
    }
}

/// The three of these take sorted values, at least one.
fn frac_below(sorted: &[f64], threshold: f64) -> f64 {
    sorted.partition_point(|&d| d < threshold) as f64 / sorted.len() as f64
}

fn mean(sorted: &[f64]) -> f64 {
    sorted.iter().sum::<f64>() / sorted.len() as f64
}

fn median(sorted: &[f64]) -> f64 {
    let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
    0.5 * (sorted[low] + sorted[high])
}

impl MapScore {
    /// Returns the figures with their names, in a fixed order.
    pub fn entries(&self) -> Vec<(&'static str, f64)> {
        let mut entries = vec![("map_inside_box", self.map_inside_box)];
        if let Some(d) = &self.distances {
            entries.extend([
                ("accuracy_cm", d.accuracy_cm),
                ("accuracy_median_cm", d.accuracy_median_cm),
                ("completion_cm", d.completion_cm),
                ("completion_median_cm", d.completion_median_cm),
                ("chamfer_cm", d.chamfer_cm),
                ("precision", d.precision),
                ("recall", d.recall),
                ("fscore", d.fscore),
            ]);
        }
        entries
    }
}

impl Serialize for MapMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("map_points", &self.map_points)?;
        for (name, value) in self.aligned.entries() {
            map.serialize_entry(name, &value)?;
        }
        for (name, value) in self.refined.iter().flat_map(MapScore::entries) {
            map.serialize_entry(&format!("{name}_icp"), &value)?;
        }
        map.end()
    }
}
