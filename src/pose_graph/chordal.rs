//! A start from the edges alone, for poses that are far off: rotations by the chordal distance,
//! which is linear once they need not be rotations, then scales and positions (Carlone et al.,
//! "Initialization techniques for 3D SLAM", 2015).

use nalgebra::{Matrix3, Vector3};

use super::problem::{Edge, Problem};
use crate::block_system::BlockSystem;
use crate::geometry::{LieGroup, Sim3, nearest_rotation};

/// Keeps poses that no edge ties where they are.
const LOOSE: f64 = 1e-9;

/// Returns poses that fit the edges about as well as a linear system can tell; held ones stay.
/// `None` where the system has no solution.
pub(super) fn chordal_poses<G: LieGroup<D>, const D: usize>(
    problem: &Problem<G, D>,
) -> Option<Vec<G>> {
    let mut system = problem.system::<3>()?;
    let mut poses: Vec<Sim3> = problem.poses.iter().map(LieGroup::to_similarity).collect();
    rotate(problem, &mut system, &mut poses)?;
    scale_and_place(problem, &mut system, &mut poses)?;
    // What no edge ties keeps every bit.
    let mut found = problem.poses.clone();
    for end in problem.edges.iter().flat_map(|edge| [edge.target, edge.source]) {
        if problem.unknown[end].is_some() {
            found[end] = G::from_similarity(&poses[end]);
        }
    }
    Some(found)
}

/// The weight of an edge for three of its numbers, from `first` on.
fn weight<G, const D: usize>(edge: &Edge<G, D>, first: usize) -> f64 {
    let trace: f64 = (first..first + 3).map(|i| edge.information[(i, i)]).sum();
    let weight = trace / 3.0 * edge.loop_weight.unwrap_or(1.0);
    if weight.is_finite() { weight } else { 0.0 }
}

/// An edge as the linear system has it: what the source should be is `turn` times the target.
struct Tie {
    weight: f64,
    turn: Matrix3<f64>,
}

/// Fills the matrix, and factorises it.
fn fill<G: LieGroup<D>, const D: usize>(
    problem: &Problem<G, D>,
    system: &mut BlockSystem<3>,
    ties: &[Tie],
) -> Option<()> {
    system.clear();
    let one = Matrix3::identity();
    (0..problem.unknowns()).for_each(|unknown| system.add_diagonal(unknown, &(one * LOOSE)));
    for ((edge, tie), pair) in problem.edges.iter().zip(ties).zip(&problem.pair_of_edge) {
        for end in [edge.target, edge.source] {
            if let Some(unknown) = problem.unknown[end] {
                system.add_diagonal(unknown, &(one * tie.weight));
            }
        }
        if let Some(pair) = pair {
            system.add_pair(*pair, &(tie.turn.transpose() * -tie.weight));
        }
    }
    system.factorize(0.0).then_some(())
}

/// Solves for one column of all unknowns: `offset` is what a source has beyond `turn` times its
/// target, `known` what the held poses have.
fn solve<G: LieGroup<D>, const D: usize>(
    problem: &Problem<G, D>,
    system: &mut BlockSystem<3>,
    ties: &[Tie],
    known: impl Fn(usize) -> Vector3<f64>,
    offset: impl Fn(usize) -> Vector3<f64>,
) -> Option<Vec<Vector3<f64>>> {
    let mut right = vec![Vector3::zeros(); problem.unknowns()];
    for (pose, unknown) in problem.unknown.iter().enumerate() {
        if let Some(unknown) = unknown {
            right[*unknown] += known(pose) * LOOSE;
        }
    }
    for (number, (edge, tie)) in problem.edges.iter().zip(ties).enumerate() {
        let offset = offset(number);
        let [target, source] = [edge.target, edge.source].map(|end| problem.unknown[end]);
        if let Some(source) = source {
            let from_target =
                if target.is_none() { tie.turn * known(edge.target) } else { Vector3::zeros() };
            right[source] += (from_target + offset) * tie.weight;
        }
        if let Some(target) = target {
            let from_source = if source.is_none() { known(edge.source) } else { Vector3::zeros() };
            right[target] += tie.turn.transpose() * (from_source - offset) * tie.weight;
        }
    }
    system.solve_for(&right)
}

/// Rotations: `R_source = R_target R_target_from_source`, row by row, so that the unknowns are the
/// transposed matrices column by column.
fn rotate<G: LieGroup<D>, const D: usize>(
    problem: &Problem<G, D>,
    system: &mut BlockSystem<3>,
    poses: &mut [Sim3],
) -> Option<()> {
    let tie = |edge: &Edge<G, D>| {
        let turn = matrix(&edge.target_from_source.to_similarity()).transpose();
        Tie { weight: weight(edge, 0), turn }
    };
    let ties: Vec<Tie> = problem.edges.iter().map(tie).collect();
    fill(problem, system, &ties)?;
    let mut transposed = vec![Matrix3::zeros(); problem.unknowns()];
    for column in 0..3 {
        let known = |pose: usize| matrix(&poses[pose]).transpose().column(column).into_owned();
        let solution = solve(problem, system, &ties, known, |_| Vector3::zeros())?;
        for (matrix, solution) in transposed.iter_mut().zip(solution) {
            matrix.set_column(column, &solution);
        }
    }
    for (pose, unknown) in poses.iter_mut().zip(&problem.unknown) {
        if let Some(unknown) = unknown {
            pose.rotation = nearest_rotation(&transposed[*unknown].transpose())?.rotation;
        }
    }
    Some(())
}

/// Scales, then positions: `t_source = t_target + s_target R_target t_target_from_source`.
fn scale_and_place<G: LieGroup<D>, const D: usize>(
    problem: &Problem<G, D>,
    system: &mut BlockSystem<3>,
    poses: &mut [Sim3],
) -> Option<()> {
    let tie = |edge: &Edge<G, D>| Tie { weight: weight(edge, 3), turn: Matrix3::identity() };
    let ties: Vec<Tie> = problem.edges.iter().map(tie).collect();
    fill(problem, system, &ties)?;
    let measured: Vec<Sim3> =
        problem.edges.iter().map(|edge| edge.target_from_source.to_similarity()).collect();
    if D > 6 {
        let known = |pose: usize| Vector3::repeat(poses[pose].scale.ln());
        let offset = |edge: usize| Vector3::repeat(measured[edge].scale.ln());
        let solution = solve(problem, system, &ties, known, offset)?;
        assign(problem, poses, &solution, |pose, value| pose.scale = value.x.exp());
    }
    let known = |pose: usize| poses[pose].translation;
    let offset = |edge: usize| {
        let target = &poses[problem.edges[edge].target];
        target.rotation * measured[edge].translation * target.scale
    };
    let solution = solve(problem, system, &ties, known, offset)?;
    assign(problem, poses, &solution, |pose, value| pose.translation = *value);
    Some(())
}

fn assign<G, const D: usize>(
    problem: &Problem<G, D>,
    poses: &mut [Sim3],
    solution: &[Vector3<f64>],
    set: impl Fn(&mut Sim3, &Vector3<f64>),
) {
    for (pose, unknown) in poses.iter_mut().zip(&problem.unknown) {
        if let Some(unknown) = unknown {
            set(pose, &solution[*unknown]);
        }
    }
}

fn matrix(pose: &Sim3) -> Matrix3<f64> {
    pose.rotation.to_rotation_matrix().into_inner()
}
