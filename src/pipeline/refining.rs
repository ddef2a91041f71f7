//! Global refinement: all that the map knows, brought into agreement once more; at once, or apart
//! from the frames that go on meanwhile.

use std::collections::BTreeMap;
use std::fmt;

use super::Pipeline;
use super::looping::sober;
use super::refine_job::{RefineJob, RefineOutcome, with_offset};
use crate::constraint::Constraint;
use crate::error::Result;
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::observer::MapScale;

/// What a refinement has come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refined {
    /// Keyframes that were moved together.
    pub keyframes: usize,
    /// Pairs of them that were compared, in one direction.
    pub pairs: usize,
    /// Mean robust cost of a residual before and after.
    pub mean_cost: [f64; 2],
    /// What was added to all depths, metres.
    pub depth_offset_m: f64,
}

/// One sentence for people.
impl fmt::Display for Refined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keyframes, pairs, mean_cost: [before, after], depth_offset_m } = self;
        let offset_cm = 100.0 * depth_offset_m;
        write!(f, "refined {keyframes} keyframes by {pairs} pairs: ")?;
        write!(f, "mean cost {before:.4} to {after:.4}, depth offset {offset_cm:.1} cm")
    }
}

impl Pipeline {
    /// Refines the whole map: the depth offset, then all keyframes' poses; frames follow theirs.
    /// Takes some seconds for each hundred keyframes.
    ///
    /// # Errors
    /// As [`RefineJob::run`].
    pub fn refine(&mut self) -> Result<Refined> {
        let outcome = self.refine_job().run()?;
        Ok(self.apply_refinement(&outcome))
    }

    /// Returns the work of a refinement of the map as it is now, to be done wherever there is time;
    /// [`Pipeline::apply_refinement`] takes what comes of it.
    pub fn refine_job(&self) -> RefineJob {
        let mut sensor = self.config.sensor.clone();
        // Without a sensor of depth there is nothing that it could measure too little.
        sensor.estimate_depth_offset &= self.scale() == MapScale::METRIC;
        RefineJob {
            map: self.map.clone(),
            covisibility: self.covisibility.clone(),
            sensor,
            alignment: self.config.alignment.clone(),
            stated_offset_m: self.offset_watch.stated_m,
            unit: self.inferring.unit,
        }
    }

    /// Takes over what a refinement has found. What has happened to the map since it was begun
    /// stays: keyframes that have been moved are moved on by as much as the refinement moved them,
    /// new ones follow the keyframes that they are tied to, and the pose graph settles both. Of a
    /// map that was given up meanwhile no keyframe is left, and nothing is changed; nor is a map
    /// whose unit has changed.
    pub fn apply_refinement(&mut self, outcome: &RefineOutcome) -> Refined {
        let corrections = self.corrections(outcome);
        let depth_offset_m = if corrections.is_empty() { 0.0 } else { outcome.depth_offset_m };
        self.shift_depths(depth_offset_m);
        let changed = self.changed_since(outcome, &corrections);
        let refinement = &outcome.refinement;
        self.move_keyframes(&self.carried_on(&corrections));
        let constraints: Vec<Constraint> = refinement
            .constraints
            .iter()
            .filter(|c| corrections.contains_key(&c.target) && corrections.contains_key(&c.source))
            .map(sober)
            .collect();
        self.pose_graph.update(&constraints);
        if !changed.is_empty() {
            self.settle(&changed);
        }
        if let Some(anchor) = self.anchor.as_ref().map(|anchor| anchor.keyframe) {
            self.set_anchor(anchor);
        }
        Refined {
            keyframes: corrections.len(),
            pairs: constraints.len(),
            mean_cost: refinement.mean_cost,
            depth_offset_m,
        }
    }

    /// How the refined keyframes that are still there are to be moved.
    fn corrections(&self, outcome: &RefineOutcome) -> BTreeMap<KeyframeId, Correction> {
        let correction = |(&id, refined): (&KeyframeId, &Se3)| {
            let now = self.map.get(id)?.world_from_camera;
            let before = *outcome.before.get(&id)?;
            let stayed = (now == before).then_some(*refined);
            Some((id, Correction { new_from_old: refined * before.inverse(), stayed }))
        };
        let is_of_this_map = outcome.unit.to_bits() == self.inferring.unit.to_bits();
        let refined = outcome.refinement.world_from_camera.iter().filter(|_| is_of_this_map);
        refined.filter_map(correction).collect()
    }

