//! Pictures of what came out: trajectories over their reference, and clouds from two sides.

mod canvas;
mod cloud;
mod framing;
mod panel;
pub mod rerun;
mod splat;
mod trajectory;
mod upright;

use std::path::Path;

pub use canvas::save_png;
pub use cloud::cloud_figure;
pub use trajectory::{pieces, trajectory_figure};
pub use upright::{upright_axis, upright_direction, upright_from_world};

use crate::cloud::PointCloud;
use crate::error::Result;
use crate::evaluation::{DEFAULT_MAX_DIFFERENCE_SECS, evaluate_trajectory};
use crate::trajectory::Trajectory;

/// Returns once `path` shows `estimate` in plan and side view, over `reference` and with the error
/// over time where there is a reference that it can be aligned to.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) where `path` cannot be written.
pub fn plot_trajectory(
    path: &Path,
    estimate: &Trajectory,
    reference: Option<&Trajectory>,
) -> Result<()> {
    let compared = reference.and_then(|reference| {
        let evaluation =
            evaluate_trajectory(estimate, reference, None, DEFAULT_MAX_DIFFERENCE_SECS).ok()?;
        Some((reference, evaluation))
    });
    let compared = compared.as_ref().map(|(reference, evaluation)| (*reference, evaluation));
    save_png(path, &trajectory_figure(estimate, compared)?)
}

/// Returns once `path` shows `cloud` obliquely from above and in plan, `up` being the direction
/// against gravity in the cloud's frame.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) where `path` cannot be written.
pub fn render_cloud(path: &Path, cloud: &PointCloud, up: &nalgebra::Vector3<f64>) -> Result<()> {
    save_png(path, &cloud_figure(cloud, up)?)
}
