//! Carving: what later views see through is not there (any more).
//!
//! Every point of the map is shown to the keyframes that have it in sight. One that measured a
//! surface at the point's depth has seen it; one that measured nothing but surfaces behind it has
//! seen through it; what it has in front of it, it has nothing to say of. Points that are seen
//! through as often as they are seen go, and so do those that several keyframes, the last of all,
//! see through: what has moved leaves no ghost. After Merrell et al., "Real-time visibility-based
//! fusion of depth maps" (ICCV 2007), with the order of time added.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::{Point3, Vector2};
use rayon::prelude::*;

use super::cloud::voxel_of;
use super::{GlobalMap, MapConfig, VoxelCloud};
use crate::cloud::SurfaceCloud;
use crate::geometry::Se3;
use crate::keyframe::Keyframe;
use crate::pointmap::Pointmap;

/// Depths that differ by less than this many standard deviations are of one surface.
const AGREEMENT_SIGMAS: f64 = 3.0;
/// So many keyframes in a row, the last ones, see through what was there and has gone.
const GONE_VIEWS: usize = 3;
/// Edge of the blocks whose points are shown to the same keyframes, metres.
const BLOCK_M: f64 = 0.5;
/// Of the nine pixels around a point's, so many must have depth before anything is said.
const MIN_MEASURED_PIXELS: usize = 6;

/// A point of the map.
pub(super) struct Measured {
    /// Where it is.
    pub(super) point_in_world: Point3<f64>,
    /// How sure that is, m².
    pub(super) variance_m2: f64,
}

/// What a keyframe says of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saying {
    Seen,
    SeenThrough,
}

/// A keyframe that is asked.
struct Viewer<'a> {
    keyframe: &'a Keyframe,
    camera_from_world: Se3,
}

impl GlobalMap {
    /// Returns a surface (world frame, one point for each voxel of `voxel_size_m`) without what
    /// keyframes see through.
    pub fn without_ghosts(
        &self,
        surface: &SurfaceCloud,
        voxel_size_m: f64,
        config: &MapConfig,
    ) -> SurfaceCloud {
        let measured = |(point, confidence): (&Point3<f32>, &f32)| Measured {
            point_in_world: point.cast(),
            variance_m2: 1.0 / f64::from(*confidence),
        };
        let points = surface.cloud.points.iter().zip(&surface.confidence).map(measured);
        surface.retained(&self.stays(&points.collect::<Vec<_>>(), voxel_size_m, config))
    }

    /// Returns for each point whether it stays: false for what keyframes see through.
    pub(super) fn stays(
        &self,
        points: &[Measured],
        voxel_size_m: f64,
        config: &MapConfig,
    ) -> Vec<bool> {
        let mut stays = vec![true; points.len()];
        if config.max_carving_views == 0 {
            return stays;
        }
        let viewers: Vec<Viewer<'_>> = self.keyframes().map(Viewer::of).collect();
        let mut blocks: BTreeMap<[i32; 3], Vec<usize>> = BTreeMap::new();
        for (index, point) in points.iter().enumerate() {
            blocks.entry(voxel_of(&point.point_in_world, BLOCK_M)).or_default().push(index);
        }
        let blocks: Vec<_> = blocks.into_iter().collect();
        let gates = Gates { frac: config.fusion_gate_frac, least_m: voxel_size_m };
        let judge = |(key, members): &([i32; 3], Vec<usize>)| -> Vec<usize> {
            let viewers = in_sight(&viewers, key, config.max_carving_views);
            let gone = |index: &usize| is_gone(&points[*index], &viewers, &gates);
            members.iter().copied().filter(gone).collect()
        };
        for index in blocks.par_iter().flat_map_iter(judge).collect::<Vec<_>>() {
            stays[index] = false;
        }
        stays
    }

    /// Returns the pointmap of a keyframe as its neighbours agree on it ([`GlobalMap::agreed`]),
    /// without what is a ghost and what too few measurements bear out.
    pub fn carved(&self, keyframe: &Keyframe, ghosts: &Ghosts, config: &MapConfig) -> Pointmap {
        let agreed = match config.max_witnesses {
            0 => keyframe.pointmap.clone(),
            _ => self.agreed(keyframe, config),
        };
        self.borne_out(keyframe, agreed, config).retained(|point, _| {
            !ghosts.contain(&(keyframe.world_from_camera * Point3::from(point.cast::<f64>())))
        })
    }
}

/// Voxels in which something was, and is no more.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ghosts {
    voxel_size_m: f64,
    voxels: BTreeSet<[i32; 3]>,
}

impl Ghosts {
    pub(super) fn of(cloud: &VoxelCloud, stays: &[bool]) -> Self {
        let gone = cloud.keys().zip(stays).filter(|(_, stays)| !**stays).map(|(key, _)| *key);
        Self { voxel_size_m: cloud.voxel_size_m(), voxels: gone.collect() }
    }

