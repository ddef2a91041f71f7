//! The map as plain data: what outlives a pipeline, and how a pipeline takes it up again.
//!
//! The index of places and the anchor's reference are made anew from it, and pyramids when they are
//! looked at. A pipeline that has taken a map up is lost in it until it recognises where it is.

use std::collections::{BTreeMap, BTreeSet};

use super::depth_offset::OffsetWatch;
use super::drift::Travel;
use super::learned::{GeoReference, LearnedSnapshot};
use super::merging::set_pointmap;
use super::scaling::scaled;
use super::{FrameRecord, Pipeline};
use crate::config::Config;
use crate::constraint::Constraint;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::geometry::{Camera, Se3};
use crate::keyframe::{Keyframe, KeyframeId};
use crate::map::GlobalMap;
use crate::pointmap::Pointmap;
use crate::pose_graph::StoredConstraint;
use crate::pyramid::Pyramid;
use crate::recognition::KeyframeFeatures;
use crate::trajectory::{StampedPose, Trajectory};

/// A map, or what has changed about one.
#[derive(Debug, Clone, Default)]
pub struct MapSnapshot {
    /// What keyframes saw, in order of their numbers; of changes, only those that have changed.
    pub keyframes: Vec<KeyframeSnapshot>,
    /// Where they stand, and everything else; always whole.
    pub graph: GraphSnapshot,
    /// What is not as it was when the map was saved, a sentence each.
    pub notes: Vec<String>,
}

/// What a keyframe saw.
#[derive(Debug, Clone)]
pub struct KeyframeSnapshot {
    /// Its number.
    pub id: KeyframeId,
    /// Its frame at working size.
    pub frame: Frame,
    /// Camera of the frame at working size.
    pub camera: Camera,
    /// Its geometry.
    pub pointmap: Pointmap,
    /// What it is recognised by, where places are recognised.
    pub features: Option<KeyframeFeatures>,
}

/// Where keyframes stand, what ties them together and what has been placed by them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GraphSnapshot {
    /// Poses of all keyframes, `world_from_camera`.
    pub poses: BTreeMap<KeyframeId, Se3>,
    /// The number that the next keyframe will have.
    pub next_keyframe: KeyframeId,
    /// Constraints between them, in order of their keyframes.
    pub constraints: Vec<StoredConstraint<Se3, 6>>,
    /// Pairs that see the same, smaller number first, with their overlap.
    pub covisibility: Vec<(KeyframeId, KeyframeId, f64)>,
    /// Pairs that were tied together across a gap, the newer first.
    pub long_ties: BTreeSet<(KeyframeId, KeyframeId)>,
    /// Frames that were placed, by session, each session in order of time.
    pub sessions: Vec<Vec<FrameRecord>>,
    /// How far the camera has come, metres and radians.
    pub travel: [f64; 2],
    /// The keyframe that was tracked last.
    pub anchor: Option<KeyframeId>,
    /// The configuration in use; its depth offset is part of the map's scale.
    pub config: Config,
    /// Pose of the pipeline's world in the frame that is shown to others, z up, where one is chosen.
    pub map_from_world: Option<Se3>,
    /// What was learned of scale and focal length; `None` where a sensor says both.
    pub learned: Option<LearnedSnapshot>,
    /// Where on Earth the origin of that frame is, where it is known.
    pub georeference: Option<GeoReference>,
}

impl MapSnapshot {
    /// Returns the map that the snapshot holds, with pyramids of so many levels.
    pub fn map(&self, pyramid_levels: usize) -> GlobalMap {
        let whole =
            |k: &KeyframeSnapshot| Some(k.whole(*self.graph.poses.get(&k.id)?, pyramid_levels));
        let mut map = GlobalMap::of_sensor(self.graph.config.sensor.noise());
        self.keyframes.iter().filter_map(whole).for_each(|keyframe| map.insert(keyframe));
        map.reserve_below(self.graph.next_keyframe);
        map
    }

