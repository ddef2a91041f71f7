//! Two maps of one place become one: by keyframes of the one that recognise keyframes of the other.
//!
//! As with loops, nothing is believed that only one view says: several keyframes have to call for
//! the same alignment of the maps, and no other alignment may have half as many.

use std::collections::{BTreeMap, BTreeSet};

use super::looping::{loop_constraint, sober};
use super::scale_drift::log_lengths_across;
use super::{FrameRecord, MapSnapshot, Pipeline};
use crate::constraint::Constraint;
use crate::dense_residual::RelativeView;
use crate::error::{Error, Result};
use crate::geometry::Se3;
use crate::keyframe::{Keyframe, KeyframeId};
use crate::pose_graph::StoredConstraint;
use crate::recognition::Sighting;
use crate::reference::Reference;

/// Keyframes of the other map that have to agree on where it lies, if it has so many.
const MIN_WITNESSES: usize = 3;
/// Ties around which keyframes are aligned once more.
const MAX_ALIGNED: usize = 5;

/// What a merge has come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Joined {
    /// Keyframes that came from the other map.
    pub keyframes: usize,
    /// Pairs of keyframes that tie the maps together.
    pub ties: usize,
    /// Where the other map's world lies in this one's, its lengths being as they have become.
    pub world_from_other: Se3,
    /// How many times as long as they were the other map's lengths have become: one where sensors measure
    /// them.
    pub longer: f64,
}

/// How another map lies in this one.
pub(super) struct Lies {
    pub world_from_other: Se3,
    /// How many times as long as in that map lengths are here.
    pub longer: f64,
}

/// A keyframe of the other map, seen by one of this map.
struct Meeting {
    view: KeyframeId,
    other_from_view: Se3,
    sighting: Sighting,
}

impl Meeting {
    fn world_from_other(&self) -> Se3 {
        self.sighting.world_from_view * self.other_from_view.inverse()
    }
}

impl Pipeline {
    /// Takes another map of the same place into this one.
    ///
    /// # Errors
    /// [`Error::Usage`] where places cannot be recognised, or no place is common to both maps; this
    /// map is then as it was.
    pub fn join(&mut self, other: &MapSnapshot) -> Result<Joined> {
        self.join_where(other, |_, _, _| true)
    }

    /// The same, where only what `is_possible` counts: that a keyframe of this map was seen, and how the
    /// other map lies in this one by that.
    pub(super) fn join_where(
        &mut self,
        other: &MapSnapshot,
        is_possible: impl Fn(&Self, KeyframeId, &Lies) -> bool,
    ) -> Result<Joined> {
        let levels = self.config.tracking.pyramid_levels;
        let mut views = other.map(levels);
        let mut meetings = self.meetings(other, |id| views.get(id))?;
        let factor = self.longer_here(&meetings, |id| views.get(id));
        let scaled = factor.map(|factor| other.clone().scaled(factor));
        let (other, longer) = (scaled.as_ref().unwrap_or(other), factor.unwrap_or(1.0));
        if scaled.is_some() {
            views = other.map(levels);
            meetings = self.meetings(other, |id| views.get(id))?;
        }
        let lies = |m: &Meeting| Lies { world_from_other: m.world_from_other(), longer };
        meetings.retain(|m| is_possible(self, m.sighting.keyframe, &lies(m)));
        let meetings = self.agreeing(meetings);
        let needed = MIN_WITNESSES.min(views.len());
        if witnesses(&meetings) < needed || meetings.is_empty() {
            let found = witnesses(&meetings);
            return Err(Error::Usage(format!(
                "the maps cannot be joined: {found} keyframes agree on where the one lies in the \
                 other, at least {needed} have to; map more of what both show"
            )));
        }
        let first = self.map.next_id().0;
        let renumbered = |id: KeyframeId| KeyframeId(first + id.0);
        let (ties, world_from_other) = self.ties(&meetings, |id| views.get(id), renumbered);
        self.take_over(other, views.keyframes(), &world_from_other, renumbered)?;
        self.tie(&ties);
        let new: Vec<KeyframeId> = views.keyframes().map(|k| renumbered(k.id)).collect();
        self.settle(&new);
        for tie in ties.iter().take(MAX_ALIGNED) {
            self.see_anew(tie.target);
            self.align_around(tie.target, Some(tie.source));
        }
        Ok(Joined { keyframes: new.len(), ties: ties.len(), world_from_other, longer })
    }