    /// The keyframes that are new or have been moved since the refinement was begun.
    fn changed_since(
        &self,
        outcome: &RefineOutcome,
        corrections: &BTreeMap<KeyframeId, Correction>,
    ) -> Vec<KeyframeId> {
        if corrections.is_empty() {
            return Vec::new();
        }
        let keyframes = self.map.keyframes();
        keyframes
            .filter(|k| outcome.before.get(&k.id) != Some(&k.world_from_camera))
            .map(|k| k.id)
            .collect()
    }

    /// Where all keyframes go. One that the refinement knows nothing of goes the way of the newest
    /// keyframe that it is tied to, else of the one before it.
    fn carried_on(
        &self,
        corrections: &BTreeMap<KeyframeId, Correction>,
    ) -> BTreeMap<KeyframeId, Se3> {
        let mut ways: BTreeMap<KeyframeId, Se3> =
            corrections.iter().map(|(&id, c)| (id, c.new_from_old)).collect();
        let mut poses = BTreeMap::new();
        for keyframe in self.map.keyframes() {
            let id = keyframe.id;
            let tied =
                || self.pose_graph.neighbours(id).filter_map(|other| ways.get(&other)).last();
            let before = || ways.range(..id).next_back().map(|(_, way)| way);
            let Some(way) = ways.get(&id).or_else(tied).or_else(before).copied() else { continue };
            let stayed = corrections.get(&id).and_then(|c| c.stayed);
            poses.insert(id, stayed.unwrap_or(way * keyframe.world_from_camera));
            ways.insert(id, way);
        }
        poses
    }

    /// Adds an offset to all depths of the map; frames' ways from their keyframes, which were
    /// measured in those depths, grow as their surroundings do.
    fn shift_depths(&mut self, offset_m: f64) {
        if offset_m == 0.0 {
            return;
        }
        let ids: Vec<KeyframeId> = self.map.keyframes().map(|k| k.id).collect();
        let mut growth = BTreeMap::new();
        for keyframe in ids.iter().filter_map(|&id| self.map.get(id)) {
            growth.insert(keyframe.id, 1.0 + offset_m * mean_inverse_depth(keyframe));
        }
        for id in ids {
            if let Some(keyframe) = self.map.get_mut(id) {
                *keyframe = with_offset(keyframe, offset_m);
            }
        }
        let past = self.past_sessions.iter_mut().flatten();
        for record in past.chain(&mut self.records) {
            let factor = growth.get(&record.keyframe).copied().unwrap_or(1.0);
            record.keyframe_from_camera.translation.vector *= factor;
        }
        if let (Some(motion), Some(anchor)) = (&mut self.motion, &self.anchor) {
            let factor = growth.get(&anchor.keyframe).copied().unwrap_or(1.0);
            motion.view.target_from_reference.translation.vector *= factor;
        }
        self.config.sensor.depth_offset_m += offset_m;
    }
}

/// How a refinement moves a keyframe.
struct Correction {
    new_from_old: Se3,
    /// The refined pose, where the keyframe has not been moved meanwhile.
    stayed: Option<Se3>,
}