    /// Returns the map with all lengths multiplied by `factor`.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        for keyframe in &mut self.keyframes {
            keyframe.pointmap = keyframe.pointmap.scaled(factor);
        }
        let graph = &mut self.graph;
        graph.poses.values_mut().for_each(|pose| *pose = scaled(*pose, factor));
        for stored in &mut graph.constraints {
            stored.constraint = stored.constraint.lengthened(factor);
        }
        for record in graph.sessions.iter_mut().flatten() {
            record.keyframe_from_camera = scaled(record.keyframe_from_camera, factor);
        }
        graph.travel[0] *= factor;
        self
    }

    /// Returns the poses of all frames of all sessions, by session.
    pub fn trajectories(&self) -> Vec<Trajectory> {
        let trajectory = |records: &Vec<FrameRecord>| trajectory(records, &self.graph.poses);
        self.graph.sessions.iter().map(trajectory).collect()
    }

    /// Returns what ties the keyframes together.
    pub fn constraints(&self) -> impl Iterator<Item = &Constraint> {
        self.graph.constraints.iter().map(|stored| &stored.constraint)
    }

    /// Leaves out what hangs on keyframes that are not there: a pose without content, content
    /// without a pose, ties and frames of either. Returns how many keyframes that were.
    pub fn drop_incomplete(&mut self) -> usize {
        let whole: BTreeSet<KeyframeId> = self
            .keyframes
            .iter()
            .map(|k| k.id)
            .filter(|id| self.graph.poses.contains_key(id))
            .collect();
        let all = self.keyframes.len() + self.graph.poses.len();
        self.keyframes.retain(|k| whole.contains(&k.id));
        self.graph.keep_only(&whole);
        all - 2 * whole.len()
    }
}

impl KeyframeSnapshot {
    fn whole(&self, world_from_camera: Se3, pyramid_levels: usize) -> Keyframe {
        let mut keyframe = Keyframe {
            id: self.id,
            frame: self.frame.clone(),
            camera: self.camera,
            pyramid: Pyramid::later(&self.frame, &self.camera, pyramid_levels),
            pointmap: self.pointmap.clone(),
            world_from_camera,
        };
        set_pointmap(&mut keyframe, self.pointmap.clone());
        keyframe
    }
}

impl GraphSnapshot {
    /// Leaves out everything that hangs on other keyframes than these.
    pub fn keep_only(&mut self, kept: &BTreeSet<KeyframeId>) {
        let both = |a: KeyframeId, b: KeyframeId| kept.contains(&a) && kept.contains(&b);
        self.poses.retain(|id, _| kept.contains(id));
        self.constraints.retain(|c| both(c.constraint.target, c.constraint.source));
        self.covisibility.retain(|&(a, b, _)| both(a, b));
        self.long_ties.retain(|&(a, b)| both(a, b));
        for session in &mut self.sessions {
            session.retain(|record| kept.contains(&record.keyframe));
        }
        self.anchor = self.anchor.filter(|id| kept.contains(id));
        if let Some(learned) = &mut self.learned {
            learned.fused.retain(|id, _| kept.contains(id));
        }
    }
}

impl Pipeline {
    /// Returns the whole map as plain data.
    pub fn snapshot(&self) -> MapSnapshot {
        self.snapshot_of(self.map.keyframes())
    }

    /// Returns what has changed since [`GlobalMap::revision`] was `revision`: keyframes with new
    /// content, and the whole graph.
    pub fn changes_since(&self, revision: u64) -> MapSnapshot {
        self.snapshot_of(self.map.changed_since(revision))
    }

