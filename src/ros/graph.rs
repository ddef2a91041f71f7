//! The graph of keyframes as points and lines: what sees the same things, and what ties them.

use std::collections::BTreeMap;

use nalgebra::Point3;

use crate::constraint::Constraint;
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;

/// Two ends of a line.
pub type Line = [Point3<f64>; 2];

/// Keyframes and the lines between them, in the map.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GraphView {
    /// Where the cameras of the keyframes are.
    pub cameras: Vec<Point3<f64>>,
    /// Keyframes that see the same things, with the share that they share.
    pub covisible: Vec<(Line, f64)>,
    /// Keyframes that a measurement ties together.
    pub constraints: Vec<Line>,
}

/// Returns the graph of keyframes with the given poses; edges to keyframes without one are left
/// out.
pub fn graph_view<'a>(
    map_from_camera: &BTreeMap<KeyframeId, Se3>,
    covisible: impl Iterator<Item = (KeyframeId, KeyframeId, f64)>,
    constraints: impl Iterator<Item = &'a Constraint>,
) -> GraphView {
    let centre = |pose: &Se3| Point3::from(pose.translation.vector);
    let line = |a: KeyframeId, b: KeyframeId| -> Option<Line> {
        Some([centre(map_from_camera.get(&a)?), centre(map_from_camera.get(&b)?)])
    };
    GraphView {
        cameras: map_from_camera.values().map(centre).collect(),
        covisible: covisible.filter_map(|(a, b, share)| Some((line(a, b)?, share))).collect(),
        constraints: constraints.filter_map(|tie| line(tie.target, tie.source)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix6;

    use super::*;

    #[test]
    fn edges_join_the_cameras_of_their_keyframes() {
        let poses: BTreeMap<KeyframeId, Se3> =
            (0..3).map(|id| (KeyframeId(id), Se3::translation(f64::from(id), 0.0, 1.0))).collect();
        let tie = |target, source| Constraint {
            target: KeyframeId(target),
            source: KeyframeId(source),
            target_from_source: Se3::identity(),
            information: Matrix6::identity(),
        };
        let edges = [(KeyframeId(0), KeyframeId(1), 0.5), (KeyframeId(0), KeyframeId(9), 0.5)];
        let view = graph_view(&poses, edges.into_iter(), [tie(2, 0), tie(7, 0)].iter());
        assert_eq!(view.cameras.len(), 3);
        let at = |x| Point3::new(x, 0.0, 1.0);
        assert_eq!(view.covisible, [([at(0.0), at(1.0)], 0.5)]);
        assert_eq!(view.constraints, [[at(2.0), at(0.0)]]);
    }
}
