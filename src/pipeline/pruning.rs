//! Maps are thinned out: keyframes go that others show nearly as well.

use std::collections::{BTreeMap, BTreeSet};

use super::MapSnapshot;
use crate::constraint::Constraint;
use crate::geometry::{Se3, se3};
use crate::keyframe::KeyframeId;
use crate::pose_graph::StoredConstraint;

impl MapSnapshot {
    /// Removes the newer one of each two keyframes that share at least `max_overlap_frac`, those
    /// that share most first, until at most `max_keyframes` are left where that is given: then as
    /// many as it takes, however little they share. What hung on a removed keyframe hangs on the
    /// other then. Returns how many were removed.
    pub fn prune(&mut self, max_overlap_frac: f64, max_keyframes: Option<usize>) -> usize {
        let mut pairs = self.graph.covisibility.clone();
        pairs.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
        let before = self.graph.poses.len();
        let mut left = before;
        for (heir, leaving, shared) in pairs {
            let too_many = max_keyframes.is_some_and(|most| left > most.max(1));
            if shared < max_overlap_frac && !too_many {
                continue;
            }
            let both = [heir, leaving].iter().all(|id| self.graph.poses.contains_key(id));
            if both && Some(leaving) != self.graph.anchor {
                self.replace(leaving, heir);
                left -= 1;
            }
        }
        let kept: BTreeSet<KeyframeId> = self.graph.poses.keys().copied().collect();
        self.keyframes.retain(|k| kept.contains(&k.id));
        self.graph.keep_only(&kept);
        before - left
    }

    /// Lets `heir` take over the ties and frames of `leaving`.
    fn replace(&mut self, leaving: KeyframeId, heir: KeyframeId) {
        let poses = &self.graph.poses;
        let (Some(world_from_leaving), Some(world_from_heir)) =
            (poses.get(&leaving), poses.get(&heir))
        else {
            return;
        };
        let heir_from_leaving = world_from_heir.inv_mul(world_from_leaving);
        self.inherit_constraints(leaving, heir, &heir_from_leaving);
        for record in self.graph.sessions.iter_mut().flatten().filter(|r| r.keyframe == leaving) {
            record.keyframe = heir;
            record.keyframe_from_camera = heir_from_leaving * record.keyframe_from_camera;
        }
        self.graph.poses.remove(&leaving);
    }

    fn inherit_constraints(&mut self, leaving: KeyframeId, heir: KeyframeId, way: &Se3) {
        let all = std::mem::take(&mut self.graph.constraints);
        let ends = |c: &Constraint| [c.target, c.source];
        let (mut own, kept): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|stored| ends(&stored.constraint).contains(&leaving));
        let key = |stored: &StoredConstraint<Se3, 6>| {
            let [target, source] = ends(&stored.constraint);
            (target, source)
        };
        let mut constraints: BTreeMap<_, _> = kept.into_iter().map(|c| (key(&c), c)).collect();
        let between = own.iter().find(|c| ends(&c.constraint).contains(&heir)).copied();
        let (heir_from_leaving, spread) = between
            .and_then(|c| measured(&c.constraint, heir))
            .unwrap_or((*way, nalgebra::Matrix6::zeros()));
        own.retain(|stored| !ends(&stored.constraint).contains(&heir));
        for stored in own {
            let carried = carried(&stored, leaving, heir, &heir_from_leaving, &spread);
            let Some(inherited) = carried else { continue };
            let (target, source) = key(&inherited);
            let known = [(target, source), (source, target)];
            if !known.iter().any(|pair| constraints.contains_key(pair)) {
                constraints.insert((target, source), inherited);
            }
        }
        self.graph.constraints = constraints.into_values().collect();
    }
}

/// The other end of a constraint in `into`, with the covariance of a left perturbation there.
fn measured(constraint: &Constraint, into: KeyframeId) -> Option<(Se3, nalgebra::Matrix6<f64>)> {
    let covariance = constraint.information.cholesky()?.inverse();
    if constraint.target == into {
        return Some((constraint.target_from_source, covariance));
    }
    let inverse = constraint.target_from_source.inverse();
    let adjoint = se3::adjoint(&inverse);
    Some((inverse, adjoint * covariance * adjoint.transpose()))
}

/// A constraint of `leaving`, as one of `heir`.
fn carried(
    stored: &StoredConstraint<Se3, 6>,
    leaving: KeyframeId,
    heir: KeyframeId,
    heir_from_leaving: &Se3,
    spread: &nalgebra::Matrix6<f64>,
) -> Option<StoredConstraint<Se3, 6>> {
    let constraint = &stored.constraint;
    let other = if constraint.target == leaving { constraint.source } else { constraint.target };
    let (leaving_from_other, covariance) = measured(constraint, leaving)?;
    let adjoint = se3::adjoint(heir_from_leaving);
    let covariance = spread + adjoint * covariance * adjoint.transpose();
    let constraint = Constraint {
        target: heir,
        source: other,
        target_from_source: heir_from_leaving * leaving_from_other,
        information: covariance.cholesky()?.inverse(),
    };
    Some(StoredConstraint { constraint, ..*stored })
}