    /// Returns whether a point (world frame) is in one of the voxels.
    pub fn contain(&self, point_in_world: &Point3<f64>) -> bool {
        !self.voxels.is_empty()
            && self.voxels.contains(&voxel_of(point_in_world, self.voxel_size_m))
    }

    /// Returns the number of voxels.
    pub fn len(&self) -> usize {
        self.voxels.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.voxels.is_empty()
    }
}

/// How far a measured depth may be from a point's and still be of it.
struct Gates {
    /// As a share of the depth.
    frac: f64,
    /// At least, metres.
    least_m: f64,
}

/// Those who may see something of a block, oldest first; of more than `max`, evenly chosen ones.
fn in_sight<'a>(viewers: &'a [Viewer<'a>], block: &[i32; 3], max: usize) -> Vec<&'a Viewer<'a>> {
    let centre = Point3::from(block.map(|v| (f64::from(v) + 0.5) * BLOCK_M));
    let radius_m = 0.5 * 3f64.sqrt() * BLOCK_M;
    let all: Vec<_> = viewers.iter().filter(|v| v.may_see(&centre, radius_m)).collect();
    match all.len() {
        count if count > max => (0..max).map(|i| all[i * count / max]).collect(),
        _ => all,
    }
}

/// Whether at least as many see through the point as see it, or the last ones all do.
fn is_gone(point: &Measured, viewers: &[&Viewer<'_>], gates: &Gates) -> bool {
    let (mut seen, mut through, mut through_since) = (0usize, 0usize, 0usize);
    for viewer in viewers {
        match viewer.says(point, gates) {
            Some(Saying::Seen) => (seen, through_since) = (seen + 1, 0),
            Some(Saying::SeenThrough) => {
                (through, through_since) = (through + 1, through_since + 1);
            }
            None => {}
        }
    }
    through > 0 && (through >= seen.max(1) || through_since >= GONE_VIEWS)
}

impl<'a> Viewer<'a> {
    fn of(keyframe: &'a Keyframe) -> Self {
        Self { keyframe, camera_from_world: keyframe.world_from_camera.inverse() }
    }

    /// Whether a ball may be in the image: exact for pinholes, generous for other lenses.
    fn may_see(&self, centre_in_world: &Point3<f64>, radius_m: f64) -> bool {
        let centre = self.camera_from_world * centre_in_world;
        if centre.z < radius_m {
            return centre.coords.norm() < 2.0 * radius_m;
        }
        let camera = &self.keyframe.camera;
        // Beyond the lens model's disc, the pinhole's pixel is as good.
        let k = camera.intrinsics();
        let pinhole =
            || Vector2::new(k.fx * centre.x / centre.z + k.cx, k.fy * centre.y / centre.z + k.cy);
        let pixel = camera.project(&centre).unwrap_or_else(pinhole);
        let reach = 1.5 * k.fx.max(k.fy) * radius_m / centre.z;
        let within = |value: f64, size: u32| value > -reach && value < f64::from(size) + reach;
        within(pixel.x, camera.width()) && within(pixel.y, camera.height())
    }

    /// What the keyframe measured around the point's pixel; nothing where some of it is in front,
    /// or too little is known.
    fn says(&self, point: &Measured, gates: &Gates) -> Option<Saying> {
        let in_camera = self.camera_from_world * point.point_in_world;
        let pixel = self.keyframe.camera.project(&in_camera)?;
        let (column, row) = (pixel.x.round() as i64, pixel.y.round() as i64);
        let (mut measured, mut behind) = (0, 0);
        for (dx, dy) in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dx, dy))) {
            let Some((depth_m, variance_m2)) = self.depth_at(column + dx, row + dy) else {
                continue;
            };
            let sigma_m = (variance_m2 + point.variance_m2).sqrt();
            let gate_m = (AGREEMENT_SIGMAS * sigma_m).max(gates.frac * in_camera.z);
            let behind_m = depth_m - in_camera.z;
            if behind_m.abs() <= gate_m.max(gates.least_m) {
                return Some(Saying::Seen);
            }
            measured += 1;
            behind += usize::from(behind_m > 0.0);
        }
        let through = measured >= MIN_MEASURED_PIXELS && behind == measured;
        through.then_some(Saying::SeenThrough)
    }

    /// Depth (metres) and its variance at a pixel, where there is one.
    fn depth_at(&self, column: i64, row: i64) -> Option<(f64, f64)> {
        let map = &self.keyframe.pointmap;
        let (x, y) = (usize::try_from(column).ok()?, usize::try_from(row).ok()?);
        if x >= map.width() || y >= map.height() {
            return None;
        }
        let point = map.point(x, y)?;
        Some((f64::from(point.z), 1.0 / f64::from(map.confidence(x, y))))
    }
}
