//! The global map: pointmaps that hang on keyframes, so that it bends when their poses change.

mod carving;
mod cloud;
mod consensus;
mod fusion;
mod level;
mod mesh;
mod occupancy;
mod rendering;
mod tsdf;

use std::collections::BTreeMap;

use nalgebra::Vector3;

use crate::cloud::{PointCloud, SurfaceCloud};
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::sensor::DepthNoise;

pub use carving::Ghosts;
pub use cloud::VoxelCloud;
pub use fusion::fuse;
pub use mesh::TriangleMesh;
pub use occupancy::{Occupancy, OccupancyConfig, OccupancyGrid};
pub use rendering::{Source, completed, guessed, rendered};

/// How the map is kept.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MapConfig {
    /// Edge of the voxels of the map's cloud, metres.
    #[schemars(range(min = 0.001, max = 10.0))]
    pub voxel_size_m: f64,
    /// Most voxels that the cloud keeps; it grows coarser when the limit is reached.
    #[schemars(range(min = 1000, max = 100_000_000))]
    pub max_voxels: usize,
    /// Voxels that fewer keyframes saw are left out of the cloud.
    #[schemars(range(min = 1, max = 100))]
    pub min_observations: u32,
    /// A frame's depth is fused into its keyframe where it misses the surface by less than this
    /// share of the depth.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fusion_gate_frac: f64,
    /// Keyframes at most that are asked where the points of another are, for the map's cloud; 0
    /// leaves each keyframe's points where they are.
    #[schemars(range(min = 0, max = 64))]
    pub max_witnesses: usize,
    /// Keyframes at most that are asked whether they see through a point of the map's cloud; what
    /// as many see through as see it is left out, as is what the last three do; 0 leaves all.
    #[schemars(range(min = 0, max = 1000))]
    pub max_carving_views: usize,
    /// Points that fewer measurements of a depth sensor bear out are left out of clouds and meshes: what
    /// flickers at edges was measured seldom (Keller et al., 3DV 2013, call points stable from 10 on).
    /// Of a keyframe that few frames went on from, half of what is usual there is enough. What a model
    /// adds beside a sensor counts as much as it is sure; 0 leaves all.
    #[schemars(range(min = 0.0, max = 10_000.0))]
    pub min_measurements: f64,
    /// Fusion stops when a point is this many times surer than one measurement.
    #[schemars(range(min = 1.0, max = 10_000.0))]
    pub max_fused_measurements: f64,
    /// Whether frames are only placed in the map that is there, which then does not change.
    pub localization_only: bool,
    /// Seconds without a pose after which a new map is begun, and the one that is there is set aside
    /// until one of its places is seen again; 0 for never.
    #[schemars(range(min = 0.0, max = 3600.0))]
    pub new_map_after_secs: f64,
}

impl Default for MapConfig {
    fn default() -> Self {
        Self {
            voxel_size_m: 0.01,
            max_voxels: 5_000_000,
            min_observations: 1,
            fusion_gate_frac: 0.02,
            max_witnesses: 12,
            max_carving_views: 32,
            min_measurements: 10.0,
            max_fused_measurements: 30.0,
            localization_only: false,
            new_map_after_secs: 5.0,
        }
    }
}

/// All keyframes, in order of their creation.
#[derive(Debug, Clone, Default)]
pub struct GlobalMap {
    keyframes: BTreeMap<KeyframeId, Keyframe>,
    next_id: u32,
    /// Counts changes of keyframes' content, poses not counted.
    revision: u64,
    /// The revision at which each keyframe was changed last.
    changed: BTreeMap<KeyframeId, u64>,
    /// What a depth is worth that a sensor measured once, where that is known.
    noise: Option<DepthNoise>,
}

impl GlobalMap {
    /// Returns an empty map, where what a depth sensor measures is as uncertain as `noise` says.
    pub fn of_sensor(noise: DepthNoise) -> Self {
        Self { noise: Some(noise), ..Self::default() }
    }

    /// Returns the number that the next keyframe will have, and uses it up.
    pub fn take_id(&mut self) -> KeyframeId {
        self.next_id += 1;
        KeyframeId(self.next_id - 1)
    }