    /// How many times as long as the other map's lengths this one's are, where windows and no sensor have
    /// said how long they are.
    fn longer_here<'a>(
        &self,
        meetings: &[Meeting],
        view: impl Fn(KeyframeId) -> Option<&'a Keyframe>,
    ) -> Option<f64> {
        if !self.may_drift_in_scale() {
            return None;
        }
        let log = |m: &Meeting| {
            let keyframe = self.map.get(m.sighting.keyframe)?;
            log_lengths_across(view(m.view)?, keyframe, &m.sighting.pose.target_from_source)
        };
        let mut logs: Vec<f64> = meetings.iter().filter_map(log).collect();
        logs.sort_by(f64::total_cmp);
        logs.get(logs.len() / 2).map(|log| log.exp())
    }

    fn meetings<'a>(
        &self,
        other: &MapSnapshot,
        view: impl Fn(KeyframeId) -> Option<&'a Keyframe>,
    ) -> Result<Vec<Meeting>> {
        let Some(recognizer) = &self.recognizer else {
            let problem = "maps are joined by recognition: set recognition.enabled=true";
            return Err(Error::Usage(problem.to_owned()));
        };
        let mut meetings = Vec::new();
        for stored in &other.keyframes {
            let (Some(view), Some(features)) = (view(stored.id), &stored.features) else {
                continue;
            };
            let is_up_to_scale = self.may_drift_in_scale();
            let known = |id| self.map.get(id);
            let sightings = recognizer.sight_stored(view, features, is_up_to_scale, known)?;
            meetings.extend(sightings.into_iter().map(|sighting| Meeting {
                view: view.id,
                other_from_view: view.world_from_camera,
                sighting,
            }));
        }
        Ok(meetings)
    }

    /// The meetings that agree with the one that most agree with, or none where others do as well.
    fn agreeing(&self, meetings: Vec<Meeting>) -> Vec<Meeting> {
        let Some(recognizer) = &self.recognizer else { return Vec::new() };
        let agree = |a: &Meeting, b: &Meeting| {
            let world_from_view = b.world_from_other() * a.other_from_view;
            let by_b = Sighting { world_from_view, ..a.sighting.clone() };
            recognizer.agree(&a.sighting, &by_b)
        };
        let supporters = |a: &Meeting| -> BTreeSet<usize> {
            (0..meetings.len()).filter(|&i| agree(a, &meetings[i])).collect()
        };
        let views = |group: &BTreeSet<usize>| {
            group.iter().map(|&i| meetings[i].view).collect::<BTreeSet<_>>().len()
        };
        let groups: Vec<BTreeSet<usize>> = meetings.iter().map(supporters).collect();
        let Some(best) = groups.iter().max_by_key(|group| (views(group), group.len())) else {
            return Vec::new();
        };
        let rivals = groups.iter().filter(|group| group.is_disjoint(best));
        let rival = rivals.map(views).max().unwrap_or(0);
        let best = if 2 * rival > views(best) { BTreeSet::new() } else { best.clone() };
        let chosen = meetings.into_iter().enumerate().filter(|(i, _)| best.contains(i));
        chosen.map(|(_, meeting)| meeting).collect()
    }

    /// Constraints between the maps, the surest first, as tracked where the tracker bears them out,
    /// and where the surest one puts the other map.
    fn ties<'a>(
        &self,
        meetings: &[Meeting],
        view: impl Fn(KeyframeId) -> Option<&'a Keyframe>,
        renumbered: impl Fn(KeyframeId) -> KeyframeId,
    ) -> (Vec<Constraint>, Se3) {
        let mut sorted: Vec<&Meeting> = meetings.iter().collect();
        sorted.sort_by_key(|m| std::cmp::Reverse(m.sighting.pose.inliers.len()));
        let tracked: Vec<(&Meeting, Constraint)> = sorted
            .iter()
            .filter_map(|meeting| Some((*meeting, self.tracked_tie(meeting, view(meeting.view)?)?)))
            .collect();
        let Some((meeting, tie)) = tracked.first() else {
            let ties = sorted.iter().map(|m| loop_constraint(renumbered(m.view), &m.sighting));
            let best = sorted.first().map_or_else(Se3::identity, |m| m.world_from_other());
            return (ties.collect(), best);
        };
        let known = self.map.get(tie.source).map_or_else(Se3::identity, |k| k.world_from_camera);
        let world_from_view = known * tie.target_from_source.inverse();
        let best = world_from_view * meeting.other_from_view.inverse();
        let renumber = |(_, tie): &(&Meeting, Constraint)| Constraint {
            target: renumbered(tie.target),
            ..*tie
        };
        (tracked.iter().map(renumber).collect(), best)
    }

    fn tracked_tie(&self, meeting: &Meeting, view: &Keyframe) -> Option<Constraint> {
        let keyframe = self.map.get(meeting.sighting.keyframe)?;
        let max_points = self.config.tracking.max_points;
        let reference = Reference::new(&keyframe.pyramid, &keyframe.pointmap, max_points);
        let target_from_reference = meeting.sighting.pose.target_from_source.inverse();
        let start = RelativeView { target_from_reference, ..RelativeView::identity() };
        let tracked = self.tracker.track(&reference, &view.pyramid, &[start], None);
        let information = tracked.covariance.cholesky()?.inverse();
        let constraint = Constraint {
            target: view.id,
            source: keyframe.id,
            target_from_source: tracked.view.target_from_reference,
            information,
        };
        self.config.relocalization.accepts(&tracked).then(|| sober(&constraint))
    }

    /// Takes over keyframes, ties and frames under new numbers.
    fn take_over<'a>(
        &mut self,
        other: &MapSnapshot,
        views: impl Iterator<Item = &'a Keyframe>,
        world_from_other: &Se3,
        renumbered: impl Fn(KeyframeId) -> KeyframeId,
    ) -> Result<()> {
        let mut features: BTreeMap<KeyframeId, _> =
            other.keyframes.iter().map(|k| (k.id, k.features.clone())).collect();
        for view in views {
            let id = renumbered(view.id);
            let world_from_camera = world_from_other * view.world_from_camera;
            self.map.insert(Keyframe { id, world_from_camera, ..view.clone() });
            self.places.set(id, world_from_camera.translation.vector.into());
            self.covisibility.insert(id);
            self.take_in_features(id, features.remove(&view.id).flatten())?;
        }
        self.map.reserve_below(renumbered(other.graph.next_keyframe));
        let constraint = |stored: &StoredConstraint<Se3, 6>| {
            let target = renumbered(stored.constraint.target);
            let source = renumbered(stored.constraint.source);
            StoredConstraint {
                constraint: Constraint { target, source, ..stored.constraint },
                ..*stored
            }
        };
        let constraints: Vec<_> = other.graph.constraints.iter().map(constraint).collect();
        self.pose_graph.restore(&constraints);
        for &(a, b, shared) in &other.graph.covisibility {
            self.covisibility.connect(renumbered(a), renumbered(b), shared);
        }
        let ties = other.graph.long_ties.iter();
        self.long_ties.extend(ties.map(|&(a, b)| (renumbered(a), renumbered(b))));
        let record = |r: &FrameRecord| FrameRecord { keyframe: renumbered(r.keyframe), ..*r };
        let sessions = other.graph.sessions.iter();
        self.past_sessions.extend(sessions.map(|session| session.iter().map(record).collect()));
        Ok(())
    }
}

fn witnesses(meetings: &[Meeting]) -> usize {
    meetings.iter().map(|m| m.view).collect::<BTreeSet<_>>().len()
}
