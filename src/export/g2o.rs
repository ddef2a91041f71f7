//! Pose graphs as g2o writes them, for g2o, GTSAM, Ceres and others.

use std::path::Path;

use nalgebra::Matrix6;

use super::write_atomically;
use crate::constraint::Constraint;
use crate::error::Result;
use crate::geometry::Se3;
use crate::keyframe::KeyframeId;

/// Returns once `path` holds the poses (`VERTEX_SE3:QUAT`, camera in world) and what ties them
/// (`EDGE_SE3:QUAT`); constraints of keyframes without a pose are left out.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_g2o(
    path: &Path,
    world_from_camera: &[(KeyframeId, Se3)],
    constraints: &[Constraint],
) -> Result<()> {
    let known = |id: KeyframeId| world_from_camera.iter().any(|(other, _)| *other == id);
    write_atomically(path, |file| {
        for (id, pose) in world_from_camera {
            writeln!(file, "VERTEX_SE3:QUAT {id} {}", numbers(pose))?;
        }
        for edge in constraints.iter().filter(|c| known(c.target) && known(c.source)) {
            let information = g2o_information(edge);
            let upper = (0..6).flat_map(|row| (row..6).map(move |column| (row, column)));
            let upper: Vec<String> = upper.map(|at| information[at].to_string()).collect();
            let (target, source) = (edge.target, edge.source);
            let pose = numbers(&edge.target_from_source);
            writeln!(file, "EDGE_SE3:QUAT {target} {source} {pose} {}", upper.join(" "))?;
        }
        Ok(())
    })
}

fn numbers(pose: &Se3) -> String {
    let (t, q) = (pose.translation.vector, pose.rotation.coords);
    format!("{} {} {} {} {} {} {}", t.x, t.y, t.z, q.x, q.y, q.z, q.w)
}

/// Returns the information in g2o's tangent: `z⁻¹ ẑ`, a perturbation on the right, as translation and the
/// vector part of the quaternion, which is half the rotation.
pub fn g2o_information(constraint: &Constraint) -> Matrix6<f64> {
    let z = &constraint.target_from_source;
    let rotation = z.rotation.to_rotation_matrix().into_inner();
    let cross = z.translation.vector.cross_matrix();
    // Ours is exp(xi) z = z exp(Ad(z)⁻¹ xi), so xi = Ad(z) of theirs, over [omega, nu].
    let mut ours_from_g2o = Matrix6::zeros();
    ours_from_g2o.fixed_view_mut::<3, 3>(0, 3).copy_from(&(2.0 * rotation));
    ours_from_g2o.fixed_view_mut::<3, 3>(3, 3).copy_from(&(2.0 * cross * rotation));
    ours_from_g2o.fixed_view_mut::<3, 3>(3, 0).copy_from(&rotation);
    ours_from_g2o.transpose() * constraint.information * ours_from_g2o
}
