//! Changes that reach no further than they must.

use std::collections::BTreeMap;

use recon_node::constraint::Constraint;
use recon_node::geometry::Se3;
use recon_node::keyframe::KeyframeId;
use recon_node::pose_graph::{PoseGraph, PoseGraphConfig};

use crate::whole::recipe;
use crate::worlds::{Made, World, make};

type Poses = BTreeMap<KeyframeId, Se3>;

/// The constraints at the newest keyframe among those there are so far.
fn newest(constraints: &[Constraint], id: u32) -> Vec<Constraint> {
    let newer = |c: &&Constraint| c.target.0.max(c.source.0) == id;
    constraints.iter().filter(newer).copied().collect()
}

fn chained(poses: &Poses, constraints: &[Constraint], id: u32) -> Se3 {
    let step = constraints.iter().find(|c| c.target.0 + 1 == id && c.source.0 == id).unwrap();
    poses[&step.target] * step.target_from_source
}

/// A map that grows keyframe by keyframe; how many keyframes were solved for each time.
fn grown(made: &Made, config: &PoseGraphConfig) -> (PoseGraph, Poses, Vec<usize>) {
    let (mut graph, mut poses, mut sizes) = (PoseGraph::default(), Poses::new(), Vec::new());
    poses.insert(KeyframeId(0), made.start[&KeyframeId(0)]);
    for id in 1..made.start.len() as u32 {
        let new = newest(&made.constraints, id);
        poses.insert(KeyframeId(id), chained(&poses, &new, id));
        graph.update(&new);
        let mut changed: Vec<KeyframeId> = new.iter().flat_map(|c| [c.target, c.source]).collect();
        changed.sort_unstable();
        changed.dedup();
        let settled = graph.settle(&changed, |id| poses.get(&id).copied(), config);
        sizes.push(settled.poses.len());
        poses.extend(settled.poses);
    }
    (graph, poses, sizes)
}

#[test]
fn a_map_that_grows_stays_as_good_as_one_that_is_solved_at_once() {
    let made = make(&recipe(World::Sphere, 300, 0.002));
    let config = PoseGraphConfig::default();
    let (graph, poses, _) = grown(&made, &config);
    let whole = graph.solve(poses.clone(), &config);
    assert!(whole.cost[0] < 1.05 * whole.cost[1], "{:?}", whole.cost);
    assert_eq!(poses[&KeyframeId(0)], made.start[&KeyframeId(0)]);
}

#[test]
fn what_a_new_keyframe_costs_does_not_grow_with_the_map() {
    // A way that never comes back: each keyframe is tied to the last few.
    let made = make(&recipe(World::Sphere, 400, 0.002));
    let near: Vec<Constraint> =
        made.constraints.iter().filter(|c| c.source.0.abs_diff(c.target.0) <= 4).copied().collect();
    let (_, _, sizes) = grown(&Made { constraints: near, ..made }, &PoseGraphConfig::default());
    let most = |sizes: &[usize]| sizes.iter().copied().max().unwrap();
    assert!(most(&sizes[300..]) <= most(&sizes[50..150]).max(40), "{sizes:?}");
}

#[test]
fn settling_an_unknown_keyframe_changes_nothing() {
    let mut graph = PoseGraph::default();
    let settled = graph.settle(&[KeyframeId(7)], |_| None, &PoseGraphConfig::default());
    assert!(settled.poses.is_empty());
}