/// Mean of 1/depth over a keyframe's points, 1/m.
fn mean_inverse_depth(keyframe: &Keyframe) -> f64 {
    let map = &keyframe.pointmap;
    let (mut sum, mut count) = (0.0, 0usize);
    for y in 0..map.height() {
        for x in 0..map.width() {
            if let Some(point) = map.point(x, y) {
                sum += 1.0 / f64::from(point.z);
                count += 1;
            }
        }
    }
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use image::RgbImage;
    use nalgebra::Matrix6;

    use super::*;
    use crate::alignment::Refinement;
    use crate::config::Config;
    use crate::frame::Frame;
    use crate::geometry::{Camera, Intrinsics};
    use crate::model::SensorDepth;
    use crate::pointmap::Pointmap;
    use crate::pyramid::Pyramid;
    use crate::raster::Raster;
    use crate::stamp::Stamp;

    fn keyframe(id: u32, world_from_camera: Se3) -> Keyframe {
        let intrinsics = Intrinsics { fx: 16.0, fy: 16.0, cx: 7.5, cy: 7.5 };
        let camera = Camera::pinhole(intrinsics, 16, 16).unwrap();
        let frame = Frame {
            id: id.into(),
            stamp: Stamp::from_secs(id.into()),
            color: Arc::new(RgbImage::new(16, 16)),
            depth: None,
            camera: Some(camera),
            odometry: None,
        };
        let points = Raster::from_values(16, 16, camera.rays());
        let pointmap = Pointmap::new(points, Raster::filled(16, 16, 1.0)).unwrap();
        let pyramid = Pyramid::new(&frame, &camera, 1);
        Keyframe { id: KeyframeId(id), frame, camera, pyramid, pointmap, world_from_camera }
    }

    fn tie(target: u32, source: u32, shift: [f64; 3], information: f64) -> Constraint {
        Constraint {
            target: KeyframeId(target),
            source: KeyframeId(source),
            target_from_source: Se3::translation(shift[0], shift[1], shift[2]),
            information: Matrix6::identity() * information,
        }
    }

    /// Keyframes one metre apart, each tied to the next.
    fn line(count: u32) -> Pipeline {
        let model = SensorDepth::new(Config::default().sensor);
        let mut pipeline = Pipeline::new(Config::default(), Box::new(model));
        for id in 0..count {
            pipeline.map.insert(keyframe(id, Se3::translation(f64::from(id), 0.0, 0.0)));
        }
        let ties: Vec<Constraint> =
            (1..count).map(|id| tie(id - 1, id, [1.0, 0.0, 0.0], 1e4)).collect();
        pipeline.pose_graph.update(&ties);
        pipeline
    }

    /// What says that the keyframes of a line are a tenth further apart.
    fn stretched(pipeline: &Pipeline) -> RefineOutcome {
        let before: BTreeMap<KeyframeId, Se3> =
            pipeline.map.keyframes().map(|k| (k.id, k.world_from_camera)).collect();
        let further =
            |(&id, _): (&KeyframeId, &Se3)| (id, Se3::translation(1.1 * f64::from(id.0), 0.0, 0.0));
        let count = before.len() as u32;
        let refinement = Refinement {
            world_from_camera: before.iter().map(further).collect(),
            constraints: (1..count).map(|id| tie(id - 1, id, [1.1, 0.0, 0.0], 1e4)).collect(),
            mean_cost: [1.0, 0.5],
            rounds: 1,
            converged: true,
        };
        RefineOutcome { before, refinement, depth_offset_m: 0.0, unit: 1.0 }
    }

    fn at(pipeline: &Pipeline, id: u32) -> [f64; 3] {
        pipeline.map.get(KeyframeId(id)).unwrap().world_from_camera.translation.vector.into()
    }

    fn assert_is_at(pipeline: &Pipeline, id: u32, expected: [f64; 3], within_m: f64) {
        let found = at(pipeline, id);
        let gap = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(gap <= within_m, "keyframe {id} is at {found:?}, not at {expected:?}");
    }

    #[test]
    fn what_has_not_changed_meanwhile_goes_exactly_where_it_was_refined_to() {
        let mut pipeline = line(5);
        let outcome = stretched(&pipeline);
        let refined = pipeline.apply_refinement(&outcome);
        assert_eq!((refined.keyframes, refined.pairs), (5, 4));
        for (id, pose) in &outcome.refinement.world_from_camera {
            assert_eq!(&pipeline.map.get(*id).unwrap().world_from_camera, pose);
        }
    }

    #[test]
    fn new_keyframes_follow_those_that_they_are_tied_to() {
        let mut pipeline = line(5);
        let outcome = stretched(&pipeline);
        pipeline.map.insert(keyframe(5, Se3::translation(5.0, 0.0, 0.0)));
        pipeline.map.insert(keyframe(6, Se3::translation(4.5, 1.0, 0.0)));
        pipeline
            .pose_graph
            .update(&[tie(4, 5, [1.0, 0.0, 0.0], 1e4), tie(5, 6, [-0.5, 1.0, 0.0], 1e4)]);
        pipeline.apply_refinement(&outcome);
        assert_is_at(&pipeline, 4, [4.4, 0.0, 0.0], 1e-3);
        assert_is_at(&pipeline, 5, [5.4, 0.0, 0.0], 1e-3);
        assert_is_at(&pipeline, 6, [4.9, 1.0, 0.0], 1e-3);
    }

    #[test]
    fn a_loop_that_was_closed_meanwhile_stays_closed() {
        let mut pipeline = line(5);
        let outcome = stretched(&pipeline);
        // By what closes the loop the last keyframe stands a metre beside the line.
        pipeline.pose_graph.update(&[tie(0, 4, [4.4, 1.0, 0.0], 1e6)]);
        pipeline.settle(&[KeyframeId(0), KeyframeId(4)]);
        assert!(at(&pipeline, 4)[1] > 0.9, "{:?}", at(&pipeline, 4));
        pipeline.apply_refinement(&outcome);
        assert_is_at(&pipeline, 4, [4.4, 1.0, 0.0], 0.02);
        let ys: Vec<f64> = (0..5).map(|id| at(&pipeline, id)[1]).collect();
        assert!(ys.windows(2).all(|pair| pair[1] > pair[0]), "the way bends as a whole: {ys:?}");
    }
}