    /// Adds a keyframe, or replaces the one of the same number.
    pub fn insert(&mut self, keyframe: Keyframe) {
        self.next_id = self.next_id.max(keyframe.id.0.saturating_add(1));
        self.note_change(keyframe.id);
        self.keyframes.insert(keyframe.id, keyframe);
    }

    /// Removes all keyframes; their numbers stay used.
    pub fn clear(&mut self) {
        self.keyframes.clear();
        self.changed.clear();
        self.revision += 1;
    }

    /// Returns the number that the next keyframe will have.
    pub fn next_id(&self) -> KeyframeId {
        KeyframeId(self.next_id)
    }

    /// Uses up all numbers below `next`.
    pub fn reserve_below(&mut self, next: KeyframeId) {
        self.next_id = self.next_id.max(next.0);
    }

    /// Goes on where another map was looked at: numbers of keyframes and revisions that were used
    /// there are not used again, and to whoever has seen that one all content is new.
    pub fn go_on_from(&mut self, other: &Self) {
        self.reserve_below(other.next_id());
        self.revision = self.revision.max(other.revision) + 1;
        let revision = self.revision;
        self.changed.values_mut().for_each(|at| *at = revision);
    }

    /// Returns a number that grows with every change of a keyframe's content; poses do not count.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the keyframes whose content has changed since `revision`, oldest first.
    pub fn changed_since(&self, revision: u64) -> impl Iterator<Item = &Keyframe> {
        let changed = self.changed.iter().filter(move |(_, at)| **at > revision);
        changed.filter_map(|(id, _)| self.keyframes.get(id))
    }

    fn note_change(&mut self, id: KeyframeId) {
        self.revision += 1;
        self.changed.insert(id, self.revision);
    }

    /// Returns a keyframe.
    pub fn get(&self, id: KeyframeId) -> Option<&Keyframe> {
        self.keyframes.get(&id)
    }

    /// Returns a keyframe, to be changed.
    pub fn get_mut(&mut self, id: KeyframeId) -> Option<&mut Keyframe> {
        self.note_change(id);
        self.keyframes.get_mut(&id)
    }

    /// Gives up the pyramids that nobody has looked at since this was asked the last time; they are
    /// made anew when they are looked at.
    pub fn forget_unused_pyramids(&mut self) {
        self.keyframes.values_mut().for_each(|keyframe| keyframe.pyramid.forget_unless_used());
    }

    /// Returns all keyframes, oldest first.
    pub fn keyframes(&self) -> impl DoubleEndedIterator<Item = &Keyframe> + Clone {
        self.keyframes.values()
    }

    /// Returns the number of keyframes.
    pub fn len(&self) -> usize {
        self.keyframes.len()
    }

    /// Returns whether there is no keyframe.
    pub fn is_empty(&self) -> bool {
        self.keyframes.is_empty()
    }

    /// Moves keyframes to new poses; numbers that are not in the map are ignored.
    pub fn set_poses(&mut self, world_from_camera: &BTreeMap<KeyframeId, Se3>) {
        for (id, pose) in world_from_camera {
            if let Some(keyframe) = self.keyframes.get_mut(id) {
                keyframe.world_from_camera = *pose;
            }
        }
    }

    /// Returns the map's cloud in the world frame, one point for each voxel.
    pub fn cloud(&self, config: &MapConfig) -> PointCloud {
        self.surface(config, |_, _| true).0.cloud
    }

    /// Returns the map's points with normals and confidence in the world frame, one for each voxel,
    /// and what was left out because it has gone. Only points that are to be `kept` count, each
    /// given in its camera's frame with its confidence.
    pub fn surface(
        &self,
        config: &MapConfig,
        kept: impl Fn(&Vector3<f32>, f32) -> bool + Sync,
    ) -> (SurfaceCloud, Ghosts) {
        let mut cloud = VoxelCloud::new(config);
        for keyframe in self.keyframes() {
            let all = self.carved(keyframe, &Ghosts::default(), config);
            cloud.add(keyframe, &all.retained(&kept));
        }
        let stays = self.stays(&cloud.measured(), cloud.voxel_size_m(), config);
        let ghosts = Ghosts::of(&cloud, &stays);
        (cloud.into_surface(|index| stays[index]), ghosts)
    }
}