    fn snapshot_of<'a>(&self, keyframes: impl Iterator<Item = &'a Keyframe>) -> MapSnapshot {
        let keyframe = |k: &Keyframe| KeyframeSnapshot {
            id: k.id,
            frame: k.frame.clone(),
            camera: k.camera,
            pointmap: k.pointmap.clone(),
            features: self.recognizer.as_ref().and_then(|r| r.stored(k.id)),
        };
        MapSnapshot {
            keyframes: keyframes.map(keyframe).collect(),
            graph: self.graph_snapshot(),
            notes: Vec::new(),
        }
    }

    fn graph_snapshot(&self) -> GraphSnapshot {
        let mut sessions = self.past_sessions.clone();
        if !self.records.is_empty() {
            sessions.push(self.records.clone());
        }
        GraphSnapshot {
            poses: self.map.keyframes().map(|k| (k.id, k.world_from_camera)).collect(),
            next_keyframe: self.map.next_id(),
            constraints: self.pose_graph.stored().collect(),
            covisibility: self.covisibility.edges().collect(),
            long_ties: self.long_ties.clone(),
            sessions,
            travel: [self.travel.metres, self.travel.radians],
            anchor: self.anchor.as_ref().map(|anchor| anchor.keyframe),
            config: self.config.clone(),
            map_from_world: self.map_from_world,
            learned: self.inferring.learned(),
            georeference: self.georeference,
        }
    }

    /// Takes a map up in place of its own: it is lost in it until a frame is recognised. Of the
    /// map's configuration only the depth offset is taken over. Features that are missing, or of
    /// another extractor, are looked for anew in the keyframes' images.
    ///
    /// # Errors
    /// [`Error::Usage`] for a snapshot that is not whole, or without a keyframe; the pipeline is
    /// then as it was.
    pub fn restore(&mut self, snapshot: MapSnapshot) -> Result<()> {
        if snapshot.keyframes.is_empty() {
            return Err(Error::Usage("the map has no keyframe to begin with".to_owned()));
        }
        let map = snapshot.map(self.config.tracking.pyramid_levels);
        if map.len() != snapshot.graph.poses.len() {
            let (whole, all) = (map.len(), snapshot.graph.poses.len());
            let problem = format!("only {whole} of the map's {all} keyframes are whole");
            return Err(Error::Usage(problem));
        }
        self.restart();
        self.map = map;
        let MapSnapshot { keyframes, graph, .. } = snapshot;
        for KeyframeSnapshot { id, features, .. } in keyframes {
            self.take_in_features(id, features)?;
        }
        self.take_up_graph(graph);
        Ok(())
    }

    fn take_up_graph(&mut self, graph: GraphSnapshot) {
        self.config.sensor.depth_offset_m = graph.config.sensor.depth_offset_m;
        self.offset_watch = OffsetWatch::new(graph.config.sensor.depth_offset_m);
        for (&id, pose) in &graph.poses {
            self.places.set(id, pose.translation.vector.into());
            self.covisibility.insert(id);
        }
        for &(a, b, shared) in &graph.covisibility {
            self.covisibility.connect(a, b, shared);
        }
        self.pose_graph.restore(&graph.constraints);
        self.long_ties = graph.long_ties;
        self.past_sessions = graph.sessions;
        let [metres, radians] = graph.travel;
        self.travel = Travel { metres, radians };
        self.map_from_world = graph.map_from_world;
        self.georeference = graph.georeference;
        if let Some(learned) = graph.learned {
            self.inferring.take_up(learned);
        }
        let last = graph.poses.keys().next_back().copied();
        if let Some(keyframe) = graph.anchor.or(last) {
            self.set_anchor(keyframe);
        }
        self.inferring.is_metric = self.map.keyframes().any(|k| k.frame.depth.is_some());
        self.lost_frames = 1;
    }

    /// Lets the recognizer know a keyframe of the map.
    pub(super) fn take_in_features(
        &mut self,
        id: KeyframeId,
        features: Option<KeyframeFeatures>,
    ) -> Result<()> {
        let Some(recognizer) = &mut self.recognizer else { return Ok(()) };
        if features.is_some_and(|features| recognizer.restore(id, features).is_ok()) {
            return Ok(());
        }
        let Some(keyframe) = self.map.get(id) else { return Ok(()) };
        match recognizer.describe(&keyframe.frame.color, &keyframe.frame) {
            Some(features) => recognizer.insert(id, features),
            None => Ok(()),
        }
    }

    /// Returns the pipeline's world in the frame that is shown to others, where one is chosen.
    pub fn map_from_world(&self) -> Option<Se3> {
        self.map_from_world
    }

    /// Returns where on Earth the origin of that frame is, where it is known.
    pub fn georeference(&self) -> Option<GeoReference> {
        self.georeference
    }

    /// Chooses the frame in which the map is shown to others; it is kept with the map.
    pub fn set_map_from_world(&mut self, map_from_world: Se3) {
        self.map_from_world = Some(map_from_world);
    }
}

/// Where frames are, by the poses of their keyframes.
pub(super) fn trajectory(records: &[FrameRecord], poses: &BTreeMap<KeyframeId, Se3>) -> Trajectory {
    let placed = records.iter().filter_map(|record| {
        Some(StampedPose {
            stamp: record.stamp,
            world_from_camera: poses.get(&record.keyframe)? * record.keyframe_from_camera,
        })
    });
    Trajectory::new(placed.collect())
}
