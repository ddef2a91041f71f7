//! Covariances of poses, against chains whose covariance is known.

use std::collections::BTreeMap;

use nalgebra::{Matrix6, Vector6};
use recon_node::constraint::Constraint;
use recon_node::geometry::{Se3, se3};
use recon_node::keyframe::KeyframeId;
use recon_node::pose_graph::{PoseGraph, PoseGraphConfig};

type Poses = BTreeMap<KeyframeId, Se3>;

fn information() -> Matrix6<f64> {
    Matrix6::from_diagonal(&Vector6::new(4e4, 5e4, 6e4, 1e4, 2e4, 3e4))
}

/// Four keyframes in a row, with exact constraints from one to the next.
fn chain() -> (PoseGraph, Poses) {
    let step = se3::exp(&Vector6::new(0.1, -0.2, 0.05, 0.5, 0.1, 1.0));
    let mut poses = Poses::from([(KeyframeId(0), step)]);
    let mut graph = PoseGraph::default();
    for id in 1..4 {
        let target = KeyframeId(id - 1);
        poses.insert(KeyframeId(id), poses[&target] * step);
        let source = KeyframeId(id);
        let information = information();
        graph.update(&[Constraint { target, source, target_from_source: step, information }]);
    }
    (graph, poses)
}

/// The covariances of a chain add up, each moved into the world's frame.
#[test]
fn along_a_chain_covariances_add_up() {
    let (graph, poses) = chain();
    let anchor = KeyframeId(0);
    let mut marginals = graph.marginals(&poses, anchor, &PoseGraphConfig::default()).unwrap();
    assert_eq!(marginals.covariance(anchor), Some(Matrix6::zeros()));
    assert_eq!(marginals.covariance(KeyframeId(9)), None);
    let own = information().try_inverse().unwrap();
    let mut expected = Matrix6::zeros();
    for id in 1..4 {
        let adjoint = se3::adjoint(&poses[&KeyframeId(id - 1)]);
        expected += adjoint * own * adjoint.transpose();
        let found = marginals.covariance(KeyframeId(id)).unwrap();
        assert!((found - expected).amax() < 1e-6 * expected.amax(), "{found} {expected}");
    }
}

#[test]
fn a_second_measurement_halves_the_covariance() {
    let (mut graph, poses) = chain();
    let config = PoseGraphConfig::default();
    let of = |graph: &PoseGraph| {
        graph.marginals(&poses, KeyframeId(0), &config).unwrap().covariance(KeyframeId(1)).unwrap()
    };
    let once = of(&graph);
    let between = poses[&KeyframeId(1)].inv_mul(&poses[&KeyframeId(0)]);
    // The same measurement seen from the other end: its covariance moves with it.
    let adjoint = se3::adjoint(&between.inverse());
    let information = adjoint.transpose() * information() * adjoint;
    let (target, source) = (KeyframeId(1), KeyframeId(0));
    graph.update(&[Constraint { target, source, target_from_source: between, information }]);
    assert!((of(&graph) * 2.0 - once).amax() < 1e-6 * once.amax());
}

#[test]
fn the_anchor_can_be_any_keyframe() {
    let (graph, poses) = chain();
    let mut marginals =
        graph.marginals(&poses, KeyframeId(2), &PoseGraphConfig::default()).unwrap();
    let trace = |id: u32, marginals: &mut recon_node::pose_graph::Marginals<Se3, 6>| {
        marginals.covariance(KeyframeId(id)).unwrap().trace()
    };
    assert_eq!(marginals.covariance(KeyframeId(2)), Some(Matrix6::zeros()));
    assert!(trace(0, &mut marginals) > trace(1, &mut marginals));
}
